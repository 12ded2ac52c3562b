//! `gate64 translate` as a user runs it: a capture in, a capture out.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gate64::device::pcap::{Reader, Writer};

use crate::script::build::{Blank, build};
use crate::script::packet::{Packet, Vars};

const FILE: &str = "\
[translator]
pref64 = \"2001:db8:64::/96\"
pool4 = \"203.0.113.1\"
address4 = \"192.0.2.254\"
[limits]
sessions = 1000
bindings = 1000
[[zone]]
name = \"a\"
clients = \"2001:db8:1::/64\"
[[static]]
protocol = \"tcp\"
outside = \"203.0.113.1:80\"
inside = \"[2001:db8:1::80]:80\"
";

/// The start of the captures; any time but zero.
const START: Duration = Duration::from_secs(1_700_000_000);

/// The bytes of a packet in scenario notation.
pub(crate) fn packet(line: &str) -> Vec<u8> {
    let packet = Packet::parse(line).expect(line);
    build(&packet, Blank { vars: &Vars::new(), hop: Some(64), actual: None, input: &[] }).expect(line)
}

/// A capture of raw IP: packets and their times in milliseconds after [`START`].
fn capture(packets: &[(u64, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("memory");
    for (millis, line) in packets {
        writer.write(START + Duration::from_millis(*millis), &packet(line)).expect("memory");
    }
    writer.into_inner()
}

/// Packets of a capture with their times in milliseconds after [`START`].
fn read(capture: &[u8]) -> Vec<(u128, Vec<u8>)> {
    let mut reader = Reader::new(capture).expect("a capture");
    let mut all = Vec::new();
    while let Some(packet) = reader.next_packet().expect("whole") {
        all.push(((packet.at - START).as_millis(), packet.bytes.to_vec()));
    }
    all
}

pub(crate) fn translate(file: &str, words: &str, input: &[u8]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("t.toml");
    std::fs::write(&path, file).expect("writable");
    let mut child = Command::new(env!("CARGO_BIN_EXE_gate64"))
        .args(["translate", "--config"])
        .arg(&path)
        .args(words.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // The program stops reading when it rejects its configuration.
    let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("ends");
    feed.join().expect("no panic");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn packets_come_out_at_the_time_they_went_in() {
    let input = capture(&[
        (0, "udp C.40000 > Z6.53 data=9"),
        (25, "udp Z.53 > T.40000 data=30"),
        (30, "udp Z.53 > T.41000 data=30"),
    ]);
    let output = translate(FILE, "", &input);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let sent = read(&output.stdout);
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 25], "the third has no binding");
    assert_eq!(sent[1].1, packet("udp Z6.53 > C.40000 hl=63 data=30"));
}

#[test]
fn timers_follow_the_clock_of_the_capture() {
    // id 6146-3.5.2-unsol-6s
    let file = FILE.replace("[limits]", "filtering = \"address-dependent\"\n[limits]");
    let syn = (0, "tcp Z.81 > T.80 S");
    let nothing = translate(&file, "", &capture(&[syn]));
    assert_eq!(read(&nothing.stdout), []);
    for words in ["--until +6s", "--until 6s", "--until 1h"] {
        let output = translate(&file, words, &capture(&[syn]));
        let sent = read(&output.stdout);
        assert_eq!(sent.len(), 1, "{words}");
        assert_eq!(sent[0].0, 6000, "{words}");
        assert_eq!(sent[0].1[20..22], [3, 3], "{words}: port unreachable");
    }
    assert_eq!(read(&translate(&file, "--until 5999ms", &capture(&[syn])).stdout), []);
    // A later packet advances the clock, too.
    let later = capture(&[syn, (7000, "udp C.40000 > Z6.53 data=9")]);
    let times: Vec<_> = read(&translate(&file, "", &later).stdout).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [6000, 7000]);
}

#[test]
fn one_side_of_a_capture_of_both() {
    let input = capture(&[(0, "udp C.40000 > Z6.53 data=9"), (5, "udp Z.53 > T.40000 data=30")]);
    let v6 = read(&translate(FILE, "--side v6", &input).stdout);
    assert_eq!((v6.len(), v6[0].1[0]), (1, 0x45));
    assert_eq!(read(&translate(FILE, "--side v4", &input).stdout), [], "there is no binding");
}

#[test]
fn the_same_input_gives_the_same_output() {
    let input = capture(&[(0, "udp C.40000 > Z6.53 data=9"), (5, "udp D.40000 > Z6.53 data=9")]);
    let once = translate(FILE, "", &input).stdout;
    assert_eq!(once, translate(FILE, "", &input).stdout);
    assert_ne!(once, translate(FILE, "--seed 65", &input).stdout, "another port, another identification");
}

#[test]
fn every_packet_is_explained() {
    let input = capture(&[
        (0, "udp C.40000 > Z6.53 data=9"),
        (20, "udp Z.53 > T.40000 data=9"),
        (40, "tcp Z.1000 > T.80 S mss=1460"),
        (50, "udp C.40000 > Z6.53 data=1 hl=1"),
        (60, "udp Z.53 > T.40000 data=16 frag=7:0+16"),
        (90, "icmp4 3/4 R > T mtu=1400 { udp T.40000 > Z.53 data=9 }"),
        (91, "icmp4 3/3 W > T { udp T.40000 > W.53 data=9 }"),
        (92, "icmp6 1/4 C > Z6 { udp Z6.53 > C.40000 data=9 }"),
        (95, "udp 2001:db8:9::1.5 > Z6.53"),
    ]);
    let output = translate(FILE, "--explain --until +3s", &input);
    let want = "     1    0.000000  UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6407]:53, 57 bytes
                    forward: RFC 6146 §3.5.1, UDP; RFC 7915 §5.1 with §5.5; opens a binding and a session
                    sends UDP 203.0.113.1:40000 > 198.51.100.7:53, 37 bytes
     2    0.020000  UDP 198.51.100.7:53 > 203.0.113.1:40000, 37 bytes
                    forward: RFC 6146 §3.5.1, UDP; RFC 7915 §4.1 with §4.5
                    sends UDP [2001:db8:64::c633:6407]:53 > [2001:db8:1::2]:40000, 57 bytes
     3    0.040000  TCP 198.51.100.7:1000 > 203.0.113.1:80 SYN, 44 bytes
                    forward: RFC 6146 §3.5.2, TCP; RFC 7915 §4.1 with §4.5; opens a session
                    sends TCP [2001:db8:64::c633:6407]:1000 > [2001:db8:1::80]:80 SYN, 64 bytes
     4    0.050000  UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6407]:53, 49 bytes
                    reject hop_limit: Hop limit or TTL ran out.
                    sends ICMPv6 2001:db8::64 > 2001:db8:1::2 3/0 { UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6407]:53, 49 bytes }, 97 bytes
     5    0.060000  UDP 198.51.100.7:53 > 203.0.113.1:40000, fragment from 0, 36 bytes
                    forward: RFC 6146 §3.5.1, UDP; RFC 7915 §4.1 with §4.5
                    sends UDP [2001:db8:64::c633:6407]:53 > [2001:db8:1::2]:40000, fragment from 0, 64 bytes
     6    0.090000  ICMPv4 192.0.2.77 > 203.0.113.1 3/4 MTU 1400 { UDP 203.0.113.1:40000 > 198.51.100.7:53, 37 bytes }, 65 bytes
                    forward: RFC 6146 §3.6, ICMP error about a session; RFC 7915 §4.1 with §4.2 and §4.3
                    sends ICMPv6 2001:db8:64::c000:24d > 2001:db8:1::2 2/0 MTU 1420 { UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6407]:53, 57 bytes }, 105 bytes
     7    0.091000  ICMPv4 198.51.100.8 > 203.0.113.1 3/3 { UDP 203.0.113.1:40000 > 198.51.100.8:53, 37 bytes }, 65 bytes
                    forward: RFC 6146 §3.6, ICMP error about a binding without this session; RFC 7915 §4.1 with §4.2 and §4.3
                    sends ICMPv6 2001:db8:64::c633:6408 > 2001:db8:1::2 1/4 { UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6408]:53, 57 bytes }, 105 bytes
     8    0.092000  ICMPv6 2001:db8:1::2 > 2001:db8:64::c633:6407 1/4 { UDP [2001:db8:64::c633:6407]:53 > [2001:db8:1::2]:40000, 57 bytes }, 105 bytes
                    forward: RFC 6146 §3.6, ICMP error about a session; RFC 7915 §5.1 with §5.2 and §5.3
                    sends ICMPv4 203.0.113.1 > 198.51.100.7 3/3 { UDP 198.51.100.7:53 > 203.0.113.1:40000, 37 bytes }, 65 bytes
     9    0.095000  UDP [2001:db8:9::1]:5 > [2001:db8:64::c633:6407]:53, 48 bytes
                    drop no_zone: The IPv6 source lies in no zone.
