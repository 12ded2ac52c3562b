//! Mappings of single addresses.

mod errors;

use core::net::{Ipv4Addr, Ipv6Addr};

use super::mapping::{Mapped, Mapping, MappingRule};
use super::*;
use crate::addr::Pref64;

fn mapping(eams: &[&str], pref64: &str) -> Mapping {
    let settings = Settings {
        eams: eams.iter().map(|text| text.parse().expect("literal")).collect(),
        pref64: Some(pref64.parse().expect("literal")),
        ..Settings::default()
    };
    Mapping::new(&settings)
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("literal")
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("literal")
}

/// RFC 7757 figure 1 and the Well-Known Prefix: fixture S2.
fn figure_1() -> Mapping {
    let eams = [
        "192.0.2.1 = 2001:db8:aaaa::",
        "192.0.2.2/32 = 2001:db8:bbbb::b/128",
        "192.0.2.16/28 = 2001:db8:cccc::/124",
        "192.0.2.128/26 = 2001:db8:dddd::/64",
        "192.0.2.192/29 = 2001:db8:eeee:8::/62",
        "192.0.2.224/31 = 64:ff9b::/127",
    ];
    mapping(&eams, "64:ff9b::/96")
}

#[test]
fn rfc_7757_mappings_in_both_directions() {
    // ids 7757-B-1, 7757-B-2, 7757-B-3, 7757-B-4, 7757-B-5, 7757-B-6, 7757-B-7, 7757-3.3-nomatch,
    // 7757-3.3.1-pad, 8504-14.4-lpm
    let mapping = figure_1();
    let cases = [
        ("192.0.2.1", "2001:db8:aaaa::", MappingRule::Eam),
        ("192.0.2.2", "2001:db8:bbbb::b", MappingRule::Eam),
        ("192.0.2.16", "2001:db8:cccc::", MappingRule::Eam),
        ("192.0.2.24", "2001:db8:cccc::8", MappingRule::Eam),
        ("192.0.2.31", "2001:db8:cccc::f", MappingRule::Eam),
        ("192.0.2.128", "2001:db8:dddd::", MappingRule::Eam),
        ("192.0.2.152", "2001:db8:dddd:0:6000::", MappingRule::Eam),
        ("192.0.2.183", "2001:db8:dddd:0:dc00::", MappingRule::Eam),
        ("192.0.2.191", "2001:db8:dddd:0:fc00::", MappingRule::Eam),
        ("192.0.2.195", "2001:db8:eeee:9:8000::", MappingRule::Eam),
        ("192.0.2.225", "64:ff9b::1", MappingRule::Eam),
        ("192.0.2.248", "64:ff9b::c000:2f8", MappingRule::Pref64),
        ("8.8.8.8", "64:ff9b::808:808", MappingRule::Pref64),
    ];
    for (four, six, by) in cases {
        assert_eq!(mapping.to_v6(v4(four)), Some(Mapped { addr: v6(six), by }), "{four}");
        assert_eq!(mapping.to_v4(v6(six)), Some(Mapped { addr: v4(four), by }), "{six}");
    }
    assert_eq!(mapping.to_v4(v6("2001:db8:ffff::")), None);
}

#[test]
fn additional_ipv6_bits_are_ignored() {
    // id 7757-3.3.2-trunc
    let got = figure_1().to_v4(v6("2001:db8:dddd:0:6000::1234"));
    assert_eq!(got.map(|mapped| mapped.addr), Some(v4("192.0.2.152")));
}

#[test]
fn the_longest_prefix_wins_on_either_side() {
    // ids 7757-3.3-lpm, 7757-A.2-ivi
    let mapping =
        mapping(&["0.0.0.0/0 = 2001:db8:ff00::/40", "198.51.100.64/32 = 2001:db8::abcd"], "64:ff9b::/96");
    assert_eq!(mapping.to_v6(v4("198.51.100.64")).map(|m| m.addr), Some(v6("2001:db8::abcd")));
    assert_eq!(mapping.to_v6(v4("198.51.100.65")).map(|m| m.addr), Some(v6("2001:db8:ffc6:3364:4100::")));
    // Overlapping mappings don't round-trip (RFC 7757 §5, figure 2).
    let back = mapping.to_v4(v6("2001:db8:ffc6:3364:4000::"));
    assert_eq!(back.map(|m| m.addr), Some(v4("198.51.100.64")));
}

