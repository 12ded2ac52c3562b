//! Super-packets and partial checksums: translating a super-packet must equal translating its segments one
//! by one.

use super::*;
use crate::packet_builder::{Tcp, checksums_are_right, super_packet};
use crate::wire::buf::{Checksum, Segmentation};
use crate::wire::tcp::Flags;
use crate::wire::u16_at;
use crate::xlat::segment::complete;

/// The packets of a super-packet, with complete checksums.
fn segmented(buf: &PacketBuf) -> Vec<Vec<u8>> {
    let cuts = Cuts::of(buf.bytes(), &buf.offload).expect("a super-packet");
    let mut single = PacketBuf::new(2048);
    let mut packet = |index| {
        cuts.write(buf.bytes(), index, &mut single);
        single.bytes().to_vec()
    };
    (0..cuts.count()).map(&mut packet).collect()
}

fn tcp() -> Tcp {
    let flags = Flags::ACK.with(Flags::PSH).with(Flags::FIN).with(Flags::CWR);
    Tcp::new(40_000, 80).numbers(u32::MAX - 2000, 5).flags(flags).options(&[1; 12])
}

/// The packets of `tcp()` with `payload` in segments of `size`, built one by one.
fn singles(payload: &[u8], size: usize, build: impl Fn(usize, Tcp, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let single = |(index, part): (usize, &[u8])| {
        let mut flags = Flags::ACK;
        if index == 0 {
            flags = flags.with(Flags::CWR);
        }
        if index + 1 == count {
            flags = flags.with(Flags::PSH).with(Flags::FIN);
        }
        let seq = (u32::MAX - 2000).wrapping_add((index * size) as u32);
        build(index, tcp().numbers(seq, 5).flags(flags), part)
    };
    payload.chunks(size).enumerate().map(single).collect()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}

#[test]
fn a_super_packet_from_ipv6_is_translated_whole() {
    let payload = bytes(60_000);
    let buf = super_packet(&b6_to_a6().tcp(tcp(), &payload), 1428);
    let got = translate6(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].offload.checksum, Checksum::Partial);
    assert_eq!(got[0].offload.segmentation, Segmentation::Tcp { size: 1428, ecn: true });
    // DF, since segments are longer than 1,260 bytes; consecutive identifications.
    let first = u16_at(got[0].bytes(), 4);
    let from = Packet4::new(B4, A4).ttl(63).df();
    let want =
        singles(&payload, 1428, |i, tcp, part| from.clone().id(first.wrapping_add(i as u16)).tcp(tcp, part));
    assert_eq!(segmented(&got[0]), want);
}

