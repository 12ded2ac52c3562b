//! Memory that the limits promise, and a process that may use less.

use std::process::{Command, Output};

/// Runs a subcommand with an address space of this many KiB; returns exit code and output.
fn limited(kib: &str, command: &str, more: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("gate64.toml");
    let text = format!(
        "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"192.0.2.64/28\"\naddress6 = \"2001:db8:ffff::1\"\n\
         address4 = \"203.0.113.1\"\n[host]\nworkers = 1\n{more}\n\
         [[zone]]\nname = \"floor\"\nclients = \"2001:db8:1::/64\"\n"
    );
    std::fs::write(&file, text).expect("written");
    let script = format!(
        "ulimit -v {kib}; exec timeout 20 {} {command} --config {}",
        env!("CARGO_BIN_EXE_gate64"),
        file.display()
    );
    let Output { status, stdout, stderr } =
        Command::new("sh").args(["-c", &script]).output().expect("a shell");
    (status.code(), [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}

#[test]
fn a_limit_below_the_tables_prevents_the_start() {
    for command in ["check", "run"] {
        let (code, text) = limited("200000", command, "");
        assert_eq!(code, Some(2), "{command}: {text}");
        assert!(text.contains("MiB, but RLIMIT_AS allows 196 MiB: lower [limits]"), "{command}: {text}");
    }
}

#[test]
fn smaller_tables_fit() {
    let (_, text) = limited("unlimited", "check", "");
    assert!(text.contains("memory: at most ") && !text.contains("RLIMIT_AS"), "{text}");
    let small = "[limits]\nsessions = 10000\nbindings = 10000\nblocks = 1000\nhosts = 1000";
    let (_, text) = limited("200000", "check", small);
    assert!(!text.contains("RLIMIT_AS"), "{text}");
    let (_, text) = limited("200000", "check", "memory = \"ignore\"");
    assert!(!text.contains("RLIMIT_AS"), "{text}");
}
