//! Longest-prefix match.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Ipv4Prefix, Ipv6Prefix};

/// Value of an empty slot.
const NONE: u32 = u32::MAX;

/// A longest-prefix table for one family: maps prefixes to numbers.
///
/// Immutable. A lookup costs one hash probe per distinct prefix length, independent of the number of prefixes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Longest {
    /// One row per prefix length, the longest first.
    rows: Vec<Row>,
}

/// The prefixes of one length: a hash table with linear probing, at most half full; or a single prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    mask: u128,
    keys: Box<[u128]>,
    values: Box<[u32]>,
}

impl Longest {
    /// A table of IPv4 prefixes. The last of equal prefixes wins. Numbers must be below `u32::MAX`.
    pub fn of_v4(prefixes: impl Iterator<Item = (Ipv4Prefix, u32)>) -> Self {
        let wide = |(prefix, value): (Ipv4Prefix, u32)| {
            (u128::from(prefix.mask()), u128::from(prefix.addr().to_bits()), value)
        };
        Self::new(prefixes.map(wide).collect())
    }

    /// A table of IPv6 prefixes; see [`of_v4`](Self::of_v4).
    pub fn of_v6(prefixes: impl Iterator<Item = (Ipv6Prefix, u32)>) -> Self {
        Self::new(prefixes.map(|(prefix, value)| (prefix.mask(), prefix.addr().to_bits(), value)).collect())
    }

    fn new(mut entries: Vec<(u128, u128, u32)>) -> Self {
        // A longer prefix has the greater mask.
        entries.sort_by_key(|(mask, ..)| core::cmp::Reverse(*mask));
        let rows = entries.chunk_by(|a, b| a.0 == b.0).map(Row::new).collect();
        Self { rows }
    }

    /// Whether the table has no prefixes.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of the longest IPv4 prefix that contains `addr`.
    #[inline]
    pub fn find_v4(&self, addr: Ipv4Addr) -> Option<u32> {
        self.find(u128::from(addr.to_bits()))
    }

    /// The number of the longest IPv6 prefix that contains `addr`.
    #[inline]
    pub fn find_v6(&self, addr: Ipv6Addr) -> Option<u32> {
        self.find(addr.to_bits())
    }

    #[inline]
    fn find(&self, bits: u128) -> Option<u32> {
        for row in &self.rows {
            if let Some(value) = row.find(bits & row.mask) {
                return Some(value);
            }
        }
        None
    }
}

impl Row {
    fn new(entries: &[(u128, u128, u32)]) -> Self {
        let size = if entries.len() == 1 { 1 } else { (entries.len() * 2).next_power_of_two() };
        let mask = entries.first().map_or(0, |(mask, ..)| *mask);
        let mut row = Self { mask, keys: vec![0; size].into(), values: vec![NONE; size].into() };
        for (_, key, value) in entries {
            let slot = row.slot(*key);
            row.keys[slot] = *key;
            row.values[slot] = *value;
        }
        row
    }

    /// The slot of `key`, or the empty slot where it would be inserted.
    #[inline]
    fn slot(&self, key: u128) -> usize {
        let last = self.keys.len() - 1;
        let mut slot = hash(key) as usize & last;
        while self.values[slot] != NONE && self.keys[slot] != key {
            slot = (slot + 1) & last;
        }
        slot
    }

    #[inline]
    fn find(&self, key: u128) -> Option<u32> {
        if let ([only], [value]) = (&*self.keys, &*self.values) {
            return (*only == key).then_some(*value);
        }
        Some(self.values[self.slot(key)]).filter(|value| *value != NONE)
    }
}

/// Unkeyed: only the operator chooses keys, and lookups can't lengthen a probe sequence.
const fn hash(key: u128) -> u64 {
    let (high, low) = ((key >> 64) as u64, key as u64);
    let wide = (high ^ 0x9e37_79b9_7f4a_7c15) as u128 * (low ^ 0xd6e8_feb8_6659_fd93) as u128;
    let folded = wide as u64 ^ (wide >> 64) as u64;
    folded ^ folded >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_then_the_last_of_equals() {
        let prefixes = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "10.0.0.0/8"];
        let parsed = prefixes.iter().zip(0..).map(|(text, n)| (text.parse().expect("literal"), n));
        let table = Longest::of_v4(parsed);
        let cases = [("192.0.2.1", 0), ("10.2.0.1", 4), ("10.1.9.9", 2), ("10.1.2.3", 3)];
        for (addr, want) in cases {
            assert_eq!(table.find_v4(addr.parse().expect("literal")), Some(want), "{addr}");
        }
        assert_eq!(Longest::default().find_v4(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn every_prefix_length_matches() {
        // id 8504-14.4-lpm
        let addr: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().expect("literal");
        let table =
            Longest::of_v6((0..=128u8).map(|len| (Ipv6Prefix::containing(addr, len), u32::from(len))));
        for len in 0..=128u32 {
            // Differs from `addr` in the first bit after the prefix.
            let other =
                if len == 128 { addr } else { Ipv6Addr::from_bits(addr.to_bits() ^ 1 << (127 - len)) };
            assert_eq!(table.find_v6(other), Some(len));
        }
    }

    #[test]
    fn lookups_agree_with_a_linear_search() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let all: Vec<_> = (0..2_000)
            .map(|n| (Ipv4Prefix::containing(Ipv4Addr::from_bits(next() << 8), 8 + (next() % 25) as u8), n))
            .collect();
        let table = Longest::of_v4(all.iter().copied());
        for (prefix, _) in &all {
            let addr = Ipv4Addr::from_bits(prefix.addr().to_bits() | next() & !prefix.mask());
            let best = all.iter().filter(|(p, _)| p.contains(addr)).max_by_key(|(p, n)| (p.len(), *n));
            assert_eq!(table.find_v4(addr), best.map(|(_, n)| *n), "{addr}");
        }
    }
}
