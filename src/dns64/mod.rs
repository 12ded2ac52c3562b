//! DNS64 (RFC 6147, RFC 7050, RFC 8880): AAAA records for names that have only A records.
//!
//! An [`Engine`] receives client queries and upstream replies, and returns upstream queries and answers.
//! This module opens no socket, reads no clock and takes no lock, so that a test can run any exchange;
//! `resolver` connects it to the network.
//!
//! Messages stay bytes while they are only forwarded (`wire`). `crate::message` decodes and encodes
//! records.

mod action;
mod answer;
mod broken_aaaa;
mod cache;
mod designated;
mod discovery;
mod domains;
mod engine;
pub mod explain;
mod key;
mod ledger;
mod local;
mod lru;
mod network;
mod outcome;
mod pending;
mod query;
mod response;
mod reverse;
mod settings;
pub(crate) mod slab;
mod special_names;
mod synthesis;
#[cfg(test)]
mod tests;
mod transmit;
mod upstream_query;
mod upstream_state;
pub(crate) mod wire;
mod without_upstream;

pub use crate::message::{AddressKind, address_query, address_question, address_reply, addresses};
pub use action::{Answer, QueryAction, refuse};
pub use cache::CacheLimits;
pub use domains::Domains;
pub use engine::Engine;
pub use key::name_hash;
pub use ledger::{AddressName, Ipv6Support, LedgerLimits, NameUsage};
pub use local::LocalRecords;
pub use network::{Network, ServerName, Tls, Via};
pub use outcome::Outcome;
pub use query::Transport;
pub use settings::{
    ClientZones, Forward, Limits, MAPPED, Mapping, Rules, Settings, Synthesize, Timeouts, WhenDown, WithDo,
    Zone,
};
pub use transmit::{Transmit, TransmitId};
