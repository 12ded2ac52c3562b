//! Health of an upstream: response time and timeouts.

use std::time::Duration;

use crate::time::Instant;

/// Consecutive failures after which an upstream is used last.
const MAX_FAILURES: u32 = 3;
/// How long it is used last, at first and at most. Each further failure doubles it.
const DEMOTION: Duration = Duration::from_secs(2);
const MAX_DEMOTION: Duration = Duration::from_secs(60);

/// Time between two probes of a demoted upstream.
const PROBE_DELAY: Duration = Duration::from_secs(2);

/// Health of an upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Smoothed response time; zero before the first reply.
    pub(super) srtt: Duration,
    failures: u32,
    demoted_until: Instant,
    last_reply: Instant,
    next_probe: Instant,
}

impl Health {
    /// Records a reply, whatever its content.
    pub(super) fn answered(&mut self, now: Instant, rtt: Duration) {
        let smoothed = (self.srtt * 7 + rtt) / 8;
        self.srtt = if self.srtt.is_zero() { rtt } else { smoothed };
        self.failures = 0;
        self.demoted_until = Instant::ZERO;
        self.last_reply = now;
    }

    /// Records a timeout of a query sent at `sent_at`. It counts only if no reply has arrived since: a single
    /// name may time out on its own.
    pub(super) fn timed_out(&mut self, now: Instant, sent_at: Instant) {
        if self.last_reply <= sent_at {
            self.failed(now);
        }
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= MAX_FAILURES {
            let demotion =
                DEMOTION.saturating_mul(1 << (self.failures - MAX_FAILURES).min(8)).min(MAX_DEMOTION);
            self.demoted_until = now + demotion;
        }
    }

    /// Sort key, smallest first: demotion, then response time in powers of two. Upstreams of similar speed
    /// stay in the configured order.
    pub(super) fn rank(&self, now: Instant) -> (bool, u32) {
        (
            now < self.demoted_until,
            (self.srtt.as_millis() as u32 / 4).checked_ilog2().map_or(0, |log| log + 1),
        )
    }

    pub(super) fn is_demoted(&self, now: Instant) -> bool {
        now < self.demoted_until
    }

    /// Whether to send it a copy of a query now, to notice its return.
    pub(super) fn starts_probe(&mut self, now: Instant) -> bool {
        let starts = self.is_demoted(now) && now >= self.next_probe;
        if starts {
            self.next_probe = now + PROBE_DELAY;
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_upstreams_first_and_failed_ones_last() {
        let now = Instant::from_secs(10);
        let mut fast = Health::default();
        fast.answered(now, Duration::from_millis(2));
        let mut slow = Health::default();
        slow.answered(now, Duration::from_millis(80));
        assert!(fast.rank(now) < slow.rank(now));
        let mut like = Health::default();
        like.answered(now, Duration::from_millis(3));
        assert_eq!(fast.rank(now), like.rank(now), "the configured order decides");

        let later = Instant::from_secs(12);
        for _ in 0..MAX_FAILURES {
            assert!(!fast.is_demoted(later));
            fast.timed_out(later, Instant::from_secs(11));
        }
        assert!(fast.rank(later) > slow.rank(later));
        assert!(!fast.is_demoted(later + DEMOTION));
        fast.timed_out(later + DEMOTION, Instant::from_secs(11));
        assert!(fast.is_demoted(later + DEMOTION + DEMOTION), "each further failure doubles the demotion");
        fast.answered(later, Duration::from_millis(2));
        assert!(!fast.is_demoted(later));
    }

    #[test]
    fn one_name_without_a_reply_is_not_a_failure() {
        let mut health = Health::default();
        health.answered(Instant::from_secs(11), Duration::from_millis(2));
        for _ in 0..10 {
            health.timed_out(Instant::from_secs(12), Instant::from_secs(10));
        }
        assert!(!health.is_demoted(Instant::from_secs(12)));
    }
}
