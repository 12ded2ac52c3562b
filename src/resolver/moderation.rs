//! When a busy thread looks for datagrams.
//!
//! A thread that is woken for every datagram pays for a wake, a read and a send each time. Once they come fast
//! it does what network cards do with their interrupts: it waits a little first, and takes at once what has
//! come by then. While few come, none waits.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Instant;

/// For how long datagrams are counted before their rate is judged.
const WINDOW: Duration = Duration::from_millis(10);

/// The longest pause: what a datagram may wait for company.
const LONGEST: Duration = Duration::from_micros(250);

/// As many datagrams are waited for, by their rate.
const WANTED: u32 = 16;

/// A pause in which fewer are to be expected is not made.
const WORTH: u32 = 2;

/// For how long no pause is made after pauses in which nobody came but one: where each query waits for the
/// answer to the one before, a pause only makes it late.
const REST: Duration = Duration::from_secs(1);

/// The pauses of one thread.
pub(super) struct Moderation {
    /// Datagrams taken and not yet judged.
    taken: AtomicU32,
    /// Only the thread itself takes this.
    pace: Mutex<Pace>,
}

struct Pace {
    since: Instant,
    pauses: u32,
    pause: Duration,
    /// No pause before.
    resting: Instant,
}

impl Moderation {
    /// That of a thread which has not taken anything yet.
    pub(super) const fn new() -> Self {
        let pace = Pace { since: Instant::ZERO, pauses: 0, pause: Duration::ZERO, resting: Instant::ZERO };
        Self { taken: AtomicU32::new(0), pace: Mutex::new(pace) }
    }

    /// Counts datagrams that were taken at once.
    pub(super) fn count(&self, datagrams: usize) {
        self.taken.fetch_add(u32::try_from(datagrams).unwrap_or(u32::MAX), Relaxed);
    }

    /// How long to wait before the next are looked for, when there is nothing else to do at `now`.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(pace.since) >= WINDOW {
            pace.judge(now, self.taken.swap(0, Relaxed));
        }
        pace.pauses += u32::from(!pace.pause.is_zero());
        pace.pause
    }
}

impl Pace {
    /// Decides on the pauses of the next window.
    fn judge(&mut self, now: Instant, taken: u32) {
        let span = now.since(self.since);
        if self.pauses > taken / WORTH {
            self.resting = now + REST;
        }
        let each = span.checked_div(taken).unwrap_or(WINDOW);
        let worth = now >= self.resting && each * WORTH <= LONGEST;
        self.pause = if worth { LONGEST.min(each * WANTED) } else { Duration::ZERO };
        (self.since, self.pauses) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread to which `burst` datagrams come every `every`, for `span`: its pauses, and the longest.
    fn live(
        moderation: &Moderation,
        from: Instant,
        span: Duration,
        burst: usize,
        every: Duration,
    ) -> (u32, Duration) {
        let (mut now, mut pauses, mut longest) = (from, 0, Duration::ZERO);
        while now.since(from) < span {
            moderation.count(burst);
            let pause = moderation.pause(now);
            pauses += u32::from(!pause.is_zero());
            longest = longest.max(pause);
            now = now + every;
        }
        (pauses, longest)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nobody_waits_while_few_come() {
        let moderation = Moderation::new();
        assert_eq!(
            live(&moderation, Instant::ZERO, SECOND, 1, Duration::from_micros(200)),
            (0, Duration::ZERO)
        );
    }

    #[test]
    fn a_busy_thread_waits_for_company_but_never_long() {
        let moderation = Moderation::new();
        // 20,000 a second: sixteen would take 800 µs.
        let (pauses, longest) = live(&moderation, Instant::ZERO, SECOND, 5, Duration::from_micros(250));
        assert_eq!((pauses > 3_900, longest), (true, LONGEST));
        // 160,000 a second: sixteen take 100 µs.
        let (pauses, _) = live(&moderation, Instant::from_secs(1), SECOND, 16, Duration::from_micros(100));
        let pause = moderation.pause(Instant::from_secs(2)).as_micros();
        assert!(pauses > 9_900 && (95..=105).contains(&pause), "{pauses} {pause}");
    }

    #[test]
    fn a_pause_ends_with_the_rush() {
        let moderation = Moderation::new();
        live(&moderation, Instant::ZERO, SECOND, 16, Duration::from_micros(100));
        moderation.count(1);
        assert_eq!(moderation.pause(Instant::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn one_who_waits_for_each_answer_is_not_kept_waiting() {
        let moderation = Moderation::new();
        // One datagram every 50 µs by itself; with a pause, one after each.
        let (mut now, mut paused) = (Instant::ZERO, Duration::ZERO);
        while now < Instant::from_secs(10) {
            moderation.count(1);
            let pause = moderation.pause(now);
            paused += pause;
            now = now + pause + Duration::from_micros(50);
        }
        assert!(Duration::ZERO < paused && paused < Duration::from_millis(150), "{paused:?}");
    }
}
