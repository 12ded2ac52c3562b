//! Port selection and quarantine.

use super::*;
use crate::translator::{BlockAssignment, Event};

fn events(bench: &mut Bench) -> Vec<Event> {
    let mut out = [Event::PoolExhausted { host: NO_HOST }; 200];
    let n = bench.gate.events(&mut out);
    out[..n].to_vec()
}

const NO_HOST: crate::addr::HostKey = crate::addr::HostKey::new(ZoneId(0), Ipv6Addr::UNSPECIFIED, 0);

fn with_ports(first: u16, last: u16) -> translator::Settings {
    let mut settings = n1();
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(first, last).expect("a range");
    settings
}

fn two_addresses() -> translator::Settings {
    let mut settings = n1();
    settings.nat64.pools[0].ranges = vec![("203.0.113.0/30".parse().expect("a prefix"), PortRange::ALL)];
    settings
}

#[test]
fn classes_and_parity() {
    // ids 6146-3.5.1.1-low, 6146-3.5.1.1-high, 6146-3.5.1.1-parity, 6146-3.5.1.1-inuse, 4787-3
    let mut n1 = Bench::new(n1());
    for port in [1, 500, 501, 1023, 1024, 1025, 40_000, 65_535] {
        for host in [C, C2, "2001:db8:1::4"] {
            let mapped = n1.udp_mapping(host, port).port;
            assert_eq!(mapped < 1024, port < 1024, "{host} {port} -> {mapped}");
            assert_eq!(mapped & 1, port & 1, "{host} {port} -> {mapped}");
            assert!(mapped != 0);
        }
    }
    let mut seen = std::collections::HashSet::new();
    for host in 0x100..0x140u16 {
        let mapped = n1.udp_mapping(&format!("2001:db8:1::{host:x}"), 5000);
        assert!(seen.insert(mapped), "{mapped} twice");
    }
}

#[test]
fn no_address_is_bound_twice_on_either_side() {
    // ids 6146-3.1-bib-uniq, 6146-3.5.1.1-inuse
    let mut settings = n1();
    settings.nat64.pools[0].ranges = vec![("203.0.113.0/28".parse().expect("a prefix"), PortRange::ALL)];
    settings.nat64.limits.sessions = 120_000;
    settings.nat64.limits.bindings = 120_000;
    settings.nat64.limits.blocks = 5_000;
    settings.nat64.limits.hosts = 500;
    settings.nat64.zones[0].ports_per_host = 16384;
    settings.nat64.zones[0].sessions_per_host = 10_000;
    let mut bench = Bench::new(settings);
    let mut rng = crate::nat64::tables::hash::Rng::new(11);
    let (mut inside, mut outside) = (std::collections::HashMap::new(), std::collections::HashMap::new());
    for _ in 0..60_000 {
        let host = format!("2001:db8:1::{:x}", 2 + rng.below(400));
        let (kind, port) = (rng.below(3), rng.below(65_536) as u16);
        let packet = Packet6::new(v6(&host), under(Z));
        let packet = match kind {
            0 => tcp6(&host, port, Z, Flags::SYN),
            1 => packet.udp(port, 53, b""),
            _ => packet.echo(port, 1, b""),
        };
        let (verdict, out) = bench.send(&packet);
        if verdict != Verdict::Forward {
            continue;
        }
        let at = if kind == 2 { 24 } else { 20 };
        let client = (kind, host, port);
        let mapped = (kind, [out[12], out[13], out[14], out[15]], [out[at], out[at + 1]]);
        assert_eq!(
            *inside.entry(client.clone()).or_insert(mapped),
            mapped,
            "{client:?} has two mapped addresses"
        );
        assert_eq!(*outside.entry(mapped).or_insert_with(|| client.clone()), client, "{mapped:?} twice");
    }
    assert!(inside.len() > 40_000, "{}", inside.len());
}

#[test]
fn low_ports_overflow_upwards() {
    // id 6146-3.5.1.1-overflow
    let mut bench = Bench::new(with_ports(1024, 65_535));
    assert!(bench.udp_mapping(C, 500).port >= 1024);
}

