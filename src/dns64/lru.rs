//! A map of fixed capacity that evicts the least recently used value.
//!
//! The cache has its own lists (`cache/eviction.rs`): it evicts by bytes and client site, which the crate
//! `lru` does not.

use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::key::Seed;

/// A map with at most `capacity` values, which may be 0. Memory grows with the values.
#[derive(Debug)]
pub(super) struct LruMap<K: Hash + Eq, V> {
    values: LruCache<K, V, Seed>,
    is_disabled: bool,
}

impl<K: Hash + Eq, V> LruMap<K, V> {
    pub(super) fn new(capacity: usize, seed: Seed) -> Self {
        let mut map = Self { values: LruCache::unbounded_with_hasher(seed), is_disabled: false };
        map.set_capacity(capacity);
        map
    }

    pub(super) fn find(&self, key: &K) -> Option<&V> {
        self.values.peek(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter()
    }

    /// All values, the most recently used first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.values.iter_mut()
    }

    /// The value of `key`, made by `make` if absent, and marked as most recently used. `None` if the
    /// capacity is 0.
    pub(super) fn find_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        if self.is_disabled { None } else { Some(self.values.get_or_insert_mut(key, make)) }
    }

    /// Changes the capacity and evicts the least recently used values.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.is_disabled = capacity == 0;
        if self.is_disabled {
            self.values.clear();
        }
        self.values.resize(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_evicted() {
        let mut lru = LruMap::new(3, Seed(1));
        for key in ["a", "b", "c", "a", "d"] {
            *lru.find_or_insert(key, || 0).expect("room") += 1;
        }
        assert_eq!((lru.find(&"a"), lru.find(&"b"), lru.iter().count()), (Some(&2), None, 3));
        let mut all: Vec<_> = lru.iter().map(|(key, count)| (*key, *count)).collect();
        all.sort_unstable();
        assert_eq!(all, [("a", 2), ("c", 1), ("d", 1)]);
        assert!(LruMap::<u8, u8>::new(0, Seed(1)).find_or_insert(1, || 1).is_none());
    }

    #[test]
    fn a_smaller_capacity_keeps_the_most_recent() {
        let mut lru = LruMap::new(5, Seed(1));
        for key in ["a", "b", "c", "d", "e", "b"] {
            lru.find_or_insert(key, || 0).expect("room");
        }
        lru.set_capacity(3);
        lru.find_or_insert("f", || 0).expect("room");
        let mut all: Vec<_> = lru.iter().map(|(key, _)| *key).collect();
        all.sort_unstable();
        assert_eq!(all, ["b", "e", "f"]);
        lru.set_capacity(0);
        assert_eq!(lru.iter().count(), 0);
        assert!(lru.find_or_insert("g", || 0).is_none());
        lru.set_capacity(1);
        assert!(lru.find_or_insert("g", || 0).is_some());
    }
}
