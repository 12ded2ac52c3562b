//! Answers from local records.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::LocalRecords;
use crate::dns64::answer::Draft;
use crate::dns64::query::Query;
use crate::dns64::wire::{rcode, rr};
use crate::dns64::{Outcome, Zone, reverse, synthesis};
use crate::message;

/// TTL of local records, in seconds.
const TTL: u32 = 300;

impl LocalRecords {
    /// The local answer, if the queried name or address is local.
    pub(in crate::dns64) fn answer(&self, zone: &Zone, query: &Query) -> Option<(Draft, Outcome)> {
        if self.names.is_empty() {
            return None;
        }
        let records = match self.names.get(&*query.name().to_ascii_lowercase()) {
            Some(addrs) => Self::records(zone, query, addrs)?,
            None => self.name(zone, query)?,
        };
        Some((Draft::records(records, rcode::NOERROR).authoritative(), Outcome::Local))
    }

    fn records(zone: &Zone, query: &Query, addrs: &[IpAddr]) -> Option<Vec<u8>> {
        let v4: Vec<Ipv4Addr> = addrs
            .iter()
            .filter_map(|addr| if let IpAddr::V4(v4) = addr { Some(*v4) } else { None })
            .collect();
        let mut v6: Vec<Ipv6Addr> = addrs
            .iter()
            .filter_map(|addr| if let IpAddr::V6(v6) = addr { Some(*v6) } else { None })
            .collect();
        let name = query.name().to_ascii_lowercase();
        if !query.checking_disabled() && zone.rules.may_synthesize(&name) {
            let made = v4.iter().flat_map(|v4| synthesis::addresses(zone, *v4));
            if v6.is_empty() {
                v6 = made.collect();
            } else if zone.rules.ignores_aaaa(&name) && !v4.is_empty() {
                let made: Vec<_> = made.collect();
                v6 = if made.is_empty() { v6 } else { made };
            }
        }
        match query.kind() {
            rr::AAAA if !v6.is_empty() => message::local_addresses(query.name(), rr::AAAA, TTL, &v6),
            rr::A if !v4.is_empty() => message::local_v4(query.name(), rr::A, TTL, &v4),
            kind => message::local_denial(query.name(), kind, query.name(), TTL),
        }
    }

    /// The name of an address; under a pref64, that of the embedded IPv4 address (RFC 6147 §5.3.1, first
    /// option).
    fn name(&self, zone: &Zone, query: &Query) -> Option<Vec<u8>> {
        if query.kind() != rr::PTR {
            return None;
        }
        let asked = query.name();
        let v6 = reverse::ip6_arpa(asked).map(IpAddr::V6);
        let v4 = reverse::mapped_by(zone, query).or_else(|| reverse::of_in_addr_arpa(asked)).map(IpAddr::V4);
        let name = [v6, v4].into_iter().flatten().find_map(|addr| self.addresses.get(&addr))?;
        message::local_ptr(asked, TTL, name)
    }
}
