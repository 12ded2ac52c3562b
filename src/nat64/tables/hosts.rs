//! Hosts that hold port blocks, and their usage.

use core::net::Ipv6Addr;

use super::hash::{Hasher, Rng};
use super::index::Index;
use super::known_hosts::{KnownHosts, hash_of};
use super::slab::{Item, NIL, Slab};
use crate::addr::{HostKey, Ipv6Prefix, ZoneId};
use crate::xlat::Bucket;

/// A host that holds port blocks. All are on one address (RFC 4787 REQ-2) unless pairing is or was soft.
#[derive(Debug)]
pub(in crate::nat64) struct Host {
    /// Zone and prefix.
    pub(in crate::nat64) key: HostKey,
    /// Newest block; in a free slot, the next free slot.
    pub(in crate::nat64) first_block: u32,
    /// Number of blocks; zero in a free slot.
    pub(in crate::nat64) blocks: u16,
    /// Cells of its pool in use, by port class.
    pub(in crate::nat64) cells: [u32; 2],
    /// Slot of its site.
    pub(in crate::nat64) site: u32,
    /// Whether a packet from outside has answered one of its sessions.
    pub(in crate::nat64) answered: bool,
    /// Number of sessions.
    pub(in crate::nat64) sessions: u32,
    /// Second, plus one, of its last [`QuotaReached`](crate::nat64::Event).
    pub(in crate::nat64) last_report: u32,
    /// Rate limit of new bindings.
    pub(in crate::nat64) bindings: Bucket,
    /// Rate limit of the sessions that it opens.
    pub(in crate::nat64) new_sessions: Bucket,
    /// Removed from the index: its blocks are in no pool.
    unindexed: bool,
}

impl Item for Host {
    fn free(next: u32) -> Self {
        let nobody = HostKey { zone: ZoneId(0), prefix: Ipv6Prefix::host(Ipv6Addr::UNSPECIFIED) };
        Self {
            key: nobody,
            first_block: next,
            blocks: 0,
            cells: [0; 2],
            site: NIL,
            answered: false,
            sessions: 0,
            last_report: 0,
            bindings: Bucket::new(),
            new_sessions: Bucket::new(),
            unindexed: false,
        }
    }

    fn next_free(&self) -> Option<u32> {
        (self.blocks == 0).then_some(self.first_block)
    }
}

/// All hosts that hold blocks, and those that were answered before.
#[derive(Debug)]
pub(in crate::nat64) struct Hosts {
    slab: Slab<Host>,
    index: Index,
    hasher: Hasher,
    /// Hosts without blocks that were answered when they had some.
    known: KnownHosts,
}

impl Hosts {
    pub(in crate::nat64) fn new(limit: u32, rng: &mut Rng) -> Self {
        Self {
            slab: Slab::new(limit),
            index: Index::new(limit),
            hasher: Hasher::new(rng),
            known: KnownHosts::new(limit),
        }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        Slab::<Host>::bytes(limit) + Index::bytes(limit) + KnownHosts::bytes(limit)
    }

    /// The hash of a host; also the start of its address search.
    pub(in crate::nat64) fn hash(&self, key: HostKey) -> u32 {
        hash_of(&self.hasher, key)
    }

    /// The slot of a host that holds blocks.
    pub(in crate::nat64) fn find(&self, key: HostKey) -> Option<u32> {
        self.index.find(self.hash(key), |slot| self.slab[slot].key == key)
    }

    /// Whether a host was answered when it had blocks, and gave them up since.
    pub(in crate::nat64) fn is_known(&self, key: HostKey) -> bool {
        self.known.contains(self.hash(key), key)
    }

    /// Adds a host of this site that is about to receive its first block; `None` if the table is full. A known host
    /// counts as answered.
    pub(in crate::nat64) fn insert(&mut self, key: HostKey, site: u32) -> Option<u32> {
        let host = Host { key, first_block: NIL, blocks: 1, site, ..Host::free(NIL) };
        let (slot, hash) = (self.slab.insert(host)?, self.hash(key));
        self.slab[slot].answered = self.known.remove(hash, key);
        self.index.insert(hash, slot);
        Some(slot)
    }

    /// Removes a host without blocks.
    pub(in crate::nat64) fn remove(&mut self, slot: u32) {
        self.unindex(slot);
        // A nonzero count marks the slot as occupied, which the slab expects.
        self.slab[slot].blocks = 1;
        self.slab.remove(slot);
    }

    /// Removes a host from the index; its blocks remain until they are empty. An answered host becomes known.
    pub(in crate::nat64) fn unindex(&mut self, slot: u32) {
        let host = &mut self.slab[slot];
        if !core::mem::replace(&mut host.unindexed, true) {
            let (key, answered) = (host.key, host.answered);
            self.index.remove(self.hash(key), slot);
            if answered {
                self.known.insert(&self.hasher, key);
            }
        }
    }

    /// The host in an occupied slot.
    pub(in crate::nat64) fn host(&self, slot: u32) -> &Host {
        &self.slab[slot]
    }

    /// The host in an occupied slot, mutably.
    pub(in crate::nat64) fn host_mut(&mut self, slot: u32) -> &mut Host {
        &mut self.slab[slot]
    }

    /// The host in a slot, if there is one.
    pub(in crate::nat64) fn get(&self, slot: u32) -> Option<&Host> {
        self.slab.get(slot)
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }

    /// Number of hosts.
    pub(in crate::nat64) const fn len(&self) -> u32 {
        self.slab.len()
    }

    /// Maximum number of hosts.
    pub(in crate::nat64) const fn limit(&self) -> u32 {
        self.slab.limit()
    }
}
