//! Port blocks: growth, reclaiming, and fair shares of hosts, sites and zones.

use super::*;
use crate::translator::Event;

pub(super) const SITE: &str = "2001:db8:1:1";
pub(super) const ELSEWHERE: &str = "2001:db8:1:2";

/// N1 with a pool and tables for many hosts, without limit of new hosts.
pub(super) fn with_pool(pool: &str, hosts: u32) -> translator::Settings {
    let mut settings = n1();
    settings.nat64.pools[0].ranges = vec![(pool.parse().expect("a prefix"), PortRange::ALL)];
    settings.nat64.zones[0].sharing.new_hosts_per_second = 0;
    let limits = &mut settings.nat64.limits;
    (limits.blocks, limits.hosts, limits.bindings, limits.sessions) = (hosts, hosts, 2 * hosts, 2 * hosts);
    settings
}

fn packet(client: &str, port: u16) -> Vec<u8> {
    Packet6::new(v6(client), under(Z)).udp(port, 53, b"q")
}

/// Sends one packet; returns the mapped address if it is forwarded.
fn open(bench: &mut Bench, client: &str, port: u16) -> Option<Transport4> {
    let (verdict, out) = bench.send(&packet(client, port));
    let addr = || Ipv4Addr::new(out[12], out[13], out[14], out[15]);
    (verdict == Verdict::Forward).then(|| Transport4::new(addr(), u16::from_be_bytes([out[20], out[21]])))
}

fn answer(bench: &mut Bench, mapped: Transport4) -> Verdict {
    bench.send(&udp4(Z, 53, mapped)).0
}

/// Opens a binding and answers it.
pub(super) fn talk(bench: &mut Bench, client: &str, port: u16) -> bool {
    open(bench, client, port).is_some_and(|mapped| answer(bench, mapped) == Verdict::Forward)
}

/// One packet of each of `count` addresses of a site; returns how many were forwarded.
pub(super) fn flood(bench: &mut Bench, site: &str, count: u32, pause: Duration) -> u32 {
    let mut passed = 0;
    for n in 0..count {
        let client = format!("{site}::{:x}:{:x}", 1 + (n >> 16), n & 0xffff);
        passed += u32::from(open(bench, &client, 40_000 + (n * 7 % 20_000) as u16).is_some());
        bench.wait(pause);
    }
    passed
}

fn lengths(bench: &mut Bench) -> Vec<u16> {
    let mut out = [Event::PoolExhausted { host: crate::addr::HostKey::new(ZoneId(0), v6(C), 128) }; 100];
    let n = bench.gate.events(&mut out);
    let len = |event: &Event| match event {
        Event::BlockAssigned { ports, .. } => Some(ports.last() - ports.first() + 1),
        _ => None,
    };
    out[..n].iter().filter_map(len).collect()
}

#[test]
fn blocks_grow_after_an_answer_up_to_the_quota() {
    // id 6888-4
    let mut bench = Bench::new(n1());
    for port in 40_960..41_024 {
        assert_eq!(bench.udp_mapping(C, port).port, port);
    }
    assert_eq!(bench.drop_of(&packet(C, 50_000)), Reason::Unanswered);
    assert_eq!(lengths(&mut bench), [64]);
    assert_eq!(answer(&mut bench, Transport4::new(v4(T), 40_960)), Verdict::Forward);
    let mut opened = 64;
    while open(&mut bench, C, 10_000 + opened).is_some() {
        opened += 1;
    }
    // A session quota of 1000 is the end in N1, and one of 2,048 ports: a host of many UDP ports receives all.
    let blocks = vec![128, 256, 256, 256, 256, 256, 256, 256, 64];
    assert_eq!((opened, lengths(&mut bench)), (1000, blocks));
}

#[test]
fn a_full_host_table_reclaims_all_blocks_of_the_oldest_host() {
    let mut settings = with_pool("203.0.113.1/32", 3);
    settings.nat64.limits.blocks = 100;
    let mut bench = Bench::new(settings);
    let clients = [1, 2, 3, 4].map(|site| format!("2001:db8:1:{site}::1"));
    let [high, low] = [40_000, 500].map(|port| open(&mut bench, &clients[0], port).expect("a free port"));
    let others = [1, 2].map(|n| open(&mut bench, &clients[n], 41_000 + n as u16).expect("a free port"));
    assert!(open(&mut bench, &clients[3], 42_000).is_some(), "the first host's entry is free now");
    for mapped in [high, low] {
        assert_eq!(bench.drop_of(&udp4(Z, 53, mapped)), Reason::NoBinding);
    }
    for mapped in others {
        assert_eq!(answer(&mut bench, mapped), Verdict::Forward);
    }
}

