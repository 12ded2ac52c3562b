//! Hosts that were answered and hold no block at present.

use super::hash::Hasher;
use super::index::Index;
use crate::addr::HostKey;

/// Minimum number of remembered hosts.
const MIN: u32 = 64;

/// A ring of the hosts that gave up their last block, after a packet from outside had answered them. If it is full, the
/// host that gave up its block first is forgotten.
#[derive(Debug)]
pub(in crate::nat64) struct KnownHosts {
    ring: Vec<Option<HostKey>>,
    /// Position of the oldest entry once the ring is full.
    next: u32,
    limit: u32,
    index: Index,
}

impl KnownHosts {
    /// A ring of `limit` hosts, at least 64.
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        let limit = limit.max(MIN);
        Self { ring: Vec::with_capacity(limit as usize), next: 0, limit, index: Index::new(limit) }
    }

    /// Bytes of a ring with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        let limit = if limit < MIN { MIN } else { limit };
        size_of::<Option<HostKey>>() * limit as usize + Index::bytes(limit)
    }

    /// Whether a host is in the ring.
    pub(in crate::nat64) fn contains(&self, hash: u32, key: HostKey) -> bool {
        self.find(hash, key).is_some()
    }

    fn find(&self, hash: u32, key: HostKey) -> Option<u32> {
        self.index.find(hash, |at| self.ring[at as usize] == Some(key))
    }

    /// Adds a host that is not in the ring.
    pub(in crate::nat64) fn insert(&mut self, hasher: &Hasher, key: HostKey) {
        let hash = hash_of(hasher, key);
        self.remove(hash, key);
        let at = self.next;
        self.next = (at + 1) % self.limit;
        match self.ring.get_mut(at as usize) {
            Some(entry) => {
                if let Some(oldest) = entry.replace(key) {
                    self.index.remove(hash_of(hasher, oldest), at);
                }
            }
            None => self.ring.push(Some(key)),
        }
        self.index.insert(hash, at);
    }

    /// Removes a host, which receives a block again. Returns whether it was in the ring.
    pub(in crate::nat64) fn remove(&mut self, hash: u32, key: HostKey) -> bool {
        let Some(at) = self.find(hash, key) else { return false };
        self.index.remove(hash, at);
        self.ring[at as usize] = None;
        true
    }
}

/// The hash of a host; also the start of its address search.
pub(in crate::nat64) fn hash_of(hasher: &Hasher, key: HostKey) -> u32 {
    hasher.address(key.prefix.addr(), u64::from(key.zone.0) << 8 | u64::from(key.prefix.len()))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::addr::ZoneId;
    use crate::nat64::tables::hash::Rng;

    fn host(n: u128) -> HostKey {
        HostKey::new(ZoneId(0), Ipv6Addr::from_bits(n), 128)
    }

    #[test]
    fn a_full_ring_forgets_the_host_that_came_first() {
        let hasher = Hasher::new(&mut Rng::new(1));
        let mut known = KnownHosts::new(0);
        let hash = |n| hash_of(&hasher, host(n));
        (1..=64).for_each(|n| known.insert(&hasher, host(n)));
        assert!((1..=64).all(|n| known.contains(hash(n), host(n))));
        // A host that returned to the ring is the newest; its old position stays empty.
        assert!(known.remove(hash(2), host(2)) && !known.remove(hash(2), host(2)));
        known.insert(&hasher, host(2));
        known.insert(&hasher, host(65));
        let present: Vec<_> = (1..=65).filter(|n| known.contains(hash(*n), host(*n))).collect();
        assert_eq!(present, [2].into_iter().chain(3..=65).collect::<Vec<_>>());
        (66..=10_000).for_each(|n| known.insert(&hasher, host(n)));
        assert!((1..=9_936).all(|n| !known.contains(hash(n), host(n))));
        assert!((9_937..=10_000).all(|n| known.contains(hash(n), host(n))));
        assert!(known.ring.capacity() == 64);
    }
}
