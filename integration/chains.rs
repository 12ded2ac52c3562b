//! Packets through two gateways: a CLAT and the NAT64 of its provider (464XLAT), an edge relay and a
//! border relay (SIIT-DC).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::packet_builder::{Packet4, Packet6, Tcp, checksums_are_right};
use gate64::addr::{PortRange, Pref64};
use gate64::nat64::Pool;
use gate64::siit::{self, Inside};
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::PacketBuf;

use crate::script::fixture::fixture;
use crate::script::settings::apply;

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("literal")
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("literal")
}

fn stateless(lines: &[&str]) -> Translator {
    let mut settings = fixture();
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        apply(&mut settings, &words).expect(line);
    }
    Translator::new(settings, 1)
}

/// The PLAT of RFC 6877 appendix A.
fn plat(change: impl FnOnce(&mut Settings)) -> Translator {
    let mut settings = fixture();
    let zone = &mut settings.nat64.zones[0];
    zone.clients = vec!["2001:db8:aaaa::/96".parse().expect("literal")];
    zone.pref64 = vec!["2001:db8:1234::/96".parse().expect("literal")];
    settings.nat64.pools =
        vec![Pool { ranges: vec![("192.0.2.1/32".parse().expect("literal"), PortRange::ALL)] }];
    change(&mut settings);
    Translator::new(settings, 1)
}

/// All packets that result from one packet.
fn through(gateway: &mut Translator, packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for packet in packets {
        let (mut buf, mut extra, mut verdict) =
            ([PacketBuf::with_packet(&packet)], ExtraPackets::new(8, 2048), [Verdict::Hold]);
        gateway.process(Instant::from_secs(1000), &mut buf, &mut verdict, &mut extra);
        if matches!(verdict[0], Verdict::Forward | Verdict::Reject(_)) {
            out.push(buf[0].bytes().to_vec());
        }
        out.extend(extra.packets().iter().map(|slot| slot.packet.bytes().to_vec()));
    }
    out
}

/// Reassembles IPv4 fragments.
fn joined(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = fragments[0][..20].to_vec();
    let mut parts: Vec<_> = fragments.iter().collect();
    parts.sort_by_key(|f| u16::from_be_bytes([f[6], f[7]]) & 0x1fff);
    for part in parts {
        assert_eq!(part[4..6], whole[4..6], "one identification");
        whole.extend_from_slice(&part[20..]);
    }
    whole
}

fn ends(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let addr = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    (addr(12), addr(16))
}

#[test]
fn a_host_behind_a_clat_reaches_the_ipv4_internet_and_back() {
    // ids 6877-A, 6877-dns-direct
    let (mut clat, mut plat) = (stateless(&["fixture clat"]), plat(|_| ()));
    let query = Packet4::new(v4("192.168.1.2"), v4("198.51.100.1")).udp(5000, 53, b"who");
    let out = through(&mut plat, through(&mut clat, vec![query]));
    assert_eq!(ends(&out[0]), (v4("192.0.2.1"), v4("198.51.100.1")));
    assert!(checksums_are_right(&out[0]));
    let port = u16::from_be_bytes([out[0][20], out[0][21]]);
    let answer = Packet4::new(v4("198.51.100.1"), v4("192.0.2.1")).udp(53, port, b"me");
    let back = through(&mut clat, through(&mut plat, vec![answer]));
    assert_eq!(ends(&back[0]), (v4("198.51.100.1"), v4("192.168.1.2")));
    assert_eq!(back[0][20..24], [0, 53, 0x13, 0x88]);
    assert_eq!(back[0][28..], *b"me");
    assert!(checksums_are_right(&back[0]));
}

