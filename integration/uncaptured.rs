//! Lines that every run shows: libtest captures `println!` and `eprintln!`, not a write to standard error.

use std::io::Write;

/// Writes a line to standard error.
pub(crate) fn show(line: &str) {
    // Another thread may be writing: one write for the whole line.
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

/// Says that the running test is skipped.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    show(&format!("SKIPPED: {}: {why}", thread.name().unwrap_or_default()));
}

#[test]
#[ignore = "`skipped_tests_show_in_every_run` runs it"]
fn a_skipped_test() {
    skipped("an example");
}

#[test]
fn skipped_tests_show_in_every_run() {
    let test = std::env::current_exe().expect("the test program");
    let run = std::process::Command::new(test)
        .args(["--ignored", "--exact", "uncaptured::a_skipped_test"])
        .env_remove("RUST_TEST_NOCAPTURE")
        .output()
        .expect("runs");
    let shown = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{shown}");
    assert!(shown.contains("SKIPPED: uncaptured::a_skipped_test: an example"), "{shown}");
}
