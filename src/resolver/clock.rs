//! The clock of the resolver and of `gate64 explain`. All other code receives the time as an argument.

use std::time::Duration;

use crate::time::Instant;

/// A monotonic clock. It is tokio's, so that a test can pause it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    /// A clock that starts now at [`Instant::ZERO`].
    #[expect(clippy::disallowed_methods, reason = "the one clock of the resolver")]
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.elapsed()
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until `at`.
    pub(crate) async fn sleep_until(self, at: Instant) {
        tokio::time::sleep_until(self.0 + at.since(Instant::ZERO)).await;
    }
}
