//! The clocks of control and observe. All other code receives the time as an argument.

use std::time::SystemTime;

use tokio::time::Instant;

/// Monotonic time, for uptimes and deadlines.
#[expect(clippy::disallowed_methods, reason = "the one clock of control")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}

/// Wall-clock time, for files that outlive the process.
#[expect(clippy::disallowed_methods, reason = "the monotonic clock does not survive a restart")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}
