//! Things by number, whose numbers are used again but never mistaken.

/// Names a thing for as long as it is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Id {
    place: u32,
    turn: u32,
}

/// Things by number. Whoever puts things in bounds how many there are.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, thing: T) -> Id {
        if let Some(place) = self.free.pop() {
            let (turn, slot) = &mut self.places[place as usize];
            *slot = Some(thing);
            return Id { place, turn: *turn };
        }
        self.places.push((0, Some(thing)));
        Id { place: self.places.len() as u32 - 1, turn: 0 }
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.places.get_mut(id.place as usize).filter(|(turn, _)| *turn == id.turn)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let (turn, slot) = self.places.get_mut(id.place as usize).filter(|(turn, _)| *turn == id.turn)?;
        let thing = slot.take()?;
        *turn = turn.wrapping_add(1);
        self.free.push(id.place);
        Some(thing)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_used_again_is_another_id() {
        let mut slab = Slab::new();
        let one = slab.insert(1);
        assert_eq!(slab.remove(one), Some(1));
        let two = slab.insert(2);
        assert_eq!(one.place, two.place);
        assert_eq!(slab.get_mut(one), None);
        assert_eq!(slab.remove(one), None);
        assert_eq!(slab.get_mut(two), Some(&mut 2));
        assert_eq!(slab.len(), 1);
    }
}
