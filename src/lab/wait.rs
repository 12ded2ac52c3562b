//! Waits for a condition.

use std::thread;
use std::time::{Duration, Instant};

use super::LabError;

/// Interval between two checks of a condition.
const INTERVAL: Duration = Duration::from_millis(10);

/// The time at which waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
    span: Duration,
}

impl Deadline {
    /// The deadline `seconds` from now.
    #[expect(clippy::disallowed_methods, reason = "the lab watches real processes by the real clock")]
    pub fn after(seconds: u64) -> Self {
        let span = Duration::from_secs(seconds);
        Self { end: Instant::now() + span, span }
    }

    /// A deadline for what happens at once on an idle machine: long enough for a loaded one.
    pub fn ample() -> Self {
        Self::after(30)
    }

    /// Whether it has passed.
    #[expect(clippy::disallowed_methods, reason = "the lab watches real processes by the real clock")]
    pub fn passed(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// Checks `condition` repeatedly until it holds.
///
/// # Errors
/// [`LabError::Timeout`] with `what` if it does not hold before the deadline.
pub fn until(deadline: Deadline, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), LabError> {
    loop {
        if condition() {
            return Ok(());
        }
        if deadline.passed() {
            return Err(LabError::Timeout { what: what.to_owned(), seconds: deadline.span.as_secs() });
        }
        thread::park_timeout(INTERVAL);
    }
}
