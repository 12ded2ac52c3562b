//! A slab: a fixed number of slots with a free list.

use core::ops::{Index as Subscript, IndexMut};

/// No slot: the end of every list.
pub(in crate::nat64) const NIL: u32 = u32::MAX;

/// An item of a slab; a free one links to the next free slot.
pub(in crate::nat64) trait Item {
    /// A free item, linked to the next free slot.
    fn free(next: u32) -> Self;

    /// The next free slot, if this one is free.
    fn next_free(&self) -> Option<u32>;
}

/// Items in slots that never move. Memory is reserved once.
#[derive(Debug)]
pub(in crate::nat64) struct Slab<T> {
    items: Vec<T>,
    first_free: u32,
    used: u32,
    limit: u32,
}

impl<T: Item> Slab<T> {
    /// A slab of at most `limit` items.
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        let limit = limit.min(NIL - 1);
        Self { items: Vec::with_capacity(limit as usize), first_free: NIL, used: 0, limit }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        size_of::<T>() * limit as usize
    }

    /// Puts `item` into a free slot; `None` if the slab is full.
    pub(in crate::nat64) fn insert(&mut self, item: T) -> Option<u32> {
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

    /// Frees a slot.
    pub(in crate::nat64) fn remove(&mut self, slot: u32) {
        debug_assert!(self.items[slot as usize].next_free().is_none(), "slot {slot} is free already");
        self.items[slot as usize] = T::free(self.first_free);
        self.first_free = slot;
        self.used -= 1;
    }

    /// Number of occupied slots.
    pub(in crate::nat64) const fn len(&self) -> u32 {
        self.used
    }

    /// Number of slots.
    pub(in crate::nat64) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether no slot is free.
    pub(in crate::nat64) const fn is_full(&self) -> bool {
        self.used == self.limit
    }

    /// Number of slots ever used: the upper bound of occupied slots.
    pub(in crate::nat64) const fn high_water(&self) -> u32 {
        self.items.len() as u32
    }

    /// The item in a slot, if it is occupied.
    pub(in crate::nat64) fn get(&self, slot: u32) -> Option<&T> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(slab.get(a).is_none());
        assert_eq!(slab.insert(number(4)), Some(a));
        assert_eq!((slab[a].value, slab[b].value, slab.used), (4, 2, 2));
    }
}
