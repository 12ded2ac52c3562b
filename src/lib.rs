//! gate64: an IPv6 transition gateway. This library is the translator itself.
//!
//! Read the modules in this order; each uses only those above it.
//!
//! 1. [`time`], [`reason`], [`addr`], [`counters`], [`ownership`]: values, and which worker owns a packet.
//! 2. [`wire`]: packet buffers, and parsers that validate headers.
//! 3. [`xlat`]: translation of one packet (RFC 7915).
//! 4. [`siit`]: stateless translation (RFC 7757); [`nat64`]: stateful translation (RFC 6146).
//! 5. [`translator`]: the entry point.
//!
//! The default feature `daemon` adds the modules that do I/O. Without it the package has no dependency, reads no
//! clock and opens no file or socket.
#![deny(clippy::todo, clippy::unimplemented)]

#[macro_use]
mod named;

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
mod output;
#[cfg(feature = "daemon")]
pub(crate) mod replay;
#[cfg(feature = "daemon")]
pub mod resolver;
#[cfg(feature = "daemon")]
pub mod worker;

// The tests' packet builder names this crate as the integration tests do.
#[cfg(test)]
extern crate self as gate64;
#[cfg(test)]
#[path = "../integration/packet_builder/mod.rs"]
#[allow(dead_code, reason = "the integration tests use more of it")]
mod packet_builder;