#[test]
fn long_packets_are_fragmented_or_refused() {
    // id 6877-double-frag
    let (mut clat, mut plat) = (stateless(&["fixture clat"]), plat(|_| ()));
    let (host, server) = (v4("192.168.1.2"), v4("198.51.100.1"));
    let long = Packet4::new(host, server).udp(5000, 53, &[7; 1472]);
    assert_eq!(long.len(), 1500);
    let between = through(&mut clat, vec![long]);
    assert_eq!(between.len(), 2);
    let whole = joined(&through(&mut plat, between));
    assert_eq!(whole.len(), 1500);
    assert_eq!(whole[28..], [7; 1472]);
    let mut upper = Vec::from([0u8; 12]);
    upper[..4].copy_from_slice(&whole[12..16]);
    upper[4..8].copy_from_slice(&whole[16..20]);
    upper[9] = 17;
    upper[10..].copy_from_slice(&1480u16.to_be_bytes());
    upper.extend_from_slice(&whole[20..]);
    let sum = upper.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum::<u32>();
    assert_eq!(((sum & 0xffff) + (sum >> 16)) as u16, 0xffff, "the checksum of the whole message");
    let tight = Packet4::new(host, server).df().udp(5000, 53, &[7; 1453]);
    let refusals = through(&mut clat, vec![tight]);
    assert_eq!((refusals[0][20], refusals[0][21]), (3, 4));
    assert_eq!(refusals[0][26..28], 1480u16.to_be_bytes());
}

/// An error of `router` about a packet that the PLAT sent, as the host behind the CLAT receives it.
fn error_to_host(gateways: [&mut Translator; 2], router: &str, kind: [u8; 2], about: &[u8]) -> Vec<u8> {
    let server = ends(about).1;
    let mtu = if kind == [3, 4] { 1000 } else { 0 };
    let error = Packet4::new(v4(router), v4("192.0.2.1")).icmp(kind[0], kind[1], mtu, about);
    let [clat, plat] = gateways;
    let mut errors = through(clat, through(plat, vec![error]));
    assert_eq!(errors.len(), 1, "{router} {kind:?}");
    let error = errors.remove(0);
    assert!(checksums_are_right(&error));
    assert_eq!(error[20..22], kind);
    assert_eq!(ends(&error[28..]), (v4("192.168.1.2"), server), "as the host sent it");
    assert_eq!(error[48..52], [0x13, 0x88, 0, 53], "the ports of the host and the server");
    error
}

#[test]
fn errors_about_packets_that_were_translated_twice_reach_the_host() {
    // ids ptb4-low, W-icmp-src, X-dummy
    for (prefix, router, seen) in [
        ("2001:db8:1234::/96", "203.0.113.200", "203.0.113.200"),
        ("64:ff9b::/96", "203.0.113.200", "192.0.0.8"),
        ("64:ff9b::/96", "192.168.9.9", "192.0.0.8"),
        ("64:ff9b::/96", "9.9.9.9", "9.9.9.9"),
    ] {
        let lines = ["fixture clat", &format!("siit pref64 {prefix}"), "siit well_known any"];
        let mut clat = stateless(&lines);
        let mut plat =
            plat(|settings| settings.nat64.zones[0].pref64 = vec![prefix.parse().expect("literal")]);
        // The server is in a documentation prefix, so under the Well-Known Prefix another one stands for it.
        let server = if prefix.starts_with("64") { "8.8.8.8" } else { "198.51.100.1" };
        let packet =
            |len: usize| Packet4::new(v4("192.168.1.2"), v4(server)).df().udp(5000, 53, &vec![7; len - 28]);
        let sent = through(&mut plat, through(&mut clat, vec![packet(1400)])).remove(0);
        assert_eq!((sent.len(), sent[6] & 0x40), (1400, 0x40), "DF survives");
        for kind in [[3, 4], [11, 0], [3, 1]] {
            let error = error_to_host([&mut clat, &mut plat], router, kind, &sent[..28]);
            assert_eq!(ends(&error), (v4(seen), v4("192.168.1.2")));
            if kind == [3, 4] {
                // The router's 1000 bytes are less than IPv6 has: the host learns the IPv6 minimum.
                assert_eq!(error[26..28], 1260u16.to_be_bytes());
            }
        }
        // Packets of that size may be fragmented on the IPv4 side.
        let next = through(&mut plat, through(&mut clat, vec![packet(1260)])).remove(0);
        assert_eq!((next.len(), next[6] & 0x40), (1260, 0));
    }
}

