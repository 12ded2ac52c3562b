use super::*;
use crate::addr::{Transport6, ZoneId};
use crate::nat64::{Pool, Settings, StaticBinding, Zone};

fn settings() -> Settings {
    let range = |net: &str, ports: &str| (net.parse().expect("literal"), ports.parse().expect("literal"));
    let zone = Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/48".parse().expect("literal")],
        pref64: vec!["2001:db8:64::/96".parse().expect("literal")],
        pool: 0,
        host_len: 64,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 2048,
        sessions_per_host: 100,
        bindings_per_second: 0,
    };
    Settings {
        zones: vec![zone],
        pools: vec![
            Pool { ranges: vec![range("203.0.113.8/30", "1024-65535"), range("198.51.100.1/32", "1-1023")] },
            Pool { ranges: vec![range("203.0.113.9/32", "1-1023")] },
        ],
        statics: vec![StaticBinding {
            proto: Proto::Tcp,
            v6: Transport6::new("2001:db8:1:5::1".parse().expect("literal"), 80),
            v4: Transport4::new(Ipv4Addr::new(192, 0, 2, 80), 80),
        }],
        address6: "2001:db8:ffff::1".parse().expect("literal"),
        address4: Ipv4Addr::new(203, 0, 113, 254),
        ..Settings::default()
    }
}

#[test]
fn every_port_is_in_exactly_one_range() {
    let mut expected = 0..=u16::MAX;
    for range in 0..RANGES {
        let ports = ports_of(range);
        for port in ports.first()..=ports.last() {
            assert_eq!(expected.next(), Some(port));
            assert_eq!(usize::from(port - ports.first()), offset_of(port));
            assert_eq!(range_of(port), range, "port {port}");
        }
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn the_hash_is_that_of_the_steering_program() {
    // Computed independently from the steps in the documentation.
    let low = |seed: u64, words: &[u64]| {
        let mut h = u128::from(seed);
        for word in words {
            h = ((h ^ u128::from(*word)) * 0x9e37_79b9_7f4a_7c15) % (1 << 64);
            h ^= h >> 32;
        }
        h % (1 << 32)
    };
    for seed in [0_u32, 1, 0xdead_beef] {
        let words = [0x2001_0db8, 1, 0, 2];
        let expected = low(u64::from(seed), &words.map(u64::from)) * 7 / (1 << 32);
        assert_eq!(u128::from(hash(seed, &words, 7).0), expected);
    }
    assert_eq!(hash(1, &[0x2001_0db8, 0x0001_0000, 0, 2], 255), WorkerId(80));
}

#[test]
fn adjacent_hosts_are_distributed_over_the_workers() {
    for workers in [2_u8, 3, 8] {
        let mut owners = settings().owners(7, workers);
        owners.zones = Box::default();
        let mut load = [0_u32; 8];
        for host in 0..8000_u128 {
            let addr = Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | host);
            load[usize::from(owners.source(addr).0)] += 1;
        }
        let fair = 8000 / u32::from(workers);
        for share in &load[..usize::from(workers)] {
            assert!(share.abs_diff(fair) < fair / 4, "{workers} workers: {load:?}");
        }
    }
}

#[test]
fn addresses_of_one_host_prefix_have_one_owner() {
    let owners = settings().owners(7, 8);
    let owner = |addr: &str| owners.source(addr.parse().expect("literal"));
    assert_eq!(owner("2001:db8:1:5::1"), owner("2001:db8:1:5:ffff::9"));
    let key = HostKey::new(ZoneId(0), "2001:db8:1:5::77".parse().expect("literal"), 64);
    assert_eq!(owner("2001:db8:1:5::1"), owners.owner_of_host(key));
    let outside: std::collections::BTreeSet<_> =
        (0..64).map(|n| owner(&format!("2001:db8:2::{n:x}"))).collect();
    assert_eq!(outside.len(), 8, "outside every zone, each address is a host");
}

#[test]
fn a_mapped_address_has_the_owner_of_its_static_binding_or_range() {
    let owners = settings().owners(7, 4);
    let owner_of = |proto, addr: &str, port| {
        owners.owner_of(proto, Transport4::new(addr.parse().expect("literal"), port))
    };
    let host = owners.source("2001:db8:1:5::1".parse().expect("literal"));
    assert_eq!(owner_of(Proto::Tcp, "192.0.2.80", 80), Some(host));
    assert_eq!(owner_of(Proto::Udp, "192.0.2.80", 80), None);
    assert_eq!(owner_of(Proto::Udp, "203.0.113.12", 80), None);
    assert_eq!(owner_of(Proto::Udp, "203.0.113.7", 80), None);
    for (addr, port) in [("203.0.113.8", 40_000), ("203.0.113.11", 1), ("198.51.100.1", 65_535)] {
        let default = default_owner(addr.parse().expect("literal"), range_of(port), 4);
        assert_eq!(owner_of(Proto::Udp, addr, port), Some(default));
    }
    assert_eq!(owners.table().len(), 5 * RANGES, "an address in two ranges has one row");
}

#[test]
fn an_address_keeps_its_owners_over_a_reload_that_moves_its_row() {
    let addr = Ipv4Addr::new(203, 0, 113, 9);
    let old = settings().owners(7, 4);
    let mut more = settings();
    more.pools[0].ranges.insert(0, ("192.0.2.0/28".parse().expect("literal"), PortRange::ALL));
    let new = more.owners(7, 4);
    assert_ne!(new.position(addr), old.position(addr));
    for range in 0..RANGES {
        assert_eq!(new.range(addr, range), old.range(addr, range));
    }
    assert_eq!(new.range(Ipv4Addr::new(192, 0, 2, 1), 3), Some(WorkerId(((0xc000_0201_u64 + 3) % 4) as u8)));
}

#[test]
fn datagrams_are_distributed_over_the_workers() {
    let owners = settings().owners(7, 8);
    let (src, dst) = (Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(203, 0, 113, 8));
    let owners: std::collections::BTreeSet<_> =
        (0..100).map(|id| owners.datagram(src, dst, 17, id)).collect();
    assert_eq!(owners.len(), 8);
}
