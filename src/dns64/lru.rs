//! A table with a bound: what was used longest ago goes first.

use std::collections::HashMap;
use std::hash::Hash;

use super::key::Seed;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    before: u32,
    after: u32,
}

/// Values by key, at most so many.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    most: usize,
    places: HashMap<K, u32, Seed>,
    nodes: Vec<Node<K, V>>,
    first: u32,
    last: u32,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    pub(super) fn new(most: usize, seed: Seed) -> Self {
        let places = HashMap::with_hasher(seed);
        Self { most, places, nodes: Vec::new(), first: NONE, last: NONE }
    }

    pub(super) fn find(&self, key: &K) -> Option<&V> {
        self.places.get(key).map(|place| &self.nodes[*place as usize].value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes.iter().map(|node| (&node.key, &node.value))
    }

    /// The value of `key`, which becomes the latest used; made if there is none. `None` if there is
    /// room for nothing at all.
    pub(super) fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.most == 0 => return None,
            None if self.nodes.len() < self.most => {
                self.nodes.push(Node { key: key.clone(), value: make(), before: NONE, after: NONE });
                // A bound of four billion never fits into memory.
                let place = (self.nodes.len() - 1) as u32;
                self.places.insert(key, place);
                self.push(place);
                place
            }
            None => {
                let place = self.last;
                let node = &mut self.nodes[place as usize];
                self.places.remove(&node.key);
                (node.key, node.value) = (key.clone(), make());
                self.places.insert(key, place);
                place
            }
        };
        if self.first != place {
            self.unlink(place);
            self.push(place);
        }
        Some(&mut self.nodes[place as usize].value)
    }

    /// Changes the bound; what was used longest ago goes.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
        if self.nodes.len() <= most {
            return;
        }
        let next = |place: &u32| Some(self.nodes[*place as usize].after).filter(|after| *after != NONE);
        let latest: Vec<u32> = core::iter::successors(Some(self.first), next).take(most).collect();
        let mut nodes: Vec<_> = core::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.places.clear();
        (self.first, self.last) = (NONE, NONE);
        for place in latest.into_iter().rev() {
            if let Some(Node { key, value, .. }) = nodes[place as usize].take() {
                self.touch(key, || value);
            }
        }
    }

    fn push(&mut self, place: u32) {
        let second = core::mem::replace(&mut self.first, place);
        let node = &mut self.nodes[place as usize];
        (node.before, node.after) = (NONE, second);
        match second {
            NONE => self.last = place,
            second => self.nodes[second as usize].before = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Node { before, after, .. } = self.nodes[place as usize];
        match before {
            NONE => self.first = after,
            before => self.nodes[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.nodes[after as usize].before = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_touching_keeps() {
        let mut lru = Lru::new(3, Seed(1));
        for key in ["a", "b", "c", "a", "d"] {
            *lru.touch(key, || 0).expect("room") += 1;
        }
        assert_eq!((lru.find(&"a"), lru.find(&"b"), lru.nodes.len()), (Some(&2), None, 3));
        let mut all: Vec<_> = lru.iter().map(|(key, count)| (*key, *count)).collect();
        all.sort_unstable();
        assert_eq!(all, [("a", 2), ("c", 1), ("d", 1)]);
        assert!(Lru::<u8, u8>::new(0, Seed(1)).touch(1, || 1).is_none());
    }

    #[test]
    fn a_smaller_bound_keeps_the_latest() {
        let mut lru = Lru::new(5, Seed(1));
        for key in ["a", "b", "c", "d", "e", "b"] {
            lru.touch(key, || 0).expect("room");
        }
        lru.set_most(3);
        lru.touch("f", || 0).expect("room");
        let mut all: Vec<_> = lru.iter().map(|(key, _)| *key).collect();
        all.sort_unstable();
        assert_eq!(all, ["b", "e", "f"]);
        lru.set_most(0);
        assert_eq!(lru.iter().count(), 0);
        assert!(lru.touch("g", || 0).is_none());
        lru.set_most(1);
        assert!(lru.touch("g", || 0).is_some());
    }
}
