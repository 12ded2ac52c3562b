//! Metrics and status of a running gateway.
//!
//! This module handles no packets: each request reads the counters of the workers.

pub mod admin;
pub mod binding_log;
pub mod chart;
pub mod dry_run;
pub mod finding;
pub(crate) mod format;
pub mod health;
pub mod host;
pub mod host_status;
mod http;
pub mod ledger;
pub mod ledger_source;
pub mod metrics;
pub mod pool;
pub mod status;
pub(crate) mod table;
pub mod trace;
pub mod view;

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch, 0 before it.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
