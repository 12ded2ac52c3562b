//! Cache eviction: least recently used, fair between clients.
//!
//! A name belongs to the client group that queried it first. Once a second group queries it, the name is
//! shared. Eviction starts with the group that uses the most bytes, and there with names queried only once.
//! A flood of random names from one client thus evicts that client's own names only.
//!
//! These are many lists over one slab, moved between and weighed in bytes. The crate `lru`, used for
//! `dns64/lru.rs`, has one list per map and counts entries.

/// Client groups. Clients are assigned by hash, so two clients may share a group.
pub(super) const OWNERS: u8 = 64;
/// Group of names that more than one client group has queried.
const COMMON: u8 = OWNERS;
/// End of a list.
const NONE: u32 = u32::MAX;

/// An entry's position in its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    prev: u32,
    next: u32,
    list: u8,
    bytes: u32,
}

/// Ends and size of a list, the most recently used entry first.
#[derive(Clone, Copy, Debug)]
struct ListHead {
    first: u32,
    last: u32,
    bytes: usize,
}

/// Two lists for each group: names queried once, and names queried again.
#[derive(Debug)]
pub(super) struct EvictionLists {
    lists: Vec<ListHead>,
    links: Vec<Links>,
    bytes: usize,
}

impl EvictionLists {
    pub(super) fn new() -> Self {
        let empty = ListHead { first: NONE, last: NONE, bytes: 0 };
        Self { lists: vec![empty; 2 * (usize::from(COMMON) + 1)], links: Vec::new(), bytes: 0 }
    }

    /// Bytes of all entries.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, index: u32, list: u8, bytes: u32) {
        let link = Links { prev: NONE, next: self.lists[usize::from(list)].first, list, bytes };
        match self.links.get_mut(index as usize) {
            Some(old) => *old = link,
            None => self.links.push(link),
        }
        let header = &mut self.lists[usize::from(list)];
        header.first = index;
        header.bytes += bytes as usize;
        self.bytes += bytes as usize;
        match link.next {
            NONE => header.last = index,
            next => self.links[next as usize].prev = index,
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, index: u32) {
        let Links { prev, next, list, bytes } = self.links[index as usize];
        let header = &mut self.lists[usize::from(list)];
        header.bytes -= bytes as usize;
        self.bytes -= bytes as usize;
        match prev {
            NONE => header.first = next,
            prev => self.links[prev as usize].next = next,
        }
        match next {
            NONE => self.lists[usize::from(list)].last = prev,
            next => self.links[next as usize].prev = prev,
        }
    }

    /// Adds an entry. Indices are assigned in order, and freed ones first.
    pub(super) fn add(&mut self, index: u32, owner: u8, bytes: usize) {
        self.push(index, 2 * owner.min(COMMON), u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Updates the size of an entry.
    pub(super) fn resize(&mut self, index: u32, bytes: usize) {
        let Links { list, .. } = self.links[index as usize];
        self.remove(index);
        self.push(index, list, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Records another query by `owner`.
    pub(super) fn promote(&mut self, index: u32, owner: u8) {
        let Links { list, bytes, .. } = self.links[index as usize];
        self.remove(index);
        let list = if list / 2 == owner || list / 2 == COMMON { list | 1 } else { 2 * COMMON };
        self.push(index, list, bytes);
    }

    /// The entry to evict next if the cache may use `limit` bytes.
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
    fn the_largest_group_is_evicted_first() {
        let mut lists = EvictionLists::new();
        for index in 0..10 {
            lists.add(index, 3, 100);
        }
        lists.add(10, 5, 100);
        lists.promote(0, 3);
        lists.promote(1, 7);
        // 1 is shared now, 0 was queried again; 2 is the oldest of the rest.
        for want in [2, 3, 4, 5, 6, 7, 8, 9] {
            let victim = lists.victim(1_000).expect("not empty");
            if victim != want {
                // Between two groups of equal size either may be evicted.
                assert_eq!((victim, want), (10, 9));
                break;
            }
            lists.remove(victim);
        }
        assert!(lists.bytes() <= 400);
    }

    #[test]
    fn removal_in_any_order() {
        for removed in 0..5 {
            let mut lists = EvictionLists::new();
            for index in 0..5 {
                lists.add(index, 0, 10);
            }
            lists.remove(removed);
            lists.add(removed, 1, 20);
            lists.resize(removed, 30);
            let mut seen = Vec::new();
            while let Some(index) = lists.victim(1) {
                lists.remove(index);
                seen.push(index);
            }
            seen.sort_unstable();
            assert_eq!((seen, lists.bytes()), ((0..5).collect(), 0));
        }
    }
}
