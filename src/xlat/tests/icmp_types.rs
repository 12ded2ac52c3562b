//! Requirements sections 5 to 7: ICMP errors both ways, what they quote, RFC 4884 extensions.

use super::*;
use crate::packet_builder::{Tcp, checksums_are_right};
use crate::wire::{ICMP4, ICMP6, TCP, UDP, put_u16, u16_at, u32_at};

/// What B sent to A, as the IPv4 side quotes it.
fn quoted4() -> Vec<u8> {
    Packet4::new(B4, A4).ttl(60).df().udp(53, 1234, b"hello-nat64")
}

/// What A sent to B, as the IPv6 side quotes it.
fn quoted6() -> Vec<u8> {
    Packet6::new(six(A4), six(B4)).hop_limit(60).udp(1234, 53, b"hello-nat64")
}

fn error4(kind: u8, code: u8, info: u32, body: &[u8]) -> Vec<u8> {
    Packet4::new(R4, B4).icmp(kind, code, info, body)
}

fn error6(kind: u8, code: u8, info: u32, body: &[u8]) -> Vec<u8> {
    Packet6::new(six(R4), six(A4)).icmp(kind, code, info, body)
}

/// Type, code and second word of the translated error, after checking its checksum.
fn header6(packet: &[u8]) -> Result<(u8, u8, u32), Dropped> {
    let got = to_v6(packet)?;
    assert!(checksums_are_right(&got));
    assert!(got.len() <= 1280);
    Ok((got[40], got[41], u32_at(&got, 44)))
}

fn header4(packet: &[u8]) -> Result<(u8, u8, u32), Dropped> {
    let got = to_v4(packet)?;
    assert!(checksums_are_right(&got));
    assert!(got.len() <= 576);
    Ok((got[20], got[21], u32_at(&got, 24)))
}

#[test]
fn types_and_codes_from_ipv4() {
    // ids 7915-4.2-3/0, 7915-4.2-3/1, 7915-4.2-3/2, 7915-4.2-3/3, 7915-4.2-3/4, 7915-4.2-3/5,
    // 7915-4.2-3/6,7,8, 7915-4.2-3/9,10, 7915-4.2-3/11,12, 7915-4.2-3/13, 7915-4.2-3/14, 7915-4.2-3/15,
    // 7915-4.2-3/other, 7915-4.2-11, 7915-4.2-12/1, 7915-4.2-12/other
    let unreachable = |code| match code {
        0 | 1 | 5..=8 | 11 | 12 => Some((1, 0, 0)),
        2 => Some((4, 1, 6)),
        3 => Some((1, 4, 0)),
        4 => Some((2, 0, 1320)),
        9 | 10 | 13 | 15 => Some((1, 1, 0)),
        _ => None,
    };
    for code in 0..=255u8 {
        let info = if code == 4 { 1300 } else { 0 };
        let want = unreachable(code).ok_or_else(|| silent(Reason::IcmpType));
        assert_eq!(header6(&error4(3, code, info, &quoted4())), want, "3/{code}");
    }
    for code in 0..4 {
        let want = if code < 2 { Ok((3, code, 0)) } else { Err(silent(Reason::IcmpType)) };
        assert_eq!(header6(&error4(11, code, 0, &quoted4())), want, "11/{code}");
        let want = if code % 2 == 0 { Ok((4, 0, 4)) } else { Err(silent(Reason::IcmpType)) };
        assert_eq!(header6(&error4(12, code, 2 << 24, &quoted4())), want, "12/{code}");
    }
}

#[test]
fn types_and_codes_from_ipv6() {
    // ids 7915-5.2-1/0, 7915-5.2-1/1, 7915-5.2-1/2, 7915-5.2-1/3, 7915-5.2-1/4, 7915-5.2-1/other,
    // 7915-5.2-2, 7915-5.2-2-code, 7915-5.2-3, 7915-5.2-4/1, 7915-5.2-4/2, 7915-5.2-4/other
    let cases = |kind, code| match (kind, code) {
        (1, 0 | 2 | 3) => Some((3, 1, 0)),
        (1, 1) => Some((3, 10, 0)),
        (1, 4) => Some((3, 3, 0)),
        (2, _) => Some((3, 4, 1380)),
        (3, 0 | 1) => Some((11, code, 0)),
        (4, 0) => Some((12, 0, 12 << 24)),
        (4, 1) => Some((3, 2, 0)),
        _ => None,
    };
    for kind in 1..=4 {
        let info = [0, 0, 1400, 0, 8][usize::from(kind)];
        for code in 0..=8 {
            let want = cases(kind, code).ok_or_else(|| silent(Reason::IcmpType));
            assert_eq!(header4(&error6(kind, code, info, &quoted6())), want, "{kind}/{code}");
        }
    }
}

