//! For tests: a thread in a network namespace of its own, isolated from the host.

use std::io::Write;
use std::process::Command;

use super::sys;

/// Runs `test` in a new network namespace. Without root it prints SKIPPED; under CI=true it fails.
pub(crate) fn own_network(name: &str, test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || match sys::leave_network() {
        Ok(()) => {
            run("ip link set lo up");
            test();
            None
        }
        Err(error) => Some(error),
    });
    let Some(error) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) else { return };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} must run under CI: {error}");
    // Not `eprintln!`, which libtest captures: every run shows it.
    let line = format!("\nSKIPPED: {name} needs root and network namespaces: {error}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Runs a command line in the thread's network namespace.
pub(crate) fn run(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().expect("installed");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}
