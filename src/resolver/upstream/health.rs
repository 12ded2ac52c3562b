//! How an upstream is doing: how fast it answers, and whether it does.

use std::time::Duration;

use crate::time::Instant;

/// Questions in a row left without an answer after which an upstream is asked last.
const STRIKES: u32 = 3;
/// How long it is asked last, at first and at most; each further strike doubles it.
const REST: Duration = Duration::from_secs(2);
const MAX_REST: Duration = Duration::from_secs(60);

/// How an upstream is doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Smoothed time to an answer; zero before the first.
    pub(super) srtt: Duration,
    strikes: u32,
    rests_until: Instant,
    heard: Instant,
}

impl Health {
    /// An answer came, whatever it says.
    pub(super) fn answered(&mut self, now: Instant, took: Duration) {
        let smoothed = (self.srtt * 7 + took) / 8;
        self.srtt = if self.srtt.is_zero() { took } else { smoothed };
        self.strikes = 0;
        self.rests_until = Instant::ZERO;
        self.heard = now;
    }

    /// A question asked at `asked` was given up. It counts only if nothing at all has come since: a
    /// single name without an answer is the name's own trouble.
    pub(super) fn silent(&mut self, now: Instant, asked: Instant) {
        if self.heard <= asked {
            self.failed(now);
        }
    }

    /// Nobody is there.
    pub(super) fn failed(&mut self, now: Instant) {
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= STRIKES {
            let rest = REST.saturating_mul(1 << (self.strikes - STRIKES).min(8)).min(MAX_REST);
            self.rests_until = now + rest;
        }
    }

    /// The lesser goes first: whether it rests, and how slow it is in steps of factor two, so that
    /// upstreams about as fast as each other stay in the operator's order.
    pub(super) fn rank(&self, now: Instant) -> (bool, u32) {
        (now < self.rests_until, (self.srtt.as_millis() as u32 / 4).checked_ilog2().map_or(0, |log| log + 1))
    }

    pub(super) fn rests(&self, now: Instant) -> bool {
        now < self.rests_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_go_first_and_the_silent_last() {
        let now = Instant::from_secs(10);
        let mut fast = Health::default();
        fast.answered(now, Duration::from_millis(2));
        let mut slow = Health::default();
        slow.answered(now, Duration::from_millis(80));
        assert!(fast.rank(now) < slow.rank(now));
        let mut like = Health::default();
        like.answered(now, Duration::from_millis(3));
        assert_eq!(fast.rank(now), like.rank(now), "the order of the file decides");

        let later = Instant::from_secs(12);
        for _ in 0..STRIKES {
            assert!(!fast.rests(later));
            fast.silent(later, Instant::from_secs(11));
        }
        assert!(fast.rank(later) > slow.rank(later));
        assert!(!fast.rests(later + REST));
        fast.silent(later + REST, Instant::from_secs(11));
        assert!(fast.rests(later + REST + REST), "each further strike doubles the rest");
        fast.answered(later, Duration::from_millis(2));
        assert!(!fast.rests(later));
    }

    #[test]
    fn one_name_without_an_answer_is_no_strike() {
        let mut health = Health::default();
        health.answered(Instant::from_secs(11), Duration::from_millis(2));
        for _ in 0..10 {
            health.silent(Instant::from_secs(12), Instant::from_secs(10));
        }
        assert!(!health.rests(Instant::from_secs(12)));
    }
}