#[test]
fn messages_without_a_counterpart_are_dropped() {
    // ids 7915-4.2-t15,16, 7915-4.2-t13,14, 7915-4.2-t17,18, 7915-4.2-t9, 7915-4.2-t10, 7915-4.2-t5,
    // 7915-4.2-t6, 7915-4.2-t4, 7915-4.2-unknown, 7915-5.2-mld, 7915-5.2-nd, 7915-5.2-info-unknown,
    // 7915-5.2-err-unknown
    for kind in (0..=255u8).filter(|kind| !matches!(kind, 0 | 3 | 8 | 11 | 12)) {
        let packet = Packet4::new(R4, B4).icmp(kind, 0, 0, &quoted4());
        assert_eq!(to_v6(&packet), Err(silent(Reason::IcmpType)), "{kind}");
    }
    for kind in (0..=255u8).filter(|kind| !matches!(kind, 1..=4 | 128 | 129)) {
        let packet = Packet6::new(six(R4), six(A4)).icmp(kind, 0, 0, &quoted6());
        assert_eq!(to_v4(&packet), Err(silent(Reason::IcmpType)), "{kind}");
    }
}

#[test]
fn pointers() {
    // ids 7915-4.2-12/0-ptr, 7915-4.2-12/2-ptr, 7915-5.2-4/0-ptr
    let v6 = |pointer: u32| match pointer {
        0 | 1 => Some(pointer),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    };
    for pointer in 0..64 {
        let want = v6(pointer).map(|p| (4, 0, p)).ok_or_else(|| silent(Reason::IcmpType));
        for code in [0, 2] {
            assert_eq!(header6(&error4(12, code, pointer << 24, &quoted4())), want, "{pointer}");
        }
    }
    let v4 = |pointer: u32| match pointer {
        0 | 1 => Some(pointer),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    };
    for pointer in (0..64).chain([0x100_0000, u32::MAX]) {
        let want = v4(pointer).map(|p| (12, 0, p << 24)).ok_or_else(|| silent(Reason::IcmpType));
        assert_eq!(header4(&error6(4, 0, pointer, &quoted6())), want, "{pointer}");
    }
}

#[test]
fn mtus_from_ipv4() {
    // ids 7915-4.2-3/4-a, 7915-4.2-3/4-b, 7915-4.2-3/4-c, 7915-4.2-3/4-d, 7915-4.2-3/4-0, 7915-4.2-3/4-0a,
    // 7915-4.2-3/4-0b, 7915-4.2-3/4-0c, 7915-4.2-3/4-low, C-07, 4884-ctype-fn
    let run = |mtu: u32, len: u16, mtu6, mtu4| {
        let mut quoted = quoted4();
        put_u16(&mut quoted, 2, len);
        put_u16(&mut quoted, 10, 0);
        let checksum = crate::wire::checksum::Sum::of(&quoted[..20]).checksum();
        put_u16(&mut quoted, 10, checksum);
        let rules = RewriteRules { mtu6, mtu4, ..RewriteRules::default() };
        let packet = PacketBuf::with_packet(&error4(3, 4, mtu, &quoted));
        let got = translate4(&rules, packet, Pass::Direct).expect("translated");
        u32_at(got[0].bytes(), 44)
    };
    let cases = [
        ((1300, 1500, 1500, 1500), 1320),
        ((1000, 1500, 1500, 1500), 1280),
        ((9000, 9000, 1500, 1500), 1500),
        ((9000, 9000, 9000, 1400), 1420),
        ((0, 1500, 9000, 9000), 1512),
        ((0, 2000, 9000, 9000), 1512),
        ((0, 2003, 9000, 9000), 2022),
        ((0, 4352, 9000, 9000), 2022),
        ((0, 4353, 9000, 9000), 4372),
        ((0, 65535, 65535, 65535), 32020),
        ((0, 1492, 9000, 9000), 1280),
        ((0, 1300, 9000, 9000), 1280),
        ((67, 1500, 9000, 9000), 1512),
        ((68, 1500, 9000, 9000), 1280),
        // The length attribute precedes the MTU.
        ((0x0005_0000 | 1400, 1500, 1500, 1500), 1420),
    ];
    for ((mtu, len, mtu6, mtu4), want) in cases {
        assert_eq!(run(mtu, len, mtu6, mtu4), want, "{mtu} of {len}, {mtu6}/{mtu4}");
    }
}

