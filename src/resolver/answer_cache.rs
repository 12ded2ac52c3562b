//! Ready answers: whole messages, kept by what they depend on, that only need the client's id, the
//! case of its name, and TTLs that have grown older.
//!
//! An answer is kept when its question is asked the second time, and goes when room is needed and it has not been asked
//! since the last round: names that are asked once, however many, push out nothing. The engine's
//! own cache stands behind; what is kept here ends a little before its TTL does, so that the
//! engine sees who is asked often and can ask again in time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::time::Duration;

use super::frame;
use super::query_key::{Asked, Key};
use crate::dns64::Outcome;
use crate::dns64::wire;
use crate::time::Instant;

/// Sets of four questions of which is remembered that they were asked once.
const ONCE: usize = 1 << 14;
/// What an entry takes besides its bytes, in bytes.
const OVERHEAD: usize = 128;
/// Longest life of a ready answer, in seconds.
const MAX_TTL: u32 = 3_600;

/// The keys are hashes already.
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
    /// Where the TTLs lie.
    ttls: Box<[u16]>,
    /// Where the OPT record lies, the last one; 0 if there is none.
    opt: u16,
    outcome: Outcome,
    born: Instant,
    ends: Instant,
    asked: bool,
    /// How often it was given.
    given: u64,
}

impl Entry {
    fn size(&self) -> usize {
        self.key.len() + self.message.len() + 2 * self.ttls.len() + OVERHEAD
    }
}

/// Where a question belongs, and whether its answer is worth keeping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) hash: u64,
    /// It has been asked before.
    pub(super) again: bool,
}

/// A ready answer that fits.
pub(super) struct Found<'a>(&'a Entry);

impl Found<'_> {
    pub(super) const fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Where the OPT record lies behind the start of the message, if there is one.
    pub(super) fn opt(&self) -> Option<usize> {
        (self.0.opt != 0).then_some(usize::from(self.0.opt))
    }

    /// Appends the answer to `asked`.
    pub(super) fn write(&self, now: Instant, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.0.message);
        let message = &mut out[start..];
        message[..2].copy_from_slice(&asked.id);
        message[wire::HEADER..][..asked.question.len()].copy_from_slice(asked.question);
        let age = u32::try_from(now.since(self.0.born).as_secs()).unwrap_or(u32::MAX);
        if age > 0 {
            for at in &self.0.ttls {
                frame::age(message, usize::from(*at), age);
            }
        }
    }
}

/// Ready answers of one thread.
pub(super) struct Ready {
    seed: RandomState,
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    once: Vec<[u32; 4]>,
    bytes: usize,
    limit: usize,
    hand: usize,
    /// Emptied after each batch of datagrams.
    repeats: Vec<(Box<[u8]>, u64)>,
}

