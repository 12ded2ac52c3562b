//! Statistics of the names that clients query: whether a name has AAAA records, has only A records, or
//! fails AAAA queries. Also the name under which a host last received an IPv4 address, so that translated
//! bytes can be reported by name.
//!
//! A host receives an address in a synthesized AAAA record or in an A record: hosts with a CLAT, and hosts that
//! learn the pref64 (Happy Eyeballs v3), query A and synthesize themselves.
//!
//! Answers from the answer cache do not reach the engine, so the link of their host is missing. The link of
//! the whole zone covers them: the first query for the answer created it.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use super::key::Seed;
use super::lru::LruMap;
use super::wire;
use crate::addr::{HostKey, ZoneId};
use crate::time::Instant;

named_enum! {
    /// IPv6 support of a name: whether it has AAAA records.
    pub enum Ipv6Support {
        /// Has AAAA records.
        Native = "native",
        /// Has A records only.
        Ipv4Only = "ipv4_only",
        /// Has A records; AAAA queries fail or time out.
        BrokenAaaa = "broken_aaaa",
    }
}

/// Statistics of a name that clients of a zone have queried and that has addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameUsage {
    /// IPv6 support, as of the last answer.
    pub ipv6_support: Ipv6Support,
    /// Owner of its addresses, if the name is an alias.
    pub alias: Option<String>,
    /// Number of queries.
    pub times: u64,
    /// Time of the first query.
    pub first: Instant,
    /// Time of the last query.
    pub last: Instant,
}

/// The name under which a host last received an IPv4 address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressName {
    /// The name, in lowercase.
    pub name: String,
    /// Time of the answer.
    pub received: Instant,
    /// Whether this host received it, rather than another host of its zone.
    pub is_of_host: bool,
    /// Whether a host of the zone received a synthesized AAAA record of the address.
    pub is_synthesized: bool,
}

impl AddressName {
    /// The better of two findings: of the host rather than of its zone, then the later one.
    pub fn merge(self, other: Self) -> Self {
        let is_synthesized = self.is_synthesized || other.is_synthesized;
        let rank = |found: &Self| (found.is_of_host, found.received);
        let best = if rank(&other) > rank(&self) { other } else { self };
        Self { is_synthesized, ..best }
    }
}

#[derive(Debug)]
struct Link {
    name: Box<[u8]>,
    received: Instant,
    /// Whether an AAAA record of the address was ever synthesized.
    is_synthesized: bool,
}

#[derive(Debug)]
struct Usage {
    ipv6_support: Ipv6Support,
    alias: Option<Box<[u8]>>,
    times: u64,
    /// How many of the queries [`Ledger::take_usage`] has returned.
    taken: u64,
    first: Instant,
    last: Instant,
}

impl Usage {
    fn report(&self) -> NameUsage {
        NameUsage {
            ipv6_support: self.ipv6_support,
            alias: self.alias.as_deref().map(wire::text_of),
            times: self.times,
            first: self.first,
            last: self.last,
        }
    }
}

/// Limits of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LedgerLimits {
    /// Names per zone; the least recently queried one is evicted.
    pub names: usize,
    /// Associations of an address with a name, over all zones.
    pub links: usize,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self { names: 10_000, links: 65_536 }
    }
}

/// The ledger of an engine.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: LedgerLimits,
    seed: Seed,
    zones: BTreeMap<ZoneId, LruMap<Box<[u8]>, Usage>>,
    /// By host, and with `None` for all hosts of a zone.
    links: LruMap<(ZoneId, Option<HostKey>, Ipv4Addr), Link>,
}

impl Ledger {
    pub(super) fn new(limits: LedgerLimits, seed: Seed) -> Self {
        Self { limits, seed, zones: BTreeMap::new(), links: LruMap::new(limits.links, seed) }
    }

    /// Changes the limits, and removes zones that `serves` rejects.
    pub(super) fn set(&mut self, limits: LedgerLimits, serves: impl Fn(ZoneId) -> bool) {
        self.limits = limits;
        self.zones.retain(|zone, _| serves(*zone));
        self.zones.values_mut().for_each(|names| names.set_capacity(limits.names));
        self.links.set_capacity(limits.links);
    }

    /// Records a query.
    pub(super) fn record(
        &mut self,
        now: Instant,
        zone: ZoneId,
        name: &[u8],
        ipv6_support: Ipv6Support,
        alias: Option<Vec<u8>>,
    ) {
        let new = || LruMap::new(self.limits.names, self.seed);
        let names = self.zones.entry(zone).or_insert_with(new);
        let make = || Usage { ipv6_support, alias: None, times: 0, taken: 0, first: now, last: now };
        if let Some(record) = names.find_or_insert(name.into(), make) {
            record.times += 1;
            record.last = now;
            record.ipv6_support = ipv6_support;
            record.alias = alias.map(Into::into);
        }
    }

    /// Records `times` queries answered without the engine.
    pub(super) fn record_repeats(&mut self, now: Instant, zone: ZoneId, name: &[u8], times: u64) {
        let Some(names) = self.zones.get_mut(&zone).filter(|names| names.find(&name.into()).is_some()) else {
            return;
        };
        let ipv6_support = Ipv6Support::Native;
        let nothing = || Usage { ipv6_support, alias: None, times: 0, taken: 0, first: now, last: now };
        if let Some(record) = names.find_or_insert(name.into(), nothing) {
            record.times += times;
            record.last = now;
        }
    }

