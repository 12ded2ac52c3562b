//! Floods stay within their limits and do not affect other hosts; every refusal has a reason.

use super::*;
use crate::packet_builder::fragments6;
use crate::wire::icmp;

/// Drops for this reason.
fn drops(bench: &Bench, reason: Reason) -> u64 {
    bench.gate.counters().drops(reason)
}

fn forwarded(bench: &mut Bench, packet: &[u8]) -> bool {
    bench.send(packet).0 == Verdict::Forward
}

#[test]
fn a_scan_from_outside_leaves_a_host_half_of_its_sessions() {
    // id 6146-5.3-dos
    let mut settings = n1();
    settings.nat64.zones[0].sessions_per_host = 10;
    let mut bench = Bench::new(settings);
    let mapped = bench.udp_mapping(C, 5000);
    let passed = (1..=100).filter(|port| forwarded(&mut bench, &udp4(W, 1000 + port, mapped))).count();
    assert_eq!(passed, 4, "five sessions, the host's own included");
    assert_eq!(drops(&bench, Reason::SessionLimit), 96);
    let own = |port: u16| Packet6::new(v6(C), under(Z)).udp(port, 53, b"q");
    assert_eq!((6000..6100).filter(|port| forwarded(&mut bench, &own(*port))).count(), 5);
    assert!(forwarded(&mut bench, &udp4(Z, 53, mapped)), "existing sessions continue");
}

#[test]
fn a_scan_of_a_static_binding_leaves_a_quarter_of_the_table() {
    let mut settings = n1();
    settings.nat64.limits.sessions = 640;
    let mapped = Transport4::new(v4(T), 8080);
    settings.nat64.statics = vec![crate::nat64::StaticBinding {
        proto: crate::addr::Proto::Udp,
        v6: crate::addr::Transport6::new(v6(C), 80),
        v4: mapped,
    }];
    let mut bench = Bench::new(settings);
    let passed = (1..=1_000).filter(|port| forwarded(&mut bench, &udp4(W, 1000 + port, mapped))).count();
    assert_eq!(passed, 480);
    assert_eq!(drops(&bench, Reason::SessionLimit), 520);
    let mapped = bench.udp_mapping(C2, 6000);
    assert!(forwarded(&mut bench, &udp4(Z, 53, mapped)), "now the host is known");
    let own = |port: u16| Packet6::new(v6(C2), under(Z)).udp(port, 53, b"q");
    assert_eq!(
        (6001..6300).filter(|port| forwarded(&mut bench, &own(*port))).count(),
        79,
        "half of what the scan leaves"
    );
}

#[test]
fn a_syn_flood_uses_up_only_the_quota_of_its_host() {
    // id 6146-5.3-dos
    let mut settings = n1();
    settings.nat64.zones[0].sessions_per_host = 100;
    let mut bench = Bench::new(settings);
    let passed = (1024..4024).filter(|port| forwarded(&mut bench, &tcp6(C, *port, Z, Flags::SYN))).count();
    assert_eq!(passed, 64, "the first block, because nobody answers");
    assert_eq!(drops(&bench, Reason::Unanswered), 2936, "each refusal has a reason");
    assert_eq!(bench.blocks(), 1);
    assert!(forwarded(&mut bench, &tcp6(C2, 5000, Z, Flags::SYN)));
}

#[test]
fn first_fragments_of_one_host_leave_room_for_those_of_another() {
    // ids 6146-3.4-frag-limit, 6146-5.3-dos
    let mut bench = Bench::new(n1());
    let long = |client: &str, id| {
        let packet = Packet6::new(v6(client), under(Z)).udp(5000, 53, &[7; 2000]);
        fragments6(&packet, id, 1280)
    };
    for id in 0..2000 {
        bench.send(&long(C, id)[0]);
    }
    assert!(drops(&bench, Reason::FragmentLimit) > 1000);
    for fragment in long(C2, 1) {
        assert!(forwarded(&mut bench, &fragment));
    }
}