#[test]
fn a_host_has_one_address_in_all_protocols() {
    // ids 6146-3.5.1.1-sameT, 4787-2, 6m-sticky
    let mut bench = Bench::new(two_addresses());
    for host in 2..40u16 {
        let host = format!("2001:db8:1::{host:x}");
        let addr = bench.udp_mapping(&host, 40_000).addr;
        assert_eq!(bench.udp_mapping(&host, 999).addr, addr);
        assert_eq!(bench.to4(&tcp6(&host, 50_000, Z, Flags::SYN)).0.src, addr);
        assert_eq!(bench.to4(&Packet6::new(v6(&host), under(W)).echo(9, 1, b"")).0.src, addr);
    }
}

#[test]
fn a_host_can_be_a_prefix() {
    // ids 6m-subkey, 6888-4-sub
    let mut settings = two_addresses();
    settings.nat64.zones[0].host_len = 64;
    let mut bench = Bench::new(settings);
    let addr = bench.udp_mapping(C, 40_000).addr;
    for n in 3..30 {
        assert_eq!(bench.udp_mapping(&format!("2001:db8:1::{n:x}"), 40_000).addr, addr);
    }
    let others = (0..20).map(|n| bench.udp_mapping(&format!("2001:db8:1:{n:x}::1"), 7).addr);
    let distinct: std::collections::HashSet<_> = others.collect();
    assert!(distinct.len() > 1);
}

#[test]
fn the_three_bibs_are_independent() {
    // ids E-6146-1, 6146-3.1-bib-sep, 7857-5, 7857-6: three addresses of one host, one free port
    let mut settings = with_ports(40_001, 40_001);
    settings.nat64.zones[0].host_len = 64;
    let mut bench = Bench::new(settings);
    assert_eq!(bench.udp_mapping(C, 1111).port, 40_001);
    let (_, out) = bench.to4(&tcp6(C2, 2222, Z, Flags::SYN));
    assert_eq!(out[20..22], 40_001u16.to_be_bytes());
    let (out, _) = bench.to4(&Packet6::new(v6("2001:db8:1::4"), under(Z)).echo(5, 1, b""));
    assert!(matches!(out.transport, crate::wire::Transport::Echo { id: 40_001, .. }));
    let full = Packet6::new(v6(C2), under(Z)).udp(3333, 53, b"");
    let (verdict, answer) = bench.send(&full);
    assert!(matches!(verdict, Verdict::Reject(Reason::PoolExhausted | Reason::HostQuota)), "{verdict:?}");
    assert_eq!(answer[40..42], [1, 3], "address unreachable");
}

#[test]
fn an_exhausted_pool_keeps_existing_bindings() {
    // ids 6146-3.5.1.1-exh, 6146-3.5.2.3-exh, 6146-3.5.3-exh, 6888-11a, 6888-11b, 6888-11c, 6888-11d
    let mut bench = Bench::new(with_ports(5000, 5001));
    let first = bench.udp_mapping(C, 5000);
    bench.to6(&udp4(Z, 53, first));
    bench.udp_mapping(C, 5001);
    let (verdict, answer) = bench.send(&Packet6::new(v6(C), under(Z)).udp(6000, 53, b""));
    assert_eq!(verdict, Verdict::Reject(Reason::PoolExhausted));
    assert_eq!(answer[40..42], [1, 3]);
    let (verdict, _) = bench.send(&Packet6::new(v6(C2), under(Z)).udp(6000, 53, b""));
    assert_eq!(verdict, Verdict::Reject(Reason::PoolExhausted));
    bench.to6(&udp4(Z, 53, first));
    let reported = events(&mut bench);
    let refusals: Vec<_> = reported
        .iter()
        .filter(|event| matches!(event, Event::QuotaReached { .. } | Event::PoolExhausted { .. }))
        .collect();
    assert!(matches!(refusals[..], [Event::PoolExhausted { .. }]), "once a second: {reported:?}");
}

