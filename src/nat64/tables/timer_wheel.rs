//! When sessions end: a hierarchical timer wheel over their slots.
//!
//! Six levels of 256 buckets, so that every moment there is has its bucket; a tick is 2^20 ns, about a
//! millisecond. A session is filed under the highest group of eight bits in which its deadline's tick
//! differs from the wheel's. Prolonging a
//! session writes its deadline and leaves it where it is: when its bucket comes up it is filed anew.
//! Only shortening moves it at once.

use super::session::Session;
use super::slab::{NIL, Slab};
use crate::time::Instant;

const LEVELS: usize = 6;
const BUCKETS: usize = 256;
const TICK_BITS: u32 = 20;
/// How many entries of a bucket are looked at for the exact next deadline.
const SCAN_LIMIT: usize = 16;

/// A session's neighbours in its bucket.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct WheelLinks {
    next: u32,
    prev: u32,
}

impl WheelLinks {
    /// Not in the wheel.
    pub(in crate::nat64) const UNLINKED: Self = Self { next: NIL, prev: NIL };
}

/// The wheel. It holds no session, only the lists' heads.
#[derive(Debug)]
pub(in crate::nat64) struct Wheel {
    heads: Box<[u32; LEVELS * BUCKETS]>,
    taken: [[u64; BUCKETS / 64]; LEVELS],
    /// Every tick before this one is done.
    tick: u64,
}

const fn tick_of(deadline: u64) -> u64 {
    deadline >> TICK_BITS
}

impl Wheel {
    pub(in crate::nat64) fn new() -> Self {
        Self { heads: Box::new([NIL; LEVELS * BUCKETS]), taken: [[0; 4]; LEVELS], tick: 0 }
    }

    /// Files a session that is not in the wheel by its deadline.
    pub(in crate::nat64) fn insert(&mut self, sessions: &mut Slab<Session>, slot: u32) {
        let bucket = self.bucket_of(tick_of(sessions[slot].deadline));
        let head = self.heads[bucket];
        sessions[slot].links = WheelLinks { next: head, prev: NIL };
        sessions[slot].bucket = bucket as u16;
        if head != NIL {
            sessions[head].links.prev = slot;
        }
        self.heads[bucket] = slot;
        self.taken[bucket / BUCKETS][bucket % BUCKETS / 64] |= 1 << (bucket % 64);
    }

    /// Takes a session out of the wheel.
    pub(in crate::nat64) fn remove(&mut self, sessions: &mut Slab<Session>, slot: u32) {
        let WheelLinks { next, prev } = sessions[slot].links;
        let bucket = usize::from(sessions[slot].bucket);
        if next != NIL {
            sessions[next].links.prev = prev;
        }
        if prev != NIL {
            sessions[prev].links.next = next;
        } else {
            self.heads[bucket] = next;
            if next == NIL {
                self.taken[bucket / BUCKETS][bucket % BUCKETS / 64] &= !(1 << (bucket % 64));
            }
        }
        sessions[slot].links = WheelLinks::UNLINKED;
    }

    /// Sets a deadline. A later one is one store.
    #[inline]
    pub(in crate::nat64) fn set(&mut self, sessions: &mut Slab<Session>, slot: u32, deadline: Instant) {
        let session = &mut sessions[slot];
        let earlier = deadline.as_nanos() < session.deadline;
        session.deadline = deadline.as_nanos();
        if earlier && tick_of(session.deadline) < self.start_of(usize::from(session.bucket)) {
            self.remove(sessions, slot);
            self.insert(sessions, slot);
        }
    }

    /// A session whose deadline has come by `now`; it stays in the wheel. Every session filed anew
    /// on the way costs one of `budget`.
    pub(in crate::nat64) fn due(
        &mut self,
        sessions: &mut Slab<Session>,
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
            if sessions[slot].deadline <= now.as_nanos() {
                return Some(slot);
            }
            *budget -= 1;
            self.remove(sessions, slot);
            self.insert(sessions, slot);
        }
        None
    }

    /// The entry of a bucket that has come up to look at next: the head, except that in the present
    /// tick those that are not yet due stay where they are.
    fn first_due(&self, sessions: &Slab<Session>, bucket: usize, now: Instant) -> Option<u32> {
        let present = tick_of(now.as_nanos());
        let head = self.heads[bucket];
        if bucket >= BUCKETS || self.start_of(bucket) < present {
            return Some(head);
        }
        let mut slot = head;
        while slot != NIL {
            let deadline = sessions[slot].deadline;
            if deadline <= now.as_nanos() || tick_of(deadline) > present {
                return Some(slot);
            }
            slot = sessions[slot].links.next;
        }
        None
    }

    /// When [`due`](Self::due) is to be asked next: never later than a tick after the first deadline.
    pub(in crate::nat64) fn next(&self, sessions: &Slab<Session>) -> Option<Instant> {
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
            first = first.min(sessions[slot].deadline);
            slot = sessions[slot].links.next;
        }
        Some(Instant::from_nanos(end))
    }

    fn bucket_of(&self, tick: u64) -> usize {
        let tick = tick.max(self.tick);
        let level = (0..LEVELS).rev().find(|level| (tick ^ self.tick) >> (8 * level) != 0).unwrap_or(0);
        level * BUCKETS + (tick >> (8 * level)) as usize % BUCKETS
    }

    /// The first tick of a bucket, by where the wheel stands.
    const fn start_of(&self, bucket: usize) -> u64 {
        let level = bucket / BUCKETS;
        let above = 8 * (level + 1);
        (self.tick >> above << above) + (((bucket % BUCKETS) as u64) << (8 * level))
    }

    /// The bucket that comes up first. On the upper levels one that has come up but is not empty yet
    /// goes before everything on the lower ones.
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
