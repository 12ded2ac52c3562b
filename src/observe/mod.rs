//! What can be seen from outside: metrics, and the state of a running gateway.
//!
//! Nothing here touches a packet: numbers are read from the workers' tallies when somebody asks.

pub mod admin;
pub mod metrics;
pub mod status;
pub mod view;

#[cfg(test)]
mod tests;
