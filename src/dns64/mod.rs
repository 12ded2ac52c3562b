//! DNS64 (RFC 6147, RFC 7050, RFC 8880): AAAA records for names that have only A records.
//!
//! An [`Engine`] takes queries, says what to ask upstream, is told what came back, and gives answers.
//! Nothing here opens a socket, reads a clock or takes a lock, so that a test or a demonstration can
//! play any conversation; `resolver` drives it on the network.
//!
//! Messages stay bytes as long as they are only passed on (`wire`); where records are read or made,
//! `crate::message` does it.

mod answer;
mod cache;
mod discovery;
mod domains;
mod engine;
mod exchange;
pub mod explain;
mod failures;
mod key;
mod ledger;
mod local;
mod lru;
mod network;
mod outcome;
mod pending;
mod play;
mod query;
mod response;
mod reverse;
mod settings;
pub(crate) mod slab;
mod synthesis;
#[cfg(test)]
mod tests;
mod upstream_query;
pub(crate) mod wire;

pub use crate::message::AddressKind;
pub use cache::Keeping;
pub use domains::Domains;
pub use engine::Engine;
pub use exchange::{Answer, Ask, AskId, Taken, Transport, refuse};
pub use key::share_of;
pub use ledger::{Asked, LedgerLimits, Reach};
pub use local::Local;
pub use network::{Network, Tls, Via};
pub use outcome::Outcome;
pub use play::{Played, address_query, address_reply, addresses, asked_for, play};
pub use settings::{
    Forward, Limits, MAPPED, Mapping, Rules, Settings, Synthesize, Timeouts, WhenDown, WithDo, Zone,
};
