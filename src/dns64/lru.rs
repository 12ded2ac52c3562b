//! A map of fixed capacity that evicts the least recently used value.

use std::collections::HashMap;
use std::hash::Hash;

use super::key::Seed;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    prev: u32,
    next: u32,
}

/// A map with at most `capacity` values.
#[derive(Debug)]
pub(super) struct LruMap<K, V> {
    capacity: usize,
    index: HashMap<K, u32, Seed>,
    nodes: Vec<Node<K, V>>,
    head: u32,
    tail: u32,
}

impl<K: Hash + Eq + Clone, V> LruMap<K, V> {
    pub(super) fn new(capacity: usize, seed: Seed) -> Self {
        let index = HashMap::with_hasher(seed);
        Self { capacity, index, nodes: Vec::new(), head: NONE, tail: NONE }
    }

    pub(super) fn find(&self, key: &K) -> Option<&V> {
        self.index.get(key).map(|at| &self.nodes[*at as usize].value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes.iter().map(|node| (&node.key, &node.value))
    }

    /// The value of `key`, made by `make` if absent, and marked as most recently used. `None` if the
    /// capacity is 0.
    pub(super) fn find_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        let at = match self.index.get(&key) {
            Some(at) => *at,
            None if self.capacity == 0 => return None,
            None if self.nodes.len() < self.capacity => {
                self.nodes.push(Node { key: key.clone(), value: make(), prev: NONE, next: NONE });
                // Four billion nodes would not fit into memory.
                let at = (self.nodes.len() - 1) as u32;
                self.index.insert(key, at);
                self.push(at);
                at
            }
            None => {
                let at = self.tail;
                let node = &mut self.nodes[at as usize];
                self.index.remove(&node.key);
                (node.key, node.value) = (key.clone(), make());
                self.index.insert(key, at);
                at
            }
        };
        if self.head != at {
            self.unlink(at);
            self.push(at);
        }
        Some(&mut self.nodes[at as usize].value)
    }

    /// Changes the capacity and evicts the least recently used values.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        if self.nodes.len() <= capacity {
            return;
        }
        let next = |at: &u32| Some(self.nodes[*at as usize].next).filter(|next| *next != NONE);
        let latest: Vec<u32> = core::iter::successors(Some(self.head), next).take(capacity).collect();
        let mut nodes: Vec<_> = core::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.index.clear();
        (self.head, self.tail) = (NONE, NONE);
        for at in latest.into_iter().rev() {
            if let Some(Node { key, value, .. }) = nodes[at as usize].take() {
                self.find_or_insert(key, || value);
            }
        }
    }

    fn push(&mut self, at: u32) {
        let second = core::mem::replace(&mut self.head, at);
        let node = &mut self.nodes[at as usize];
        (node.prev, node.next) = (NONE, second);
        match second {
            NONE => self.tail = at,
            second => self.nodes[second as usize].prev = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Node { prev, next, .. } = self.nodes[at as usize];
        match prev {
            NONE => self.head = next,
            prev => self.nodes[prev as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self.nodes[next as usize].prev = prev,
        }
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
        assert_eq!((lru.find(&"a"), lru.find(&"b"), lru.nodes.len()), (Some(&2), None, 3));
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