#[test]
fn the_plat_refuses_private_destinations() {
    // ids 6877-wkp-private, W-clat, W-plat, W-plat-keep
    let lines = ["fixture clat", "siit pref64 64:ff9b::/96"];
    for allowed in [false, true] {
        let mut clat = stateless(&lines);
        let mut plat = plat(|settings| {
            settings.nat64.zones[0].pref64 = vec![Pref64::WELL_KNOWN];
            settings.nat64.private_under_well_known = allowed;
        });
        let to = Packet4::new(v4("192.168.1.2"), v4("192.168.9.9"));
        for packet in [
            to.udp(1, 2, b"x"),
            to.tcp(Tcp::new(1, 2).flags(gate64::wire::tcp::Flags::SYN), b""),
            to.echo(7, 1, b"x"),
        ] {
            let between = through(&mut clat, vec![packet]);
            assert_eq!(between[0][24..40], v6("64:ff9b::192.168.9.9").octets());
            let next = between[0][6];
            let out = through(&mut plat, between);
            // "Administratively prohibited" is not sent about ICMPv6 (RFC 7915 §5.4).
            assert_eq!(out.len(), usize::from(allowed || next != 58), "protocol {next}, allowed: {allowed}");
            if allowed {
                assert_eq!(out[0][16..20], v4("192.168.9.9").octets());
            } else if let Some(error) = out.first() {
                assert_eq!(error[40..42], [1, 1], "administratively prohibited");
            }
        }
        let alive: u64 =
            plat.counters().zone(Some(gate64::addr::ZoneId(0))).sessions.iter().map(|n| n.read()).sum();
        assert_eq!(alive, if allowed { 3 } else { 0 }, "state only where it is allowed");
    }
}

/// RFC 7756 figure 5: two IPv4 nodes, each with a mapping, in front of edge relays.
const NODES: [&str; 2] = ["192.0.2.1 = 2001:db8:a::1", "192.0.2.2 = 2001:db8:b::2"];

fn edge(eams: &[&str]) -> Translator {
    let mut settings = fixture();
    settings.nat64.zones.clear();
    settings.siit = Some(siit::Settings {
        eams: eams.iter().map(|text| text.parse().expect("literal")).collect(),
        pref64: Some("2001:db8:46::/96".parse().expect("literal")),
        inside: Inside::V4,
        ..siit::Settings::default()
    });
    Translator::new(settings, 1)
}

fn border() -> Translator {
    let mut settings = fixture();
    settings.nat64.zones.clear();
    settings.siit = Some(siit::Settings {
        eams: NODES.iter().map(|text| text.parse().expect("literal")).collect(),
        pref64: Some("2001:db8:46::/96".parse().expect("literal")),
        ..siit::Settings::default()
    });
    Translator::new(settings, 1)
}

#[test]
fn an_ipv4_node_in_an_ipv6_data_centre_keeps_its_address() {
    // id 7756-3
    let (mut edge, mut border) = (edge(&NODES[..1]), border());
    let visit = Packet4::new(v4("203.0.113.50"), v4("192.0.2.1")).udp(5000, 80, b"hello");
    let there = through(&mut edge, through(&mut border, vec![visit]));
    assert_eq!(ends(&there[0]), (v4("203.0.113.50"), v4("192.0.2.1")));
    let answer = Packet4::new(v4("192.0.2.1"), v4("203.0.113.50")).udp(80, 5000, b"hello");
    let back = through(&mut border, through(&mut edge, vec![answer]));
    assert_eq!(ends(&back[0]), (v4("192.0.2.1"), v4("203.0.113.50")));
    assert!(checksums_are_right(&there[0]) && checksums_are_right(&back[0]));
}

