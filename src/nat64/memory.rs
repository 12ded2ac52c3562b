//! How much memory the tables take at most.

use super::Limits;
use super::tables::bib::Bib;
use super::tables::block::Blocks;
use super::tables::events::Events;
use super::tables::fragment::FragmentCache;
use super::tables::hosts::Hosts;
use super::tables::pool4::ADDRESS_BYTES;
use super::tables::range::Ranges;
use super::tables::release_queue::ReleaseQueue;
use super::tables::session::Sessions;
use super::tables::sites::Sites;
use super::tables::syn::Syns;

/// Bytes of the tables of one worker when they are full. Pages take memory once used: an idle gateway takes less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableBytes {
    /// Sessions and their index.
    pub sessions: u64,
    /// Bindings and their index.
    pub bindings: u64,
    /// Port blocks and ranges, and the owners of the pool.
    pub blocks: u64,
    /// Hosts and sites.
    pub hosts: u64,
    /// Fragments, unsolicited SYNs and events.
    pub others: u64,
}

impl TableBytes {
    /// The tables with these limits, and a pool of this many addresses.
    pub const fn of(limits: &Limits, addresses: u64) -> Self {
        let blocks = Blocks::bytes(limits.blocks) + Ranges::bytes(limits.blocks);
        let fragments = FragmentCache::bytes(limits.fragment_bytes);
        let syns = Syns::bytes(limits.unsolicited_syns);
        Self {
            sessions: Sessions::bytes(limits.sessions) as u64,
            bindings: Bib::bytes(limits.bindings) as u64,
            blocks: (blocks + ReleaseQueue::bytes(limits.blocks)) as u64 + addresses * ADDRESS_BYTES as u64,
            hosts: (Hosts::bytes(limits.hosts) + Sites::bytes(limits.hosts)) as u64,
            others: (fragments + syns + Events::bytes(limits.events)) as u64,
        }
    }

    /// The same with the starts of sessions, for a log of sessions.
    #[must_use]
    pub const fn with_session_log(self, limits: &Limits) -> Self {
        Self { others: self.others + Events::session_bytes(limits.sessions) as u64, ..self }
    }

    /// The sum.
    pub const fn total(&self) -> u64 {
        self.sessions + self.bindings + self.blocks + self.hosts + self.others
    }
}
