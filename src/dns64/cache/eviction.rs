//! Cache eviction: least recently used, fair between client sites.
//!
//! A name belongs to the site that queried it first. Once a second site queries it, the name is shared.
//! Eviction starts with the site that uses the most bytes, and there with names queried only once. A flood
//! of random names from one site thus evicts that site's own names only.
//!
//! These are many lists over one slab, moved between and weighed in bytes. The crate `lru`, used for
//! `dns64/lru.rs`, has one list per map and counts entries.

use std::collections::HashMap;

use crate::addr::SiteKey;

/// Maximum number of sites with a group of their own. Each eviction compares the sizes of all groups.
pub(super) const MAX_SITES: usize = 1_024;
/// Group of names that more than one site has queried.
const COMMON: usize = 0;
/// Group of the sites that came when [`MAX_SITES`] others had names in the cache.
const OTHERS: usize = 1;
/// End of a list.
const NONE: u32 = u32::MAX;

/// An entry's position in its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    prev: u32,
    next: u32,
    group: u16,
    /// Whether the name was queried again.
    is_repeated: bool,
    bytes: u32,
}

/// Ends and size of a list, the most recently used entry first.
#[derive(Clone, Copy, Debug)]
struct ListHead {
    first: u32,
    last: u32,
    bytes: usize,
}

const EMPTY: ListHead = ListHead { first: NONE, last: NONE, bytes: 0 };

/// Two lists: names queried once, and names queried again.
#[derive(Clone, Copy, Debug)]
struct Group {
    lists: [ListHead; 2],
    /// The site it belongs to. `None` for shared and free groups.
    site: Option<SiteKey>,
}

impl Group {
    const fn bytes(&self) -> usize {
        self.lists[0].bytes + self.lists[1].bytes
    }
}

/// The lists of all groups.
#[derive(Debug)]
pub(super) struct EvictionLists {
    groups: Vec<Group>,
    /// The group of each site that has names in the cache.
    by_site: HashMap<SiteKey, u16>,
    /// Groups without a site.
    free: Vec<u16>,
    links: Vec<Links>,
    bytes: usize,
}

impl EvictionLists {
    pub(super) fn new() -> Self {
        Self {
            groups: vec![Group { lists: [EMPTY; 2], site: None }; 2],
            by_site: HashMap::new(),
            free: Vec::new(),
            links: Vec::new(),
            bytes: 0,
        }
    }

