//! What a question is known by: to whom it is the same, it is asked once.

use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

use super::query::Query;
use super::wire::{self, flag, rr};

/// A question, case apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    /// The name, uncompressed, in small letters.
    pub(super) name: Box<[u8]>,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) flavour: Flavour,
}

/// What else makes answers differ: DO, CD, and that RD was not set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Flavour(u8);

impl Flavour {
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

    /// The flavour as a number below 8.
    pub(super) const fn number(self) -> u8 {
        self.0
    }
}

impl Key {
    /// The question for `kind` at `name`, with the flags of `query`.
    pub(super) fn new(query: &Query, name: &[u8], kind: u16) -> Self {
        Self {
            name: name.to_ascii_lowercase().into(),
            kind,
            class: query.class(),
            flavour: Flavour::of(query),
        }
    }

    /// The same question about another name and type.
    pub(super) fn other(&self, name: &[u8], kind: u16) -> Self {
        Self { name: name.to_ascii_lowercase().into(), kind, ..*self }
    }

    /// The question as a message for upstreams.
    pub(super) fn query(&self) -> Vec<u8> {
        let has = |bit| self.flavour.0 & bit != 0;
        let rd = if has(Flavour::NO_RD) { 0 } else { flag::RD };
        let cd = if has(Flavour::CD) { flag::CD } else { 0 };
        wire::upstream_query(&self.name, self.kind, self.class, rd | cd, has(Flavour::DO))
    }

    /// Whether the answer may be kept: not if the upstream was told to look nowhere, and not for
    /// types that stand for an operation (RFC 6895 §3.1).
    pub(super) fn is_cacheable(&self) -> bool {
        self.class == rr::IN && self.flavour.0 & Flavour::NO_RD == 0 && !(249..=254).contains(&self.kind)
    }
}

/// Hashing that nobody outside can foresee.
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

/// A number that is the same for all queries about one name, whatever the case, type and flags: to
/// share out queries among several engines, so that each name is known to one of them only.
/// Zero for what is no query.
pub fn share_of(seed: u64, message: &[u8]) -> u64 {
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
    fn a_name_has_one_share() {
        let query = |tail: &[u8]| [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], tail].concat();
        let a = share_of(7, &query(b"\x03wWw\x07example\x00\x00\x01\x00\x01"));
        assert_eq!(a, share_of(7, &query(b"\x03www\x07EXAMPLE\x00\x00\x1c\x00\x01")));
        assert_ne!(a, share_of(8, &query(b"\x03www\x07example\x00\x00\x1c\x00\x01")));
        assert_ne!(a, share_of(7, &query(b"\x03wwx\x07example\x00\x00\x1c\x00\x01")));
        assert_eq!(share_of(7, b"no query"), 0);
    }
}
