use super::summary::Summary;
use super::*;
use crate::addr::WorkerId;
use crate::config::Config;
use crate::control::host_info::UnknownHost;
use crate::reason::Reason;

const FILE: &str = "\
[translator]
pref64 = \"2001:db8:64::/96\"
pool4 = \"192.0.2.64/28\"
[limits]
sessions = 100
bindings = 100
[[zone]]
name = \"a\"
clients = \"2001:db8:1::/64\"
[[static]]
protocol = \"tcp\"
outside = \"192.0.2.65:443\"
inside = \"[2001:db8:1::80]:443\"
";

fn replay() -> Replay {
    let config = Config::parse("t.toml", FILE, &UnknownHost::new()).expect("a good file");
    Replay::new(config.worker(WorkerId(0), 1, 1, 1))
}

/// A UDP datagram of a client, hop limit 64.
fn datagram(dst: &str) -> Vec<u8> {
    let [src, dst] = ["2001:db8:1::2", dst].map(|a| a.parse::<Ipv6Addr>().expect("literal"));
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend([0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
    let sum = crate::wire::checksum::Sum::pseudo6(src, dst, 17, 8)
        .plus(crate::wire::checksum::Sum::of(&packet[40..]))
        .udp_checksum();
    packet[46..48].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn a_packet_is_sent_at_its_arrival_and_opens_state_once() {
    let mut replay = replay();
    assert_eq!(replay.advance(Instant::from_secs(9)), []);
    let first = replay.translate(&datagram("2001:db8:64::c633:6407")).expect("short enough");
    assert_eq!(first.verdict, Verdict::Forward);
    assert_eq!(first.opened, Opened { binding: true, session: true });
    assert_eq!((first.sent.len(), first.sent[0].at), (1, Instant::from_secs(9)));
    let again = replay.translate(&datagram("2001:db8:64::c633:6407")).expect("short enough");
    assert_eq!(again.opened, Opened::default());
    let elsewhere = replay.translate(&datagram("2001:db8:64::c633:6408")).expect("short enough");
    assert_eq!(elsewhere.opened, Opened { binding: false, session: true });
}

#[test]
fn the_clock_never_goes_back() {
    let mut replay = replay();
    replay.advance(Instant::from_secs(9));
    replay.advance(Instant::from_secs(5));
    assert_eq!(replay.now(), Instant::from_secs(9));
}

#[test]
fn an_overlong_packet_is_not_translated() {
    assert_eq!(replay().translate(&vec![0x60; MAX_PACKET + 1]), None);
}

#[test]
fn truncated_packets_have_a_summary() {
    let whole = datagram("2001:db8:64::c633:6407");
    assert_eq!(
        Summary::of(&whole).to_string(),
        "UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6407]:53, 48 bytes"
    );
    for len in 0..whole.len() {
        let text = Summary::of(&whole[..len]).to_string();
        assert!(text.contains(&format!("{len} bytes")), "{text}");
    }
    for seed in 0..2000u32 {
        let noise: Vec<u8> =
            (0..seed % 120).map(|n| (seed.wrapping_mul(2_654_435_761) >> (n % 24)) as u8).collect();
        Summary::of(&noise).to_string();
    }
}

#[test]
fn an_explanation_names_rule_reason_and_time() {
    let mut replay = replay();
    let mut text = Vec::new();
    let mut explanation = Explanation::new(&mut text);
    let packets =
        [(1, datagram("2001:db8:64::c633:6407")), (2, datagram("2001:db8:65::1")), (3, vec![0x60, 0])];
    for (number, packet) in packets {
        replay.advance(Instant::from_millis(number * 1500));
        let outcome = replay.translate(&packet).expect("short enough");
        explanation.packet(number, replay.now(), 0, &packet, &outcome).expect("memory");
    }
    explanation.skipped(4, replay.now(), "skipped: not IP").expect("memory");
    explanation.end().expect("memory");
    let text = String::from_utf8(text).expect("text");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], "1    0.000000  UDP [2001:db8:1::2]:40000 > [2001:db8:64::c633:6407]:53, 48 bytes");
    assert_eq!(
        lines[1],
        "forward: RFC 6146 §3.5.1, UDP; RFC 7915 §5.1 with §5.5; opens a binding and a session"
    );
    assert!(lines[2].starts_with("sends UDP 192.0.2."), "{}", lines[2]);
    assert!(lines[2].ends_with(" > 198.51.100.7:53, 28 bytes"), "{}", lines[2]);
    assert_eq!(lines[3], "2    1.500000  UDP [2001:db8:1::2]:40000 > [2001:db8:65::1]:53, 48 bytes");
    assert_eq!(lines[4], format!("drop not_pref64:{}", Reason::NotPref64.meaning()));
    assert_eq!(lines[5], "3    3.000000  2 bytes without an IP header");
    assert_eq!(lines[7], "4    3.000000  skipped: not IP");
    assert_eq!(lines[8], "3 packets: 1 forwarded, 0 rejected, 0 held, 2 dropped; 1 skipped; 1 sent");
}
