//! The hierarchical timer wheel of sessions.
//!
//! Six levels of 256 buckets cover every deadline; a tick is 2^20 ns, about 1 ms. A session's level is the
//! highest group of eight bits in which the tick of its deadline differs from the wheel's. A later deadline
//! only updates the session: when its bucket is due, the session is inserted again. An earlier deadline
//! moves it at once.

use super::slab::{Item, NIL, Slab};
use crate::time::Instant;

const LEVELS: usize = 6;
const BUCKETS: usize = 256;
const TICK_BITS: u32 = 20;
/// Maximum entries of a bucket that are searched for the exact next deadline.
const SCAN_LIMIT: usize = 16;

/// A session's links in the list of its bucket.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct WheelLinks {
    next: u32,
    prev: u32,
}

impl WheelLinks {
    /// Not in the wheel.
    pub(in crate::nat64) const UNLINKED: Self = Self { next: NIL, prev: NIL };
}

/// The fields of a session that the wheel uses. The session has them among its own, as one cache line holds all.
pub(in crate::nat64) trait Timed: Item {
    /// Deadline in nanoseconds.
    fn deadline(&self) -> u64;

    /// The deadline, mutably.
    fn deadline_mut(&mut self) -> &mut u64;

    /// The links in the list of its bucket.
    fn links(&self) -> WheelLinks;

    /// The links in the list of its bucket, mutably.
    fn links_mut(&mut self) -> &mut WheelLinks;

    /// The bucket that lists it.
    fn bucket(&self) -> usize;

    /// Records the bucket that lists it.
    fn set_bucket(&mut self, bucket: u16);
}

/// The wheel. It holds the heads of the lists; the links are in the sessions.
#[derive(Debug)]
pub(in crate::nat64) struct Wheel {
    heads: Box<[u32; LEVELS * BUCKETS]>,
    taken: [[u64; BUCKETS / 64]; LEVELS],
    /// All earlier ticks have been processed.
    tick: u64,
}

const fn tick_of(deadline: u64) -> u64 {
    deadline >> TICK_BITS
}

impl Wheel {
    pub(in crate::nat64) fn new() -> Self {
        Self { heads: Box::new([NIL; LEVELS * BUCKETS]), taken: [[0; 4]; LEVELS], tick: 0 }
    }

    /// Inserts a session by its deadline.
    pub(in crate::nat64) fn insert(&mut self, sessions: &mut Slab<impl Timed>, slot: u32) {
        let bucket = self.bucket_of(tick_of(sessions[slot].deadline()));
        let head = self.heads[bucket];
        *sessions[slot].links_mut() = WheelLinks { next: head, prev: NIL };
        sessions[slot].set_bucket(bucket as u16);
        if head != NIL {
            sessions[head].links_mut().prev = slot;
        }
        self.heads[bucket] = slot;
        self.taken[bucket / BUCKETS][bucket % BUCKETS / 64] |= 1 << (bucket % 64);
    }

    /// Removes a session from the wheel.
    pub(in crate::nat64) fn remove(&mut self, sessions: &mut Slab<impl Timed>, slot: u32) {
        let WheelLinks { next, prev } = sessions[slot].links();
        let bucket = sessions[slot].bucket();
        if next != NIL {
            sessions[next].links_mut().prev = prev;
        }
        if prev != NIL {
            sessions[prev].links_mut().next = next;
        } else {
            self.heads[bucket] = next;
            if next == NIL {
                self.taken[bucket / BUCKETS][bucket % BUCKETS / 64] &= !(1 << (bucket % 64));
            }
        }
        *sessions[slot].links_mut() = WheelLinks::UNLINKED;
    }

