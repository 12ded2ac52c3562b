//! Waiting for a condition instead of for time.

use std::thread;
use std::time::{Duration, Instant};

use super::LabError;

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// A moment after which nothing is waited for any more.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
    span: Duration,
}

impl Deadline {
    /// The moment `seconds` from now.
    #[expect(clippy::disallowed_methods, reason = "the lab watches real processes by the real clock")]
    pub fn after(seconds: u64) -> Self {
        let span = Duration::from_secs(seconds);
        Self { end: Instant::now() + span, span }
    }

    /// Whether it has passed.
    #[expect(clippy::disallowed_methods, reason = "the lab watches real processes by the real clock")]
    pub fn passed(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// Looks at `condition` again and again until it holds.
///
/// # Errors
/// [`LabError::Late`] with `what` if it does not hold before the deadline.
pub fn until(deadline: Deadline, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), LabError> {
    loop {
        if condition() {
            return Ok(());
        }
        if deadline.passed() {
            return Err(LabError::Late { what: what.to_owned(), seconds: deadline.span.as_secs() });
        }
        thread::park_timeout(PAUSE);
    }
}
