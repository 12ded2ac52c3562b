//! What upstreams have said, for as long as it holds and a while longer: positive answers, denials
//! (RFC 2308), failures (RFC 9520), and stale data for bad times (RFC 8767).
//!
//! One record holds all that is known of a name, so that A and AAAA share it. Its bytes are those that
//! came; they are read again when they are wanted. The bound is in bytes.

mod entry;
mod eviction;
mod record_set;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash as _, Hasher};

use self::entry::{AUTHENTIC, DATA, Head, Kept, SILENT};
use self::eviction::Room;
use self::record_set::{Reading, message};
use super::key::{Key, Seed};
use super::upstream_query::{Fate, Heard};
use super::wire::{self, flag, rcode};
use crate::time::Instant;

use self::eviction::OWNERS;

/// What a record costs besides its own bytes: its places in the tables, and what an allocation wastes.
const OVERHEAD: usize = size_of::<(u64, Kept)>() + size_of::<eviction::Link>() + size_of::<(u64, u32)>() + 24;

/// How long things are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// Bytes in all, over all names.
    pub bytes: usize,
    /// Longest life of positive answers, in seconds (1 day).
    pub most: u32,
    /// Longest life of denials, in seconds (1 h; RFC 2308 §5 wants 1 h to 3 h).
    pub most_negative: u32,
    /// How long a failure is remembered, in seconds (5 s); doubled with each failure in a row up to
    /// 300 s, the most that RFC 9520 §3.2 allows.
    pub failure: u32,
    /// How long data are kept behind their time, in seconds (1 day); 0 is never (RFC 8767 §5).
    pub stale: u32,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { bytes: 64 << 20, most: 86_400, most_negative: 3_600, failure: 5, stale: 86_400 }
    }
}

/// Seconds for which a failure is remembered at most (RFC 9520 §3.2).
const MOST_FAILURE: u32 = 300;

/// What the cache knows about a question.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// An answer that holds.
    pub(super) fresh: Option<Heard>,
    /// Whether it soon will not, and should be asked for again (prefetch).
    pub(super) refresh: bool,
    /// An answer whose time is over.
    pub(super) stale: Option<Heard>,
    /// Upstreams have failed lately and are not asked.
    pub(super) failing: Option<Fate>,
}

/// The memory of an engine.
#[derive(Debug)]
pub(super) struct Cache {
    seed: Seed,
    keeping: Keeping,
    places: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    /// Hash and record by place. Names whose hashes are equal push each other out.
    records: Vec<(u64, Kept)>,
    free: Vec<u32>,
    room: Room,
}

/// Keys that are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

impl Cache {
    pub(super) fn new(keeping: Keeping, seed: Seed) -> Self {
        Self {
            seed,
            keeping,
            places: HashMap::default(),
            records: Vec::new(),
            free: Vec::new(),
            room: Room::new(),
        }
    }

    /// Changes bounds; what is too much goes at once.
    pub(super) fn set(&mut self, keeping: Keeping) {
        self.keeping = keeping;
        self.shrink();
    }

    /// Which of the [`OWNERS`] a client is: its subnet's, so that many addresses are no more than one.
    pub(super) fn owner(&self, client: core::net::IpAddr) -> u8 {
        let mut hasher = self.seed.build_hasher();
        match client {
            core::net::IpAddr::V4(v4) => v4.hash(&mut hasher),
            core::net::IpAddr::V6(v6) => hasher.write_u64((v6.to_bits() >> 64) as u64),
        }
        // Below 64.
        (hasher.finish() % u64::from(OWNERS)) as u8
    }

    /// Names known.
    pub(super) fn names(&self) -> usize {
        self.places.len()
    }

