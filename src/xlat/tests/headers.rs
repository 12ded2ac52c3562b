//! Requirements sections 2 to 4: IP headers, fragments, transport checksums.

use super::*;
use crate::packet_builder::{Tcp, checksums_are_right, fragments4, fragments6};
use crate::wire::tcp::Flags;
use crate::wire::{UDP, u16_at};

fn lens(packets: &[PacketBuf]) -> Vec<usize> {
    packets.iter().map(PacketBuf::len).collect()
}

#[test]
fn packets_from_ipv4_equal_native_ipv6_packets() {
    // ids 7915-4.1-base, 7915-4.1-tc-copy, 7915-4.1-flow0, 7915-4.1-ttl-dec, 7915-4-df0-noatomic,
    // 7915-4.5-tcp, 7915-4.5-udp, 7915-4.5-icmp
    let from = a4_to_b4().tos(0xb8).id(77);
    let want = Packet6::new(six(A4), six(B4)).traffic_class(0xb8).hop_limit(63);
    for from in [from.clone(), from.df()] {
        assert_eq!(to_v6(&from.udp(1234, 53, b"hello")), Ok(want.udp(1234, 53, b"hello")));
        let tcp = Tcp::new(40_000, 80).flags(Flags::SYN).mss(1460).numbers(1, 2);
        assert_eq!(to_v6(&from.tcp(tcp.clone(), b"x")), Ok(want.tcp(tcp, b"x")));
        assert_eq!(to_v6(&from.echo(7, 1, &[5; 9])), Ok(want.echo(7, 1, &[5; 9])));
        assert_eq!(to_v6(&from.echo_reply(7, 1, &[5; 9])), Ok(want.echo_reply(7, 1, &[5; 9])));
    }
}

#[test]
fn packets_from_ipv6_equal_native_ipv4_packets() {
    // ids 7915-5.1-base, 7915-5.1-tos-copy, 7915-5.1-hl-dec, 7915-5.1-mf-off, 7915-5.1-df0-1260,
    // 7915-5.5-all
    let from = b6_to_a6().traffic_class(0x2f).flow_label(0xabcde);
    let want = Packet4::new(B4, A4).tos(0x2f).ttl(63);
    let tcp = Tcp::new(40_000, 80).numbers(1, 2);
    let cases = [
        (from.udp(1234, 53, b"hello"), want.udp(1234, 53, b"hello")),
        (from.tcp(tcp.clone(), b"x"), want.tcp(tcp, b"x")),
        (from.echo(7, 1, &[5; 9]), want.echo(7, 1, &[5; 9])),
        (from.echo_reply(7, 1, &[5; 9]), want.echo_reply(7, 1, &[5; 9])),
    ];
    for (packet, want) in cases {
        let got = to_v4(&packet).expect("translated");
        assert!(checksums_are_right(&got));
        assert_eq!(without_id(got), without_id(want));
    }
}

#[test]
fn df_is_set_above_1260_bytes() {
    // ids 7915-5.1-df0-1260, 7915-5.1-df1-1261
    for (payload, df) in [(1280 - 48, 0), (1281 - 48, 0x4000)] {
        let got = to_v4(&b6_to_a6().udp(1, 2, &vec![0; payload])).expect("translated");
        assert_eq!(u16_at(&got, 6), df);
    }
}

#[test]
fn traffic_class_and_tos_can_be_set() {
    // ids 7915-4.1-tc-zero, 7915-5.1-tos-set
    let rules = RewriteRules {
        traffic_class: TrafficClass::Set(0),
        tos: TrafficClass::Set(0x10),
        ..RewriteRules::default()
    };
    let buf = PacketBuf::with_packet(&a4_to_b4().tos(0xb8).udp(1, 2, b""));
    let got = translate4(&rules, buf, Pass::Direct).expect("translated");
    assert_eq!(got[0].bytes()[..2], [0x60, 0]);
    let buf = PacketBuf::with_packet(&b6_to_a6().traffic_class(0xb8).udp(1, 2, b""));
    let got = translate6(&rules, buf, Pass::Direct).expect("translated");
    assert_eq!(got[0].bytes()[1], 0x10);
}

