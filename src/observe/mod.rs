//! Metrics and status of a running gateway.
//!
//! This module handles no packets: each request reads the counters of the workers.

pub mod admin;
pub mod binding_log;
pub mod chart;
pub(crate) mod format;
pub mod health;
pub mod host;
pub mod host_status;
mod http;
pub mod ledger;
pub mod ledger_source;
pub mod metrics;
pub mod status;
pub mod view;

#[cfg(test)]
mod tests;
