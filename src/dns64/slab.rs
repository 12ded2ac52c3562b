//! Things found by a number, which nobody else gets soon after.

/// The number of a thing in a [`Slab`]. A place that is filled again has another number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Id {
    place: u32,
    turn: u32,
}

/// Things by number.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    cells: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { cells: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts a thing in. Bounded by whoever calls it: four billion at once would be too many.
    pub(crate) fn insert(&mut self, thing: T) -> Id {
        let place = self.free.pop().unwrap_or_else(|| {
            self.cells.push((0, None));
            (self.cells.len() - 1) as u32
        });
        let (turn, cell) = &mut self.cells[place as usize];
        *cell = Some(thing);
        Id { place, turn: *turn }
    }

    pub(crate) fn find(&self, id: Id) -> Option<&T> {
        let (turn, cell) = self.cells.get(id.place as usize)?;
        cell.as_ref().filter(|_| *turn == id.turn)
    }

    pub(crate) fn find_mut(&mut self, id: Id) -> Option<&mut T> {
        let (turn, cell) = self.cells.get_mut(id.place as usize)?;
        cell.as_mut().filter(|_| *turn == id.turn)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let (turn, cell) = self.cells.get_mut(id.place as usize)?;
        let thing = cell.take_if(|_| *turn == id.turn)?;
        *turn = turn.wrapping_add(1);
        self.free.push(id.place);
        Some(thing)
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_for_one_thing_only() {
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
