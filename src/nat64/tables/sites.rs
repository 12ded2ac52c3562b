//! Sites whose hosts hold port blocks, and their usage.

use core::net::Ipv6Addr;

use super::block::Queue;
use super::hash::{Hasher, Rng};
use super::index::Index;
use super::slab::{Item, NIL, Slab};
use crate::addr::{Ipv6Prefix, SiteKey, ZoneId};
use crate::xlat::Bucket;

/// Number of blocks, and of cells by port class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::nat64) struct Held {
    pub(in crate::nat64) blocks: u32,
    /// Cells of the pool.
    pub(in crate::nat64) cells: [u32; 2],
}

/// A site with hosts that hold port blocks.
#[derive(Debug)]
pub(in crate::nat64) struct Site {
    key: SiteKey,
    /// Number of hosts; zero in a free slot.
    pub(in crate::nat64) hosts: u32,
    /// Next free slot, in a free one.
    next: u32,
    /// Number of sessions, without those of static bindings.
    pub(in crate::nat64) sessions: u32,
    /// Its blocks.
    pub(in crate::nat64) held: Held,
    /// Those of them without an answer from outside, which can be reclaimed.
    pub(in crate::nat64) reclaimable: Held,
    /// Rate limit of new hosts.
    pub(in crate::nat64) new_hosts: Bucket,
    /// Queues of the latter, by port class.
    pub(in crate::nat64) unanswered: [Queue; 2],
}

impl Site {
    /// Zone and prefix.
    pub(in crate::nat64) const fn key(&self) -> SiteKey {
        self.key
    }
}

impl Item for Site {
    fn free(next: u32) -> Self {
        Self {
            key: SiteKey { zone: ZoneId(0), prefix: Ipv6Prefix::host(Ipv6Addr::UNSPECIFIED) },
            hosts: 0,
            next,
            sessions: 0,
            held: Held::default(),
            reclaimable: Held::default(),
            new_hosts: Bucket::new(),
            unanswered: [Queue::EMPTY; 2],
        }
    }

    fn next_free(&self) -> Option<u32> {
        (self.hosts == 0).then_some(self.next)
    }
}

/// All sites with hosts that hold blocks; at most as many as hosts.
#[derive(Debug)]
pub(in crate::nat64) struct Sites {
    slab: Slab<Site>,
    index: Index,
    hasher: Hasher,
}

impl Sites {
    pub(in crate::nat64) fn new(limit: u32, rng: &mut Rng) -> Self {
        Self { slab: Slab::new(limit), index: Index::new(limit), hasher: Hasher::new(rng) }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        Slab::<Site>::bytes(limit) + Index::bytes(limit)
    }

    fn hash(&self, key: SiteKey) -> u32 {
        self.hasher.address(key.prefix.addr(), u64::from(key.zone.0) << 8 | u64::from(key.prefix.len()))
    }

    /// The slot of a site.
    pub(in crate::nat64) fn find(&self, key: SiteKey) -> Option<u32> {
        self.index.find(self.hash(key), |slot| self.slab[slot].key == key)
    }

    /// Adds a host to its site; returns the site's slot, or `None` if the table is full.
    pub(in crate::nat64) fn add_host(&mut self, key: SiteKey) -> Option<u32> {
        if let Some(slot) = self.find(key) {
            self.slab[slot].hosts += 1;
            return Some(slot);
        }
        let slot = self.slab.insert(Site { key, hosts: 1, ..Site::free(NIL) })?;
        self.index.insert(self.hash(key), slot);
        Some(slot)
    }

    /// Removes a host from its site, and the site with its last host.
    pub(in crate::nat64) fn remove_host(&mut self, slot: u32) {
        if self.slab[slot].hosts > 1 {
            self.slab[slot].hosts -= 1;
            return;
        }
        let key = self.slab[slot].key;
        self.index.remove(self.hash(key), slot);
        self.slab.remove(slot);
    }

    /// The site in an occupied slot.
    pub(in crate::nat64) fn site(&self, slot: u32) -> &Site {
        &self.slab[slot]
    }

    /// The site in an occupied slot, mutably.
    pub(in crate::nat64) fn site_mut(&mut self, slot: u32) -> &mut Site {
        &mut self.slab[slot]
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }

    /// Whether a slot is occupied.
    pub(in crate::nat64) fn is_occupied(&self, slot: u32) -> bool {
        self.slab.get(slot).is_some()
    }
}
