//! Hash index of slots: usually one cache line per lookup.

/// Average entries per line when the index is full; a line has room for twelve.
const FILL: usize = 9;
/// Words of a line: 64 bytes.
const WORDS: usize = 8;

const ONES: u64 = 0x0101_0101_0101_0101;
const LOWS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
/// The bits of a position set: the first eight positions, and the other four in between.
const FIRST: u64 = 0x8080_8080_8080_8080;
const OTHERS: u64 = 0x0808_0808;

/// A hash table of cache lines. An entry is in the line of its hash, or if that is full, in a later line.
/// Each line counts the entries that overflowed past it. A search ends at a line without overflow, and
/// removal moves no other entry.
///
/// A line is eight words: a tag byte for each of twelve entries, zero if there is none, the count in
/// 32 bits, and twelve slots. An empty line is all zeros, so that zeroed pages need no
/// initialisation. Seven bytes per entry.
#[derive(Debug)]
pub(in crate::nat64) struct Index {
    words: Box<[u64]>,
    /// Start of the first line: lines are aligned to cache lines.
    start: usize,
    lines: usize,
}

/// The home of a hash: the first word of its line, and its tag repeated in each byte.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Home {
    at: usize,
    tags: u64,
}

impl Index {
    /// An index of at most `limit` entries.
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        let lines = (limit as usize).div_ceil(FILL).max(2);
        let words = vec![0u64; (lines + 1) * WORDS].into_boxed_slice();
        let start = words.as_ptr().align_offset(64).min(WORDS - 1);
        Self { words, start, lines }
    }

    /// Bytes of an index with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        (limit as usize / FILL + 2) * WORDS * size_of::<u64>()
    }

    /// The home of this hash.
    #[inline]
    pub(in crate::nat64) const fn home(&self, hash: u32) -> Home {
        let line = ((hash as u64 * self.lines as u64) >> 32) as usize;
        // The upper bits select the line, the lower ones the tag. A tag is never zero.
        let tag = hash as u8 | ((hash as u8 == 0) as u8);
        Home { at: self.start + line * WORDS, tags: tag as u64 * ONES }
    }

    /// Loads the line of a hash into the cache.
    #[inline]
    pub(in crate::nat64) fn prefetch(&self, home: Home) -> u64 {
        self.words[home.at]
    }

    /// The first slot that a search would compare.
    #[inline]
    pub(in crate::nat64) fn candidate(&self, home: Home) -> Option<u32> {
        let line = self.line(home.at);
        let matching = matching(line, home.tags);
        (matching != 0).then(|| slot_of(line, first(matching)))
    }

    /// The slot with this hash that satisfies `is`.
    #[inline]
    pub(in crate::nat64) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let Home { at: home, tags } = self.home(hash);
        let mut at = home;
        loop {
            let line = self.line(at);
            let mut matching = matching(line, tags);
            while matching != 0 {
                let slot = slot_of(line, first(matching));
                if is(slot) {
                    return Some(slot);
                }
                matching &= matching - 1;
            }
            if overflowed(line) == 0 {
                return None;
            }
            at = self.after(at);
            // Overflow counts may remain on every line, so the search may return to its start.
            if at == home {
                return None;
            }
        }
    }

    /// Adds a slot. The caller ensures that it is new and keeps to the limit.
    pub(in crate::nat64) fn insert(&mut self, hash: u32, slot: u32) {
        let Home { mut at, tags } = self.home(hash);
        loop {
            let free = matching(self.line(at), 0);
            if free != 0 {
                self.put(at, first(free), tags as u8, slot);
                return;
            }
            self.words[at + 1] += 1 << 32;
            at = self.after(at);
        }
    }

    /// Removes a slot.
    pub(in crate::nat64) fn remove(&mut self, hash: u32, slot: u32) {
        let Home { at: home, tags } = self.home(hash);
        let mut at = home;
        let position = loop {
            let line = self.line(at);
            let mut matching = matching(line, tags);
            while matching != 0 && slot_of(line, first(matching)) != slot {
                matching &= matching - 1;
            }
            if matching != 0 {
                break first(matching);
            }
            at = self.after(at);
            if overflowed(line) == 0 || at == home {
                debug_assert!(false, "slot {slot} is not in the index");
                return;
            }
        };
        self.put(at, position, 0, 0);
        let mut before = home;
        while before != at {
            self.words[before + 1] -= 1 << 32;
            before = self.after(before);
        }
    }

    #[inline]
    fn line(&self, at: usize) -> &[u64; WORDS] {
        // `at` comes only from `home` or `after`.
        self.words[at..at + WORDS].first_chunk().expect("a line has eight words")
    }

    const fn after(&self, at: usize) -> usize {
        if at + WORDS == self.start + self.lines * WORDS { self.start } else { at + WORDS }
    }

    const fn put(&mut self, at: usize, position: usize, tag: u8, slot: u32) {
        let (word, shift) = (at + position / 8, position % 8 * 8);
        self.words[word] = self.words[word] & !(0xff << shift) | (tag as u64) << shift;
        let (word, shift) = (at + 2 + position / 2, position % 2 * 32);
        self.words[word] = self.words[word] & !(0xffff_ffff << shift) | (slot as u64) << shift;
    }
}