#[test]
fn mtus_from_ipv6() {
    // ids 7915-5.2-2a, 7915-5.2-2b, 7915-5.2-2c, 7915-5.2-2-fh, 7915-5.2-2-small, 7915-5.2-2-huge, C-08
    let fragment = Packet6::new(six(A4), six(B4)).fragment(1, 0, true).udp(1, 2, &[0; 8]);
    let cases = [
        ((1400, 1500, 1500), 1380, 1372),
        ((9000, 9000, 1500), 1500, 1500),
        ((9000, 1400, 9000), 1380, 1372),
        ((1000, 1500, 1500), 1260, 1252),
        ((u32::MAX, 65535, 65535), 65515, 65507),
    ];
    for ((mtu, mtu6, mtu4), plain, with_header) in cases {
        let rules = RewriteRules { mtu6, mtu4, ..RewriteRules::default() };
        for (quoted, want) in [(quoted6(), plain), (fragment.clone(), with_header)] {
            let packet = PacketBuf::with_packet(&error6(2, 0, mtu, &quoted));
            let got = translate6(&rules, packet, Pass::Direct).expect("translated");
            assert_eq!(u32_at(got[0].bytes(), 24), want, "{mtu}, {mtu6}/{mtu4}");
        }
    }
}

#[test]
fn the_quoted_packet_is_translated_but_its_hop_limit_stays() {
    // ids 7915-4.3-inner, 7915-4.3-outerlen, 7915-5.3-inner, 7915-5.3-len, 5508-3b, 7915-4.3-inner-opts
    let tcp = Tcp::new(80, 40_000).numbers(5, 6);
    let want6 = Packet6::new(six(B4), six(A4)).hop_limit(60);
    let from4 = Packet4::new(B4, A4).ttl(60);
    let cases = [
        (from4.udp(53, 1234, b"x"), want6.udp(53, 1234, b"x")),
        (from4.tcp(tcp.clone(), b"x"), want6.tcp(tcp, b"x")),
        (from4.echo(7, 1, b"abc"), want6.echo(7, 1, b"abc")),
        (from4.echo_reply(7, 1, b"abc"), want6.echo_reply(7, 1, b"abc")),
        (from4.clone().options(&[0x94, 4, 0, 0]).udp(53, 1234, b"x"), want6.udp(53, 1234, b"x")),
        (from4.payload(132, &[1; 12]), want6.payload(132, &[1; 12])),
    ];
    for (quoted, want) in cases {
        let got = to_v6(&error4(3, 1, 0, &quoted)).expect("translated");
        let outer = Packet6::new(six(R4), six(B4)).hop_limit(63);
        assert_eq!(got, outer.icmp(1, 0, 0, &want), "{quoted:02x?}");
        // And back.
        let got = to_v4(&Packet6::new(six(R4), six(B4)).icmp(1, 4, 0, &want)).expect("translated");
        let quoted = if quoted[0] == 0x46 { from4.udp(53, 1234, b"x") } else { quoted };
        let want = Packet4::new(R4, B4).ttl(63).icmp(3, 3, 0, &quoted);
        assert_eq!(without_id(got), without_id(want), "{quoted:02x?}");
    }
}

#[test]
fn quoted_fragments() {
    // ids 7915-4.3-inner-frag, 7915-4.3-inner-nonfirst, 7915-5.3-inner-fh, 7915-5.3-inner-ext
    for offset in [0, 80] {
        // In later fragments the nines are payload and must stay. In the first they are ports and checksum.
        let nines = [9; 8];
        let quoted = Packet4::new(B4, A4).id(0x1234).fragment(offset, true).payload(UDP, &nines);
        let got = to_v6(&error4(3, 1, 0, &quoted)).expect("translated");
        let inner = Packet6::new(six(B4), six(A4)).fragment(0x1234, offset, true);
        assert_eq!(got[48..96], inner.payload(UDP, &nines)[..48]);
        assert_eq!(got[96..102], nines[..6], "ports and length");
        assert_eq!(got[102..] == nines[6..], offset > 0, "a checksum only in the first fragment");

        let inner = Packet6::new(six(A4), six(B4)).fragment(0x1_1234, offset, true).payload(UDP, &nines);
        let got = to_v4(&error6(1, 0, 0, &inner)).expect("translated");
        let want = Packet4::new(A4, B4).id(0x1234).fragment(offset, true).payload(UDP, &nines);
        assert_eq!(got[28..54], want[..26]);
        assert_eq!(got[54..] == nines[6..], offset > 0, "a checksum only in the first fragment");
    }
    let inner = Packet6::new(six(A4), six(B4)).hop_by_hop().destination_options().udp(1, 2, b"x");
    let got = to_v4(&error6(1, 0, 0, &inner)).expect("translated");
    assert_eq!(got[28..], Packet4::new(A4, B4).udp(1, 2, b"x"));
}

