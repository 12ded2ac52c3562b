//! Keys of questions. Queries with equal keys share one upstream query and one cache entry.

use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

use super::query::Query;
use super::wire::{self, flag, rr};

/// A question, compared without case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    /// The name, uncompressed, lowercase.
    pub(super) name: Box<[u8]>,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) flags: KeyFlags,
}

/// The query flags that change the answer: DO, CD, and RD not set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct KeyFlags(u8);

impl KeyFlags {
    const DO: u8 = 1;
    const CD: u8 = 2;
    const NO_RD: u8 = 4;

    fn of(query: &Query) -> Self {
        let bit = |set, bit| if set { bit } else { 0 };
        Self(
            bit(query.dnssec_ok(), Self::DO)
                | bit(query.checking_disabled(), Self::CD)
                | bit(!query.recursion_desired(), Self::NO_RD),
        )
    }

    /// The flags as a number below 8.
    pub(super) const fn number(self) -> u8 {
        self.0
    }
}

impl Key {
    /// The key for type `kind` at `name`, with the flags of `query`.
    pub(super) fn new(query: &Query, name: &[u8], kind: u16) -> Self {
        Self {
            name: name.to_ascii_lowercase().into(),
            kind,
            class: query.class(),
            flags: KeyFlags::of(query),
        }
    }

    /// The same key for another name and type.
    pub(super) fn other(&self, name: &[u8], kind: u16) -> Self {
        Self { name: name.to_ascii_lowercase().into(), kind, ..*self }
    }

    /// The upstream query for this key.
    pub(super) fn query(&self) -> Vec<u8> {
        let has = |bit| self.flags.0 & bit != 0;
        let rd = if has(KeyFlags::NO_RD) { 0 } else { flag::RD };
        let cd = if has(KeyFlags::CD) { flag::CD } else { 0 };
        wire::upstream_query(&self.name, self.kind, self.class, rd | cd, has(KeyFlags::DO))
    }

    /// Whether the answer may be cached: not with RD clear, and not for query types such as ANY and AXFR
    /// (RFC 6895 §3.1).
    pub(super) fn is_cacheable(&self) -> bool {
        self.class == rr::IN && self.flags.0 & KeyFlags::NO_RD == 0 && !(249..=254).contains(&self.kind)
    }
}

/// Keyed hashing, so that clients cannot predict collisions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) u64);

impl BuildHasher for Seed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// A hash that is equal for all queries for one name, whatever the case, type and flags. It assigns each
/// name to one of several engines. Zero if `message` is not a query.
pub fn name_hash(seed: u64, message: &[u8]) -> u64 {
    let Some(question) = wire::question(message) else { return 0 };
    let mut hasher = Seed(seed).build_hasher();
    for byte in &message[question.start..question.end - 4] {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_hash_ignores_case_type_and_flags() {
        let query = |tail: &[u8]| [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], tail].concat();
        let a = name_hash(7, &query(b"\x03wWw\x07example\x00\x00\x01\x00\x01"));
        assert_eq!(a, name_hash(7, &query(b"\x03www\x07EXAMPLE\x00\x00\x1c\x00\x01")));
        assert_ne!(a, name_hash(8, &query(b"\x03www\x07example\x00\x00\x1c\x00\x01")));
        assert_ne!(a, name_hash(7, &query(b"\x03wwx\x07example\x00\x00\x1c\x00\x01")));
        assert_eq!(name_hash(7, b"no query"), 0);
    }
}
