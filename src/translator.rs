//! The doors of the library: packets in, verdicts out.

use std::sync::Arc;

use core::net::Ipv4Addr;
use core::time::Duration;

use crate::addr::{HostKey, PortRange, Pref64, Transport4, Transport6};
use crate::counters::Counters;
use crate::nat64::{self, Proto};
use crate::reason::Reason;
use crate::time::Instant;
use crate::wire::buf::PacketBuf;
use crate::xlat;

pub use crate::addr::WorkerId;
pub use crate::wire::batch::{Batch, Extra};

/// What became of a packet. Whoever brought it acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The buffer holds the translated packet: send it.
    Forward,
    /// The packet was refused and the buffer holds the ICMP error for its sender: send it.
    Reject(Reason),
    /// The translator keeps the packet for now; the buffer is empty.
    Hold,
    /// The packet belongs to another worker: give it the buffer as it is.
    HandOver(WorkerId),
    /// Nothing is to be sent; the buffer is unchanged.
    Drop(Reason),
}

/// What a translator is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Which worker this is.
    pub worker: WorkerId,
    /// How many workers there are, at least 1.
    pub workers: u8,
    /// The source of all chance: ports, identifiers, hash keys. Equal settings and equal input
    /// give equal output.
    pub seed: u64,
    /// The seed of the hash that assigns hosts and datagrams to workers; the same for all workers
    /// and part of exported state.
    pub owner_seed: u32,
    /// Rewriting.
    pub rules: xlat::Rules,
    /// State.
    pub nat64: nat64::Settings,
}

/// Something an operator may have to prove later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A host was given a port block.
    BlockGiven {
        /// Who.
        host: HostKey,
        /// The block's address.
        addr: Ipv4Addr,
        /// The block's ports.
        ports: PortRange,
    },
    /// A host's port block fell back to the pool.
    BlockReleased {
        /// Who.
        host: HostKey,
        /// The block's address.
        addr: Ipv4Addr,
        /// The block's ports.
        ports: PortRange,
    },
    /// A host was refused a new mapping or session.
    QuotaReached {
        /// Who.
        host: HostKey,
        /// Which bound.
        reason: Reason,
    },
    /// A pool had nothing left to give.
    PoolEmpty {
        /// For whom.
        host: HostKey,
    },
    /// A session ended.
    SessionEnded {
        /// Whose.
        host: HostKey,
        /// Its protocol.
        proto: Proto,
        /// The client.
        v6: Transport6,
        /// The client's mapped address.
        v4: Transport4,
        /// The server.
        remote: Transport4,
        /// Packets to and from the server.
        packets: [u32; 2],
        /// Bytes to and from the server, counted on the IPv6 side.
        bytes: [u64; 2],
    },
}

/// One session as another translator can take it over: remaining lifetime, never a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its protocol.
    pub proto: Proto,
    /// The client.
    pub v6: Transport6,
    /// The client's mapped address.
    pub v4: Transport4,
    /// The server.
    pub remote: Transport4,
    /// The pref64 under which the client addresses the server.
    pub pref64: Pref64,
    /// The state of a TCP session, as a number that only this crate reads; 0 for others.
    pub state: u8,
    /// How long the session lives if nothing comes.
    pub remaining: Duration,
}

/// Where an export stands; start with the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(pub u32);

/// A change of settings while packets flow.
#[derive(Clone, Debug)]
pub enum Change {
    /// New settings. `worker`, `workers`, `seed`, `owner_seed` and `nat64.limits` must be as they
    /// were. A session ends only if its prefix, its pool address or its zone is gone.
    Settings(Box<Settings>),
}

/// A translator: one worker's share of the gateway.
pub struct Translator {
    counters: Arc<Counters>,
}

impl Translator {
    /// Takes all the memory it will ever use. Zone numbers must be below `zones`.
    pub fn new(settings: Settings, zones: usize) -> Self {
        let _ = settings;
        Self { counters: Arc::new(Counters::new(zones)) }
    }

    /// Translates a batch in place: `verdicts[i]` says what became of `packets[i]`.
    ///
    /// # Panics
    /// If there are fewer verdicts than packets.
    pub fn process(
        &mut self,
        now: Instant,
        packets: &mut [PacketBuf],
        verdicts: &mut [Verdict],
        extra: &mut Batch,
    ) {
        let _ = (now, extra);
        verdicts[..packets.len()].fill(Verdict::Drop(Reason::NoZone));
    }

    /// When [`expire`](Self::expire) is to be called next, if nothing comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Ends what has run out by `now`, at most `budget` sessions; packets that timers send go to
    /// `extra`. True if more is due.
    pub fn expire(&mut self, now: Instant, budget: usize, extra: &mut Batch) -> bool {
        let _ = (now, budget, extra);
        false
    }

    /// Switches to new settings between two batches.
    pub fn reconfigure(&mut self, now: Instant, change: Change) {
        let _ = (now, change);
    }

    /// Moves waiting events to `out`, the oldest first; how many were moved.
    pub fn events(&mut self, out: &mut [Event]) -> usize {
        let _ = out;
        0
    }

    /// Writes sessions from `cursor` on to `out`; how many. Zero is the end.
    pub fn export(&self, now: Instant, cursor: &mut Cursor, out: &mut [Record]) -> usize {
        let _ = (now, cursor, out);
        0
    }

    /// Takes over a session.
    ///
    /// # Errors
    /// The reason, if a table is full, or the record fits no zone, pool or pref64 here.
    pub fn import(&mut self, now: Instant, record: &Record) -> Result<(), Reason> {
        let _ = (now, record);
        Err(Reason::NoZone)
    }

    /// This worker's tallies, to be read from any thread.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}