#[test]
fn a_host_has_its_quota_of_blocks_and_sessions() {
    // ids 6888-4, 6888-5
    let mut settings = n1();
    settings.nat64.zones[0].ports_per_host = 256;
    settings.nat64.zones[0].sharing.first_block = 256;
    settings.nat64.zones[0].sessions_per_host = 300;
    let mut bench = Bench::new(settings);
    for port in 5000..5256 {
        let mapped = bench.udp_mapping(C, port);
        bench.to6(&udp4(Z, 53, mapped));
    }
    let full = Packet6::new(v6(C), under(Z)).udp(9999, 53, b"");
    assert_eq!(bench.drop_of(&full), Reason::HostQuota);
    assert_eq!(bench.blocks(), 1);
    bench.udp_mapping(C2, 5000);
    for n in 0..44u16 {
        bench.to4(&Packet6::new(v6(C), under(W)).udp(5000, 1000 + n, b""));
    }
    let full = Packet6::new(v6(C), under(W)).udp(5000, 99, b"");
    assert_eq!(bench.drop_of(&full), Reason::SessionLimit);
}

#[test]
fn a_released_port_is_quarantined_except_for_its_own_host() {
    // id 6888-8
    let mut bench = Bench::new(with_ports(5000, 5000));
    let mapped = bench.udp_mapping(C, 1000);
    bench.to6(&udp4(Z, 53, mapped));
    bench.secs(301);
    assert_eq!((bench.bindings(), bench.sessions()), (0, 0));
    let other = Packet6::new(v6(C2), under(Z)).udp(1000, 53, b"");
    assert_eq!(bench.drop_of(&other), Reason::PoolExhausted);
    assert_eq!(bench.drop_of(&udp4(Z, 53, Transport4::new(v4(T), 5000))), Reason::NoBinding);
    bench.udp_mapping(C, 1000);
    assert_eq!(bench.bindings(), 1);
    bench.secs(300);
    bench.secs(118);
    assert_eq!(bench.drop_of(&other), Reason::PoolExhausted);
    bench.secs(4);
    bench.udp_mapping(C2, 1000);
    bench.secs(301);
    assert_eq!(bench.udp_mapping(C2, 2000).port, 5000, "another port of the same host, at once");
}

#[test]
fn a_resolver_uses_its_quarantined_ports_again() {
    // id 6888-8
    let mut settings = n1();
    settings.nat64.limits.bindings = 10_000;
    settings.nat64.limits.sessions = 10_000;
    settings.nat64.zones[0].sessions_per_host = 10_000;
    let mut bench = Bench::new(settings);
    let mapped = bench.udp_mapping(C, 10_000);
    bench.to6(&udp4(Z, 53, mapped));
    // 6 queries a second from new ports, for 1,000 s: 2,048 ports would be used up after 420 s at 4.9.
    for n in 0..6000u16 {
        bench.wait(Duration::from_nanos(166_666_667));
        bench.udp_mapping(C, 10_001 + n);
    }
    assert_eq!(drops_of_quota(&bench), 0);
}

fn drops_of_quota(bench: &Bench) -> u64 {
    bench.gate.counters().zone(Some(ZoneId(0))).drops(Reason::HostQuota).read()
}

#[test]
fn a_host_can_have_limits_of_its_own() {
    // id 6888-4
    let mut settings = n1();
    settings.nat64.zones[0].ports_per_host = 256;
    settings.nat64.zones[0].sharing.first_block = 256;
    let prefix = crate::addr::Ipv6Prefix::host(v6(C));
    let own = crate::nat64::HostLimits {
        prefix,
        ports: 512,
        sessions: 500,
        bindings_per_second: 0,
        session_rate: Default::default(),
    };
    settings.nat64.zones[0].hosts = vec![own];
    let mut bench = Bench::new(settings);
    for (client, most, reason) in [(C, 500, Reason::SessionLimit), (C2, 256, Reason::HostQuota)] {
        let mapped = bench.udp_mapping(client, 10_000);
        bench.to6(&udp4(Z, 53, mapped));
        for port in 10_001..10_000 + most {
            bench.udp_mapping(client, port);
        }
        assert_eq!(bench.drop_of(&Packet6::new(v6(client), under(Z)).udp(20_000, 53, b"")), reason);
    }
}

#[test]
fn an_empty_block_is_released_after_its_quarantine() {
    let mut bench = Bench::new(n1());
    bench.to4(&tcp6(C, 40_000, Z, Flags::SYN));
    assert!(matches!(events(&mut bench)[..], [Event::BlockAssigned { .. }]));
    bench.secs(250);
    assert_eq!((bench.bindings(), bench.blocks()), (0, 1));
    assert!(events(&mut bench).is_empty());
    bench.secs(120);
    assert_eq!(bench.blocks(), 0);
    assert!(matches!(events(&mut bench)[..], [Event::BlockReleased { .. }]));
}

