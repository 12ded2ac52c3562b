//! Health of an upstream: response time and timeouts.

use std::time::Duration;

use super::rtt::ResponseTimes;
use crate::time::Instant;

/// Consecutive failures after which an upstream is demoted: used last, until it replies.
const MAX_FAILURES: u32 = 3;

/// Least delay of a hedge.
const MIN_HEDGE_DELAY: Duration = Duration::from_millis(10);

/// Least time between two probes of a demoted upstream.
const PROBE_DELAY: Duration = Duration::from_millis(1_500);
/// Time between two probes while there are no client queries to copy.
const OWN_PROBE_DELAY: Duration = Duration::from_secs(2);

/// Health of an upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Smoothed response time; zero before the first reply.
    pub(super) srtt: Duration,
    times: ResponseTimes,
    failures: u32,
    last_reply: Instant,
    last_probe: Instant,
}

impl Health {
    /// Records a reply, whatever its content.
    pub(super) fn answered(&mut self, now: Instant, rtt: Duration) {
        let smoothed = (self.srtt * 7 + rtt) / 8;
        self.srtt = if self.srtt.is_zero() { rtt } else { smoothed };
        self.times.add(rtt);
        self.failures = 0;
        self.last_reply = now;
    }

    /// Records a timeout of a query sent at `sent_at`. It counts only if no reply has arrived since: a single
    /// name may time out on its own.
    pub(super) fn timed_out(&mut self, sent_at: Instant) {
        if self.last_reply <= sent_at {
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Sort key, smallest first: demotion, then response time in powers of two. Upstreams of similar speed
    /// stay in the configured order.
    pub(super) fn rank(&self) -> (bool, u32) {
        (self.is_demoted(), (self.srtt.as_millis() as u32 / 4).checked_ilog2().map_or(0, |log| log + 1))
    }

    /// How long to wait for a reply before another upstream is queried too: the 95th percentile of the response
    /// times.
    pub(super) fn hedge_delay(&self) -> Option<Duration> {
        self.times.p95().map(|p95| p95.max(MIN_HEDGE_DELAY))
    }

    pub(super) const fn is_demoted(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    /// When to probe it without a client query; [`Instant::NEVER`] unless demoted.
    pub(super) fn probe_at(&self) -> Instant {
        if self.is_demoted() { self.last_probe + OWN_PROBE_DELAY } else { Instant::NEVER }
    }

    /// Whether to send it a copy of a query now, to notice its return.
    pub(super) fn wants_copy(&self, now: Instant) -> bool {
        self.is_demoted() && now >= self.last_probe + PROBE_DELAY
    }

    /// Records a probe.
    pub(super) const fn probed(&mut self, now: Instant) {
        self.last_probe = now;
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
        assert!(fast.rank() < slow.rank());
        let mut like = Health::default();
        like.answered(now, Duration::from_millis(3));
        assert_eq!(fast.rank(), like.rank(), "the configured order decides");

        for _ in 0..MAX_FAILURES {
            assert!(!fast.is_demoted());
            fast.timed_out(Instant::from_secs(11));
        }
        assert!(fast.rank() > slow.rank());
        fast.answered(Instant::from_secs(12), Duration::from_millis(2));
        assert!(!fast.is_demoted() && fast.rank() < slow.rank());
    }

    #[test]
    fn one_name_without_a_reply_is_not_a_failure() {
        let mut health = Health::default();
        health.answered(Instant::from_secs(11), Duration::from_millis(2));
        for _ in 0..10 {
            health.timed_out(Instant::from_secs(10));
        }
        assert!(!health.is_demoted());
    }
}
