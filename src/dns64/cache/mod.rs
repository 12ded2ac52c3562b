//! The DNS cache: positive answers, negative answers (RFC 2308), failures (RFC 9520) and stale data (RFC
//! 8767).
//!
//! One entry holds all answers of a name, so that A and AAAA share it. Records are stored as received and
//! decoded on use. The limit is in bytes.

mod entry;
mod eviction;
mod limits;
mod record_set;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};

use self::entry::{AUTHENTIC, DATA, NO_REPLY, NameEntry, OUTAGE, RecordSetHeader};
use self::eviction::EvictionLists;
use self::record_set::{Reading, message};
use super::key::{Key, Seed};
use super::upstream_query::{UpstreamReply, UpstreamResult};
use super::wire::{self, flag, rcode, rr};
use crate::addr::SiteKey;
use crate::time::Instant;

pub use self::limits::CacheLimits;

/// Bytes of an entry besides its content: its slots in the tables, and allocator overhead.
const OVERHEAD: usize =
    size_of::<(u64, NameEntry)>() + size_of::<eviction::Links>() + size_of::<(u64, u32)>() + 24;

/// Longest time a failure is cached, in seconds (RFC 9520 §3.2).
const MAX_FAILURE_TTL: u32 = 300;

/// How long a failure is cached during an outage, in seconds.
const OUTAGE_RETRY: u32 = 2;

/// A failed upstream query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure<'a> {
    /// An error.
    Reply(&'a [u8]),
    /// A timeout of this query, while others were answered.
    NoReply,
    /// A timeout while no query to the upstream was answered. It says nothing about the name.
    Outage,
}

/// Cached data for a question.
#[derive(Debug, Default)]
pub(super) struct Cached {
    /// An answer that has not expired.
    pub(super) fresh: Option<UpstreamReply>,
    /// Whether the answer expires soon and should be prefetched.
    pub(super) refresh: bool,
    /// An expired answer.
    pub(super) stale: Option<UpstreamReply>,
    /// Set while upstreams are not queried after a failure.
    pub(super) failing: Option<UpstreamResult>,
    /// Time of that failure if it was part of an outage. A later reply of the upstream invalidates it.
    pub(super) outage: Option<Instant>,
}

/// The cache of an engine.
#[derive(Debug)]
pub(super) struct Cache {
    seed: Seed,
    cache_limits: CacheLimits,
    by_hash: HashMap<u64, u32, BuildHasherDefault<IdentityHasher>>,
    /// Hash and entry by index. Names with equal hashes replace each other.
    entries: Vec<(u64, NameEntry)>,
    free: Vec<u32>,
    eviction: EvictionLists,
}

