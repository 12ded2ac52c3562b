//! Address synthesis (RFC 6147 §5.1.4, §5.1.7, §5.2).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Zone;

/// Whether an AAAA record with `addr` counts as absent.
pub(super) fn is_excluded(zone: &Zone, addr: Ipv6Addr) -> bool {
    zone.rules.exclude_aaaa.iter().any(|prefix| prefix.contains(addr))
}

/// The IPv6 addresses for `v4` in `zone`, one for each pref64 that may carry it. A pref64 for a part of the
/// IPv4 space replaces those for the rest.
pub(super) fn addresses(zone: &Zone, v4: Ipv4Addr) -> impl Iterator<Item = Ipv6Addr> {
    let named = zone.pref64.iter().any(|m| m.only.is_some_and(|only| only.contains(v4)));
    zone.pref64
        .iter()
        .filter(move |m| m.only.map_or(!named, |only| only.contains(v4)))
        .filter(move |m| zone.translates(v4, m.pref64))
        .map(move |m| m.pref64.embed(v4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Pref64, ZoneId};
    use crate::dns64::{Mapping, Rules};

    fn zone(mappings: &[(&str, Option<&str>)]) -> Zone {
        let mapping = |(pref64, only): &(&str, Option<&str>)| Mapping {
            pref64: pref64.parse::<Pref64>().expect("literal"),
            only: only.map(|o| o.parse().expect("literal")),
        };
        Zone {
            id: ZoneId(0),
            name: "test".to_owned(),
            clients: Vec::new(),
            pref64: mappings.iter().map(mapping).collect(),
            rules: Rules::default(),
        }
    }

    fn all(zone: &Zone, v4: &str) -> Vec<String> {
        addresses(zone, v4.parse().expect("literal")).map(|a| a.to_string()).collect()
    }

    #[test]
    fn one_address_for_each_prefix() {
        // ids 6147-5.2-multi-pref, 6147-7.3
        let zone = zone(&[("2001:db8:64::/96", None), ("2001:db8::/96", None)]);
        assert_eq!(all(&zone, "192.0.2.1"), ["2001:db8:64::c000:201", "2001:db8::c000:201"]);
    }

    #[test]
    fn the_worked_example_is_not_global() {
        // id 6147-7.1: the address of the example is not global, so the Well-Known Prefix does not carry
        // it.
        let v4 = "192.0.2.1".parse().expect("literal");
        assert_eq!(Pref64::WELL_KNOWN.embed(v4).to_string(), "64:ff9b::c000:201");
        assert!(all(&zone(&[("64:ff9b::/96", None)]), "192.0.2.1").is_empty());
    }

    #[test]
    fn ranges_have_separate_prefixes() {
        // id 6147-5.1.7-range
        let zone = zone(&[("2001:db8:64::/96", None), ("2001:db8:a::/96", Some("10.0.0.0/8"))]);
        assert_eq!(all(&zone, "10.0.0.1"), ["2001:db8:a::a00:1"]);
        assert_eq!(all(&zone, "198.51.100.7"), ["2001:db8:64::c633:6407"]);
    }

    #[test]
    fn every_prefix_length() {
        // id 6147-5.2-algo
        let cases = [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
        ];
        for (prefix, want) in cases {
            assert_eq!(all(&zone(&[(prefix, None)]), "192.0.2.33"), [want], "{prefix}");
        }
    }
}
