//! Local records: from the configuration file and hosts files.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use super::answer::Draft;
use super::query::Query;
use super::wire::{self, rcode, rr};
use super::{Outcome, Zone, pending, reverse, synthesis};
use crate::message;

/// TTL of local records, in seconds.
const TTL: u32 = 300;

/// Names answered locally. The reverse name of an address is the first one configured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalRecords {
    names: BTreeMap<Box<[u8]>, Vec<IpAddr>>,
    addresses: BTreeMap<IpAddr, Box<[u8]>>,
}

impl LocalRecords {
    /// Adds an address of a name such as `printer.example`. `false` if `name` is not a name.
    pub fn add(&mut self, name: &str, addr: IpAddr) -> bool {
        let Some(name) = wire::name_of(name) else { return false };
        let known = self.names.entry(name.clone().into()).or_default();
        if !known.contains(&addr) {
            known.push(addr);
        }
        self.addresses.entry(addr).or_insert_with(|| name.into());
        true
    }

    /// Adds the lines of a hosts file: an address, then names. Skips addresses with a scope, which are
    /// valid on one host only. Returns the numbers of malformed lines.
    pub fn add_hosts(&mut self, text: &str) -> Vec<usize> {
        let mut bad = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(first) = words.next().filter(|first| !first.contains('%')) else { continue };
            let Ok(addr) = first.parse::<IpAddr>() else {
                bad.push(number + 1);
                continue;
            };
            if words.map(|name| self.add(name, addr)).filter(|good| !good).count() > 0 {
                bad.push(number + 1);
            }
        }
        bad
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `name` (uncompressed, lowercase) is local.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.names.contains_key(name)
    }

    /// The local answer, if the queried name or address is local.
    pub(super) fn answer(&self, zone: &Zone, query: &Query) -> Option<(Draft, Outcome)> {
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
        if !query.checking_disabled() && zone.rules.may_synthesise(&name) {
            let made = v4.iter().flat_map(|v4| synthesis::addresses(zone, *v4));
            if v6.is_empty() {
                v6 = made.collect();
            } else if zone.rules.ignores_aaaa(&name) && !v4.is_empty() {
                let made: Vec<_> = made.collect();
                v6 = if made.is_empty() { v6 } else { made };
            }
        }
        match query.kind() {
            rr::AAAA => message::local_addresses(query.name(), rr::AAAA, TTL, &v6),
            rr::A => message::local_v4(query.name(), rr::A, TTL, &v4),
            kind => message::local_v4(query.name(), kind, TTL, &[]),
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
        let v4 = pending::mapped_by(zone, query).or_else(|| reverse::of_in_addr_arpa(asked)).map(IpAddr::V4);
        let name = [v6, v4].into_iter().flatten().find_map(|addr| self.addresses.get(&addr))?;
        message::local_ptr(asked, TTL, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files_are_read() {
        let mut local = LocalRecords::default();
        let text = "127.0.0.1 localhost\n# nothing\n\n10.0.0.5\tprinter Printer.example # here\n\
                    fe80::1%eth0 router\nnonsense x\n2001:db8::5 printer..example ok.example\n";
        assert_eq!(local.add_hosts(text), [6, 7]);
        let of = |name: &str| local.names.get(&*wire::name_of(name).expect("a name")).map(Vec::len);
        assert_eq!([of("printer"), of("printer.example"), of("ok.example")], [Some(1), Some(1), Some(1)]);
        assert_eq!((of("router"), local.len()), (None, 4));
    }
}