/// The ports of a host that was answered and has opened 200 UDP bindings, as blocks in order of assignment; and those
/// of them in use.
fn ports_of_busy_host(bench: &mut Bench) -> (Vec<u16>, Vec<u16>) {
    let mut used = vec![bench.udp_mapping(C, 60_000).port];
    assert_eq!(answer(bench, Transport4::new(v4(T), used[0])), Verdict::Forward);
    used.extend((10_000..10_199).map(|port| bench.udp_mapping(C, port).port));
    let blank = Event::PoolExhausted { host: crate::addr::HostKey::new(ZoneId(0), v6(C), 128) };
    let mut out = [blank; 100];
    let count = bench.gate.events(&mut out);
    let ports = |event: &Event| match event {
        Event::BlockAssigned { ports, .. } => Some(ports.first()..=ports.last()),
        _ => None,
    };
    (out[..count].iter().filter_map(ports).flatten().collect(), used)
}

#[test]
fn a_host_of_many_udp_ports_has_eleven_bits_of_port_entropy() {
    // ids 7857-9, 6888-13..15
    let mut settings = n1();
    (settings.nat64.limits.bindings, settings.nat64.limits.sessions) = (10_000, 10_000);
    settings.nat64.zones[0].sessions_per_host = 10_000;
    let mut bench = Bench::new(settings);
    let (held, used) = ports_of_busy_host(&mut bench);
    assert_eq!(held.len(), 2048);
    // Ports that must change are spread evenly over the free ones: 14 parts of 132 ports each.
    let mut free: Vec<_> = held.iter().copied().filter(|port| !used.contains(port)).collect();
    free.sort_unstable();
    assert_eq!(free.len(), 14 * 132);
    let (mut parts, draws) = ([0u32; 14], 700);
    for port in (1024..).filter(|port| !held.contains(port)).take(draws) {
        let mapped = bench.udp_mapping(C, port).port;
        parts[free.binary_search(&mapped).expect("a free port of the host") / 132] += 1;
    }
    // Chi squared with 13 degrees of freedom: 34.5 is the 0.1 % point.
    let mean = draws as f64 / 14.0;
    let chi: f64 = parts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
    assert!(chi < 34.5, "{chi} {parts:?}");
}

#[test]
fn port_entropy_costs_no_more_than_half_of_the_pool_and_the_quota() {
    let mut settings = n1();
    settings.nat64.pools[0].ranges =
        vec![("203.0.113.1/32".parse().expect("a prefix"), PortRange::new(1024, 4095).expect("a range"))];
    // Growth ends once 1,536 ports are in use.
    assert_eq!(ports_of_busy_host(&mut Bench::new(settings)).0.len(), 1728);
    let mut settings = n1();
    settings.nat64.zones[0].ports_per_host = 768;
    assert_eq!(ports_of_busy_host(&mut Bench::new(settings)).0.len(), 768);
}

#[test]
fn the_quota_counts_ports() {
    // id 6888-4
    let mut settings = n1();
    settings.nat64.zones[0].ports_per_host = 512;
    let mut bench = Bench::new(settings);
    assert!(talk(&mut bench, C, 10_000));
    let opened = (10_001..20_000).take_while(|port| open(&mut bench, C, *port).is_some()).count();
    assert_eq!((opened, lengths(&mut bench)), (511, vec![64, 128, 256, 64]));
    assert_eq!(bench.drop_of(&packet(C, 9_000)), Reason::HostQuota);
}

#[test]
fn hairpinned_and_unsolicited_packets_are_no_answers() {
    let mut bench = Bench::new(n1());
    let (a, b) = (bench.udp_mapping(C, 40_960), bench.udp_mapping(C2, 50_000));
    let to = |addr: Transport4| v6("2001:db8:64::").to_bits() | u128::from(addr.addr.to_bits());
    let hairpin = Packet6::new(v6(C2), Ipv6Addr::from_bits(to(a))).udp(50_000, a.port, b"q");
    bench.to6(&hairpin);
    let hairpin = Packet6::new(v6(C), Ipv6Addr::from_bits(to(b))).udp(40_960, b.port, b"q");
    bench.to6(&hairpin);
    bench.to6(&udp4(W, 999, a));
    for port in 40_961..41_024 {
        bench.udp_mapping(C, port);
    }
    assert_eq!(bench.drop_of(&packet(C, 41_024)), Reason::Unanswered);
    bench.to6(&udp4(Z, 53, a));
    bench.udp_mapping(C, 41_024);
}