#[test]
fn scans_and_errors_from_outside_are_refused_one_by_one() {
    let mut bench = Bench::new(n1());
    let before = bench.udp_mapping(C, 5000);
    for port in 10_000..12_000 {
        assert!(!forwarded(&mut bench, &udp4(W, 53, Transport4::new(v4(T), port))));
        let quoted = Packet4::new(v4(T), v4(W)).udp(port, 53, b"q");
        let error = Packet4::new(v4(W), v4(T)).icmp(icmp::v4::UNREACHABLE, 3, 0, &quoted);
        assert!(!forwarded(&mut bench, &error));
    }
    assert_eq!(drops(&bench, Reason::NoBinding), 2000);
    assert_eq!(drops(&bench, Reason::IcmpNoBinding), 2000);
    assert_eq!((bench.sessions(), bench.bindings()), (1, 1));
    assert!(forwarded(&mut bench, &udp4(Z, 53, before)));
}

#[test]
fn stored_syns_of_one_source_leave_room_for_those_of_another() {
    let mut bench = Bench::new(n1());
    let mapped = |port| Transport4::new(v4(T), port);
    let held = (2000..2100).filter(|port| bench.send(&tcp4(W, mapped(*port), Flags::SYN)).0 == Verdict::Hold);
    assert_eq!(held.count(), 5);
    assert_eq!(drops(&bench, Reason::SynLimit), 95);
    assert_eq!(bench.drop_of(&tcp4(W, mapped(2000), Flags::SYN)), Reason::UnsolicitedSyn, "already stored");
    assert_eq!(bench.send(&tcp4(Z, mapped(2000), Flags::SYN)).0, Verdict::Hold);
}

/// Sends 500 packets of a flood within a second, and a packet of a neighbour every 200 ms. Returns how many of each
/// were answered with an ICMP error.
fn errors_of(bench: &mut Bench, flood: impl Fn(u32) -> Vec<u8>, neighbour: &[u8]) -> (usize, usize) {
    let (mut flooded, mut sent) = (0, 0);
    for n in 0..500 {
        flooded += usize::from(matches!(bench.send(&flood(n)).0, Verdict::Reject(_)));
        if n % 100 == 99 {
            sent += usize::from(bench.send(neighbour).0 == Verdict::Reject(Reason::TooBig));
        }
        bench.wait(Duration::from_millis(2));
    }
    (flooded, sent)
}

#[test]
fn refusals_of_one_host_leave_packet_too_big_to_its_neighbours() {
    // ids 4443-2.4f, 7084-G2
    let refused = |n: u32| Packet6::new(v6(C), under(Z)).payload(132, &n.to_be_bytes());
    for neighbour in [C2, "2001:db8:1:7::2"] {
        let mut bench = Bench::new(n1());
        bench.gate.reconfigure(
            bench.now,
            translator::Change::Settings(Box::new(translator::Settings {
                rules: RewriteRules { mtu4: 1280, ..RewriteRules::default() },
                ..n1()
            })),
        );
        let too_big = Packet6::new(v6(neighbour), under(Z)).udp(5000, 53, &[0; 1300]);
        let (flooded, sent) = errors_of(&mut bench, refused, &too_big);
        assert_eq!(sent, 5, "{neighbour}");
        assert!((13..=40).contains(&flooded), "{flooded} errors to one host");
    }
}

#[test]
fn forged_sources_leave_packet_too_big_to_servers() {
    // id 1812-4.3.2.8
    let source = |n: u32| Ipv4Addr::from_bits(0x0800_0000 | n.wrapping_mul(0x9e37_79b1) >> 8);
    let large = |src, to: Transport4| Packet4::new(src, to.addr).df().udp(53, to.port, &[0; 1300]);
    let settings =
        translator::Settings { rules: RewriteRules { mtu6: 1280, ..RewriteRules::default() }, ..n1() };
    for kind in ["protocol", "ttl", "large"] {
        let mut bench = Bench::new(settings.clone());
        let mapped = bench.udp_mapping(C, 5000);
        let forged = |n: u32| match kind {
            "protocol" => Packet4::new(source(n), v4(T)).payload(132, b"x"),
            "ttl" => Packet4::new(source(n), v4(T)).ttl(1).udp(7, 7, b"x"),
            _ => large(source(n), mapped),
        };
        let (flooded, sent) = errors_of(&mut bench, forged, &large(v4(Z), mapped));
        assert_eq!(sent, 5, "{kind}");
        assert!(flooded > 90 && flooded <= 200, "{kind}: {flooded}");
    }
}