#[test]
fn refused_packets_from_ipv4() {
    // ids 7915-4.1-ttl1, 7915-4.1-ttl1-icmperr, 7915-4.1-srcroute-live, 7915-4.1-opts-malformed, 7915-4.1-ihl,
    // 7915-4.2-igmp, 7915-4.2-frag-icmp, 7915-4.5-udp0-frag, 7915-4.5-trunc-l4
    let udp = |packet: Packet4| packet.udp(1, 2, b"x");
    let mut bad_header = udp(a4_to_b4());
    bad_header[10] ^= 1;
    let mut version = udp(a4_to_b4());
    version[0] = 0x65;
    let cut = udp(a4_to_b4())[..28].to_vec();
    let cases = [
        // TTL.
        (udp(a4_to_b4().ttl(1)), reported(Reason::HopLimit, 11, 0, 0)),
        (udp(a4_to_b4().ttl(0)), reported(Reason::HopLimit, 11, 0, 0)),
        (a4_to_b4().ttl(1).icmp(3, 1, 0, &udp(Packet4::new(B4, A4))), silent(Reason::HopLimit)),
        // Options.
        (udp(a4_to_b4().options(&[131, 11, 4])), silent(Reason::Ipv4Options)),
        (udp(a4_to_b4().options(&[131, 7, 4, 1, 2, 3, 4, 0])), reported(Reason::SourceRoute, 3, 5, 0)),
        (udp(a4_to_b4().options(&[1, 137, 7, 4, 1, 2, 3, 4])), reported(Reason::SourceRoute, 3, 5, 0)),
        (udp(a4_to_b4().options(&[7, 0, 0, 0])), silent(Reason::Ipv4Options)),
        (udp(a4_to_b4().options(&[7, 1, 0, 0])), silent(Reason::Ipv4Options)),
        (udp(a4_to_b4().options(&[7, 5, 0, 0])), silent(Reason::Ipv4Options)),
        // The header.
        (bad_header, silent(Reason::Ipv4Checksum)),
        (version, silent(Reason::Ipv4Header)),
        (cut, silent(Reason::Ipv4Header)),
        (vec![0x45; 19], silent(Reason::Ipv4Header)),
        // Protocols, fragments and transport headers.
        (a4_to_b4().payload(2, &[0x16, 0, 0, 0, 0, 0, 0, 0]), silent(Reason::Protocol)),
        (a4_to_b4().payload(44, &[17; 16]), silent(Reason::Protocol)),
        (a4_to_b4().payload(58, &[128; 16]), silent(Reason::Protocol)),
        (fragments4(&a4_to_b4().echo(1, 1, &[0; 3000]), 1500)[0].clone(), silent(Reason::IcmpFragment)),
        (fragments4(&a4_to_b4().echo(1, 1, &[0; 3000]), 1500)[1].clone(), silent(Reason::IcmpFragment)),
        (
            fragments4(&a4_to_b4().udp_without_checksum(1, 1, &[0; 3000]), 1500)[0].clone(),
            silent(Reason::UdpZeroChecksum),
        ),
        (a4_to_b4().payload(17, &[0; 4]), silent(Reason::TransportHeader)),
        (a4_to_b4().payload(6, &[0x50; 19]), silent(Reason::TransportHeader)),
        (a4_to_b4().payload(1, &[8, 0, 0, 0]), silent(Reason::TransportHeader)),
        (a4_to_b4().fragment(0, true).payload(17, &[0; 0]), silent(Reason::FragmentSize)),
        (a4_to_b4().fragment(0, true).payload(6, &[0; 8]), silent(Reason::FragmentHeader)),
        (a4_to_b4().fragment(65_528, false).payload(17, &[0; 8]), silent(Reason::FragmentSize)),
    ];
    for (packet, want) in cases {
        assert_eq!(to_v6(&packet), Err(want), "{packet:02x?}");
    }
}

