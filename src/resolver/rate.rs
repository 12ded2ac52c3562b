//! Rate limits: queries per client, and equal answers per network.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;

/// Sets of four buckets.
const SETS: usize = 4_096;

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Hash of the key; 0 is unused.
    tag: u64,
    /// Time in ns at which the bucket is empty, at the configured rate.
    empty: u64,
}

/// Leaky buckets of one rate. Their number is fixed: a new key replaces the bucket of its set that has been
/// idle longest. A replaced key may send more, never less.
pub(super) struct Rate {
    seed: RandomState,
    sets: Vec<[Bucket; 4]>,
    /// Nanoseconds per event; 0 is no limit.
    each: u64,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        let mut rate = Self { seed: RandomState::new(), sets: Vec::new(), each: 0 };
        rate.set(per_second);
        rate
    }

    /// Changes the rate; the buckets keep their content.
    pub(super) fn set(&mut self, per_second: u32) {
        self.each = 1_000_000_000u64.checked_div(per_second.into()).unwrap_or(0);
        if self.each != 0 && self.sets.is_empty() {
            self.sets = vec![[Bucket::default(); 4]; SETS];
        }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.each == 0
    }

    /// Whether one more event of `whose` is within the rate. The burst is one second's worth.
    pub(super) fn allows(&mut self, now: Instant, whose: &impl Hash) -> bool {
        if self.is_off() {
            return true;
        }
        let tag = self.seed.hash_one(whose) | 1;
        let set = &mut self.sets[(tag >> 32) as usize % SETS];
        let index = set.iter().position(|bucket| bucket.tag == tag).unwrap_or_else(|| {
            let idle = (0..4).min_by_key(|n| set[*n].empty).unwrap_or(0);
            set[idle] = Bucket { tag, empty: 0 };
            idle
        });
        let now = now.as_nanos();
        let empty = set[index].empty.max(now) + self.each;
        let full = now + Duration::from_secs(1).as_nanos() as u64;
        if empty > full {
            return false;
        }
        set[index].empty = empty;
        true
    }
}

/// A client's network for response rate limiting: its /56, or /24 for IPv4.
pub(super) fn network(client: IpAddr) -> u64 {
    match client {
        IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64,
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8) | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_burst() {
        let mut rate = Rate::new(10);
        let now = Instant::from_secs(5);
        let allowed = (0..100).filter(|_| rate.allows(now, &1)).count();
        assert_eq!(allowed, 10);
        assert!(rate.allows(now, &2), "another has its own bucket");
        assert!(!rate.allows(Instant::from_millis(5_050), &1));
        assert!(rate.allows(Instant::from_millis(5_101), &1), "a tenth of a second is worth one");
        rate.set(0);
        assert!((0..100).all(|_| rate.allows(now, &1)));
    }

    #[test]
    fn the_number_of_buckets_is_fixed() {
        let mut rate = Rate::new(1);
        for client in 0..100_000 {
            rate.allows(Instant::from_secs(1), &client);
        }
        assert_eq!(rate.sets.len(), SETS);
    }

    #[test]
    fn networks() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8:0:1::1", "2001:db8:0:ff::2"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:100::1"));
        assert!(same("192.0.2.1", "192.0.2.9"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
    }
}