    /// Bytes in use.
    pub(super) const fn bytes(&self) -> usize {
        self.room.bytes()
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    fn place(&self, name: &[u8]) -> Option<u32> {
        let place = *self.places.get(&self.hash(name))?;
        (self.records[place as usize].1.name() == name).then_some(place)
    }

    /// What is known about `key`, which `owner` asks for.
    pub(super) fn look(&mut self, now: Instant, key: &Key, owner: u8) -> Look {
        let now = seconds(now);
        let mut look = Look::default();
        let Some(place) = self.place(&key.name).filter(|_| key.is_cacheable()) else { return look };
        self.room.touch(place, owner);
        let kept = &self.records[place as usize].1;
        let own = kept.find(key);
        // A name that does not exist has no records of any type (RFC 2308 §5), but an alias that
        // leads nowhere does exist.
        let gone = || {
            kept.answers().find(|(head, _)| {
                head.rcode == rcode::NXDOMAIN
                    && head.counts[0] == 0
                    && head.flavour == key.flavour.number()
                    && head.is_fresh(now)
            })
        };
        let Some((head, records)) = own.filter(|(head, _)| head.is_fresh(now)).or_else(gone).or(own) else {
            return look;
        };
        let age = now.saturating_sub(head.stored);
        if head.is_fresh(now) {
            let left = head.ttl - age;
            look.fresh = Some(Heard {
                message: message(key, &head, records, Some(age)),
                stale: false,
                left: Some(left),
            });
            look.refresh = head.ttl >= 10 && left <= head.ttl / 10 && now >= head.retry;
        } else if head.bits & DATA != 0 && age < head.ttl.saturating_add(self.keeping.stale) {
            look.stale =
                Some(Heard { message: message(key, &head, records, None), stale: true, left: Some(0) });
        }
        if now < head.retry {
            look.failing = Some(failure(key, &head));
        }
        look
    }

    /// Keeps an answer: data, that is, not an error. How long it holds, in seconds: `None` if it does
    /// not say (a denial without SOA, RFC 2308 §5).
    pub(super) fn store(&mut self, now: Instant, key: &Key, owner: u8, reply: &[u8]) -> Option<u32> {
        let reading = Reading::of(key, reply, &self.keeping)?;
        if !key.is_cacheable() {
            return reading.ttl;
        }
        let Some(ttl) = reading.ttl.filter(|ttl| *ttl > 0) else {
            if let Some(place) = self.place(&key.name) {
                self.records[place as usize].1.drop_answer(key);
                self.room.resize(place, cost(&self.records[place as usize].1));
            }
            return reading.ttl;
        };
        let authentic = wire::u16_at(reply, 2).is_some_and(|flags| flags & flag::AD != 0);
        let head = Head {
            kind: key.kind,
            flavour: key.flavour.number(),
            bits: DATA | if authentic { AUTHENTIC } else { 0 },
            rcode: wire::rcode_of(reply),
            error: reading.error,
            stored: seconds(now),
            ttl,
            counts: reading.counts,
            len: u16::try_from(reading.records.len()).ok()?,
            ..Head::default()
        };
        self.put(key, owner, &head, &reading.records);
        Some(ttl)
    }

    /// Remembers that upstreams failed, with `reply` or without a word.
    pub(super) fn fail(&mut self, now: Instant, key: &Key, owner: u8, reply: Option<&[u8]>) {
        if !key.is_cacheable() || self.keeping.failure == 0 {
            return;
        }
        let now = seconds(now);
        let known = self.place(&key.name).and_then(|place| {
            let (head, records) = self.records[place as usize].1.find(key)?;
            Some((head, records.to_vec()))
        });
        let (mut head, records) = known.unwrap_or_default();
        head.kind = key.kind;
        head.flavour = key.flavour.number();
        // A failure long ago is not one in a row.
        let in_a_row = now < head.retry.saturating_add(MOST_FAILURE);
        head.fails = if in_a_row { head.fails.saturating_add(1) } else { 1 };
        let factor = 1_u32.checked_shl(u32::from(head.fails - 1)).unwrap_or(u32::MAX);
        let doubled = self.keeping.failure.saturating_mul(factor);
        head.retry = now.saturating_add(doubled.clamp(1, MOST_FAILURE));
        match reply {
            None => head.bits |= SILENT,
            Some(reply) => {
                head.bits &= !SILENT;
                head.failed_rcode = wire::rcode_of(reply).to_le_bytes()[0];
                head.failed_error = record_set::error_of(reply);
            }
        }
        self.put(key, owner, &head, &records);
    }

    fn put(&mut self, key: &Key, owner: u8, head: &Head, records: &[u8]) {
        if let Some(place) = self.place(&key.name) {
            let kept = &mut self.records[place as usize].1;
            kept.put(head, records);
            self.room.resize(place, cost(kept));
        } else {
            let hash = self.hash(&key.name);
            if let Some(place) = self.places.get(&hash).copied() {
                self.forget(place);
            }
            let mut kept = Kept::new(&key.name);
            kept.put(head, records);
            let bytes = cost(&kept);
            let place = match self.free.pop() {
                Some(place) => {
                    self.records[place as usize] = (hash, kept);
                    place
                }
                None => {
                    self.records.push((hash, kept));
                    // Each costs some hundred bytes, so that four billion never fit.
                    (self.records.len() - 1) as u32
                }
            };
            self.places.insert(hash, place);
            self.room.add(place, owner, bytes);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.room.bytes() > self.keeping.bytes {
            let Some(place) = self.room.victim(self.keeping.bytes) else { return };
            self.forget(place);
        }
    }

    fn forget(&mut self, place: u32) {
        let (hash, _) = core::mem::take(&mut self.records[place as usize]);
        self.places.remove(&hash);
        self.room.remove(place);
        self.free.push(place);
    }
}

fn cost(kept: &Kept) -> usize {
    kept.bytes() + OVERHEAD
}

/// A failure as it was.
fn failure(key: &Key, head: &Head) -> Fate {
    if head.bits & SILENT != 0 {
        return Fate::Silent;
    }
    let failed = Head { rcode: u16::from(head.failed_rcode), error: head.failed_error, ..Head::default() };
    Fate::Reply(Heard { message: message(key, &failed, &[], Some(0)), stale: false, left: Some(0) })
}