/// Passes keys through that are hashes already.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
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
    pub(super) fn new(cache_limits: CacheLimits, seed: Seed) -> Self {
        Self {
            seed,
            cache_limits,
            by_hash: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            eviction: EvictionLists::new(),
        }
    }

    /// Changes the limits and evicts what exceeds them.
    pub(super) fn set(&mut self, cache_limits: CacheLimits) {
        self.cache_limits = cache_limits;
        self.shrink();
    }

    /// Number of names.
    pub(super) fn names(&self) -> usize {
        self.by_hash.len()
    }

    /// Bytes in use.
    pub(super) const fn bytes(&self) -> usize {
        self.eviction.bytes()
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    fn index(&self, name: &[u8]) -> Option<u32> {
        let index = *self.by_hash.get(&self.hash(name))?;
        (self.entries[index as usize].1.name() == name).then_some(index)
    }

    /// Looks up `key` on behalf of the client site `site`.
    pub(super) fn get(&mut self, now: Instant, key: &Key, site: SiteKey) -> Cached {
        self.look_up_where(now, key, site, |_| true)
    }

    /// The same for a name whose AAAA records are ignored: an NXDOMAIN for AAAA is ignored as well, and
    /// denies no other type.
    pub(super) fn look_up_ignoring_aaaa(&mut self, now: Instant, key: &Key, site: SiteKey) -> Cached {
        self.look_up_where(now, key, site, |denial| denial.kind != rr::AAAA)
    }

    /// Looks up `key`. `denies` selects the NXDOMAIN answers for other types that hold for this one.
    fn look_up_where(
        &mut self,
        now: Instant,
        key: &Key,
        site: SiteKey,
        denies: impl Fn(&RecordSetHeader) -> bool,
    ) -> Cached {
        let now = seconds(now);
        let mut cached = Cached::default();
        let Some(index) = self.index(&key.name).filter(|_| key.is_cacheable()) else { return cached };
        self.eviction.promote(index, site);
        let entry = &self.entries[index as usize].1;
        let own = entry.find(key);
        // A name that does not exist has no records of any type (RFC 2308 §5). An alias to such a name
        // does exist.
        let nonexistent = || {
            entry.answers().find(|(header, _)| {
                header.rcode == rcode::NXDOMAIN
                    && header.counts[0] == 0
                    && header.flags == key.flags.number()
                    && header.is_fresh(now)
                    && denies(header)
            })
        };
        let Some((header, records)) =
            own.filter(|(header, _)| header.is_fresh(now)).or_else(nonexistent).or(own)
        else {
            return cached;
        };
        let age = now.saturating_sub(header.stored);
        if header.is_fresh(now) {
            let left = header.ttl - age;
            cached.fresh = Some(UpstreamReply {
                message: message(key, &header, records, Some(age)),
                stale: false,
                left: Some(left),
            });
            cached.refresh = header.ttl >= 10 && left <= header.ttl / 10 && now >= header.retry;
        } else if header.bits & DATA != 0 && age < header.ttl.saturating_add(self.cache_limits.stale) {
            cached.stale = Some(UpstreamReply {
                message: message(key, &header, records, None),
                stale: true,
                left: Some(0),
            });
        }
        if now < header.retry {
            cached.failing = Some(failure(key, &header));
            let failed_at = Instant::from_secs(header.retry.saturating_sub(OUTAGE_RETRY).into());
            cached.outage = (header.bits & OUTAGE != 0).then_some(failed_at);
        }
        cached
    }

    /// The failures of a name (uncompressed, lowercase) that are cached at `now`: type, what failed, and for how
    /// many seconds upstreams are not queried again.
    pub(super) fn failures(&self, now: Instant, name: &[u8]) -> Vec<(u16, Option<u8>, u32)> {
        let now = seconds(now);
        let answers = self.index(name).into_iter().flat_map(|index| self.entries[index as usize].1.answers());
        let failing = answers.filter(|(header, _)| now < header.retry);
        failing
            .map(|(header, _)| {
                let code = (header.bits & NO_REPLY == 0).then_some(header.failed_rcode);
                (header.kind, code, header.retry - now)
            })
            .collect()
    }

    /// Stores an answer that is not an error. Returns its TTL in seconds, or `None` if the answer has none
    /// (a negative answer without SOA, RFC 2308 §5).
    pub(super) fn store(&mut self, now: Instant, key: &Key, site: SiteKey, reply: &[u8]) -> Option<u32> {
        let reading = Reading::of(key, reply, &self.cache_limits)?;
        if !key.is_cacheable() {
            return reading.ttl;
        }
        let Some(ttl) = reading.ttl.filter(|ttl| *ttl > 0) else {
            if let Some(index) = self.index(&key.name) {
                self.entries[index as usize].1.remove(key);
                self.eviction.resize(index, cost(&self.entries[index as usize].1));
            }
            return reading.ttl;
        };
        let authentic = wire::u16_at(reply, 2).is_some_and(|flags| flags & flag::AD != 0);
        let header = RecordSetHeader {
            kind: key.kind,
            flags: key.flags.number(),
            bits: DATA | if authentic { AUTHENTIC } else { 0 },
            rcode: wire::rcode_of(reply),
            error: reading.error,
            stored: seconds(now),
            ttl,
            counts: reading.counts,
            len: u16::try_from(reading.records.len()).ok()?,
            ..RecordSetHeader::default()
        };
        self.put(key, site, &header, &reading.records);
        Some(ttl)
    }

    /// Stores a failure. Consecutive failures are cached longer, except during an outage.
    pub(super) fn store_failure(&mut self, now: Instant, key: &Key, site: SiteKey, failure: Failure<'_>) {
        if !key.is_cacheable() || self.cache_limits.failure == 0 {
            return;
        }
        let now = seconds(now);
        let known = self.index(&key.name).and_then(|index| {
            let (header, records) = self.entries[index as usize].1.find(key)?;
            Some((header, records.to_vec()))
        });
        let (mut header, records) = known.unwrap_or_default();
        header.kind = key.kind;
        header.flags = key.flags.number();
        header.bits &= !(NO_REPLY | OUTAGE);
        match failure {
            Failure::Reply(reply) => {
                header.failed_rcode = wire::rcode_of(reply).to_le_bytes()[0];
                header.failed_error = record_set::error_of(reply);
            }
            Failure::NoReply => header.bits |= NO_REPLY,
            Failure::Outage => header.bits |= NO_REPLY | OUTAGE,
        }
        if failure == Failure::Outage {
            header.retry = now.saturating_add(OUTAGE_RETRY);
        } else {
            // Failures are consecutive only within this time.
            let in_a_row = now < header.retry.saturating_add(MAX_FAILURE_TTL);
            header.failures = if in_a_row { header.failures.saturating_add(1) } else { 1 };
            let factor = 1_u32.checked_shl(u32::from(header.failures - 1)).unwrap_or(u32::MAX);
            let doubled = self.cache_limits.failure.saturating_mul(factor);
            header.retry = now.saturating_add(doubled.clamp(1, MAX_FAILURE_TTL));
        }
        self.put(key, site, &header, &records);
    }

    fn put(&mut self, key: &Key, site: SiteKey, header: &RecordSetHeader, records: &[u8]) {
        if let Some(index) = self.index(&key.name) {
            let entry = &mut self.entries[index as usize].1;
            entry.put(header, records);
            self.eviction.resize(index, cost(entry));
        } else {
            let hash = self.hash(&key.name);
            if let Some(index) = self.by_hash.get(&hash).copied() {
                self.forget(index);
            }
            let mut entry = NameEntry::new(&key.name);
            entry.put(header, records);
            let bytes = cost(&entry);
            let index = match self.free.pop() {
                Some(index) => {
                    self.entries[index as usize] = (hash, entry);
                    index
                }
                None => {
                    self.entries.push((hash, entry));
                    // Each entry takes over 100 bytes, so the index fits into 32 bits.
                    (self.entries.len() - 1) as u32
                }
            };
            self.by_hash.insert(hash, index);
            self.eviction.add(index, site, bytes);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.eviction.bytes() > self.cache_limits.bytes {
            let Some(index) = self.eviction.victim(self.cache_limits.bytes) else { return };
            self.forget(index);
        }
    }

    fn forget(&mut self, index: u32) {
        let (hash, _) = core::mem::take(&mut self.entries[index as usize]);
        self.by_hash.remove(&hash);
        self.eviction.remove(index);
        self.free.push(index);
    }
}

fn cost(entry: &NameEntry) -> usize {
    entry.bytes() + OVERHEAD
}

/// The cached failure as a result.
fn failure(key: &Key, header: &RecordSetHeader) -> UpstreamResult {
    if header.bits & NO_REPLY != 0 {
        return UpstreamResult::NoReply;
    }
    let failed = RecordSetHeader {
        rcode: u16::from(header.failed_rcode),
        error: header.failed_error,
        ..RecordSetHeader::default()
    };
    UpstreamResult::Reply(UpstreamReply {
        message: message(key, &failed, &[], Some(0)),
        stale: false,
        left: Some(0),
    })
}