#[test]
fn two_edge_relays_connect_via_the_border_or_directly() {
    // ids 7756-5.1, 7756-5.2
    let packet = || vec![Packet4::new(v4("192.0.2.1"), v4("192.0.2.2")).udp(5000, 80, b"hello")];
    let same = |got: &[Vec<u8>]| {
        assert_eq!(got.len(), 1);
        assert_eq!(ends(&got[0]), (v4("192.0.2.1"), v4("192.0.2.2")));
        assert_eq!(got[0][28..], *b"hello");
        assert!(checksums_are_right(&got[0]));
    };
    // Figure 5: each relay has the mapping of its own node; the border relay hairpins the packet.
    let (mut first, mut second, mut border) = (edge(&NODES[..1]), edge(&NODES[1..]), border());
    let up = through(&mut first, packet());
    assert_eq!(up[0][24..40], v6("2001:db8:46::192.0.2.2").octets());
    let down = through(&mut border, up);
    assert_eq!(down[0][24..40], v6("2001:db8:b::2").octets());
    same(&through(&mut second, down));
    // Figure 6: both relays have both mappings.
    let (mut first, mut second) = (edge(&NODES), edge(&NODES));
    let across = through(&mut first, packet());
    assert_eq!(across[0][8..24], v6("2001:db8:a::1").octets());
    assert_eq!(across[0][24..40], v6("2001:db8:b::2").octets());
    same(&through(&mut second, across));
}

#[test]
fn relays_with_equal_settings_translate_equally() {
    // ids 7755-stateless, 7755-4.8
    let lines = ["fixture s2", "siit error_object none"];
    let (mut one, mut two) = (stateless(&lines), stateless(&lines));
    // The second translator has translated other packets before.
    let other = Packet4::new(v4("8.8.4.4"), v4("192.0.2.2")).udp(1, 2, b"x");
    through(&mut two, vec![other.clone(), other]);
    let (inside, outside) = (v6("2001:db8:aaaa::"), v6("64:ff9b::808:808"));
    let mut packets = Vec::new();
    for len in [0, 5, 1180, 1200, 1400] {
        packets.push(Packet4::new(v4("8.8.8.8"), v4("192.0.2.1")).id(7).udp(53, 1000, &vec![1; len]));
        packets.push(Packet4::new(v4("8.8.8.8"), v4("192.0.2.1")).echo(3, 4, &vec![1; len]));
        packets.push(Packet6::new(inside, outside).udp(1000, 53, &vec![1; len]));
        packets.push(Packet6::new(inside, v6("64:ff9b::192.0.2.2")).udp(1000, 53, &vec![1; len]));
    }
    let about = Packet6::new(outside, inside).udp(53, 1000, b"x");
    packets.push(Packet6::new(v6("2001:db8:9::1"), outside).icmp(3, 0, 0, &about));
    let mut errors = 0;
    for packet in packets {
        let mut got = [through(&mut one, vec![packet.clone()]), through(&mut two, vec![packet])];
        // Each translator generates its own identifications.
        for out in got.iter_mut().flatten().filter(|out| out[0] >> 4 == 4) {
            out[4..6].fill(0);
            out[10..12].fill(0);
        }
        assert!(!got[0].is_empty());
        assert_eq!(got[0], got[1]);
        if got[0][0][9] == 1 && got[0][0][20] == 11 {
            // The error's source has no IPv4 address: one of the pool.
            assert_eq!(got[0][0][12..16], [198, 51, 100, 1]);
            errors += 1;
        }
    }
    assert_eq!(errors, 1);
}

#[test]
fn neutral_prefixes_keep_checksums() {
    // ids 6052-4.1-neutral, 7915-4.5-neutral
    let neutral = [
        ("64:ff9b::/96", true),
        ("64:ff9b:1:fffe::/96", true),
        ("64:ff9b:1:fffd:1::/96", true),
        ("64:ff9b:1:fffc:2::/96", true),
        ("64:ff9b:1:abcd:0:5431::/96", true),
        ("2001:db8:64::/96", false),
    ];
    for (prefix, is_neutral) in neutral {
        let line = format!("siit pref64 {prefix}");
        let mut gateway = stateless(&["fixture s1", &line, "siit well_known any"]);
        let to = Packet4::new(v4("198.51.100.2"), v4("192.0.2.33"));
        for (packet, at) in [(to.udp(1, 2, b"hello"), 6), (to.tcp(Tcp::new(1, 2), b"hello"), 16)] {
            let out = through(&mut gateway, vec![packet.clone()]);
            assert_eq!(packet[20 + at..][..2] == out[0][40 + at..][..2], is_neutral, "{prefix}");
            assert!(checksums_are_right(&out[0]));
        }
    }
}