    /// Sets a deadline. A later one is one store.
    #[inline]
    pub(in crate::nat64) fn set(&mut self, sessions: &mut Slab<impl Timed>, slot: u32, deadline: Instant) {
        let session = &mut sessions[slot];
        let deadline = deadline.as_nanos();
        let earlier = deadline < session.deadline();
        *session.deadline_mut() = deadline;
        if earlier && tick_of(deadline) < self.start_of(session.bucket()) {
            self.remove(sessions, slot);
            self.insert(sessions, slot);
        }
    }

    /// Returns a session that has expired by `now`, and leaves it in the wheel. Each session inserted again
    /// costs one of `budget`.
    pub(in crate::nat64) fn due(
        &mut self,
        sessions: &mut Slab<impl Timed>,
        now: Instant,
        budget: &mut usize,
    ) -> Option<u32> {
        let present = tick_of(now.as_nanos());
        while *budget > 0 {
            let Some(bucket) = self.earliest() else {
                self.tick = self.tick.max(present);
                return None;
            };
            let start = self.start_of(bucket);
            if start > present {
                self.tick = self.tick.max(present);
                return None;
            }
            self.tick = self.tick.max(start);
            let slot = self.first_due(sessions, bucket, now)?;
            if sessions[slot].deadline() <= now.as_nanos() {
                return Some(slot);
            }
            *budget -= 1;
            self.remove(sessions, slot);
            self.insert(sessions, slot);
        }
        None
    }

    /// The next entry of a due bucket: its head. In the current tick, skips entries that are not due yet.
    fn first_due(&self, sessions: &Slab<impl Timed>, bucket: usize, now: Instant) -> Option<u32> {
        let present = tick_of(now.as_nanos());
        let head = self.heads[bucket];
        if bucket >= BUCKETS || self.start_of(bucket) < present {
            return Some(head);
        }
        let mut slot = head;
        while slot != NIL {
            let deadline = sessions[slot].deadline();
            if deadline <= now.as_nanos() || tick_of(deadline) > present {
                return Some(slot);
            }
            slot = sessions[slot].links().next;
        }
        None
    }

    /// When [`due`](Self::due) has a result next: at most one tick after the first deadline.
    pub(in crate::nat64) fn next(&self, sessions: &Slab<impl Timed>) -> Option<Instant> {
        let bucket = self.earliest()?;
        let start = self.start_of(bucket);
        if bucket >= BUCKETS {
            return Some(Instant::from_nanos(start << TICK_BITS));
        }
        let end = (start + 1) << TICK_BITS;
        let (mut slot, mut first) = (self.heads[bucket], end);
        for _ in 0..SCAN_LIMIT {
            if slot == NIL {
                return Some(Instant::from_nanos(first));
            }
            first = first.min(sessions[slot].deadline());
            slot = sessions[slot].links().next;
        }
        Some(Instant::from_nanos(end))
    }

    fn bucket_of(&self, tick: u64) -> usize {
        let tick = tick.max(self.tick);
        let level = (0..LEVELS).rev().find(|level| (tick ^ self.tick) >> (8 * level) != 0).unwrap_or(0);
        level * BUCKETS + (tick >> (8 * level)) as usize % BUCKETS
    }

    /// The first tick of a bucket, relative to the current tick.
    const fn start_of(&self, bucket: usize) -> u64 {
        let level = bucket / BUCKETS;
        let above = 8 * (level + 1);
        (self.tick >> above << above) + (((bucket % BUCKETS) as u64) << (8 * level))
    }

    /// The bucket that is due first. A due bucket of an upper level precedes all lower ones until it is empty.
    fn earliest(&self) -> Option<usize> {
        let first = |level: usize| {
            let words = &self.taken[level];
            let word = words.iter().position(|w| *w != 0)?;
            Some(level * BUCKETS + word * 64 + words[word].trailing_zeros() as usize)
        };
        let mut best = None;
        for level in 0..LEVELS {
            if let Some(bucket) = first(level)
                && (best.is_none() || self.start_of(bucket) <= self.tick)
            {
                best = Some(bucket);
            }
        }
        best
    }
}
