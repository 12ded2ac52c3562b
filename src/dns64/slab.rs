//! A slab with generations: an id never refers to a value inserted later.
//!
//! `nat64/tables/slab.rs` is another one on purpose. It is preallocated and bounded, its items contain the
//! free links, and its ids have no generation: the tables remove all references with the item. Here late
//! replies and timers hold ids of values that are gone, and the slab grows with the load.

/// Identifies a value in a [`Slab`]. A slot that is reused gets another generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// An id of no value.
    pub(crate) const NONE: Self = Self { index: u32::MAX, generation: u32::MAX };
}

/// Values by id.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Inserts a value. The caller bounds their number, far below four billion.
    pub(crate) fn insert(&mut self, value: T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, slot) = &mut self.slots[index as usize];
        *slot = Some(value);
        Id { index, generation: *generation }
    }

    pub(crate) fn find(&self, id: Id) -> Option<&T> {
        let (generation, slot) = self.slots.get(id.index as usize)?;
        slot.as_ref().filter(|_| *generation == id.generation)
    }

    pub(crate) fn find_mut(&mut self, id: Id) -> Option<&mut T> {
        let (generation, slot) = self.slots.get_mut(id.index as usize)?;
        slot.as_mut().filter(|_| *generation == id.generation)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let (generation, slot) = self.slots.get_mut(id.index as usize)?;
        let value = slot.take_if(|_| *generation == id.generation)?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_removed_values_find_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        let second = slab.insert('b');
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.remove(first), None);
        let third = slab.insert('c');
        assert_eq!((slab.find(first), slab.find(second), slab.find(third)), (None, Some(&'b'), Some(&'c')));
        assert_eq!(slab.find_mut(first), None);
        assert_eq!(slab.len(), 2);
    }
}
