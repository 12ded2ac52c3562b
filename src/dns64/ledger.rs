//! Statistics of the names that clients query: whether a name has AAAA records, has only A records, or
//! fails AAAA queries. Also the name that an IPv4 address was last synthesized for, so that translated
//! bytes can be reported by name.

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

#[derive(Debug)]
struct Usage {
    ipv6_support: Ipv6Support,
    alias: Option<Box<[u8]>>,
    times: u64,
    first: Instant,
    last: Instant,
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
    links: LruMap<(ZoneId, Option<HostKey>, Ipv4Addr), Box<[u8]>>,
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
        let make = || Usage { ipv6_support, alias: None, times: 0, first: now, last: now };
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
        let nothing =
            || Usage { ipv6_support: Ipv6Support::Native, alias: None, times: 0, first: now, last: now };
        if let Some(record) = names.find_or_insert(name.into(), nothing) {
            record.times += times;
            record.last = now;
        }
    }

    /// Records that `v4` was synthesized for a host that queried `name`.
    pub(super) fn link(&mut self, host: HostKey, v4: Ipv4Addr, name: &[u8]) {
        for host_of_zone in [Some(host), None] {
            if let Some(linked) = self.links.find_or_insert((host.zone, host_of_zone, v4), Box::default)
                && **linked != *name
            {
                *linked = name.into();
            }
        }
    }

    /// The name that `v4` was last synthesized for: for this host, otherwise for any host of its zone.
    pub(super) fn name_of(&self, host: HostKey, v4: Ipv4Addr) -> Option<String> {
        let find = |of| self.links.find(&(host.zone, of, v4));
        find(Some(host)).or_else(|| find(None)).map(|name| wire::text_of(name))
    }

    /// The names of a zone.
    pub(super) fn names(&self, zone: ZoneId) -> impl Iterator<Item = (String, NameUsage)> {
        self.zones.get(&zone).into_iter().flat_map(LruMap::iter).map(|(name, record)| {
            let usage = NameUsage {
                ipv6_support: record.ipv6_support,
                alias: record.alias.as_deref().map(wire::text_of),
                times: record.times,
                first: record.first,
                last: record.last,
            };
            (wire::text_of(name), usage)
        })
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
