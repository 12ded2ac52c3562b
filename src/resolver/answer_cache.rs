//! Cache of whole answers. Only the id, the case of the name and the TTLs change from client to client.
//!
//! An answer is stored when its question is asked for the second time; names queried once evict nothing.
//! Eviction is by second chance (clock). Answers expire slightly before their TTL, so that the engine,
//! which has its own cache, sees popular names in time to prefetch them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::time::Duration;

use super::message_edit;
use super::query_key::{Key, SimpleQuery};
use crate::dns64::Outcome;
use crate::dns64::wire;
use crate::time::Instant;

/// Sets of four questions that were asked once.
const SEEN_SETS: usize = 1 << 14;
/// Memory of an entry besides its content, in bytes.
const OVERHEAD: usize = 128;
/// Longest lifetime of a cached answer, in seconds.
const MAX_TTL: u32 = 3_600;

/// Passes keys through that are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    message: Box<[u8]>,
    /// Offsets of the TTLs.
    ttls: Box<[u16]>,
    /// Offset of the OPT record, which is the last one; 0 if there is none.
    opt: u16,
    outcome: Outcome,
    stored_at: Instant,
    expires_at: Instant,
    referenced: bool,
    /// Answers sent from this entry that are not yet reported.
    hits: u64,
}

impl Entry {
    fn size(&self) -> usize {
        self.key.len() + self.message.len() + 2 * self.ttls.len() + OVERHEAD
    }
}

/// Where an answer would be stored, and whether to store it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheSlot {
    pub(super) hash: u64,
    /// The question has been asked before.
    pub(super) seen_before: bool,
}

/// A cached answer that fits.
pub(super) struct CachedAnswer<'a>(&'a Entry);

impl CachedAnswer<'_> {
    pub(super) const fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Length of the message, in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.message.len()
    }

    /// Offset of the OPT record in the message.
    pub(super) fn opt(&self) -> Option<usize> {
        (self.0.opt != 0).then_some(usize::from(self.0.opt))
    }

    /// Appends the answer to the query `simple`.
    pub(super) fn write(&self, now: Instant, simple: &SimpleQuery<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.0.message);
        let message = &mut out[start..];
        message[..2].copy_from_slice(&simple.id);
        message[wire::HEADER..][..simple.question.len()].copy_from_slice(simple.question);
        let age = u32::try_from(now.since(self.0.stored_at).as_secs()).unwrap_or(u32::MAX);
        if age > 0 {
            for at in &self.0.ttls {
                message_edit::age(message, usize::from(*at), age);
            }
        }
    }
}

/// The answer cache of one thread.
pub(super) struct AnswerCache {
    seed: RandomState,
    slots: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    seen: Vec<[u32; 4]>,
    bytes: usize,
    limit: usize,
    hand: usize,
    /// Reported after each batch of datagrams.
    hits: Vec<(Box<[u8]>, u64)>,
}

