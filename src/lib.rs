//! gate64: an IPv6 transition gateway. This library is the translator itself.
//!
//! Read the modules in this order; each uses only those above it.
//!
//! 1. [`time`], [`reason`], [`addr`], [`counters`]: values.
//! 2. [`wire`]: bytes. Packet buffers, and views whose constructors check.
//! 3. [`xlat`]: one packet rewritten (RFC 7915).
//! 4. [`siit`]: mappings without state (RFC 7757); [`nat64`]: state (RFC 6146).
//! 5. [`translator`]: the doors.
//!
//! With the feature `daemon` (the default) come the parts that do I/O. Without it the package has
//! no dependency, reads no clock and opens nothing.
#![deny(clippy::todo, clippy::unimplemented)]

pub mod addr;
pub mod counters;
pub mod nat64;
pub mod ownership;
pub mod reason;
pub mod siit;
pub mod time;
pub mod translator;
pub mod wire;
pub mod xlat;

#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod control;
#[cfg(feature = "daemon")]
pub mod device;
#[cfg(feature = "daemon")]
pub mod dns64;
#[cfg(feature = "daemon")]
pub mod lab;
#[cfg(feature = "daemon")]
mod message;
#[cfg(feature = "daemon")]
pub mod observe;
#[cfg(feature = "daemon")]
pub mod replay;
#[cfg(feature = "daemon")]
pub mod resolver;
#[cfg(feature = "daemon")]
pub mod worker;