#[test]
fn addresses_that_are_not_host_addresses() {
    // ids 7915-4.1-src-illegal, 7915-4.1-dst-illegal, 7915-1.2-mcast, 7915-5.1-src-illegal,
    // 7915-5.1-dst-mcast, 7915-4.1-src-illegal-err
    for bad in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255", "240.0.0.1"] {
        let bad: Ipv4Addr = bad.parse().expect("literal");
        let packet = Packet4::new(bad, B4).udp(1, 2, b"");
        assert_eq!(to_v6(&packet), Err(silent(Reason::SourceAddress)), "{bad}");
        let packet = Packet4::new(A4, bad).udp(1, 2, b"");
        assert_eq!(to_v6(&packet), Err(silent(Reason::DestinationAddress)), "{bad}");
        // Errors are translated, for troubleshooting.
        let error = Packet4::new(bad, B4).icmp(11, 0, 0, &Packet4::new(B4, A4).udp(1, 2, b""));
        assert!(to_v6(&error).is_ok(), "{bad}");
    }
    for bad in ["::1", "::", "ff02::1", "fe80::1"] {
        let bad: Ipv6Addr = bad.parse().expect("literal");
        let packet = Packet6::new(bad, six(A4)).udp(1, 2, b"");
        assert_eq!(to_v4(&packet), Err(silent(Reason::SourceAddress)), "{bad}");
        let packet = Packet6::new(six(B4), bad).udp(1, 2, b"");
        assert_eq!(to_v4(&packet), Err(silent(Reason::DestinationAddress)), "{bad}");
    }
}

#[test]
fn ipv4_options_are_removed() {
    // ids 7915-4.1-opts-ignored, 7915-4.1-srcroute-expired, 7915-4.1-trailer
    let want = Packet6::new(six(A4), six(B4)).hop_limit(63).udp(1, 2, b"x");
    let options: [&[u8]; 7] = [
        &[0x94, 4, 0, 0],
        // Security, Stream ID.
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[136, 4, 0, 9],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[68, 8, 5, 0, 0, 0, 0, 0],
        &[131, 7, 8, 1, 2, 3, 4, 0],
        &[1; 40],
    ];
    for options in options {
        assert_eq!(to_v6(&a4_to_b4().options(options).udp(1, 2, b"x")), Ok(want.clone()), "{options:?}");
    }
    let mut padded = a4_to_b4().udp(1, 2, b"x");
    padded.resize(60, 0xaa);
    assert_eq!(to_v6(&padded), Ok(want));
}

#[test]
fn extension_headers_are_skipped_or_refused() {
    // ids 7915-5.1-ext-skip, 7915-5.1-rh-live, 7915-5.1-ext-order, 7915-5.1-ext-trunc, 7915-5.1-ext-limit,
    // 7915-5.1.1-fh-ext, 8504-5.3-limits, 7915-5.1-hl1, 4443-2.4e1, 7915-5.5-udp0-v6, 7915-5-len
    let want = without_id(Packet4::new(B4, A4).ttl(63).udp(1, 2, b"hello-nat64"));
    let udp = |packet: Packet6| packet.udp(1, 2, b"hello-nat64");
    let got = to_v4(&udp(b6_to_a6().hop_by_hop().destination_options().routing(0))).expect("translated");
    assert_eq!(without_id(got), want);
    let many = |n| udp((0..n).fold(b6_to_a6(), |packet, _| packet.destination_options()));
    assert_eq!(without_id(to_v4(&many(8)).expect("translated")), want);
    let mut long = udp(b6_to_a6().destination_options());
    long[41] = 200;
    let after = |kind| udp(b6_to_a6().fragment(1, 0, false).extension(kind, &[0; 8]));
    let cases = [
        (udp(b6_to_a6().routing(1)), reported(Reason::RoutingHeader, 4, 0, 43)),
        (udp(b6_to_a6().hop_by_hop().routing(2)), reported(Reason::RoutingHeader, 4, 0, 51)),
        (udp(b6_to_a6().destination_options().hop_by_hop()), silent(Reason::ExtensionHeader)),
        (many(9), silent(Reason::ExtensionLimit)),
        (many(64), silent(Reason::ExtensionLimit)),
        (long, silent(Reason::ExtensionHeader)),
        (after(60), reported(Reason::ExtensionAfterFragment, 1, 1, 0)),
        (after(43), reported(Reason::ExtensionAfterFragment, 1, 1, 0)),
        (after(0), reported(Reason::ExtensionAfterFragment, 1, 1, 0)),
        (after(51), reported(Reason::ExtensionAfterFragment, 1, 1, 0)),
        // Hop limit, and no error about an error.
        (udp(b6_to_a6().hop_limit(1)), reported(Reason::HopLimit, 3, 0, 0)),
        (udp(b6_to_a6().hop_limit(0)), reported(Reason::HopLimit, 3, 0, 0)),
        (
            b6_to_a6().hop_limit(1).icmp(1, 4, 0, &udp(Packet6::new(six(A4), six(B4)))),
            silent(Reason::HopLimit),
        ),
        (b6_to_a6().hop_limit(1).echo(1, 1, b""), reported(Reason::HopLimit, 3, 0, 0)),
        (b6_to_a6().udp_without_checksum(1, 2, b""), silent(Reason::UdpZeroChecksum)),
        (udp(b6_to_a6())[..58].to_vec(), silent(Reason::Ipv6Header)),
        (b6_to_a6().payload(0, b""), silent(Reason::Ipv6Header)),
        (b6_to_a6().payload(1, &[8; 8]), silent(Reason::Protocol)),
    ];
    for (packet, want) in cases {
        assert_eq!(to_v4(&packet), Err(want), "{packet:02x?}");
    }
}