    /// Bytes of all entries.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The group of a site, assigned if it has none.
    fn group(&mut self, site: SiteKey) -> u16 {
        if let Some(group) = self.by_site.get(&site) {
            return *group;
        }
        if self.by_site.len() >= MAX_SITES {
            return OTHERS as u16;
        }
        let group = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group { lists: [EMPTY; 2], site: None });
            // At most MAX_SITES and two more.
            (self.groups.len() - 1) as u16
        });
        self.groups[usize::from(group)].site = Some(site);
        self.by_site.insert(site, group);
        group
    }

    fn push(&mut self, index: u32, group: u16, is_repeated: bool, bytes: u32) {
        let list = &mut self.groups[usize::from(group)].lists[usize::from(is_repeated)];
        let link = Links { prev: NONE, next: list.first, group, is_repeated, bytes };
        list.first = index;
        list.bytes += bytes as usize;
        self.bytes += bytes as usize;
        match link.next {
            NONE => list.last = index,
            next => self.links[next as usize].prev = index,
        }
        match self.links.get_mut(index as usize) {
            Some(old) => *old = link,
            None => self.links.push(link),
        }
    }

    /// Removes an entry from its list. Its group keeps its site.
    fn unlink(&mut self, index: u32) {
        let Links { prev, next, group, is_repeated, bytes } = self.links[index as usize];
        let list = &mut self.groups[usize::from(group)].lists[usize::from(is_repeated)];
        list.bytes -= bytes as usize;
        self.bytes -= bytes as usize;
        match prev {
            NONE => list.first = next,
            prev => self.links[prev as usize].next = next,
        }
        match next {
            NONE => self.groups[usize::from(group)].lists[usize::from(is_repeated)].last = prev,
            next => self.links[next as usize].prev = prev,
        }
    }

    /// Frees a group without entries.
    fn release(&mut self, group: u16) {
        let of = &mut self.groups[usize::from(group)];
        if of.lists.iter().all(|list| list.first == NONE)
            && let Some(site) = of.site.take()
        {
            self.by_site.remove(&site);
            self.free.push(group);
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, index: u32) {
        self.unlink(index);
        self.release(self.links[index as usize].group);
    }

    /// Adds an entry. Indices are assigned in order, and freed ones first.
    pub(super) fn add(&mut self, index: u32, site: SiteKey, bytes: usize) {
        let group = self.group(site);
        self.push(index, group, false, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Updates the size of an entry.
    pub(super) fn resize(&mut self, index: u32, bytes: usize) {
        let Links { group, is_repeated, .. } = self.links[index as usize];
        self.unlink(index);
        self.push(index, group, is_repeated, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Records another query by `site`.
    pub(super) fn promote(&mut self, index: u32, site: SiteKey) {
        let Links { group, bytes, .. } = self.links[index as usize];
        self.unlink(index);
        let own = self.by_site.get(&site).copied().unwrap_or(OTHERS as u16);
        if group == own || usize::from(group) == COMMON {
            self.push(index, group, true, bytes);
        } else {
            self.push(index, COMMON as u16, false, bytes);
            self.release(group);
        }
    }

    /// The entry to evict next if the cache may use `limit` bytes.
    pub(super) fn victim(&self, limit: usize) -> Option<u32> {
        let common = &self.groups[COMMON];
        let private = self.groups[OTHERS..].iter().max_by_key(|group| group.bytes())?;
        let is_common_turn = common.bytes() > limit / 4 * 3 || private.bytes() == 0;
        let from = if is_common_turn { common } else { private };
        let [once, again] = from.lists;
        let list = if once.last != NONE && (again.last == NONE || once.bytes > from.bytes() / 4) {
            once
        } else {
            again
        };
        (list.last != NONE).then_some(list.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{HostKey, ZoneId};

    fn site(number: u32) -> SiteKey {
        HostKey::new(ZoneId(0), (u128::from(number) << 64).into(), 128).site(64)
    }

    #[test]
    fn the_largest_group_is_evicted_first() {
        let mut lists = EvictionLists::new();
        for index in 0..10 {
            lists.add(index, site(3), 100);
        }
        lists.add(10, site(5), 100);
        lists.promote(0, site(3));
        lists.promote(1, site(7));
        // 1 is shared now, 0 was queried again; 2 is the oldest of the others.
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
                lists.add(index, site(1), 10);
            }
            lists.remove(removed);
            lists.add(removed, site(2), 20);
            lists.resize(removed, 30);
            let mut seen = Vec::new();
            while let Some(index) = lists.victim(1) {
                lists.remove(index);
                seen.push(index);
            }
            seen.sort_unstable();
            assert_eq!((seen, lists.bytes()), ((0..5).collect(), 0));
            assert_eq!((lists.by_site.len(), lists.free.len()), (0, lists.groups.len() - 2));
        }
    }

    #[test]
    fn groups_are_bounded_and_used_again() {
        let mut lists = EvictionLists::new();
        let sites = MAX_SITES as u32 + 100;
        for round in 0..3 {
            for index in 0..sites {
                lists.add(index, site(round * sites + index), 100);
                lists.promote(index, site(round * sites + index));
            }
            assert_eq!((lists.groups.len(), lists.by_site.len()), (MAX_SITES + 2, MAX_SITES));
            // The sites without a group of their own compete among themselves.
            for _ in 1..100 {
                assert!(
                    lists.victim(usize::MAX).inspect(|index| lists.remove(*index)) >= Some(MAX_SITES as u32)
                );
            }
            while let Some(index) = lists.victim(usize::MAX) {
                lists.remove(index);
            }
            assert_eq!((lists.bytes(), lists.by_site.len()), (0, 0));
        }
    }
}
