//! Properties of every packet.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::packet_builder::{Tcp, checksums_are_right};
use crate::wire::buf::{Checksum, Offload, Segmentation};
use crate::wire::tcp::Flags;

/// An unfragmented packet from B to A that is translated: UDP, TCP, echo, or UDP without a checksum.
fn any_packet6(kinds: core::ops::Range<u8>) -> impl Strategy<Value = Vec<u8>> {
    let payload = vec(any::<u8>(), 0..1200);
    (any::<u8>(), 2..=255u8, any::<(u16, u16)>(), payload, kinds, 0..3).prop_map(
        |(traffic_class, hop_limit, (src, dst), payload, kind, extensions)| {
            let mut packet = b6_to_a6().traffic_class(traffic_class).hop_limit(hop_limit);
            if extensions > 0 {
                packet = packet.hop_by_hop();
            }
            if extensions > 1 {
                packet = packet.destination_options();
            }
            match kind {
                0 => packet.udp(src, dst, &payload),
                1 => packet.tcp(Tcp::new(src, dst).flags(Flags::SYN).mss(src), &payload),
                2 => packet.echo(src, dst, &payload),
                _ => packet.payload(132, &payload),
            }
        },
    )
}

proptest! {
    #[test]
    fn a_round_trip_keeps_what_both_families_have(packet in any_packet6(0..4)) {
        let four = to_v4(&packet).expect("translated");
        prop_assert!(checksums_are_right(&four));
        let four_parsed = Ipv4Packet::parse(&four, &Offload::default()).expect("good");
        let back = translate4(&RewriteRules::default(), PacketBuf::with_packet(&four), Pass::HairpinIn).expect("back");
        prop_assert!(checksums_are_right(back[0].bytes()));
        let before = Ipv6Packet::parse(&packet, &Offload::default()).expect("good");
        let after = Ipv6Packet::parse(back[0].bytes(), &Offload::default()).expect("good");
        prop_assert_eq!(&packet[before.upper_at..], &back[0].bytes()[after.upper_at..]);
        prop_assert_eq!((before.src, before.dst), (after.src, after.dst));
        prop_assert_eq!((before.traffic_class, before.transport), (after.traffic_class, after.transport));
        prop_assert_eq!(before.hop_limit, after.hop_limit + 1);
        prop_assert_eq!(four_parsed.ttl, after.hop_limit);
    }

    #[test]
    fn a_bad_checksum_stays_bad(packet in any_packet6(0..3), at: prop::sample::Index, bit in 0..8u8) {
        let before = Ipv6Packet::parse(&packet, &Offload::default()).expect("good");
        let mut bad = packet;
        let from = before.upper_at;
        let at = from + at.index(bad.len() - from);
        bad[at] ^= 1 << bit;
        if let Ok(four) = to_v4(&bad) {
            prop_assert!(!checksums_are_right(&four));
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        mut packet in vec(any::<u8>(), 0..300), version: bool, kind in 0..6u8, sum in 0..3u8, size: u16,
    ) {
        if let Some(first) = packet.first_mut() {
            *first = if version { 0x60 } else { 0x40 | (*first & 0x07) };
        }
        if packet.len() >= 8 {
            // Lengths and protocols with which most pass the first checks.
            let len = packet.len() as u16;
            if version {
                packet[4..6].copy_from_slice(&len.saturating_sub(40).to_be_bytes());
                packet[6] = [6, 17, 58, 44, 43, 0][usize::from(kind)];
            } else {
                packet[2..4].copy_from_slice(&len.to_be_bytes());
            }
        }
        if !version && packet.len() >= 20 {
            packet[9] = [6, 17, 1, 44, 132, 1][usize::from(kind)];
            packet[8] |= 2;
            packet[10..12].fill(0);
            let header = (usize::from(packet[0] & 15) * 4).min(packet.len());
            let checksum = crate::wire::checksum::Sum::of(&packet[..header]).checksum();
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        let mut buf = PacketBuf::with_packet(&packet);
        buf.offload.checksum =
            [Checksum::Unverified, Checksum::Partial, Checksum::Verified][usize::from(sum)];
        buf.offload.segmentation = match size % 3 {
            0 => Segmentation::None,
            1 => Segmentation::Tcp { size, ecn: false },
            _ => Segmentation::Udp { size },
        };
        let rules = RewriteRules { mtu4: 68, mss_clamp: true, tcp_resegment: size % 2 == 0, ..RewriteRules::default() };
        let _ = if version { translate6(&rules, buf, Pass::Direct) } else { translate4(&rules, buf, Pass::Direct) };
    }

    #[test]
    fn errors_that_quote_arbitrary_bytes_do_not_panic(
        quoted in vec(any::<u8>(), 0..600), version: bool, kind in 1..5u8, code in 0..5u8, info: u32, cut: u16,
    ) {
        let mut body = if version {
            Packet6::new(six(A4), six(B4)).udp(1, 2, &quoted)
        } else {
            Packet4::new(B4, A4).udp(1, 2, &quoted)
        };
        let at = usize::from(cut) % body.len();
        body[at] ^= info as u8;
        body.truncate(usize::from(cut % 700));
        if version {
            let packet = Packet6::new(six(R4), six(A4)).icmp(kind, code, info, &body);
            if let Ok(got) = to_v4(&packet) {
                prop_assert!(got.len() <= 576 && checksums_are_right(&got));
            }
        } else {
            let kind = [3, 3, 11, 12][usize::from(kind - 1)];
            let packet = Packet4::new(R4, B4).icmp(kind, code, info, &body);
            if let Ok(got) = to_v6(&packet) {
                prop_assert!(got.len() <= 1280 && checksums_are_right(&got));
            }
        }
    }
}