#[test]
fn invalid_quoted_packets() {
    // ids 7915-4.3-nested, 7915-5.3-nested, 5508-3, 5508-3a, 4884-lenbad
    let nested4 = Packet4::new(B4, A4).icmp(3, 1, 0, &Packet4::new(A4, B4).udp(1, 2, b""));
    let nested6 = Packet6::new(six(A4), six(B4)).icmp(1, 0, 0, &quoted6());
    let mut bad_inner = quoted4();
    bad_inner[8] ^= 1;
    let mut bad_sum4 = error4(3, 1, 0, &quoted4());
    bad_sum4[30] ^= 1;
    let mut bad_sum6 = error6(1, 0, 0, &quoted6());
    bad_sum6[70] ^= 1;
    let cases4 = [
        (error4(3, 1, 0, &nested4), Reason::IcmpQuoted),
        (error4(3, 1, 0, &bad_inner), Reason::IcmpQuoted),
        (error4(3, 1, 0, &quoted4()[..19]), Reason::IcmpQuoted),
        (error4(3, 1, 0, &quoted6()), Reason::IcmpQuoted),
        (bad_sum4, Reason::IcmpChecksum),
    ];
    for (packet, reason) in cases4 {
        assert_eq!(to_v6(&packet), Err(silent(reason)));
    }
    let cases6 = [
        (error6(1, 0, 0, &nested6), Reason::IcmpQuoted),
        (error6(1, 0, 0, &quoted6()[..39]), Reason::IcmpQuoted),
        (
            error6(1, 0, 0, &Packet6::new(six(A4), six(B4)).hop_by_hop().udp(1, 2, b"")[..44]),
            Reason::IcmpQuoted,
        ),
        (bad_sum6, Reason::IcmpChecksum),
    ];
    for (packet, reason) in cases6 {
        assert_eq!(to_v4(&packet), Err(silent(reason)));
    }
}

#[test]
fn truncated_quoted_packets() {
    // ids 7915-4.3-inner-short, 7915-4.3-inner-len, 7915-4.3-inner-udp0, 7915-4.3-inner-csum-partial,
    // 5508-3c
    for len in 20..28 {
        let got = to_v6(&error4(3, 1, 0, &quoted4()[..len])).expect("translated");
        assert_eq!(got.len(), 48 + 40 + len - 20);
        assert_eq!(got[88..], quoted4()[20..len]);
    }
    let got = to_v6(&error4(3, 1, 0, &quoted4()[..28])).expect("translated");
    let whole = Packet6::new(six(B4), six(A4)).hop_limit(60).udp(53, 1234, b"hello-nat64");
    assert_eq!(got[48..], whole[..48]);
    let without = Packet4::new(B4, A4).udp_without_checksum(1, 2, b"hello");
    let got = to_v6(&error4(3, 1, 0, &without)).expect("translated");
    assert_eq!(u16_at(&got, 48 + 40 + 6), 0);
    let mut wrong = quoted4();
    wrong[26] ^= 0x55;
    assert!(to_v6(&error4(3, 1, 0, &wrong)).is_ok());
    // A TCP header cut off in front of its checksum.
    let tcp = Packet4::new(B4, A4).tcp(Tcp::new(1, 2), b"");
    let got = to_v6(&error4(3, 1, 0, &tcp[..37])).expect("translated");
    assert_eq!(got[88..], tcp[20..37]);
}

#[test]
fn errors_are_truncated_to_the_limit_of_each_family() {
    // ids 7915-4.3-max1280, 7915-5.3-trunc576, C-18
    let quoted = Packet4::new(B4, A4).udp(1, 2, &[5; 1444]);
    let got = to_v6(&error4(3, 1, 0, &quoted)).expect("translated");
    assert_eq!((got.len(), u16_at(&got, 4), u16_at(&got, 52)), (1280, 1240, 1452));
    assert!(checksums_are_right(&got));
    let quoted = Packet6::new(six(A4), six(B4)).udp(1, 2, &[5; 1184]);
    let got = to_v4(&error6(1, 0, 0, &quoted)).expect("translated");
    assert_eq!((got.len(), u16_at(&got, 2), u16_at(&got, 30)), (576, 576, 1212));
    assert!(checksums_are_right(&got));
}

/// An extension structure with one unknown object.
const EXTENSION: [u8; 12] = [0x20, 0, 0, 0, 0, 8, 0x0f, 1, 0xde, 0xad, 0xbe, 0xef];

