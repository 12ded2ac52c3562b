//! State of the engines, collected from all threads: caches and ledgers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::addr::ZoneId;
use crate::dns64::{Engine, Ipv6Support, NameUsage, Settings};
use crate::time::Instant;

/// State of the engines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Number of names in the caches.
    pub cached_names: usize,
    /// Bytes used by the caches.
    pub cached_bytes: usize,
    /// The ledger, by zone.
    pub zones: BTreeMap<ZoneId, ZoneReport>,
}

/// The ledger of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ZoneReport {
    /// Number of names by IPv6 support.
    pub ipv6_support: BTreeMap<Ipv6Support, u64>,
    /// The most queried names, in descending order.
    pub names: Vec<Name>,
}

/// A name in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Its IPv6 support.
    pub ipv6_support: Ipv6Support,
    /// Owner of its addresses, if it is an alias.
    pub alias: Option<String>,
    /// Number of queries.
    pub times: u64,
    /// Time since the first query.
    pub first: Duration,
    /// Time since the last query.
    pub last: Duration,
}

impl Report {
    /// The state of one engine.
    pub(super) fn of<T>(engine: &Engine<T>, settings: &Settings, now: Instant, most: usize) -> Self {
        let (cached_names, cached_bytes) = engine.cached();
        let zone = |id| {
            let names = engine.names(id).map(|(name, usage)| Name::new(now, name, usage));
            let mut zone = ZoneReport { ipv6_support: engine.ipv6_support(id), names: names.collect() };
            zone.keep(most);
            zone
        };
        let zones = settings.zones.iter().map(|z| (z.id, zone(z.id))).collect();
        Self { cached_names, cached_bytes, zones }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.cached_names += other.cached_names;
        self.cached_bytes += other.cached_bytes;
        for (id, part) in other.zones {
            let whole = self.zones.entry(id).or_default();
            part.ipv6_support.into_iter().for_each(|(ipv6_support, count)| {
                *whole.ipv6_support.entry(ipv6_support).or_default() += count;
            });
            // A name belongs to one thread, so no name occurs twice.
            whole.names.extend(part.names);
        }
    }
}

impl Name {
    pub(super) fn new(now: Instant, name: String, usage: NameUsage) -> Self {
        let NameUsage { ipv6_support, alias, times, first, last } = usage;
        Self { name, ipv6_support, alias, times, first: now.since(first), last: now.since(last) }
    }
}

impl ZoneReport {
    pub(super) fn keep(&mut self, most: usize) {
        self.names.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.name.cmp(&b.name)));
        self.names.truncate(most);
    }
}