/// The positions of a line with these tags.
#[inline]
const fn matching(line: &[u64; WORDS], tags: u64) -> u64 {
    equal(line[0], tags) | equal(line[1], tags) >> 4 & OTHERS
}

/// The upper bit of each byte that is equal in both.
const fn equal(a: u64, b: u64) -> u64 {
    let x = a ^ b;
    !(((x & LOWS) + LOWS) | x) & FIRST
}

/// The first position of a nonempty set.
#[inline]
const fn first(positions: u64) -> usize {
    let bit = positions.trailing_zeros() as usize;
    bit / 8 + (!bit & 4) * 2
}

#[inline]
const fn slot_of(line: &[u64; WORDS], position: usize) -> u32 {
    (line[(2 + position / 2) % WORDS] >> (position % 2 * 32)) as u32
}

/// The number of entries that overflowed past this line.
const fn overflowed(line: &[u64; WORDS]) -> u32 {
    (line[1] >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat64::tables::hash::Rng;

    const WIDTH: usize = 12;

    #[test]
    fn positions_and_their_bits() {
        for position in 0..WIDTH {
            let mut line = [0u64; WORDS];
            line[position / 8] |= 0x5a << (position % 8 * 8);
            line[1] |= 0x5a5a_5a5a << 32;
            assert_eq!(first(matching(&line, 0x5a * ONES)), position);
            assert_eq!(matching(&line, 0).count_ones() as usize, WIDTH - 1);
        }
    }

    #[test]
    fn an_index_agrees_with_a_map_whatever_is_inserted_and_removed() {
        let mut rng = Rng::new(1);
        // Few distinct hashes make long runs, over the end of the table too.
        for spread in [u32::MAX, 3, 40] {
            let mut index = Index::new(64);
            let mut map = std::collections::HashMap::new();
            for _ in 0..20_000 {
                let slot = rng.below(64);
                match map.remove(&slot) {
                    Some(hash) => index.remove(hash, slot),
                    None => {
                        let hash = rng.below(spread).wrapping_mul(u32::MAX / spread.min(50));
                        index.insert(hash, slot);
                        map.insert(slot, hash);
                    }
                }
                for (&slot, &hash) in &map {
                    assert_eq!(index.find(hash, |s| s == slot), Some(slot));
                }
                assert_eq!(index.find(rng.next() as u32, |_| false), None);
            }
            for (slot, hash) in map {
                index.remove(hash, slot);
            }
            assert!(index.words.iter().all(|word| *word == 0), "all words are zero again");
        }
    }

    #[test]
    fn a_search_ends_although_every_line_overflowed_once() {
        let mut index = Index::new(64);
        let hash_of = |line: usize| ((line as u64) << 32).div_ceil(index.lines as u64) as u32;
        let hashes: Vec<_> = (0..index.lines).map(hash_of).collect();
        for hash in &hashes {
            let crowd = 100..100 + WIDTH as u32;
            crowd.clone().for_each(|slot| index.insert(*hash, slot));
            index.insert(*hash, 1);
            crowd.for_each(|slot| index.remove(*hash, slot));
        }
        assert_eq!(index.find(hashes[0], |slot| slot == 7), None);
    }

    #[test]
    fn a_full_index_takes_seven_bytes_an_entry() {
        let limit = 100_000;
        let mut index = Index::new(limit);
        let mut rng = Rng::new(5);
        let hashes: Vec<_> = (0..limit).map(|_| rng.next() as u32).collect();
        for (slot, hash) in (0..).zip(&hashes) {
            index.insert(*hash, slot);
        }
        assert!(index.words.len() * 8 <= limit as usize * 72 / 10);
        for (slot, hash) in (0..).zip(&hashes) {
            assert_eq!(index.find(*hash, |s| s == slot), Some(slot));
        }
    }
}
