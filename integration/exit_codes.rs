//! Exit codes: 2 for an invalid command line or configuration, 1 for what the host or the network refuses.

use std::net::UdpSocket;
use std::process::{Command, Stdio};

fn code(arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gate64"));
    let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("the program starts").code()
}

#[test]
fn an_unreadable_configuration() {
    for command in [&["run"][..], &["check"], &["explain", "www.example"], &["translate"]] {
        assert_eq!(code(&[command, &["--config", "/nonexistent"]].concat()), Some(2), "{command:?}");
    }
}

#[test]
fn a_conflict_with_the_host() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("gate64.toml");
    // No subnet of this host contains pool4.
    let text = "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"203.0.113.64/28\"\n\
                address6 = \"2001:db8:ffff::1\"\naddress4 = \"203.0.113.1\"\n[host]\nannounce = \"proxy\"\n\
                [[zone]]\nname = \"floor\"\nclients = \"2001:db8:1::/64\"\n";
    std::fs::write(&file, text).expect("written");
    assert_eq!(code(&["check", "--config", file.to_str().expect("ASCII")]), Some(1));
}

#[test]
fn a_server_that_does_not_answer() {
    let silent = UdpSocket::bind("[::1]:0").expect("loopback");
    let server = silent.local_addr().expect("bound").to_string();
    assert_eq!(code(&["dns64-check", &server, "--timeout", "1"]), Some(1));
    assert_eq!(code(&["dns64-check", "not an address"]), Some(2));
}