impl AnswerCache {
    /// An empty cache of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            seed: RandomState::new(),
            slots: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            seen: vec![[0; 4]; SEEN_SETS],
            bytes: 0,
            limit,
            hand: 0,
            hits: Vec::new(),
        }
    }

    /// Removes all entries and changes the limit.
    pub(super) fn clear(&mut self, limit: usize) {
        (0..self.entries.len()).for_each(|slot| self.remove(slot));
        self.entries.clear();
        self.free.clear();
        self.bytes = 0;
        self.hand = 0;
        self.limit = limit;
    }

    /// Hashes a key.
    pub(super) fn hash(&self, key: &Key) -> u64 {
        self.seed.hash_one(key.bytes())
    }

    /// The answer for `key`, unless it is longer than `room` bytes.
    pub(super) fn find(
        &mut self,
        now: Instant,
        hash: u64,
        key: &Key,
        room: usize,
    ) -> Option<CachedAnswer<'_>> {
        let slot = *self.slots.get(&hash)?;
        let entry = self.entries[slot].as_ref()?;
        if *entry.key != *key.bytes() || entry.message.len() > room {
            return None;
        }
        if now >= entry.expires_at {
            self.remove(slot);
            return None;
        }
        let entry = self.entries[slot].as_mut()?;
        entry.referenced = true;
        entry.hits += 1;
        Some(CachedAnswer(entry))
    }

    /// Records a question without a cached answer.
    pub(super) fn record_miss(&mut self, hash: u64) -> CacheSlot {
        let (set, tag) = (&mut self.seen[(hash as usize) % SEEN_SETS], (hash >> 32) as u32 | 1);
        let seen_before = set.contains(&tag);
        if !seen_before {
            // Replaces the oldest.
            set.rotate_right(1);
            set[0] = tag;
        }
        CacheSlot { hash, seen_before }
    }

    /// Stores the answer to a question that was asked before, if it may be cached.
    pub(super) fn store(
        &mut self,
        now: Instant,
        slot: CacheSlot,
        key: &Key,
        message: &[u8],
        (outcome, life): (Outcome, Duration),
    ) {
        if !slot.seen_before {
            return;
        }
        let Some((ttls, opt, least)) = message_edit::ttl_offsets(message) else { return };
        let Ok(opt) = u16::try_from(opt.unwrap_or(0)) else { return };
        let life = life.min(Duration::from_secs(least.min(MAX_TTL).into()));
        if life.is_zero() {
            return;
        }
        let entry = Entry {
            hash: slot.hash,
            key: key.bytes().into(),
            message: message.into(),
            ttls: ttls.into(),
            opt,
            outcome,
            stored_at: now,
            expires_at: now + life,
            referenced: false,
            hits: 0,
        };
        if let Some(old) = self.slots.get(&slot.hash).copied() {
            self.remove(old);
        }
        if self.make_room(entry.size()) {
            self.insert(entry);
        }
    }

    fn insert(&mut self, entry: Entry) {
        self.bytes += entry.size();
        let hash = entry.hash;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot] = Some(entry);
                slot
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        };
        self.slots.insert(hash, slot);
    }

    fn remove(&mut self, slot: usize) {
        if let Some(entry) = self.entries[slot].take() {
            self.bytes -= entry.size();
            self.slots.remove(&entry.hash);
            self.free.push(slot);
            if entry.hits > 0 {
                self.hits.push((entry.key, entry.hits));
            }
        }
    }

    /// Keys and hit counts of entries removed since the last call.
    pub(super) fn take_hits(&mut self) -> impl Iterator<Item = (Box<[u8]>, u64)> {
        self.hits.drain(..)
    }

    /// Adds the hit counts of the entries still stored.
    pub(super) fn collect_hits(&mut self) {
        for entry in self.entries.iter_mut().flatten().filter(|entry| entry.hits > 0) {
            self.hits.push((entry.key.clone(), core::mem::take(&mut entry.hits)));
        }
    }

    /// Second-chance eviction: skips entries once that were used since the last round, and removes the
    /// others. Two rounds suffice.
    fn make_room(&mut self, size: usize) -> bool {
        for _ in 0..2 * self.entries.len() + 1 {
            if self.bytes + size <= self.limit {
                return true;
            }
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            match self.entries.get_mut(self.hand) {
                Some(Some(entry)) if entry.referenced => entry.referenced = false,
                Some(Some(_)) => self.remove(self.hand),
                Some(None) | None => {}
            }
        }
        self.bytes + size <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns64::Transport;

    fn query(name: u16, id: u8) -> Vec<u8> {
        let mut bytes = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5];
        bytes.extend_from_slice(format!("{name:05}").as_bytes());
        bytes.extend_from_slice(b"\x07Example\x00\x00\x1c\x00\x01");
        bytes
    }

    fn reply(query: &[u8], ttl: u8) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2] |= 0x80;
        bytes[7] = 1;
        bytes.make_ascii_lowercase();
        bytes.extend_from_slice(&[0xc0, 12, 0, 28, 0, 1, 0, 0, 0, ttl, 0, 16]);
        bytes.extend_from_slice(&[7; 16]);
        bytes
    }

    struct Bench(AnswerCache, Instant);

    impl Bench {
        fn ask(&mut self, query: &[u8]) -> Result<Vec<u8>, Box<(CacheSlot, Key)>> {
            let simple = SimpleQuery::read(query, Transport::Udp).expect("usual");
            let key = simple.key(1);
            let hash = self.0.hash(&key);
            let mut out = vec![9];
            if let Some(found) = self.0.find(self.1, hash, &key, 512) {
                assert_eq!(found.outcome(), Outcome::Native);
                found.write(self.1, &simple, &mut out);
                return Ok(out.split_off(1));
            }
            Err(Box::new((self.0.record_miss(hash), key)))
        }

        fn ask_and_store(&mut self, query: &[u8], ttl: u8) {
            if let Err(record_miss) = self.ask(query) {
                let (slot, key) = *record_miss;
                let life = Duration::from_secs(ttl.into());
                self.0.store(self.1, slot, &key, &reply(query, ttl), (Outcome::Native, life));
            }
        }
    }

    #[test]
    fn the_third_query_is_answered_with_its_id_case_and_ttl() {
        let mut bench = Bench(AnswerCache::new(10_000), Instant::from_secs(1));
        bench.ask_and_store(&query(1, 1), 60);
        assert!(bench.ask(&query(1, 2)).is_err(), "queried once: not stored");
        bench.ask_and_store(&query(1, 3), 60);
        bench.1 = Instant::from_secs(11);
        let answer = bench.ask(&query(1, 4)).expect("ready");
        assert_eq!(answer[..2], [0, 4]);
        assert_eq!(&answer[19..26], b"Example", "the case of the question");
        assert_eq!(answer[answer.len() - 22..answer.len() - 18], [0, 0, 0, 50]);
        bench.1 = Instant::from_secs(61);
        assert!(bench.ask(&query(1, 5)).is_err(), "expired");
    }

    #[test]
    fn names_queried_once_evict_nothing() {
        let mut bench = Bench(AnswerCache::new(10_000), Instant::from_secs(1));
        for _ in 0..3 {
            bench.ask_and_store(&query(1, 1), 60);
        }
        for name in 100..5_000 {
            bench.ask_and_store(&query(name, 1), 60);
        }
        assert!(bench.ask(&query(1, 2)).is_ok());
    }

    #[test]
    fn bytes_are_bounded_and_popular_names_stay() {
        let mut bench = Bench(AnswerCache::new(10_000), Instant::from_secs(1));
        for name in 0..500 {
            for _ in 0..3 {
                bench.ask_and_store(&query(name, 1), 60);
                bench.ask_and_store(&query(7, 1), 60);
            }
            assert!(bench.0.bytes <= 10_000);
        }
        assert!(bench.ask(&query(7, 2)).is_ok());
        assert!(bench.0.entries.len() < 60);
        let held: usize = bench.0.entries.iter().flatten().map(Entry::size).sum();
        assert_eq!(held, bench.0.bytes);
        bench.0.clear(0);
        for _ in 0..3 {
            bench.ask_and_store(&query(1, 1), 60);
        }
        assert!(bench.ask(&query(1, 1)).is_err(), "a limit of 0");
    }

    #[test]
    fn answers_with_ttl_zero_are_not_stored() {
        let mut bench = Bench(AnswerCache::new(10_000), Instant::from_secs(1));
        for _ in 0..3 {
            bench.ask_and_store(&query(1, 1), 0);
        }
        assert!(bench.ask(&query(1, 1)).is_err(), "a TTL of 0");
    }
}