#[test]
fn other_protocols_keep_their_payload() {
    // ids 7915-4.5-unknown, 7915-5.1-proto-copy, 7915-5.1-ah, 7915-5.1-nonext59, 7915-5.1.1-fh-esp
    for protocol in [41, 47, 50, 51, 59, 132, 136, 253] {
        let got = to_v6(&a4_to_b4().payload(protocol, &[9; 40])).expect("translated");
        assert_eq!(got, Packet6::new(six(A4), six(B4)).hop_limit(63).payload(protocol, &[9; 40]));
        let got = to_v4(&b6_to_a6().payload(protocol, &[9; 40])).expect("translated");
        assert_eq!(without_id(got), without_id(Packet4::new(B4, A4).ttl(63).payload(protocol, &[9; 40])));
    }
    let got = to_v4(&b6_to_a6().fragment(5, 0, true).payload(50, &[9; 40])).expect("translated");
    assert_eq!(got, Packet4::new(B4, A4).ttl(63).id(5).fragment(0, true).payload(50, &[9; 40]));
}

#[test]
fn fragments_from_ipv4_keep_offset_and_identification() {
    // ids 7915-4.1-frag-id, 7915-4.1-frag-in-first, 7915-4.1-frag-in-last, 7915-4.1-frag-df1
    let whole = a4_to_b4().id(0xbeef).udp(5000, 6000, &[7; 1992]);
    let want =
        fragments6(&Packet6::new(six(A4), six(B4)).hop_limit(63).udp(5000, 6000, &[7; 1992]), 0xbeef, 1048);
    for (fragment, want) in fragments4(&whole, 1020).iter().zip(want) {
        assert_eq!(to_v6(fragment), Ok(want));
    }
    let with_df = a4_to_b4().id(1).df().fragment(0, true).udp(1, 2, &[0; 8]);
    assert_eq!(u16_at(&to_v6(&with_df).expect("translated"), 40), u16::from(UDP) << 8);
}

#[test]
fn fragments_from_ipv6_keep_offset_and_identification() {
    // ids 7915-5.1.1-fh-base, 7915-5.1.1-fh-atomic
    let whole = b6_to_a6().udp(5000, 6000, &[7; 1992]);
    let want = fragments4(&Packet4::new(B4, A4).ttl(63).id(0x1234).udp(5000, 6000, &[7; 1992]), 1020);
    for (fragment, want) in fragments6(&whole, 0xdead_1234, 1048).iter().zip(want) {
        assert_eq!(to_v4(fragment), Ok(want));
    }
    let atomic = b6_to_a6().fragment(0x0001_0002, 0, false).udp(1, 2, b"x");
    assert_eq!(to_v4(&atomic), Ok(Packet4::new(B4, A4).ttl(63).id(2).udp(1, 2, b"x")));
}

