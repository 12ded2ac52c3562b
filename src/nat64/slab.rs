//! Slots for a fixed number of items, and the index that finds them.

use core::ops::{Index as Subscript, IndexMut};

/// No slot: the end of every list.
pub(super) const NIL: u32 = u32::MAX;

/// What a slab keeps: an item that can stand in the list of free ones.
pub(super) trait Item {
    /// An item with nothing in it; its link is the next free slot.
    fn free(next: u32) -> Self;

    /// The next free slot, if this one is free.
    fn next_free(&self) -> Option<u32>;
}

/// Items in slots that don't move. The memory is reserved once.
#[derive(Debug)]
pub(super) struct Slab<T> {
    items: Vec<T>,
    first_free: u32,
    used: u32,
    limit: u32,
}

impl<T: Item> Slab<T> {
    /// Room for `limit` items.
    pub(super) fn new(limit: u32) -> Self {
        let limit = limit.min(NIL - 1);
        Self { items: Vec::with_capacity(limit as usize), first_free: NIL, used: 0, limit }
    }

    /// Puts `item` into a free slot; `None` if there is no room.
    pub(super) fn insert(&mut self, item: T) -> Option<u32> {
        let slot = match self.items.get(self.first_free as usize) {
            Some(free) => {
                let slot = self.first_free;
                self.first_free = free.next_free().unwrap_or(NIL);
                self.items[slot as usize] = item;
                slot
            }
            None if self.items.len() < self.limit as usize => {
                self.items.push(item);
                self.items.len() as u32 - 1
            }
            None => return None,
        };
        self.used += 1;
        Some(slot)
    }

    /// Empties a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        debug_assert!(self.items[slot as usize].next_free().is_none(), "slot {slot} is free already");
        self.items[slot as usize] = T::free(self.first_free);
        self.first_free = slot;
        self.used -= 1;
    }

    /// Whether no slot is free.
    pub(super) const fn is_full(&self) -> bool {
        self.used == self.limit
    }

    /// Slots that were ever taken: all taken ones are below.
    pub(super) const fn high_water(&self) -> u32 {
        self.items.len() as u32
    }

    /// The item in a slot, if it is taken.
    pub(super) fn at(&self, slot: u32) -> Option<&T> {
        self.items.get(slot as usize).filter(|item| item.next_free().is_none())
    }
}

impl<T> Subscript<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.items[slot as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.items[slot as usize]
    }
}

/// Finds slots by hash: open addressing, linear probing, at most half full.
///
/// An entry is 8 bytes: the hash in the upper half, the slot plus one in the lower; zero is empty.
/// The home of an entry follows from its hash alone, so entries can move without their items being
/// looked at.
#[derive(Debug)]
pub(super) struct Index {
    entries: Box<[u64]>,
}

impl Index {
    /// For at most `limit` entries at a time.
    pub(super) fn new(limit: u32) -> Self {
        Self { entries: vec![0; (limit as usize * 2).max(8)].into_boxed_slice() }
    }

    const fn home(&self, hash: u32) -> usize {
        ((hash as u64 * self.entries.len() as u64) >> 32) as usize
    }

    const fn after(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() { 0 } else { at + 1 }
    }

    /// The slot with this hash that `is` the one sought.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let entry = self.entries[at];
            if entry == 0 {
                return None;
            }
            let slot = (entry as u32).wrapping_sub(1);
            if (entry >> 32) as u32 == hash && is(slot) {
                return Some(slot);
            }
            at = self.after(at);
        }
    }

    /// Adds a slot that is not there yet. The caller keeps to the limit.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        let mut at = self.home(hash);
        while self.entries[at] != 0 {
            at = self.after(at);
        }
        self.entries[at] = u64::from(hash) << 32 | u64::from(slot + 1);
    }

    /// Takes a slot out; entries behind it that probed over it move up.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let sought = u64::from(hash) << 32 | u64::from(slot + 1);
        let mut hole = self.home(hash);
        while self.entries[hole] != sought {
            if self.entries[hole] == 0 {
                debug_assert!(false, "slot {slot} is not in the index");
                return;
            }
            hole = self.after(hole);
        }
        let mut at = hole;
        loop {
            at = self.after(at);
            let entry = self.entries[at];
            if entry == 0 {
                break;
            }
            let home = self.home((entry >> 32) as u32);
            // Distances along the ring: the entry may move up if its home is not behind the hole.
            let n = self.entries.len();
            if (at + n - home) % n >= (at + n - hole) % n {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat64::hash::Chance;

    #[derive(Debug)]
    struct Number {
        value: u32,
        free: Option<u32>,
    }

    impl Item for Number {
        fn free(next: u32) -> Self {
            Self { value: 0, free: Some(next) }
        }

        fn next_free(&self) -> Option<u32> {
            self.free
        }
    }

    #[test]
    fn a_slab_has_a_bound_and_reuses_slots() {
        let mut slab = Slab::new(2);
        let number = |value| Number { value, free: None };
        let a = slab.insert(number(1)).expect("room");
        let b = slab.insert(number(2)).expect("room");
        assert!(slab.insert(number(3)).is_none() && slab.is_full());
        slab.remove(a);
        assert!(slab.at(a).is_none());
        assert_eq!(slab.insert(number(4)), Some(a));
        assert_eq!((slab[a].value, slab[b].value, slab.used), (4, 2, 2));
    }

    #[test]
    fn an_index_agrees_with_a_map_whatever_is_inserted_and_removed() {
        let mut chance = Chance::new(1);
        // Few distinct hashes make long runs, at the ends of the ring too.
        for spread in [u32::MAX, 3, 40] {
            let mut index = Index::new(64);
            let mut map = std::collections::HashMap::new();
            for _ in 0..20_000 {
                let slot = chance.below(64);
                match map.remove(&slot) {
                    Some(hash) => index.remove(hash, slot),
                    None => {
                        let hash = chance.below(spread).wrapping_mul(u32::MAX / spread.min(50));
                        index.insert(hash, slot);
                        map.insert(slot, hash);
                    }
                }
                for (&slot, &hash) in &map {
                    assert_eq!(index.find(hash, |s| s == slot), Some(slot));
                }
                assert_eq!(index.entries.iter().filter(|&&e| e != 0).count(), map.len());
            }
        }
    }
}
