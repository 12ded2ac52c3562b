//! What the clients of a zone ask for, and how far the world has come: which names have AAAA records of
//! their own, which live on IPv4 alone, and whose AAAA queries fail. And which name an IPv4 address
//! was last synthesised for, so that bytes translated can be told by name.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use super::key::Seed;
use super::lru::Lru;
use super::wire;
use crate::addr::{HostKey, ZoneId};
use crate::time::Instant;

/// How a name can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// It has AAAA records of its own.
    Native,
    /// It has A records only.
    Ipv4Only,
    /// It has A records, and queries for AAAA end in errors or are not answered.
    BrokenAaaa,
}

impl Reach {
    /// All ways.
    pub const ALL: [Self; 3] = [Self::Native, Self::Ipv4Only, Self::BrokenAaaa];

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ipv4Only => "ipv4_only",
            Self::BrokenAaaa => "broken_aaaa",
        }
    }
}

/// A name that clients of a zone have asked for and that has addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// How it can be reached, as of the last answer.
    pub reach: Reach,
    /// Where its addresses are, if it is an alias.
    pub alias: Option<String>,
    /// How many times it was asked for.
    pub times: u64,
    /// When it was asked for first, and last.
    pub first: Instant,
    /// See [`Self::first`].
    pub last: Instant,
}

#[derive(Debug)]
struct Note {
    reach: Reach,
    alias: Option<Box<[u8]>>,
    times: u64,
    first: Instant,
    last: Instant,
}

/// Bounds of a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LedgerLimits {
    /// Names of each zone; the one not asked for the longest goes.
    pub names: usize,
    /// Links from an address to the name it was synthesised for, over all zones.
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
    zones: BTreeMap<ZoneId, Lru<Box<[u8]>, Note>>,
    /// By host, and for all hosts of a zone together where the host is `None`.
    links: Lru<(ZoneId, Option<HostKey>, Ipv4Addr), Box<[u8]>>,
}

impl Ledger {
    pub(super) fn new(limits: LedgerLimits, seed: Seed) -> Self {
        Self { limits, seed, zones: BTreeMap::new(), links: Lru::new(limits.links, seed) }
    }

    /// Changes the bounds, and forgets the zones that `serves` no longer knows.
    pub(super) fn set(&mut self, limits: LedgerLimits, serves: impl Fn(ZoneId) -> bool) {
        self.limits = limits;
        self.zones.retain(|zone, _| serves(*zone));
        self.zones.values_mut().for_each(|names| names.set_most(limits.names));
        self.links.set_most(limits.links);
    }

    /// Notes that a name was asked for.
    pub(super) fn note(
        &mut self,
        now: Instant,
        zone: ZoneId,
        name: &[u8],
        reach: Reach,
        alias: Option<Vec<u8>>,
    ) {
        let new = || Lru::new(self.limits.names, self.seed);
        let names = self.zones.entry(zone).or_insert_with(new);
        let make = || Note { reach, alias: None, times: 0, first: now, last: now };
        if let Some(note) = names.touch(name.into(), make) {
            note.times += 1;
            note.last = now;
            note.reach = reach;
            note.alias = alias.map(Into::into);
        }
    }

    /// Notes that a name was asked for `times` more without the engine having been asked.
    pub(super) fn repeated(&mut self, now: Instant, zone: ZoneId, name: &[u8], times: u64) {
        let Some(names) = self.zones.get_mut(&zone).filter(|names| names.find(&name.into()).is_some()) else {
            return;
        };
        let nothing = || Note { reach: Reach::Native, alias: None, times: 0, first: now, last: now };
        if let Some(note) = names.touch(name.into(), nothing) {
            note.times += times;
            note.last = now;
        }
    }

    /// Notes that `v4` was synthesised for a host that asked for `name`.
    pub(super) fn link(&mut self, host: HostKey, v4: Ipv4Addr, name: &[u8]) {
        for host_of_zone in [Some(host), None] {
            if let Some(linked) = self.links.touch((host.zone, host_of_zone, v4), Box::default)
                && **linked != *name
            {
                *linked = name.into();
            }
        }
    }

    /// The name that `v4` was last synthesised for: for this host, else for any of its zone.
    pub(super) fn name_of(&self, host: HostKey, v4: Ipv4Addr) -> Option<String> {
        let find = |of| self.links.find(&(host.zone, of, v4));
        find(Some(host)).or_else(|| find(None)).map(|name| wire::text_of(name))
    }

    /// The names of a zone.
    pub(super) fn names(&self, zone: ZoneId) -> impl Iterator<Item = (String, Asked)> {
        self.zones.get(&zone).into_iter().flat_map(Lru::iter).map(|(name, note)| {
            let asked = Asked {
                reach: note.reach,
                alias: note.alias.as_deref().map(wire::text_of),
                times: note.times,
                first: note.first,
                last: note.last,
            };
            (wire::text_of(name), asked)
        })
    }

    /// How many names of a zone there are, by how they can be reached.
    pub(super) fn count(&self, zone: ZoneId) -> BTreeMap<Reach, u64> {
        let mut counts = BTreeMap::new();
        for (_, note) in self.zones.get(&zone).into_iter().flat_map(Lru::iter) {
            *counts.entry(note.reach).or_default() += 1;
        }
        counts
    }
}