#[test]
fn a_flood_of_addresses_of_one_subnet_leaves_ports_to_known_hosts_and_to_others() {
    // ids 6888-4, 6146-5.3-dos
    for (pool, addresses) in
        [("203.0.113.0/28", 4_032), ("203.0.113.0/28", 20_000), ("203.0.113.0/24", 64_512)]
    {
        let mut bench = Bench::new(with_pool(pool, 70_000));
        let known = format!("{SITE}::1");
        assert!(talk(&mut bench, &known, 40_000));
        flood(&mut bench, SITE, addresses, Duration::ZERO);
        for n in 0..100 {
            assert!(
                talk(&mut bench, &format!("{ELSEWHERE}::{n:x}"), 40_000),
                "{addresses}: host {n} elsewhere"
            );
        }
        let opened = (1..=500).filter(|n| talk(&mut bench, &known, 10_000 + n)).count();
        assert_eq!(opened, 500, "{addresses}: the known host of the subnet");
    }
}

#[test]
fn a_slow_flood_never_empties_the_pool() {
    // id 6146-5.3-dos
    let mut bench = Bench::new(with_pool("203.0.113.0/28", 20_000));
    let known = format!("{SITE}::1");
    assert!(talk(&mut bench, &known, 40_000));
    for round in 0..20 {
        // 9.7 packets a second, 2,000 seconds in all: longer than lifetime and quarantine together.
        let site = format!("{SITE}:{:x}", round + 1);
        assert_eq!(flood(&mut bench, &site, 970, Duration::from_micros(103_093)), 970);
        assert!(talk(&mut bench, &known, 40_000), "round {round}");
        assert!(talk(&mut bench, &format!("{ELSEWHERE}::{round:x}"), 40_000), "round {round}");
    }
}

#[test]
fn blocks_without_an_answer_are_reclaimed_and_others_are_not() {
    let mut settings = with_pool("203.0.113.1/32", 5_000);
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(4096, 8191).expect("256 cells");
    settings.nat64.zones[0].sharing.first_block = 16;
    let mut bench = Bench::new(settings);
    let known: Vec<_> = (1..=20).map(|n| format!("{SITE}::{n}")).collect();
    for host in &known {
        assert!(talk(&mut bench, host, 5000));
    }
    // The site is alone: new hosts may use three quarters of the pool.
    assert_eq!(flood(&mut bench, SITE, 1000, Duration::ZERO), 1000);
    assert_eq!(bench.blocks(), 192);
    let reclaimed = bench.gate.counters().zone(Some(ZoneId(0))).blocks_reclaimed.read();
    assert_eq!(reclaimed, 1000 + 20 - 192);
    assert_eq!(bench.sessions(), 192, "the bindings of reclaimed blocks have ended");
    for host in &known {
        assert!(talk(&mut bench, host, 5000), "an answered block stays");
    }
    // The oldest are reclaimed first.
    let newest = format!("{SITE}::1:{:x}", 999);
    assert!(talk(&mut bench, &newest, 40_000 + 999 * 7));
}

#[test]
fn the_last_quarter_is_for_answered_hosts() {
    let mut settings = with_pool("203.0.113.1/32", 5_000);
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(4096, 8191).expect("256 cells");
    let mut bench = Bench::new(settings);
    // All are answered: nothing can be reclaimed.
    let new = (0..1000).filter(|n| talk(&mut bench, &format!("{SITE}::{n:x}"), 5000)).count();
    // 32 blocks of 64 ports are half of the pool, then 16 ports each.
    assert_eq!(new, 32 + 1 + 60);
    assert_eq!(bench.drop_of(&packet(&format!("{ELSEWHERE}::1"), 5000)), Reason::PoolExhausted);
    let more = (0..2000).filter(|n| talk(&mut bench, &format!("{SITE}::0"), 10_000 + n)).count();
    // A host takes at most half of what its site can still take.
    assert!((63 + 512..63 + 1024).contains(&more), "{more}");
}

