//! Commands whose reader closes the pipe, as `gate64 check | head -1` does.

use std::process::{Command, Stdio};

/// Exit code and standard error of a command whose standard output is closed.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_gate64"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_closed_standard_output_is_not_an_error() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/464xlat.toml");
    let nothing = "/nonexistent";
    let commands: [&[&str]; 7] = [
        &["--help"],
        &["version"],
        &["check", "--config", config],
        &["dns64-check", "--zone", "example.org"],
        &["cleanup", "--state-dir", nothing],
        &["demo"],
        &["status", "--socket", nothing],
    ];
    for arguments in commands {
        let (code, errors) = run(arguments);
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        // There is no gateway whose status could be shown.
        let want = if arguments[0] == "status" { 1 } else { 0 };
        // `check` needs an IPv6 address of the host that runs the test.
        assert!(code == Some(want) || arguments[0] == "check", "{arguments:?}: {code:?} {errors}");
    }
}

#[test]
fn a_closed_standard_error_is_not_a_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_gate64"))
        .args(["check", "--config", "/nonexistent"])
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .expect("the program starts");
    assert_eq!(status.code(), Some(2));
}
