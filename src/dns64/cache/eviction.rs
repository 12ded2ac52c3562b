//! Cache eviction.
//!
//! A name belongs to the client that asked for it first, until another one asks too; then it is
//! common. The client that has filled the most goes first, with what it asked for only once: a flood
//! of random names from one client pushes out that client's own names and nobody else's.

/// Groups of clients that are told apart. Two clients share one by chance.
pub(super) const OWNERS: u8 = 64;
/// The owner of what more than one client wants.
const COMMON: u8 = OWNERS;
/// No place.
const NONE: u32 = u32::MAX;

/// A place in one of the lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    before: u32,
    after: u32,
    list: u8,
    bytes: u32,
}

/// A list, the latest used first.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    bytes: usize,
}

/// The lists: for each owner what was asked for once, and what was asked for again.
#[derive(Debug)]
pub(super) struct Room {
    lists: Vec<List>,
    links: Vec<Link>,
    bytes: usize,
}

impl Room {
    pub(super) fn new() -> Self {
        let empty = List { first: NONE, last: NONE, bytes: 0 };
        Self { lists: vec![empty; 2 * (usize::from(COMMON) + 1)], links: Vec::new(), bytes: 0 }
    }

    /// Bytes of all that is listed.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, place: u32, list: u8, bytes: u32) {
        let link = Link { before: NONE, after: self.lists[usize::from(list)].first, list, bytes };
        match self.links.get_mut(place as usize) {
            Some(old) => *old = link,
            None => self.links.push(link),
        }
        let head = &mut self.lists[usize::from(list)];
        head.first = place;
        head.bytes += bytes as usize;
        self.bytes += bytes as usize;
        match link.after {
            NONE => head.last = place,
            after => self.links[after as usize].before = place,
        }
    }

    /// Takes a place out.
    pub(super) fn remove(&mut self, place: u32) {
        let Link { before, after, list, bytes } = self.links[place as usize];
        let head = &mut self.lists[usize::from(list)];
        head.bytes -= bytes as usize;
        self.bytes -= bytes as usize;
        match before {
            NONE => head.first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.lists[usize::from(list)].last = before,
            after => self.links[after as usize].before = before,
        }
    }

    /// Lists a new place; places are given out in order, those given back first.
    pub(super) fn add(&mut self, place: u32, owner: u8, bytes: usize) {
        self.push(place, 2 * owner.min(COMMON), u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// A place has another size now.
    pub(super) fn resize(&mut self, place: u32, bytes: usize) {
        let Link { list, .. } = self.links[place as usize];
        self.remove(place);
        self.push(place, list, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// A place was asked for again, by `owner`.
    pub(super) fn touch(&mut self, place: u32, owner: u8) {
        let Link { list, bytes, .. } = self.links[place as usize];
        self.remove(place);
        let list = if list / 2 == owner || list / 2 == COMMON { list | 1 } else { 2 * COMMON };
        self.push(place, list, bytes);
    }

    /// Whose turn it is to go, if `limit` bytes are all there is room for.
    pub(super) fn victim(&self, limit: usize) -> Option<u32> {
        let held = |owner: u8| {
            let [once, again] = [2 * owner, 2 * owner + 1].map(|list| self.lists[usize::from(list)]);
            (once.bytes + again.bytes, once, again)
        };
        let (common, ..) = held(COMMON);
        let private = (0..OWNERS).max_by_key(|owner| held(*owner).0)?;
        let is_common_turn = common > limit / 4 * 3 || held(private).0 == 0;
        let (all, once, again) = held(if is_common_turn { COMMON } else { private });
        let from =
            if once.last != NONE && (again.last == NONE || once.bytes > all / 4) { once } else { again };
        (from.last != NONE).then_some(from.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fills_the_most_goes_first() {
        let mut room = Room::new();
        for place in 0..10 {
            room.add(place, 3, 100);
        }
        room.add(10, 5, 100);
        room.touch(0, 3);
        room.touch(1, 7);
        // 1 is common now, 0 was asked for again; 2 is the oldest of the rest.
        for want in [2, 3, 4, 5, 6, 7, 8, 9] {
            let victim = room.victim(1_000).expect("not empty");
            if victim != want {
                // Two owners that hold the same are equal before the law.
                assert_eq!((victim, want), (10, 9));
                break;
            }
            room.remove(victim);
        }
        assert!(room.bytes() <= 400);
    }

    #[test]
    fn lists_survive_every_order_of_removal() {
        for gone in 0..5 {
            let mut room = Room::new();
            for place in 0..5 {
                room.add(place, 0, 10);
            }
            room.remove(gone);
            room.add(gone, 1, 20);
            room.resize(gone, 30);
            let mut seen = Vec::new();
            while let Some(place) = room.victim(1) {
                room.remove(place);
                seen.push(place);
            }
            seen.sort_unstable();
            assert_eq!((seen, room.bytes()), ((0..5).collect(), 0));
        }
    }
}