#[test]
fn a_host_that_was_answered_before_is_not_new() {
    // ids 6888-4, 6146-5.3-dos
    let mut settings = with_pool("203.0.113.1/32", 5_000);
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(4096, 8191).expect("256 cells");
    settings.nat64.zones[0].sharing.new_hosts_per_second = 1;
    let mut bench = Bench::new(settings);
    let known: Vec<_> = (1..=3).map(|n| format!("{SITE}::{n}")).collect();
    for host in &known {
        assert!(talk(&mut bench, host, 5000));
        bench.secs(1);
    }
    // Their sessions end, and their blocks are released.
    bench.secs(1000);
    assert_eq!(bench.blocks(), 0);
    // Others are answered in three quarters of the pool.
    let fill = |bench: &mut Bench, site: &str| {
        (0..300)
            .filter(|n| {
                bench.secs(1);
                let mut talks = |port| talk(bench, &format!("{site}::f:{n:x}"), port);
                // Keeps the earlier ones alive.
                talks(5000)
            })
            .count()
    };
    assert!(fill(&mut bench, ELSEWHERE) > 90);
    assert_eq!(bench.drop_of(&packet(&format!("{SITE}::9"), 5000)), Reason::PoolExhausted);
    for host in &known {
        assert!(talk(&mut bench, host, 5000), "{host}: the last quarter, without a token of a new host");
    }
}

#[test]
fn a_packet_ends_a_bounded_number_of_sessions_to_reclaim_a_block() {
    // id 6146-5.3-dos
    let mut settings = with_pool("203.0.113.1/32", 1_000);
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(4096, 4351).expect("16 cells");
    settings.nat64.zones[0].sharing.first_block = 16;
    let mut bench = Bench::new(settings);
    // Hosts without an answer may use 12 of 16 cells.
    for n in 1..=12 {
        assert!(open(&mut bench, &format!("{SITE}::{n}"), 5000).is_some());
    }
    let first = format!("{SITE}::1");
    for n in 1..600 {
        let server = format!("198.18.{}.{}", n >> 8, n & 255);
        bench.to4(&Packet6::new(v6(&first), under(&server)).udp(5000, 53, b"q"));
    }
    assert_eq!(bench.sessions(), 611);
    let newcomer = packet(&format!("{ELSEWHERE}::1"), 5000);
    assert_eq!(bench.drop_of(&newcomer), Reason::PoolExhausted);
    assert_eq!(bench.sessions(), 611 - 256);
    // The timers end the others, without another packet; the budget of one call bounds them, too.
    assert!(bench.gate.next_deadline().is_some_and(|next| next <= bench.now));
    bench.extra.clear();
    assert!(bench.gate.expire(bench.now, 100, &mut bench.extra));
    assert!((611 - 356..=611 - 256).contains(&bench.sessions()));
    bench.wait(Duration::ZERO);
    assert_eq!((bench.sessions(), bench.blocks()), (11, 11));
    assert!(bench.gate.next_deadline().is_none_or(|next| next > bench.now));
    bench.to4(&newcomer);
    assert_eq!((bench.sessions(), bench.blocks()), (12, 12));
}

#[test]
fn an_answer_stops_the_reclaiming_of_a_block() {
    let mut settings = with_pool("203.0.113.1/32", 1_000);
    settings.nat64.pools[0].ranges[0].1 = PortRange::new(4096, 4351).expect("16 cells");
    settings.nat64.zones[0].sharing.first_block = 16;
    let mut bench = Bench::new(settings);
    let mapped: Vec<_> =
        (1..=12).map(|n| open(&mut bench, &format!("{SITE}::{n}"), 5000).expect("a free port")).collect();
    for n in 1..600 {
        let server = format!("198.18.{}.{}", n >> 8, n & 255);
        bench.to4(&Packet6::new(v6(&format!("{SITE}::1")), under(&server)).udp(5000, 53, b"q"));
    }
    assert_eq!(bench.drop_of(&packet(&format!("{ELSEWHERE}::1"), 5000)), Reason::PoolExhausted);
    let answers = (1..600).filter(|n| {
        let server = format!("198.18.{}.{}", n >> 8, n & 255);
        bench.send(&udp4(&server, 53, mapped[0])).0 == Verdict::Forward
    });
    assert!(answers.count() > 300);
    bench.wait(Duration::ZERO);
    assert!(bench.sessions() > 300 && bench.blocks() == 12);
}

