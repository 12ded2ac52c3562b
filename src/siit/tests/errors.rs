//! ICMP errors of routers without an IPv4 address: their source and their RFC 4884 objects.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{v4, v6};
use crate::addr::Ipv4Prefix;
use crate::packet_builder::{Packet6, checksums_are_right};
use crate::siit::*;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::{Transport, u16_at};
use crate::xlat::Object;

const ROUTER: &str = "2001:db8:9::1";

fn siit(change: impl FnOnce(&mut Settings)) -> Siit {
    let mut settings = Settings {
        pref64: Some("2001:db8:64::/96".parse().expect("literal")),
        hosts: vec!["192.0.2.32/28".parse().expect("literal")],
        ..Settings::default()
    };
    change(&mut settings);
    let who = Identity {
        seed: 64,
        address6: v6("2001:db8:ffff::1"),
        address4: v4("203.0.113.254"),
        without_nat64: true,
    };
    Siit::new(who, RewriteRules::default(), &settings, Arc::new(Counters::new(0)))
}

/// An ICMPv6 error from `from` to A that quotes `quoted`.
fn error(from: Ipv6Addr, kind: u8, code: u8, info: u32, quoted: &[u8]) -> Vec<u8> {
    Packet6::new(from, v6("2001:db8:64::c633:6402")).icmp(kind, code, info, quoted)
}

fn quoted(len: usize) -> Vec<u8> {
    Packet6::new(v6("2001:db8:64::c633:6402"), v6("2001:db8:64::c000:221")).udp(1234, 53, &vec![7; len])
}

fn translated(siit: &mut Siit, packet: &[u8]) -> Option<Vec<u8>> {
    let (mut buf, mut extra) = (PacketBuf::with_packet(packet), ExtraPackets::new(4, 2048));
    let mut limits = ErrorLimits::new(&RewriteRules::default(), 1, 7);
    let verdict = siit.process_v6(Instant::from_secs(1), &mut buf, &mut extra, &mut limits);
    (verdict == Some(Verdict::Forward)).then(|| buf.bytes().to_vec())
}

fn source(packet: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15])
}

/// Quoted length in bytes by the length attribute, and the extension after it.
fn extension(packet: &[u8]) -> (usize, &[u8]) {
    let quoted = usize::from(packet[25]) * 4;
    (quoted, if quoted == 0 { &[] } else { &packet[28 + quoted..] })
}

