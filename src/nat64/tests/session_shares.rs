//! The session table and the table of bindings: fair shares of hosts and sites.

use super::sharing::{ELSEWHERE, SITE, flood, talk, with_pool};
use super::*;
use crate::translator::Change;

/// Opens sessions from one port of a client to many servers; returns how many were forwarded.
fn sessions(bench: &mut Bench, client: &str, count: u32) -> u32 {
    let mut open = |n: u32| {
        let server = Ipv4Addr::from_bits(0x0808_0000 + n).to_string();
        bench.send(&Packet6::new(v6(client), under(&server)).udp(40_000, 53, b"q")).0
    };
    (0..count).filter(|n| open(*n) == Verdict::Forward).count() as u32
}

/// A session table of 4,096 entries, and one known host in each of two sites.
fn small_table() -> Bench {
    let mut settings = with_pool("203.0.113.0/24", 16_384);
    settings.nat64.zones[0].clients = vec!["2001:db8::/32".parse().expect("a prefix")];
    settings.nat64.limits.sessions = 4_096;
    let mut bench = Bench::new(settings);
    for known in [format!("{SITE}::ffff:1"), format!("{ELSEWHERE}::ffff:1")] {
        assert!(talk(&mut bench, &known, 40_000));
    }
    bench
}

#[test]
fn sessions_of_one_subnet_leave_the_table_to_others() {
    let mut bench = small_table();
    // Hosts that nobody answered, each with as many sessions as it likes from one port.
    let opened: u32 = (1..=62).map(|n| sessions(&mut bench, &format!("{SITE}::{n:x}"), 1_000)).sum();
    assert!((1_000..=3_072).contains(&opened), "{opened}");
    assert!(talk(&mut bench, &format!("{SITE}::ffff:1"), 41_000), "a known host of the site");
    assert!(talk(&mut bench, &format!("{ELSEWHERE}::ffff:1"), 41_000), "a known host elsewhere");
    for n in 2..10 {
        assert!(talk(&mut bench, &format!("{ELSEWHERE}::ffff:{n:x}"), 41_000), "a new host elsewhere");
    }
    let before = bench.gate.counters().drops(Reason::SessionLimit);
    assert!(before > 0, "refusals are counted");
}

#[test]
fn a_lone_flood_leaves_the_last_quarter_of_the_tables() {
    // Without anybody else, before others come.
    for bindings in [16_384, 2_048] {
        let mut settings = with_pool("203.0.113.0/24", 16_384);
        settings.nat64.zones[0].clients = vec!["2001:db8::/32".parse().expect("a prefix")];
        (settings.nat64.limits.sessions, settings.nat64.limits.bindings) = (4_096, bindings);
        let mut bench = Bench::new(settings);
        let few = bindings < 4_096;
        let opened = match few {
            true => flood(&mut bench, SITE, 10_000, Duration::ZERO),
            false => (1..=62).map(|n| sessions(&mut bench, &format!("{SITE}::{n:x}"), 1_000)).sum(),
        };
        assert_eq!(opened, if few { 1_536 } else { 3_072 });
        for n in 1..9 {
            assert!(talk(&mut bench, &format!("{ELSEWHERE}::{n:x}"), 40_000), "a new host elsewhere");
        }
    }
}

#[test]
fn a_known_host_alone_may_use_the_whole_table() {
    let mut settings = with_pool("203.0.113.0/24", 16_384);
    settings.nat64.limits.sessions = 4_096;
    settings.nat64.zones[0].sessions_per_host = 10_000;
    let mut bench = Bench::new(settings);
    assert!(talk(&mut bench, C, 41_000));
    assert_eq!(sessions(&mut bench, C, 5_000), 4_095);
}

#[test]
fn a_reload_moves_sessions_between_sites() {
    let mut settings = with_pool("203.0.113.0/24", 16_384);
    settings.nat64.zones[0].clients = vec!["2001:db8::/32".parse().expect("a prefix")];
    settings.nat64.limits.sessions = 4_096;
    let mut bench = Bench::new(settings.clone());
    assert!(
        talk(&mut bench, &format!("{SITE}::1"), 41_000)
            && talk(&mut bench, &format!("{ELSEWHERE}::1"), 41_000)
    );
    assert_eq!(sessions(&mut bench, &format!("{SITE}::1"), 500), 500);
    // Both are one site now, later two again. Counts below zero would panic.
    for site_len in [48, 64] {
        settings.nat64.zones[0].site_len = site_len;
        bench.gate.reconfigure(bench.now, Change::Settings(Box::new(settings.clone())));
        bench.wait(Duration::from_secs(1));
        assert_eq!(sessions(&mut bench, &format!("{ELSEWHERE}::1"), 500), 500);
    }
    bench.wait(Duration::from_secs(400));
    assert!(talk(&mut bench, &format!("{SITE}::1"), 41_000));
}
