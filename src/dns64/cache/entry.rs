//! What is known of one name, in as few bytes as may be: the name, then for each answer a head of
//! fixed size and the records as they came, question and OPT left out.

use super::super::key::Key;

/// Answers kept for one name; the oldest goes when there would be more.
const MOST: usize = 16;

/// What is known of one answer besides its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Head {
    pub(super) kind: u16,
    pub(super) flavour: u8,
    /// Bits below.
    pub(super) bits: u8,
    pub(super) rcode: u16,
    /// The first extended error that came with it, plus one.
    pub(super) error: u16,
    /// When it came, and how long it holds, in seconds.
    pub(super) stored: u32,
    pub(super) ttl: u32,
    /// Second until which upstreams are not asked again, because they failed (RFC 9520).
    pub(super) retry: u32,
    /// Failures in a row.
    pub(super) fails: u8,
    pub(super) failed_rcode: u8,
    pub(super) failed_error: u16,
    /// Records by section.
    pub(super) counts: [u16; 3],
    /// Bytes of records.
    pub(super) len: u16,
}

/// There are data, not only a failure.
pub(super) const DATA: u8 = 1;
/// The upstream said that they are authentic.
pub(super) const AUTHENTIC: u8 = 2;
/// The failure was silence.
pub(super) const SILENT: u8 = 4;

impl Head {
    const SIZE: usize = 32;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&[self.flavour, self.bits, self.fails, self.failed_rcode]);
        for number in [self.stored, self.ttl, self.retry] {
            out.extend_from_slice(&number.to_ne_bytes());
        }
        let [an, ns, ar] = self.counts;
        for number in [self.rcode, self.error, self.failed_error, an, ns, ar, self.len] {
            out.extend_from_slice(&number.to_ne_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<{ Self::SIZE }>()?;
        let short = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let read = Self {
            kind: short(0),
            flavour: head[2],
            bits: head[3],
            fails: head[4],
            failed_rcode: head[5],
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

    /// Whether it has data, and they still hold at `now`.
    pub(super) const fn is_fresh(&self, now: u32) -> bool {
        self.bits & DATA != 0 && now < self.stored.saturating_add(self.ttl)
    }
}

/// All that is known of one name.
#[derive(Debug, Default)]
pub(super) struct Kept(Box<[u8]>);

impl Kept {
    /// Nothing yet about `name`, which has at most 255 bytes.
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

    /// The answers, each with its records.
    pub(super) fn answers(&self) -> impl Iterator<Item = (Head, &[u8])> {
        let mut rest = self.split().1;
        core::iter::from_fn(move || {
            let (head, behind) = Head::read(rest)?;
            let (records, next) = behind.split_at(usize::from(head.len));
            rest = next;
            Some((head, records))
        })
    }

    /// The answer to `key`.
    pub(super) fn find(&self, key: &Key) -> Option<(Head, &[u8])> {
        self.answers().find(|(head, _)| head.kind == key.kind && head.flavour == key.flavour.number())
    }

    /// Puts an answer in the place of the one of its kind and flavour.
    pub(super) fn put(&mut self, head: &Head, records: &[u8]) {
        let others = self.answers().filter(|(h, _)| (h.kind, h.flavour) != (head.kind, head.flavour));
        let mut others: Vec<_> = others.collect();
        let too_many = others.len().saturating_sub(MOST - 1);
        others.drain(..too_many);
        let name = self.name();
        let len = 1 + name.len() + others.iter().map(|(_, r)| Head::SIZE + r.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(len + Head::SIZE + records.len());
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        for (head, records) in others.iter().chain([&(*head, records)]) {
            head.write(&mut bytes);
            bytes.extend_from_slice(records);
        }
        self.0 = bytes.into();
    }

    /// Forgets the answer of a kind and flavour.
    pub(super) fn drop_answer(&mut self, key: &Key) {
        let gone = Head { kind: key.kind, flavour: key.flavour.number(), ..Head::default() };
        self.put(&gone, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stay_apart_and_are_replaced() {
        let mut kept = Kept::new(b"\x01a\x00");
        let head = |kind, len| Head {
            kind,
            flavour: 1,
            ttl: 77,
            retry: 5,
            counts: [1, 2, 3],
            len,
            ..Head::default()
        };
        kept.put(&head(1, 4), b"abcd");
        kept.put(&head(28, 2), b"xy");
        kept.put(&head(1, 3), b"new");
        let all: Vec<_> = kept.answers().collect();
        assert_eq!(all, [(head(28, 2), &b"xy"[..]), (head(1, 3), &b"new"[..])]);
        assert_eq!(kept.name(), b"\x01a\x00");
        for kind in 100..200 {
            kept.put(&head(kind, 1), b"z");
        }
        assert_eq!(kept.answers().count(), MOST);
    }
}
