//! Token bucket: limits originated ICMP errors, new hosts, bindings and sessions.

use crate::time::Instant;

pub(super) const NANOS: u64 = 1_000_000_000;

/// A token bucket. It starts full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Tokens spent, expressed as nanoseconds of refill time; zero is a full bucket.
    used: u64,
    since: Instant,
}

impl Default for Bucket {
    fn default() -> Self {
        Self::new()
    }
}

impl Bucket {
    /// A full bucket.
    pub(crate) const fn new() -> Self {
        Self { used: 0, since: Instant::ZERO }
    }

    /// Takes a token if one is left. The bucket refills at `rate` tokens per second and holds at most
    /// `burst`. With a rate or burst of 0 it is always empty.
    pub(crate) fn take(&mut self, now: Instant, rate: u32, burst: u32) -> bool {
        self.take_part(now, rate, burst, 1)
    }

    /// Takes a token of one of `parts` equal parts of a bucket, at least 1; see [`take`](Self::take).
    pub(crate) fn take_part(&mut self, now: Instant, rate: u32, burst: u32, parts: u8) -> bool {
        if rate == 0 || burst == 0 {
            return false;
        }
        let parts = u64::from(parts);
        let share = Share { price: NANOS * parts / u64::from(rate), burst: u64::from(burst).div_ceil(parts) };
        self.has(now, share, 0) && {
            self.spend(share);
            true
        }
    }

    /// Refills the bucket. Whether a token is left beyond `reserved` ones.
    pub(super) fn has(&mut self, now: Instant, share: Share, reserved: u64) -> bool {
        let past = u64::try_from(now.since(self.since).as_nanos()).unwrap_or(u64::MAX);
        self.used = self.used.saturating_sub(past);
        self.since = self.since.max(now);
        self.used + share.price <= share.price * (share.burst - reserved)
    }

    /// Takes a token.
    pub(super) const fn spend(&mut self, share: Share) {
        self.used += share.price;
    }
}

/// Rate and size of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Nanoseconds until a token is refilled.
    pub(super) price: u64,
    /// Tokens in a full bucket, at least 1.
    pub(super) burst: u64,
}

impl Share {
    /// A fraction of this share.
    pub(super) fn part(self, divisor: u64) -> Self {
        Self { price: self.price * divisor, burst: (self.burst / divisor).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_is_spent_before_the_rate_applies() {
        // id 4443-2.4f
        let mut bucket = Bucket::new();
        let taken = |bucket: &mut Bucket, from: u64, to: u64| {
            (from..to).filter(|ms| bucket.take(Instant::from_millis(*ms), 10, 20)).count()
        };
        assert_eq!(taken(&mut bucket, 0, 1000), 29);
        assert_eq!(taken(&mut bucket, 1000, 2000), 10);
        assert_eq!(taken(&mut bucket, 60_000, 60_010), 10);
        assert_eq!(taken(&mut bucket, 60_010, 60_030), 10);
    }

    #[test]
    fn a_rate_or_burst_of_zero_gives_no_tokens() {
        assert!(!Bucket::new().take(Instant::from_secs(9), 0, 5));
        assert!(!Bucket::new().take(Instant::from_secs(9), 5, 0));
        assert!(Bucket::new().take(Instant::from_secs(9), u32::MAX, 1));
    }
}
