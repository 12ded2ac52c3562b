//! DNS64 (RFC 6147, RFC 7050, RFC 8880): AAAA records for names that have only A records.
//!
//! A query goes in with [`begin`]; out comes an answer, or an [`Exchange`] that says what to ask
//! upstream and is told what came back. Nothing here opens a socket or reads a clock, so that a test
//! or a demonstration can play any conversation; `resolver` drives it on the network.
//!
//! Messages stay bytes as long as they are only passed on (`wire`); where records are read or made,
//! `message` does it with hickory-proto.

mod answer;
mod discovery;
mod exchange;
mod message;
mod outcome;
mod play;
mod query;
mod reverse;
mod settings;
mod slot;
mod synthesis;
#[cfg(test)]
mod tests;
mod verdict;
mod wire;

pub use exchange::{Answer, Ask, AskId, Begin, Exchange, Transport, begin, refuse};
pub use outcome::Outcome;
pub use play::{AddressKind, Played, address_query, address_reply, addresses, asked_for, play};
pub use settings::{Limits, MAPPED, Mapping, Rules, Settings, Timeouts, WithDo, Zone};