#[test]
fn every_pair_of_lengths_round_trips() {
    for len4 in 0..=32u8 {
        for len6 in 0..=128 - (32 - len4) {
            let v4_prefix = crate::addr::Ipv4Prefix::containing(v4("198.51.100.7"), len4);
            let v6_prefix = crate::addr::Ipv6Prefix::containing(v6("2001:db8:1:2:3:4:5:6"), len6);
            let eam = Eam::new(v4_prefix, v6_prefix).expect("room enough");
            let mapping = Mapping::new(&Settings { eams: vec![eam], ..Settings::default() });
            for addr in [v4_prefix.addr(), v4_prefix.last(), v4("198.51.100.7")] {
                let six = mapping.to_v6(addr).expect("in the prefix").addr;
                assert!(v6_prefix.contains(six), "{eam} {addr} {six}");
                assert_eq!(mapping.to_v4(six).map(|m| m.addr), Some(addr), "{eam} {six}");
            }
        }
    }
}

#[test]
fn hosts_have_a_separate_prefix() {
    // ids 6877-2-two, 6877-A
    let settings = Settings {
        pref64: Some("2001:db8:1234::/96".parse().expect("literal")),
        hosts: vec!["192.168.1.0/24".parse().expect("literal")],
        hosts_pref64: Some("2001:db8:aaaa::/96".parse().expect("literal")),
        ..Settings::default()
    };
    let mapping = Mapping::new(&settings);
    let cases = [
        ("192.168.1.2", "2001:db8:aaaa::c0a8:102", MappingRule::Host),
        ("198.51.100.1", "2001:db8:1234::c633:6401", MappingRule::Pref64),
    ];
    for (four, six, by) in cases {
        assert_eq!(mapping.to_v6(v4(four)), Some(Mapped { addr: v6(six), by }), "{four}");
        assert_eq!(mapping.to_v4(v6(six)), Some(Mapped { addr: v4(four), by }), "{six}");
    }
    // Not an inside host: the hosts' prefix does not map it.
    assert_eq!(mapping.to_v4(v6("2001:db8:aaaa::c0a8:201")), None);
}

#[test]
fn addresses_that_the_well_known_prefix_may_represent() {
    // ids W-scope, W-nsp
    let cases = [
        ("8.8.8.8", [true, true, true]),
        ("172.32.0.1", [true, true, true]),
        ("10.0.0.1", [false, true, true]),
        ("172.31.255.255", [false, true, true]),
        ("192.168.1.1", [false, true, true]),
        ("100.127.255.255", [false, true, true]),
        ("127.0.0.1", [false, false, true]),
        ("169.254.1.1", [false, false, true]),
        ("0.0.0.1", [false, false, true]),
        ("192.0.0.8", [false, false, true]),
        ("192.0.2.1", [false, false, true]),
        ("198.18.0.1", [false, false, true]),
        ("224.0.0.1", [false, false, true]),
        ("240.0.0.1", [false, false, true]),
        ("255.255.255.255", [false, false, true]),
    ];
    for (addr, want) in cases {
        let policies = [WellKnown::Global, WellKnown::Private, WellKnown::Any];
        assert_eq!(policies.map(|policy| policy.allows(v4(addr))), want, "{addr}");
        // The operator's own prefix represents any address.
        let own = Mapping::new(&Settings {
            pref64: Some("64:ff9b:1::/96".parse::<Pref64>().expect("literal")),
            ..Settings::default()
        });
        assert!(own.allows(v4(addr), MappingRule::Pref64));
    }
}