#[test]
fn under_contention_a_site_takes_half_of_what_is_free() {
    let mut settings = with_pool("203.0.113.1/32", 5_000);
    settings.nat64.zones[0].sharing.first_block = 16;
    let mut bench = Bench::new(settings);
    assert!(talk(&mut bench, &format!("{ELSEWHERE}::1"), 5000));
    let talks = |bench: &mut Bench, site: &str| {
        (2..3000).filter(|n| talk(bench, &format!("{site}::{n:x}"), 5000)).count()
    };
    // 4,032 cells: half of them, and then half of the others.
    assert_eq!(talks(&mut bench, SITE), 2016);
    assert_eq!(bench.drop_of(&packet(&format!("{SITE}::ffff"), 5000)), Reason::PoolShare);
    assert_eq!(talks(&mut bench, "2001:db8:1:3"), 1007);
    assert!(talk(&mut bench, &format!("{ELSEWHERE}::1"), 5001));
}

#[test]
fn a_zone_leaves_its_neighbours_their_share_of_a_pool() {
    let mut settings = with_pool("203.0.113.0/28", 30_000);
    let second = Zone {
        id: ZoneId(1),
        clients: vec!["2001:db8:2::/48".parse().expect("a prefix")],
        ..settings.nat64.zones[0].clone()
    };
    settings.nat64.zones.push(second);
    // Without a share, reclaiming serves the other zone.
    let mut bench = Bench::new(settings.clone());
    flood(&mut bench, SITE, 20_000, Duration::ZERO);
    assert!(talk(&mut bench, "2001:db8:2:1::1", 40_000));
    // With a share, answered hosts of many sites leave the others their part.
    settings.nat64.pools[0].ranges = vec![("203.0.113.1".parse().expect("a prefix"), PortRange::ALL)];
    settings.nat64.zones[0].sharing =
        crate::nat64::Sharing { pool_share: 40, ..settings.nat64.zones[0].sharing };
    let mut bench = Bench::new(settings);
    let talks = (0..2000).filter(|n| talk(&mut bench, &format!("2001:db8:1:{n:x}::1"), 40_000)).count();
    // 40 % of 4,032 cells in blocks of four.
    assert_eq!(talks, 403);
    assert_eq!(bench.drop_of(&packet("2001:db8:1:9999::1", 5000)), Reason::PoolShare);
    assert!(talk(&mut bench, "2001:db8:2:1::1", 40_000));
}

#[test]
fn new_hosts_of_a_site_are_limited_per_second() {
    let mut settings = with_pool("203.0.113.0/28", 5_000);
    settings.nat64.zones[0].sharing.new_hosts_per_second = 100;
    let mut bench = Bench::new(settings);
    // The first host of a site needs no token.
    assert_eq!(flood(&mut bench, SITE, 1000, Duration::ZERO), 101);
    assert_eq!(bench.drop_of(&packet(&format!("{SITE}::ffff"), 5000)), Reason::NewHostRate);
    assert!(open(&mut bench, &format!("{SITE}::1:0"), 5001).is_some(), "a host with a block is not new");
    assert!(open(&mut bench, &format!("{ELSEWHERE}::1"), 5001).is_some());
    bench.secs(1);
    assert_eq!(flood(&mut bench, &format!("{SITE}:1"), 1000, Duration::ZERO), 100);
}

#[test]
fn phones_with_three_addresses_share_one_address() {
    // 400 phones on all ports, 190 on the 24,576 ports of masquerade.
    for (ports, phones) in [(PortRange::ALL, 400), (PortRange::new(40_960, 65_535).expect("a range"), 190)] {
        let mut settings = with_pool("203.0.113.1/32", 5_000);
        settings.nat64.pools[0].ranges[0].1 = ports;
        let mut bench = Bench::new(settings);
        for phone in 0..phones {
            for addr in 0..3 {
                let client = format!("{SITE}:{addr:x}::{phone:x}");
                let port = 32_768 + (phone * 61 + addr * 7001) % 28_000;
                assert!(talk(&mut bench, &client, port as u16), "phone {phone}, address {addr}");
            }
        }
    }
}
