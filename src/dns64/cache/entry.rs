//! The cache entry of one name: the name, then for each answer a header of fixed size and its records as
//! received, without question and OPT.

use super::super::key::Key;

/// Answers stored for one name. A further answer replaces the oldest.
const MAX_ANSWERS: usize = 16;

/// Fixed-size header of one cached answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RecordSetHeader {
    pub(super) kind: u16,
    pub(super) flags: u8,
    /// [`DATA`], [`AUTHENTIC`], [`NO_REPLY`] and [`OUTAGE`].
    pub(super) bits: u8,
    pub(super) rcode: u16,
    /// Code of the reply's first extended error plus one; 0 is none.
    pub(super) error: u16,
    /// Time of arrival and TTL, in seconds.
    pub(super) stored: u32,
    pub(super) ttl: u32,
    /// Time in seconds until which upstreams are not queried again after a failure (RFC 9520).
    pub(super) retry: u32,
    /// Consecutive failures.
    pub(super) failures: u8,
    pub(super) failed_rcode: u8,
    pub(super) failed_error: u16,
    /// Record counts of the answer, authority and additional sections.
    pub(super) counts: [u16; 3],
    /// Length of the records, in bytes.
    pub(super) len: u16,
}

/// The answer has data, not only a failure.
pub(super) const DATA: u8 = 1;
/// The upstream set AD.
pub(super) const AUTHENTIC: u8 = 2;
/// The failure was a timeout.
pub(super) const NO_REPLY: u8 = 4;
/// No query to the upstream was answered while this one failed.
pub(super) const OUTAGE: u8 = 8;

impl RecordSetHeader {
    const SIZE: usize = 32;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&[self.flags, self.bits, self.failures, self.failed_rcode]);
        for number in [self.stored, self.ttl, self.retry] {
            out.extend_from_slice(&number.to_ne_bytes());
        }
        let [an, ns, ar] = self.counts;
        for number in [self.rcode, self.error, self.failed_error, an, ns, ar, self.len] {
            out.extend_from_slice(&number.to_ne_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, rest) = bytes.split_first_chunk::<{ Self::SIZE }>()?;
        let short = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let long =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let read = Self {
            kind: short(0),
            flags: header[2],
            bits: header[3],
            failures: header[4],
            failed_rcode: header[5],
            stored: long(6),
            ttl: long(10),
            retry: long(14),
            rcode: short(18),
            error: short(20),
            failed_error: short(22),
            counts: [short(24), short(26), short(28)],
            len: short(30),
        };
        rest.get(..usize::from(read.len)).map(|_| (read, rest))
    }

    /// Whether it has data that has not expired at `now`.
    pub(super) const fn is_fresh(&self, now: u32) -> bool {
        self.bits & DATA != 0 && now < self.stored.saturating_add(self.ttl)
    }
}

/// All cached answers of one name.
#[derive(Debug, Default)]
pub(super) struct NameEntry(Box<[u8]>);

impl NameEntry {
    /// An empty entry for `name`, which has at most 255 bytes.
    pub(super) fn new(name: &[u8]) -> Self {
        let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        Self([&[len], &name[..usize::from(len)]].concat().into())
    }

    pub(super) fn name(&self) -> &[u8] {
        self.split().0
    }

    fn split(&self) -> (&[u8], &[u8]) {
        match self.0.split_first() {
            Some((len, rest)) => rest.split_at(usize::from(*len).min(rest.len())),
            None => (&[], &[]),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The answers with their records.
    pub(super) fn answers(&self) -> impl Iterator<Item = (RecordSetHeader, &[u8])> {
        let mut rest = self.split().1;
        core::iter::from_fn(move || {
            let (header, rest_after) = RecordSetHeader::read(rest)?;
            let (records, next) = rest_after.split_at(usize::from(header.len));
            rest = next;
            Some((header, records))
        })
    }

    /// The answer to `key`.
    pub(super) fn find(&self, key: &Key) -> Option<(RecordSetHeader, &[u8])> {
        self.answers().find(|(header, _)| header.kind == key.kind && header.flags == key.flags.number())
    }

    /// Stores an answer. Replaces the one of the same type and flags.
    pub(super) fn put(&mut self, header: &RecordSetHeader, records: &[u8]) {
        let others = self.answers().filter(|(h, _)| (h.kind, h.flags) != (header.kind, header.flags));
        let mut others: Vec<_> = others.collect();
        let too_many = others.len().saturating_sub(MAX_ANSWERS - 1);
        others.drain(..too_many);
        let name = self.name();
        let len = 1 + name.len() + others.iter().map(|(_, r)| RecordSetHeader::SIZE + r.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(len + RecordSetHeader::SIZE + records.len());
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        for (header, records) in others.iter().chain([&(*header, records)]) {
            header.write(&mut bytes);
            bytes.extend_from_slice(records);
        }
        self.0 = bytes.into();
    }

    /// Removes the answer of a type and flags.
    pub(super) fn remove(&mut self, key: &Key) {
        let removed =
            RecordSetHeader { kind: key.kind, flags: key.flags.number(), ..RecordSetHeader::default() };
        self.put(&removed, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_replaced_by_type() {
        let mut entry = NameEntry::new(b"\x01a\x00");
        let header = |kind, len| RecordSetHeader {
            kind,
            flags: 1,
            ttl: 77,
            retry: 5,
            counts: [1, 2, 3],
            len,
            ..RecordSetHeader::default()
        };
        entry.put(&header(1, 4), b"abcd");
        entry.put(&header(28, 2), b"xy");
        entry.put(&header(1, 3), b"new");
        let all: Vec<_> = entry.answers().collect();
        assert_eq!(all, [(header(28, 2), &b"xy"[..]), (header(1, 3), &b"new"[..])]);
        assert_eq!(entry.name(), b"\x01a\x00");
        for kind in 100..200 {
            entry.put(&header(kind, 1), b"z");
        }
        assert_eq!(entry.answers().count(), MAX_ANSWERS);
    }
}
