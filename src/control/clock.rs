//! The clocks of control and observe. All other code receives the time as an argument.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Monotonic time, for uptimes and deadlines.
#[expect(clippy::disallowed_methods, reason = "the one clock of control")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Wall-clock time, for files that outlive the process.
#[expect(clippy::disallowed_methods, reason = "the monotonic clock does not survive a restart")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Ticks at this interval, the first one at once. After a pause they do not catch up.
pub(super) fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