9 packets: 7 forwarded, 1 rejected, 0 held, 1 dropped; 0 skipped; 8 sent
";
    assert_eq!(text(&output.stderr), want);
    assert_eq!(read(&output.stdout).len(), 8);
}

#[test]
fn a_truncated_capture_is_translated_up_to_its_end() {
    let input = capture(&[(0, "udp C.40000 > Z6.53 data=9"), (5, "udp C.40000 > W6.53 data=9")]);
    let output = translate(FILE, "", &input[..input.len() - 1]);
    assert_eq!(output.status.code(), Some(1));
    let second = 24 + 16 + 57;
    let want = format!(
        "gate64: standard input: packet 2, at byte {second} of the file: the file ends in the middle of it\n"
    );
    assert_eq!(text(&output.stderr), want);
    assert_eq!(read(&output.stdout).len(), 1);
}

#[test]
fn invalid_captures_and_configurations_are_errors() {
    let output = translate(FILE, "", b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(1), "gate64: standard input: neither pcap nor pcapng\n".to_owned())
    );
    let output = translate("pref64 = 1\n", "", &capture(&[]));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("t.toml:1:1: unknown key `pref64`"), "{}", text(&output.stderr));
    let output = translate(FILE, "--until soon", &capture(&[]));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a number and a unit"), "{}", text(&output.stderr));
}