#[test]
fn packets_without_df_are_cut_to_the_lowest_mtu() {
    // ids 7915-4.1-frag-df0, 7915-4.1-frag-df0-1261, 7915-4.1-frag-mtucfg, 7915-4.1-frag-refrag,
    // 7915-4.1-frag-1252: in bytes of IPv4 packet and of
    // the payloads after the IPv6 headers
    let cases: [(usize, u16, bool, &[usize]); 7] = [
        (1260, 1280, false, &[1240]),
        (1261, 1280, false, &[1232, 9]),
        (1500, 1280, false, &[1232, 248]),
        (1480, 1500, false, &[1460]),
        (1500, 1402, false, &[1352, 128]),
        (1252, 1280, true, &[1232]),
        (1260, 1280, true, &[1232, 8]),
    ];
    for (len, lowest_ipv6_mtu, fragment, want) in cases {
        let rules = RewriteRules { lowest_ipv6_mtu, ..RewriteRules::default() };
        let mut packet = a4_to_b4().id(0x42);
        if fragment {
            packet = packet.fragment(0, true);
        }
        let bytes = packet.udp(1, 2, &vec![3; len - 28]);
        let got = translate4(&rules, PacketBuf::with_packet(&bytes), Pass::Direct).expect("translated");
        let header = if got.len() > 1 || fragment { 48 } else { 40 };
        assert_eq!(lens(&got), want.iter().map(|n| n + header).collect::<Vec<_>>(), "{len}");
        let message = Packet6::new(six(A4), six(B4)).udp(1, 2, &vec![3; len - 28]);
        let joined: Vec<u8> = got.iter().flat_map(|p| p.bytes()[header..].to_vec()).collect();
        assert_eq!(joined, message[40..], "{len}");
        if header == 48 {
            let last = got.last().expect("one at least").bytes();
            assert_eq!(u16_at(last, 42) & 1, u16::from(fragment), "more of {len}");
            assert!(got.iter().all(|p| p.bytes()[44..48] == [0, 0, 0, 0x42]), "id of {len}");
        }
    }
}

#[test]
fn oversized_packets_with_df_are_refused() {
    // ids 7915-4.1-df1-toobig, 7915-4.1-df1-frag-toobig, C-11
    let rules = RewriteRules { mtu6: 1400, ..RewriteRules::default() };
    let run = |packet: Packet4, len: usize| {
        let bytes = packet.df().udp(1, 2, &vec![0; len - 28]);
        translate4(&rules, PacketBuf::with_packet(&bytes), Pass::Direct).map(|got| lens(&got))
    };
    assert_eq!(run(a4_to_b4(), 1380), Ok(vec![1400]));
    assert_eq!(run(a4_to_b4(), 1381), Err(reported(Reason::TooBig, 3, 4, 1380)));
    assert_eq!(run(a4_to_b4().fragment(0, true), 1372), Ok(vec![1400]));
    assert_eq!(run(a4_to_b4().fragment(0, true), 1376), Err(reported(Reason::TooBig, 3, 4, 1372)));
}

#[test]
fn a_small_ipv4_mtu() {
    // ids 7915-5-ptb, 7915-5-ptb-floor, 7915-5-ptb-fh, 7915-5.1.1-v4frag, 7915-5.1.1-fh-big
    let run = |mtu4, packet: Packet6, payload: usize| {
        let rules = RewriteRules { mtu4, ..RewriteRules::default() };
        let bytes = packet.udp(1, 2, &vec![3; payload]);
        translate6(&rules, PacketBuf::with_packet(&bytes), Pass::Direct)
    };
    let refused = |result: Result<Vec<PacketBuf>, Dropped>| result.map(|got| lens(&got));
    assert_eq!(refused(run(1400, b6_to_a6(), 1452)), Err(reported(Reason::TooBig, 2, 0, 1420)));
    assert_eq!(refused(run(1000, b6_to_a6(), 1352)), Err(reported(Reason::TooBig, 2, 0, 1280)));
    let fragment = b6_to_a6().fragment(9, 0, true);
    assert_eq!(refused(run(1400, fragment, 1384)), Err(reported(Reason::TooBig, 2, 0, 1420)));

    let got = run(1200, b6_to_a6(), 1232).expect("cut");
    assert_eq!(lens(&got), [1196, 84]);
    assert_eq!(u16_at(got[0].bytes(), 4), u16_at(got[1].bytes(), 4));
    assert_eq!(got.iter().map(|p| u16_at(p.bytes(), 6)).collect::<Vec<_>>(), [0x2000, 147]);

    let got = run(1200, b6_to_a6().fragment(9, 80, true), 1224).expect("cut");
    assert_eq!(got.iter().map(|p| u16_at(p.bytes(), 6)).collect::<Vec<_>>(), [0x200a, 0x2000 | 157]);
    assert!(got.iter().all(|p| u16_at(p.bytes(), 4) == 9));
}

