//! Stateful translation (RFC 6146).

pub mod fragment;
pub mod owner;
mod settings;

pub use settings::{Filtering, Limits, Pool, Proto, Settings, StaticBinding, Timers, UnsolicitedSyn, Zone};