    /// Records that a host that queried `name` received `v4`, in a synthesized AAAA record or in an A record.
    pub(super) fn link(
        &mut self,
        now: Instant,
        host: HostKey,
        v4: Ipv4Addr,
        (name, is_synthesized): (&[u8], bool),
    ) {
        let make = || Link { name: Box::default(), received: now, is_synthesized };
        for host_of_zone in [Some(host), None] {
            let Some(link) = self.links.find_or_insert((host.zone, host_of_zone, v4), make) else { return };
            link.received = now;
            link.is_synthesized |= is_synthesized;
            if *link.name != *name {
                link.name = name.into();
            }
        }
    }

    /// The name under which the host last received `v4`, otherwise any host of its zone.
    pub(super) fn name_of(&self, host: HostKey, v4: Ipv4Addr) -> Option<AddressName> {
        let find = |of: Option<HostKey>| {
            let link = self.links.find(&(host.zone, of, v4))?;
            Some(AddressName {
                name: wire::text_of(&link.name),
                received: link.received,
                is_of_host: of.is_some(),
                is_synthesized: link.is_synthesized,
            })
        };
        match (find(Some(host)), find(None)) {
            (Some(of_host), Some(of_zone)) => Some(of_host.merge(of_zone)),
            (of_host, of_zone) => of_host.or(of_zone),
        }
    }

    /// The names of a zone with queries since the last call. `times` counts only those.
    ///
    /// The order of the map is that of the last query, so names without new queries cost nothing.
    pub(super) fn take_usage(&mut self, zone: ZoneId) -> Vec<(String, NameUsage)> {
        let names = self.zones.get_mut(&zone).into_iter().flat_map(LruMap::iter_mut);
        let new = names.take_while(|(_, record)| record.times > record.taken).map(|(name, record)| {
            let times = record.times - record.taken;
            record.taken = record.times;
            (wire::text_of(name), NameUsage { times, ..record.report() })
        });
        new.collect()
    }

    /// The names of a zone.
    pub(super) fn names(&self, zone: ZoneId) -> impl Iterator<Item = (String, NameUsage)> {
        let names = self.zones.get(&zone).into_iter().flat_map(LruMap::iter);
        names.map(|(name, record)| (wire::text_of(name), record.report()))
    }

    /// Number of names of a zone by IPv6 support.
    pub(super) fn count(&self, zone: ZoneId) -> BTreeMap<Ipv6Support, u64> {
        let mut counts = BTreeMap::new();
        for (_, record) in self.zones.get(&zone).into_iter().flat_map(LruMap::iter) {
            *counts.entry(record.ipv6_support).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u16) -> HostKey {
        HostKey::new(ZoneId(1), core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), 128)
    }

    const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn the_host_has_precedence_then_the_later_answer() {
        let mut ledger = Ledger::new(LedgerLimits::default(), Seed(1));
        let seconds = Instant::from_secs;
        ledger.link(seconds(1), host(1), V4, (b"\x01a\x00", false));
        let first = ledger.name_of(host(1), V4).expect("linked");
        assert_eq!((first.name.as_str(), first.is_of_host, first.is_synthesized), ("a.", true, false));
        ledger.link(seconds(2), host(2), V4, (b"\x01b\x00", true));
        let own = ledger.name_of(host(1), V4).expect("linked");
        assert_eq!((own.name.as_str(), own.received, own.is_synthesized), ("a.", seconds(1), true));
        let other = ledger.name_of(host(3), V4).expect("linked");
        assert_eq!((other.name.as_str(), other.is_of_host), ("b.", false));
        assert_eq!(other.merge(own.clone()), own);
        let later = AddressName { received: seconds(3), name: "c.".into(), ..own };
        let merged = (own.clone().merge(later.clone()), later.clone().merge(own));
        assert_eq!(merged, (later.clone(), later));
        assert_eq!(ledger.name_of(host(1), Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn usage_is_taken_once() {
        let mut ledger = Ledger::new(LedgerLimits::default(), Seed(1));
        let (zone, now) = (ZoneId(1), Instant::from_secs(1));
        ledger.record(now, zone, b"\x01a\x00", Ipv6Support::Ipv4Only, None);
        ledger.record(now, zone, b"\x01b\x00", Ipv6Support::Native, None);
        ledger.record_repeats(now, zone, b"\x01a\x00", 2);
        let take = |ledger: &mut Ledger| {
            let taken = ledger.take_usage(zone).into_iter();
            let mut taken: Vec<_> = taken.map(|(name, usage)| (name, usage.times)).collect();
            taken.sort();
            taken
        };
        assert_eq!(take(&mut ledger), [("a.".to_owned(), 3), ("b.".to_owned(), 1)]);
        assert_eq!(take(&mut ledger), []);
        ledger.record_repeats(now, zone, b"\x01a\x00", 5);
        assert_eq!(take(&mut ledger), [("a.".to_owned(), 5)]);
        assert_eq!(ledger.names(zone).map(|(_, usage)| usage.times).sum::<u64>(), 9);
    }
}
