//! Rewriting one packet (RFC 7915). No state, no clock, no chance.

mod rules;

pub use rules::{Rules, TrafficClass};
