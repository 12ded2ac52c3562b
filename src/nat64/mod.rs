//! Stateful translation (RFC 6146).

mod settings;

pub use settings::{Filtering, Limits, Pool, Proto, Settings, StaticBinding, Timers, UnsolicitedSyn, Zone};