#[test]
fn a_port_that_must_change_is_random() {
    // ids 7857-9, 6888-13..15: the second host of a /64 with the same port
    let mut settings = n1();
    settings.nat64.zones[0].host_len = 64;
    settings.nat64.zones[0].sharing.first_block = 256;
    let mut counts = [0u32; 8];
    for seed in 0..800 {
        settings.seed = seed;
        settings.nat64.limits.sessions = 10;
        settings.nat64.limits.bindings = 10;
        settings.nat64.limits.fragment_bytes = 4096;
        let mut bench = Bench::new(settings.clone());
        bench.udp_mapping(C, 5120);
        let port = bench.udp_mapping(C2, 5120).port;
        assert!((5120..5376).contains(&port) && port.is_multiple_of(2));
        counts[usize::from(port - 5120) / 32] += 1;
    }
    // Chi squared with 7 degrees of freedom: 24.3 is the 0.1 % point.
    let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 100.0).powi(2) / 100.0).sum();
    assert!(chi < 24.3, "{counts:?}");
}

#[test]
fn pools_of_many_ranges_and_partial_blocks() {
    // id 6888-3
    let mut settings = n1();
    let range = |net: &str, first, last| {
        (net.parse().expect("a prefix"), PortRange::new(first, last).expect("a range"))
    };
    settings.nat64.pools[0].ranges = vec![
        range("203.0.113.1", 1100, 1130),
        range("203.0.113.1", 2000, 2047),
        range("203.0.113.8/31", 5000, 5003),
    ];
    settings.nat64.zones[0].host_len = 48;
    settings.nat64.pairing = crate::nat64::Pairing::Soft;
    let mut assigned = std::collections::HashSet::new();
    let mut bench = Bench::new(settings);
    for subnet in 0..30u16 {
        for n in 0..100u16 {
            let client = format!("2001:db8:1:{subnet:x}::{n:x}");
            let (verdict, out) = bench.send(&Packet6::new(v6(&client), under(Z)).udp(7000 + n, 53, b""));
            if verdict == Verdict::Forward {
                let port = u16::from_be_bytes([out[20], out[21]]);
                assert!(assigned.insert((out[15], port)));
                bench.to6(&udp4(Z, 53, Transport4::new(Ipv4Addr::new(203, 0, 113, out[15]), port)));
                let inside = match out[15] {
                    1 => (1100..=1130).contains(&port) || (2000..=2047).contains(&port),
                    8 | 9 => (5000..=5003).contains(&port),
                    _ => false,
                };
                assert!(inside, "{} {port}", out[15]);
            }
        }
    }
    assert_eq!(assigned.len(), 31 + 48 + 8);
}

#[test]
fn after_a_restart_hosts_get_their_blocks_back() {
    // id 6888-8-restart
    let mut settings = n1();
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(5120, 5375).expect("one block");
    let mut bench = Bench::new(settings);
    let host = crate::addr::HostKey::new(ZoneId(0), v6(C), 128);
    let assignment =
        BlockAssignment { host, addr: v4(T), ports: PortRange::new(5120, 5375).expect("a range") };
    assert_eq!(bench.gate.restore_block(bench.now, &assignment), Ok(()));
    assert_eq!(bench.gate.restore_block(bench.now, &assignment), Ok(()), "repeating it changes nothing");
    let outside_zones =
        BlockAssignment { host: crate::addr::HostKey { zone: ZoneId(7), ..host }, ..assignment };
    assert_eq!(bench.gate.restore_block(bench.now, &outside_zones), Err(Reason::NoZone));
    let other = Packet6::new(v6(C2), under(Z)).udp(5120, 53, b"");
    assert_eq!(bench.drop_of(&other), Reason::PoolExhausted);
    bench.secs(119);
    assert_eq!(bench.drop_of(&other), Reason::PoolExhausted);
    assert_eq!(bench.udp_mapping(C, 5120).port, 5120);
    bench.secs(300);
    assert_eq!(bench.drop_of(&other), Reason::PoolExhausted, "in quarantine as usual");
    bench.secs(121);
    bench.to4(&other);
}