#[test]
fn sources_are_random_addresses_of_the_pool() {
    // ids 6791-5-pool, 6791-3.2-single, X-knob
    let pool: Ipv4Prefix = "203.0.113.8/30".parse().expect("literal");
    let mut siit = siit(|s| s.error_sources.pool4 = vec![pool, "198.51.100.77".parse().expect("literal")]);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..500 {
        let got = translated(&mut siit, &error(v6(ROUTER), 3, 0, 0, &quoted(5))).expect("forwarded");
        *seen.entry(source(&got)).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(seen.keys().all(|addr| pool.contains(*addr) || *addr == v4("198.51.100.77")));
    // Five addresses, 500 errors: about a hundred each.
    assert!(seen.values().all(|count| (60..140).contains(count)), "{seen:?}");
}

#[test]
fn an_object_carries_the_ipv6_source() {
    // ids 6791-4-ext, X-obj, X-dummy, X-5837, 4884-min128
    let cases = [(Object::Interface, [2, 4]), (Object::Node, [5, 4])];
    for (object, class) in cases {
        let mut siit = siit(|s| {
            s.error_sources.untranslatable = Untranslatable::Dummy;
            s.error_sources.object = Some(object);
        });
        for (len, want) in [(5, 128), (200, 228), (1100, 520)] {
            let got = translated(&mut siit, &error(v6(ROUTER), 3, 0, 0, &quoted(len))).expect("forwarded");
            assert_eq!(source(&got), v4("192.0.0.8"));
            let (quoted, extension) = extension(&got);
            assert_eq!(quoted, want, "{len}");
            assert!(got.len() <= 576);
            assert_eq!(extension.len(), 28);
            assert_eq!(extension[0] >> 4, 2, "version");
            assert_eq!(Sum::of(extension).checksum(), 0);
            assert_eq!(u16_at(extension, 4), 24, "the object's length");
            assert_eq!(extension[6..8], class);
            assert_eq!(extension[8..12], [0, 2, 0, 0], "an IPv6 address");
            assert_eq!(extension[12..], v6(ROUTER).octets());
            assert!(checksums_are_right(&got));
            let parsed = Ipv4Packet::parse(&got, &Default::default()).expect("a good packet");
            let Transport::Error(error) = parsed.transport else { panic!("{parsed:?}") };
            assert_eq!((error.kind, error.code, error.extension_len), (11, 0, 28));
        }
    }
}

#[test]
fn an_object_fits_the_mtu_of_the_ipv4_side() {
    // ids 6791-4-ext, 1812-576, 4884-min128
    let cases = [(1500, 576, 28), (576, 576, 28), (300, 300, 28), (184, 184, 28), (183, 183, 0)];
    for (mtu, longest, objects) in cases {
        let mut siit = siit(|_| ());
        siit.rules.mtu4 = mtu;
        let got = translated(&mut siit, &error(v6(ROUTER), 3, 0, 0, &quoted(1100))).expect("forwarded");
        assert_eq!(got.len(), longest, "MTU {mtu}");
        assert_eq!(extension(&got).1.len(), objects, "MTU {mtu}");
        assert!(checksums_are_right(&got));
    }
}

#[test]
fn an_object_is_appended_to_existing_objects() {
    // ids 6791-4-ext, 4884-opaque
    let mut siit = siit(|_| ());
    let mut body = quoted(5);
    body.resize(128, 0);
    let mpls = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef];
    body.extend_from_slice(&mpls);
    let sum = Sum::of(&mpls).checksum().to_be_bytes();
    body[130..132].copy_from_slice(&sum);
    let got = translated(&mut siit, &error(v6(ROUTER), 3, 0, 16 << 24, &body)).expect("forwarded");
    let (quoted, extension) = extension(&got);
    assert_eq!(quoted, 128);
    assert_eq!(extension.len(), 12 + 24);
    assert_eq!(extension[4..12], mpls[4..]);
    assert_eq!(extension[12..16], [0, 24, 2, 4]);
    assert_eq!(extension[20..], v6(ROUTER).octets());
    assert_eq!(Sum::of(extension).checksum(), 0);
    assert!(checksums_are_right(&got));
}

#[test]
fn errors_without_extensions_get_no_object() {
    // ids X-not, X-ptb, 4884-ptb46
    let mut siit = siit(|_| ());
    let from_prefix = error(v6("2001:db8:64::cb00:7109"), 3, 0, 0, &quoted(5));
    let got = translated(&mut siit, &from_prefix).expect("forwarded");
    assert_eq!((source(&got), got[25], got.len()), (v4("203.0.113.9"), 0, 28 + 33));
    for (kind, code, info) in [(2, 0, 1400), (4, 0, 6), (4, 1, 6)] {
        let got = translated(&mut siit, &error(v6(ROUTER), kind, code, info, &quoted(5))).expect("forwarded");
        assert_eq!((source(&got), got[25], got.len()), (v4("203.0.113.254"), 0, 28 + 33), "{kind}/{code}");
    }
}

#[test]
fn ipv6_sources_come_from_their_pool() {
    // id W-icmp-src
    let mut siit = siit(|s| {
        s.pref64 = Some(crate::addr::Pref64::WELL_KNOWN);
        s.hosts_pref64 = Some("2001:db8:64::/96".parse().expect("literal"));
        s.error_sources.pool6 = vec!["2001:db8:ffff::/64".parse().expect("literal")];
    });
    let inner = crate::packet_builder::Packet4::new(v4("192.0.2.33"), v4("8.8.8.8")).udp(1, 2, b"x");
    let packet = crate::packet_builder::Packet4::new(v4("10.0.0.1"), v4("192.0.2.33")).icmp(11, 0, 0, &inner);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (mut buf, mut extra) = (PacketBuf::with_packet(&packet), ExtraPackets::new(4, 2048));
        let mut limits = ErrorLimits::new(&RewriteRules::default(), 1, 7);
        let verdict = siit.process_v4(Instant::from_secs(1), &mut buf, &mut extra, &mut limits);
        assert_eq!(verdict, Some(Verdict::Forward));
        assert_eq!(buf.bytes()[8..16], v6("2001:db8:ffff::").octets()[..8]);
        seen.insert(buf.bytes()[16..24].to_vec());
    }
    assert_eq!(seen.len(), 20);
}