#[test]
fn udp_checksums() {
    // ids 7915-4.5-udp0-calc, 7915-4.5-udp-zero-result, 7915-4.5-badcsum
    let want = Packet6::new(six(A4), six(B4)).hop_limit(63).udp(1, 2, b"odd");
    assert_eq!(to_v6(&a4_to_b4().udp_without_checksum(1, 2, b"odd")), Ok(want));

    // The two bytes that make the sum come out as zero.
    for packet in [a4_to_b4().udp(1, 2, &[0, 0]), b6_to_a6().udp(1, 2, &[0, 0])] {
        let v4 = packet[0] >> 4 == 4;
        let translated = if v4 { to_v6(&packet) } else { to_v4(&packet) }.expect("translated");
        let at = if v4 { 46 } else { 26 };
        let rest = u16_at(&translated, at).to_be_bytes();
        let packet = if v4 { a4_to_b4().udp(1, 2, &rest) } else { b6_to_a6().udp(1, 2, &rest) };
        let translated = if v4 { to_v6(&packet) } else { to_v4(&packet) }.expect("translated");
        assert_eq!(u16_at(&translated, at), 0xffff);
        assert!(checksums_are_right(&translated));
    }

    let mut bad = a4_to_b4().udp(1, 2, b"payload");
    bad[30] ^= 0x40;
    assert!(!checksums_are_right(&to_v6(&bad).expect("translated")));
}

#[test]
fn the_mss_is_clamped_if_configured() {
    // id 6m-mss
    let rules = RewriteRules { mss_clamp: true, ..RewriteRules::default() };
    let syn = Tcp::new(1, 2).flags(Flags::SYN).mss(1460);
    let got = translate4(&rules, PacketBuf::with_packet(&a4_to_b4().tcp(syn.clone(), b"")), Pass::Direct);
    let want = Packet6::new(six(A4), six(B4)).hop_limit(63).tcp(syn.clone().mss(1440), b"");
    assert_eq!(got.expect("translated")[0].bytes(), want);
    let got = translate6(&rules, PacketBuf::with_packet(&b6_to_a6().tcp(syn.clone(), b"")), Pass::Direct);
    let got = got.expect("translated")[0].bytes().to_vec();
    let want = Packet4::new(B4, A4).ttl(63).tcp(syn.mss(1440), b"");
    assert_eq!(without_id(got), without_id(want));
}

#[test]
fn a_hairpin_decrements_the_hop_limit_once() {
    // ids 6146-3.8-ttl, 7757-4.2.2-hl
    let rules = RewriteRules { mtu4: 1000, ..RewriteRules::default() };
    let packet = b6_to_a6().udp(1, 2, &[0; 1400]);
    let half = translate6(&rules, PacketBuf::with_packet(&packet), Pass::HairpinOut).expect("translated");
    assert_eq!((half.len(), half[0].bytes()[8]), (1, 63));
    let got =
        translate4(&rules, PacketBuf::with_packet(half[0].bytes()), Pass::HairpinIn).expect("translated");
    assert_eq!((got[0].len(), got[0].bytes()[7]), (1448, 63));
}

#[test]
fn checksum_neutral_prefixes_keep_checksums() {
    // id 7915-4.5-neutral
    let wkp = Pref64::WELL_KNOWN;
    let flow = Flow6::new(Transport6::new(wkp.embed(A4), 1), Transport6::new(wkp.embed(B4), 2));
    for packet in [a4_to_b4().udp(1, 2, b"hello"), a4_to_b4().tcp(Tcp::new(1, 2), b"hello")] {
        let (mut buf, mut extra) = (PacketBuf::with_packet(&packet), ExtraPackets::new(1, 2048));
        let read = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("a packet");
        let plan = plan_v4_to_v6(&RewriteRules::default(), &read, &mut buf, Pass::Direct).expect("accepted");
        let to = To6 { outer: flow, quoted: None };
        plan.apply(&RewriteRules::default(), &to, &mut extra).expect("translated");
        assert_eq!(buf.bytes()[40..], packet[20..], "every byte after the IP header");
        assert!(checksums_are_right(buf.bytes()));
    }
}
