//! What is told to whoever writes logs, and what another translator needs to take a session over.

use std::collections::VecDeque;
use std::sync::Arc;

use core::net::Ipv4Addr;
use core::time::Duration;

use crate::addr::Proto;
use crate::addr::{HostKey, PortRange, Pref64, Transport4, Transport6};
use crate::counters::Counters;
use crate::reason::Reason;

/// Who has which ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockAssignment {
    /// Who.
    pub host: HostKey,
    /// The block's address.
    pub addr: Ipv4Addr,
    /// The block's ports.
    pub ports: PortRange,
}

/// Something an operator may have to prove later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A host was given a port block.
    BlockAssigned {
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
    PoolExhausted {
        /// For whom.
        host: HostKey,
    },
    /// A UDP datagram from IPv4 without a checksum was dropped (RFC 7915 §4.5).
    WithoutChecksum {
        /// Who sent it. A fragment's ports are those of its datagram.
        src: Transport4,
        /// To whom.
        dst: Transport4,
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

/// Events that wait to be fetched, as many as there is room for.
#[derive(Debug)]
pub(in crate::nat64) struct Events {
    waiting: VecDeque<Event>,
    limit: usize,
    counters: Arc<Counters>,
}

impl Events {
    /// Room for `limit` events; those that find none are counted.
    pub(in crate::nat64) fn new(limit: u32, counters: Arc<Counters>) -> Self {
        Self { waiting: VecDeque::with_capacity(limit as usize), limit: limit as usize, counters }
    }

    /// Adds an event, or counts it as lost.
    pub(in crate::nat64) fn push(&mut self, event: Event) {
        if self.waiting.len() < self.limit {
            self.waiting.push_back(event);
        } else {
            self.counters.events_lost.add(1);
        }
    }

    /// Adds an event that comes too often to be allowed to crowd out the others.
    pub(in crate::nat64) fn push_minor(&mut self, event: Event) {
        if self.waiting.len() < self.limit / 2 {
            self.waiting.push_back(event);
        } else {
            self.counters.events_lost.add(1);
        }
    }

    /// Moves the oldest events to `out`; how many.
    pub(in crate::nat64) fn fetch(&mut self, out: &mut [Event]) -> usize {
        let n = out.len().min(self.waiting.len());
        for (place, event) in out.iter_mut().zip(self.waiting.drain(..n)) {
            *place = event;
        }
        n
    }
}