impl Ready {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            seed: RandomState::new(),
            places: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            once: vec![[0; 4]; ONCE],
            bytes: 0,
            limit,
            hand: 0,
            repeats: Vec::new(),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self, limit: usize) {
        (0..self.entries.len()).for_each(|place| self.remove(place));
        self.entries.clear();
        self.free.clear();
        self.bytes = 0;
        self.hand = 0;
        self.limit = limit;
    }

    /// Looks where the answer to a question would be.
    pub(super) fn hash(&self, key: &Key) -> u64 {
        self.seed.hash_one(key.bytes())
    }

    /// The answer to what `key` stands for, unless it is longer than `room` bytes.
    pub(super) fn find(&mut self, now: Instant, hash: u64, key: &Key, room: usize) -> Option<Found<'_>> {
        let place = *self.places.get(&hash)?;
        let entry = self.entries[place].as_ref()?;
        if *entry.key != *key.bytes() || entry.message.len() > room {
            return None;
        }
        if now >= entry.ends {
            self.remove(place);
            return None;
        }
        let entry = self.entries[place].as_mut()?;
        entry.asked = true;
        entry.given += 1;
        Some(Found(entry))
    }

    /// Notes that a question was asked for which nothing is ready.
    pub(super) fn missed(&mut self, hash: u64) -> Place {
        let (set, tag) = (&mut self.once[(hash as usize) % ONCE], (hash >> 32) as u32 | 1);
        let again = set.contains(&tag);
        if !again {
            // The one that came first goes.
            set.rotate_right(1);
            set[0] = tag;
        }
        Place { hash, again }
    }

    /// Keeps the answer to a question that was asked before, if it may be kept at all.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        place: Place,
        key: &Key,
        message: &[u8],
        (outcome, life): (Outcome, Duration),
    ) {
        if !place.again {
            return;
        }
        let Some((ttls, opt, least)) = frame::lives(message) else { return };
        let Ok(opt) = u16::try_from(opt.unwrap_or(0)) else { return };
        let life = life.min(Duration::from_secs(least.min(MAX_TTL).into()));
        if life.is_zero() {
            return;
        }
        let entry = Entry {
            hash: place.hash,
            key: key.bytes().into(),
            message: message.into(),
            ttls: ttls.into(),
            opt,
            outcome,
            born: now,
            ends: now + life,
            asked: false,
            given: 0,
        };
        if let Some(old) = self.places.get(&place.hash).copied() {
            self.remove(old);
        }
        if self.make_room(entry.size()) {
            self.insert(entry);
        }
    }

    fn insert(&mut self, entry: Entry) {
        self.bytes += entry.size();
        let hash = entry.hash;
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place] = Some(entry);
                place
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        };
        self.places.insert(hash, place);
    }

    fn remove(&mut self, place: usize) {
        if let Some(entry) = self.entries[place].take() {
            self.bytes -= entry.size();
            self.places.remove(&entry.hash);
            self.free.push(place);
            if entry.given > 0 {
                self.repeats.push((entry.key, entry.given));
            }
        }
    }

    /// What was given and how often, of answers that have gone since this was last asked.
    pub(super) fn repeats(&mut self) -> impl Iterator<Item = (Box<[u8]>, u64)> {
        self.repeats.drain(..)
    }

    /// Counts among what is repeated also what is still kept.
    pub(super) fn count_kept(&mut self) {
        for entry in self.entries.iter_mut().flatten().filter(|entry| entry.given > 0) {
            self.repeats.push((entry.key.clone(), core::mem::take(&mut entry.given)));
        }
    }

    /// Second chance: the hand goes round, spares once what was asked since it came by, and takes the
    /// rest. Two rounds are always enough.
    fn make_room(&mut self, size: usize) -> bool {
        for _ in 0..2 * self.entries.len() + 1 {
            if self.bytes + size <= self.limit {
                return true;
            }
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            match self.entries.get_mut(self.hand) {
                Some(Some(entry)) if entry.asked => entry.asked = false,
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

    struct Bench(Ready, Instant);

    impl Bench {
        fn ask(&mut self, query: &[u8]) -> Result<Vec<u8>, Box<(Place, Key)>> {
            let asked = Asked::read(query, Transport::Udp).expect("usual");
            let key = asked.key(1);
            let hash = self.0.hash(&key);
            let mut out = vec![9];
            if let Some(found) = self.0.find(self.1, hash, &key, 512) {
                assert_eq!(found.outcome(), Outcome::Native);
                found.write(self.1, &asked, &mut out);
                return Ok(out.split_off(1));
            }
            Err(Box::new((self.0.missed(hash), key)))
        }

        fn ask_and_keep(&mut self, query: &[u8], ttl: u8) {
            if let Err(missed) = self.ask(query) {
                let (place, key) = *missed;
                let life = Duration::from_secs(ttl.into());
                self.0.keep(self.1, place, &key, &reply(query, ttl), (Outcome::Native, life));
            }
        }
    }

    #[test]
    fn the_third_asking_is_answered_with_id_case_and_ttl_of_its_own() {
        let mut bench = Bench(Ready::new(10_000), Instant::from_secs(1));
        bench.ask_and_keep(&query(1, 1), 60);
        assert!(bench.ask(&query(1, 2)).is_err(), "asked once: not kept");
        bench.ask_and_keep(&query(1, 3), 60);
        bench.1 = Instant::from_secs(11);
        let answer = bench.ask(&query(1, 4)).expect("ready");
        assert_eq!(answer[..2], [0, 4]);
        assert_eq!(&answer[19..26], b"Example", "the case of the question");
        assert_eq!(answer[answer.len() - 22..answer.len() - 18], [0, 0, 0, 50]);
        bench.1 = Instant::from_secs(61);
        assert!(bench.ask(&query(1, 5)).is_err(), "its time is over");
    }

    #[test]
    fn names_asked_once_push_out_nothing() {
        let mut bench = Bench(Ready::new(10_000), Instant::from_secs(1));
        for _ in 0..3 {
            bench.ask_and_keep(&query(1, 1), 60);
        }
        for name in 100..5_000 {
            bench.ask_and_keep(&query(name, 1), 60);
        }
        assert!(bench.ask(&query(1, 2)).is_ok());
    }

    #[test]
    fn bytes_are_bounded_and_what_is_asked_for_stays() {
        let mut bench = Bench(Ready::new(10_000), Instant::from_secs(1));
        for name in 0..500 {
            for _ in 0..3 {
                bench.ask_and_keep(&query(name, 1), 60);
                bench.ask_and_keep(&query(7, 1), 60);
            }
            assert!(bench.0.bytes <= 10_000);
        }
        assert!(bench.ask(&query(7, 2)).is_ok());
        assert!(bench.0.entries.len() < 60);
        let held: usize = bench.0.entries.iter().flatten().map(Entry::size).sum();
        assert_eq!(held, bench.0.bytes);
        bench.0.clear(0);
        for _ in 0..3 {
            bench.ask_and_keep(&query(1, 1), 60);
        }
        assert!(bench.ask(&query(1, 1)).is_err(), "no room at all");
    }

    #[test]
    fn what_must_not_be_kept_is_not() {
        let mut bench = Bench(Ready::new(10_000), Instant::from_secs(1));
        for _ in 0..3 {
            bench.ask_and_keep(&query(1, 1), 0);
        }
        assert!(bench.ask(&query(1, 1)).is_err(), "a TTL of 0");
    }
}