fn extended(mut quoted: Vec<u8>, padded: usize, extension: &[u8]) -> Vec<u8> {
    quoted.resize(padded, 0);
    quoted.extend_from_slice(extension);
    quoted
}

#[test]
fn extension_lengths_are_computed_again() {
    // ids 4884-46-len, 4884-64-len, 4884-min128, 4884-pad, 4884-opaque: in bytes: quoted IPv4 packet, its padded
    // length, and that of the IPv6 one
    for (len, padded4, padded6) in [(128, 128, 152), (136, 136, 160), (48, 128, 128), (156, 156, 176)] {
        let from = Packet4::new(B4, A4).ttl(60);
        let quoted = from.udp(53, 1234, &vec![7; len - 28]);
        let body = extended(quoted.clone(), padded4, &EXTENSION);
        let packet = error4(11, 0, (padded4 as u32 / 4) << 16, &body);
        let inner = Packet6::new(six(B4), six(A4)).hop_limit(60).udp(53, 1234, &vec![7; len - 28]);
        let body = extended(inner, padded6, &EXTENSION);
        let outer = Packet6::new(six(R4), six(B4));
        let want = outer.clone().hop_limit(63).icmp(3, 0, (padded6 as u32 / 8) << 24, &body);
        assert_eq!(to_v6(&packet), Ok(want), "{len}");

        let got = to_v4(&outer.icmp(3, 0, (padded6 as u32 / 8) << 24, &body)).expect("translated");
        let body = extended(quoted, padded4, &EXTENSION);
        let want = Packet4::new(R4, B4).ttl(63).icmp(11, 0, (padded4 as u32 / 4) << 16, &body);
        assert_eq!(without_id(got), without_id(want), "{len}");
    }
}

#[test]
fn extensions_that_cannot_be_carried() {
    // ids 4884-pp46, 4884-ptb46, 4884-len0, 4884-lenbad
    let body = extended(quoted4(), 128, &EXTENSION);
    let words = 32 << 16;
    for (kind, code, info, want) in
        [(12, 0, words, (4, 0, 0)), (3, 4, words | 1400, (2, 0, 1420)), (3, 2, words, (4, 1, 6))]
    {
        let got = to_v6(&error4(kind, code, info, &body)).expect("translated");
        assert_eq!((got[40], got[41], u32_at(&got, 44)), want);
        assert_eq!(got.len(), 48 + 40 + 19);
    }
    // No length attribute, or an invalid one: the whole message is quoted packet.
    for attribute in [0, 2, 35, 255] {
        let got = to_v6(&error4(11, 0, attribute << 16, &body)).expect("translated");
        assert_eq!((got.len(), u32_at(&got, 44)), (48 + 20 + body.len(), 0), "{attribute}");
    }
}

#[test]
fn extensions_are_kept_whole_or_not_at_all() {
    // id 4884-trunc
    let quoted = Packet4::new(B4, A4).udp(1, 2, &[7; 972]);
    let run = |extension: usize| {
        let body = extended(quoted.clone(), 1000, &vec![0xee; extension]);
        let got = to_v6(&error4(11, 0, 250 << 16, &body)).expect("translated");
        assert!(checksums_are_right(&got));
        (got.len(), u32_at(&got, 44) >> 24)
    };
    assert_eq!(run(100), (48 + 1024 + 100, 128));
    assert_eq!(run(300), (48 + 928 + 300, 116));
    assert_eq!(run(1100), (48 + 128 + 1100, 16));
    assert_eq!(run(1108), (48 + 1020, 0));

    let quoted = Packet6::new(six(A4), six(B4)).udp(1, 2, &[7; 952]);
    let run = |extension: usize| {
        let body = extended(quoted.clone(), 1000, &vec![0xee; extension]);
        let got = to_v4(&error6(1, 0, 125 << 24, &body)).expect("translated");
        assert!(checksums_are_right(&got));
        (got.len(), u32_at(&got, 24) >> 16)
    };
    assert_eq!(run(100), (28 + 448 + 100, 112));
    assert_eq!(run(420), (28 + 128 + 420, 32));
    assert_eq!(run(424), (576, 0));
}

#[test]
fn protocol_numbers_of_quoted_packets() {
    let icmp = Packet4::new(B4, A4).echo(1, 1, b"");
    let got = to_v6(&error4(3, 1, 0, &icmp)).expect("translated");
    assert_eq!((icmp[9], got[48 + 6]), (ICMP4, ICMP6));
    let tcp = Packet4::new(B4, A4).tcp(Tcp::new(1, 2), b"");
    assert_eq!(to_v6(&error4(3, 1, 0, &tcp)).expect("translated")[48 + 6], TCP);
}