#[test]
fn a_super_packet_from_ipv4_is_translated_whole() {
    let payload = bytes(9_999);
    let buf = super_packet(&a4_to_b4().df().tcp(tcp(), &payload), 1428);
    let got = translate4(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    assert_eq!((got.len(), got[0].len()), (1, 40 + 32 + 9_999));
    let want =
        singles(&payload, 1428, |_, tcp, part| Packet6::new(six(A4), six(B4)).hop_limit(63).tcp(tcp, part));
    assert_eq!(segmented(&got[0]), want);
}

#[test]
fn the_segment_size_of_a_super_packet_decides() {
    // A segment that is too long is answered as a single packet would be.
    let run = |size, rules: &RewriteRules| {
        let buf = super_packet(&a4_to_b4().df().tcp(tcp(), &bytes(9_000)), size);
        translate4(rules, buf, Pass::Direct).map(|got| got[0].offload.segmentation)
    };
    let rules = RewriteRules::default();
    assert_eq!(run(1428, &rules), Ok(Segmentation::Tcp { size: 1428, ecn: true }));
    assert_eq!(run(1429, &rules), Err(reported(Reason::TooBig, 3, 4, 1480)));
    let rules = RewriteRules { tcp_resegment: true, ..rules };
    assert_eq!(run(1448, &rules), Ok(Segmentation::Tcp { size: 1428, ecn: true }));

    let run = |size, rules: &RewriteRules| {
        let buf = super_packet(&b6_to_a6().tcp(tcp(), &bytes(9_000)), size);
        translate6(rules, buf, Pass::Direct)
            .map(|got| (got[0].offload.segmentation, u16_at(got[0].bytes(), 6)))
    };
    let rules = RewriteRules { mtu4: 1400, ..RewriteRules::default() };
    assert_eq!(run(1348, &rules), Ok((Segmentation::Tcp { size: 1348, ecn: true }, 0x4000)));
    assert_eq!(run(1349, &rules), Err(reported(Reason::TooBig, 2, 0, 1420)));
    assert_eq!(run(1208, &rules), Ok((Segmentation::Tcp { size: 1208, ecn: true }, 0)));
    let rules = RewriteRules { tcp_resegment: true, ..rules };
    assert_eq!(run(1428, &rules), Ok((Segmentation::Tcp { size: 1348, ecn: true }, 0x4000)));
}

#[test]
fn tcp_without_df_that_does_not_fit_is_cut_and_fragmented() {
    let payload = bytes(3_000);
    let from = a4_to_b4().id(100);
    let buf = super_packet(&from.tcp(tcp(), &payload), 1440);
    let got = translate4(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    let got: Vec<_> = got.iter().map(|p| p.bytes().to_vec()).collect();
    let single = singles(&payload, 1440, |i, tcp, part| from.clone().id(100 + i as u16).tcp(tcp, part));
    let want: Vec<_> = single
        .iter()
        .flat_map(|packet| {
            let got = translate4(&RewriteRules::default(), PacketBuf::with_packet(packet), Pass::Direct);
            got.expect("translated").iter().map(|p| p.bytes().to_vec()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(got, want);
    assert_eq!(got.len(), 5);
}

#[test]
fn udp_super_packets_above_the_mtu_are_split_first() {
    let payload = bytes(1472 * 3 + 100);
    let buf = super_packet(&a4_to_b4().id(9).udp(1, 2, &payload), 1472);
    let got = translate4(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    let mut want = Vec::new();
    for (index, part) in payload.chunks(1472).enumerate() {
        let single = a4_to_b4().id(9 + index as u16).udp(1, 2, part);
        want.extend(
            translate4(&RewriteRules::default(), PacketBuf::with_packet(&single), Pass::Direct)
                .expect("translated"),
        );
    }
    assert_eq!(got.len(), 7);
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got.bytes(), want.bytes());
        assert_eq!(got.offload.segmentation, Segmentation::None);
    }

    let rules = RewriteRules { mtu4: 1200, ..RewriteRules::default() };
    let buf = super_packet(&b6_to_a6().udp(1, 2, &bytes(2464)), 1232);
    let got = translate6(&rules, buf, Pass::Direct).expect("translated");
    assert_eq!(got.iter().map(PacketBuf::len).collect::<Vec<_>>(), [1196, 84, 1196, 84]);
    let ids: Vec<_> = got.iter().map(|p| u16_at(p.bytes(), 4)).collect();
    assert_eq!([ids[1], ids[2], ids[3]], [ids[0], ids[0].wrapping_add(1), ids[0].wrapping_add(1)]);
}

#[test]
fn udp_super_packets_within_the_mtu_stay_whole() {
    let payload = bytes(1000 * 9 + 10);
    let buf = super_packet(&a4_to_b4().udp(1, 2, &payload), 1000);
    let got = translate4(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    let want: Vec<_> = payload
        .chunks(1000)
        .map(|part| Packet6::new(six(A4), six(B4)).hop_limit(63).udp(1, 2, part))
        .collect();
    assert_eq!(segmented(&got[0]), want);
}

#[test]
fn a_partial_checksum_stays_partial() {
    for (payload, mss_clamp) in [(0, true), (9, false)] {
        let rules = RewriteRules { mss_clamp, ..RewriteRules::default() };
        let syn = Tcp::new(7, 8).flags(Flags::SYN).mss(1460);
        let mut buf = super_packet(&b6_to_a6().tcp(syn, &bytes(payload)), 9999);
        buf.offload.segmentation = Segmentation::None;
        let got = translate6(&rules, buf, Pass::Direct).expect("translated");
        assert_eq!(got[0].offload.checksum, Checksum::Partial);
        assert!(checksums_are_right(&completed(&got[0])));
    }
}

#[test]
fn a_partial_checksum_is_complete_in_fragments() {
    let mut buf = super_packet(&a4_to_b4().udp(1, 2, &bytes(1472)), 9999);
    buf.offload.segmentation = Segmentation::None;
    let got = translate4(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    let plain = PacketBuf::with_packet(&a4_to_b4().udp(1, 2, &bytes(1472)));
    let want = translate4(&RewriteRules::default(), plain, Pass::Direct).expect("translated");
    for (got, want) in got.iter().zip(&want) {
        assert_eq!((got.bytes(), got.offload), (want.bytes(), Default::default()));
    }
}

#[test]
fn nothing_is_written_if_extra_is_full() {
    let bytes = a4_to_b4().udp(1, 2, &bytes(1472));
    let mut buf = PacketBuf::with_packet(&bytes);
    let packet = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    let to = To6 { outer: flow6((A4, B4), (1, 2)), quoted: None };
    for mut extra in [ExtraPackets::new(0, 2048), ExtraPackets::new(1, 200)] {
        let plan =
            plan_v4_to_v6(&RewriteRules::default(), &packet, &mut buf, Pass::Direct).expect("accepted");
        let got = plan.apply(&RewriteRules::default(), &to, &mut extra);
        assert_eq!(got.err(), Some(Reason::ExtraFull));
        assert_eq!((buf.bytes(), extra.packets().len()), (&bytes[..], 0));
    }
}

#[test]
fn a_single_packet_is_not_cut() {
    let single = PacketBuf::with_packet(&a4_to_b4().udp(1, 2, b""));
    assert!(Cuts::of(single.bytes(), &single.offload).is_none());
}

/// A packet with its partial checksum completed.
fn completed(buf: &PacketBuf) -> Vec<u8> {
    let (at, protocol) = match buf.bytes()[0] >> 4 {
        4 => (20, buf.bytes()[9]),
        _ => (40, buf.bytes()[6]),
    };
    let mut bytes = buf.bytes().to_vec();
    complete(&mut bytes[at..], protocol);
    bytes
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ffff() {
    // id 7915-4.5-udp-zero-result
    type Build = fn(&[u8]) -> Vec<u8>;
    let builds: [(Build, usize); 2] =
        [(|data| a4_to_b4().udp(1, 2, data), 26), (|data| b6_to_a6().udp(1, 2, data), 46)];
    for (build, at) in builds {
        // With its checksum as data, the datagram's sum is 0xffff.
        let data = build(&[0, 0])[at..at + 2].to_vec();
        let mut single = super_packet(&build(&data), 9999);
        single.offload.segmentation = Segmentation::None;
        assert_eq!(completed(&single)[at..at + 2], [0xff, 0xff]);
        let packets = segmented(&super_packet(&build(&data.repeat(3)), 2));
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet[at..at + 2] == [0xff, 0xff]));
    }
}

#[test]
fn packets_above_the_ipv4_length_field_are_cut() {
    // 65,516 bytes of payload are fine in IPv6; with an IPv4 header they are 65,536.
    let payload = bytes(65_516 - 32);
    for pass in [Pass::Direct, Pass::HairpinOut] {
        let buf = super_packet(&b6_to_a6().tcp(tcp(), &payload), 1428);
        let got = translate6(&RewriteRules::default(), buf, pass).expect("translated");
        assert_eq!(got.len(), payload.len().div_ceil(1428));
        assert!(got.iter().all(|p| checksums_are_right(p.bytes())));
    }
    let buf = super_packet(&b6_to_a6().tcp(tcp(), &payload[1..]), 1428);
    let got = translate6(&RewriteRules::default(), buf, Pass::Direct).expect("translated");
    assert_eq!((got.len(), u16_at(got[0].bytes(), 2)), (1, 65_535));
    let packet = PacketBuf::with_packet(&b6_to_a6().payload(132, &[0; 65_516]));
    let got = translate6(&RewriteRules::default(), packet, Pass::HairpinOut);
    assert_eq!(got.err(), Some(reported(Reason::TooBig, 2, 0, 65_555)));
}
