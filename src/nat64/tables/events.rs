//! Events for logs, and session records for another translator.

use std::collections::VecDeque;
use std::sync::Arc;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::addr::Proto;
use crate::addr::{HostKey, PortRange, Pref64, Transport4, Transport6, ZoneId};
use crate::counters::Counters;
use crate::reason::Reason;
use crate::time::Instant;

/// A port block and its host, saved over a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockAssignment {
    /// The host.
    pub host: HostKey,
    /// The block's address.
    pub addr: Ipv4Addr,
    /// The block's ports.
    pub ports: PortRange,
}

/// A session in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoggedSession {
    /// The protocol.
    pub proto: Proto,
    /// Zone of the client.
    pub zone: ZoneId,
    /// The client.
    pub client: Transport6,
    /// The client's mapped address.
    pub mapped: Transport4,
    /// The server.
    pub remote: Transport4,
    /// The address by which the client addresses the server.
    pub server: Ipv6Addr,
    /// Whether the binding is static.
    pub is_static: bool,
}

/// An event for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A host was assigned a port block.
    BlockAssigned {
        /// The host.
        host: HostKey,
        /// The block's address.
        addr: Ipv4Addr,
        /// The block's ports.
        ports: PortRange,
    },
    /// A host's port block returned to the pool.
    BlockReleased {
        /// The host.
        host: HostKey,
        /// The block's address.
        addr: Ipv4Addr,
        /// The block's ports.
        ports: PortRange,
    },
    /// A host's port block was taken back for another host, because no packet from outside had answered it.
    BlockReclaimed {
        /// The host.
        host: HostKey,
        /// The block's address.
        addr: Ipv4Addr,
        /// The block's ports.
        ports: PortRange,
    },
    /// A session started. Only if [`Settings::log_sessions`](crate::nat64::Settings::log_sessions) is set, as
    /// [`SessionEnded`](Self::SessionEnded).
    SessionStarted {
        /// The session.
        session: LoggedSession,
    },
    /// A session ended.
    SessionEnded {
        /// The session.
        session: LoggedSession,
        /// Time since it started here: an imported session starts with its import.
        age: Duration,
    },
    /// A host reached a quota or limit other than an exhausted pool.
    QuotaReached {
        /// The host.
        host: HostKey,
        /// The quota or limit.
        reason: Reason,
    },
    /// A pool was exhausted; at most once a second, whoever was refused.
    PoolExhausted {
        /// The host that was refused.
        host: HostKey,
    },
    /// A UDP datagram from IPv4 without a checksum was dropped (RFC 7915 §4.5).
    WithoutChecksum {
        /// The sender. A fragment has the ports of its datagram.
        src: Transport4,
        /// The receiver.
        dst: Transport4,
    },
}

/// A session that another translator can import. Clocks differ, so it has a remaining time, not a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRecord {
    /// The protocol.
    pub proto: Proto,
    /// The client.
    pub v6: Transport6,
    /// The client's mapped address.
    pub v4: Transport4,
    /// The server.
    pub remote: Transport4,
    /// The pref64 under which the client addresses the server.
    pub pref64: Pref64,
    /// The TCP state as a number private to this crate; 0 for other protocols. Saved sessions contain it.
    pub state: u8,
    /// Time until the session expires without traffic.
    pub remaining: Duration,
    /// Time since the last packet of the client through this binding, in steps of about 1/8 s.
    pub silent: Duration,
    /// Whether a packet from the IPv4 side opened the session.
    pub inbound: bool,
    /// Whether a packet from outside has answered a session of this host.
    pub answered: bool,
    /// Packets to and from the server.
    pub packets: [u32; 2],
    /// Bytes to and from the server, counted on the IPv6 side.
    pub bytes: [u64; 2],
}

/// The bounded queue of pending events.
#[derive(Debug)]
pub(in crate::nat64) struct Events {
    waiting: VecDeque<Event>,
    limit: usize,
    /// When each session started, in nanoseconds, by its slot. Empty if sessions are not logged.
    session_starts: Box<[u64]>,
    counters: Arc<Counters>,
}

impl Events {
    /// A queue of at most `limit` events; further ones are counted as lost. Has no place for the starts of sessions.
    pub(in crate::nat64) fn new(limit: u32, counters: Arc<Counters>) -> Self {
        Self {
            waiting: VecDeque::with_capacity(limit as usize),
            limit: limit as usize,
            session_starts: Box::default(),
            counters,
        }
    }

    /// Adds a place for the starts of this many sessions.
    pub(in crate::nat64) fn with_sessions(self, sessions: u32) -> Self {
        Self { session_starts: vec![0; sessions as usize].into(), ..self }
    }

    /// Whether sessions are logged.
    #[inline]
    pub(in crate::nat64) const fn logs_sessions(&self) -> bool {
        !self.session_starts.is_empty()
    }

    /// Records when the session in a slot started.
    pub(in crate::nat64) fn set_session_start(&mut self, slot: u32, now: Instant) {
        if let Some(start) = self.session_starts.get_mut(slot as usize) {
            *start = now.as_nanos();
        }
    }

    /// The age of the session in a slot.
    pub(in crate::nat64) fn session_age(&self, slot: u32, now: Instant) -> Duration {
        self.session_starts
            .get(slot as usize)
            .map_or(Duration::ZERO, |start| now.since(Instant::from_nanos(*start)))
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        size_of::<Event>() * limit as usize
    }

    /// Bytes of the starts of this many sessions.
    pub(in crate::nat64) const fn session_bytes(sessions: u32) -> usize {
        size_of::<u64>() * sessions as usize
    }

    /// Adds an event, or counts it as lost if the queue is full.
    pub(in crate::nat64) fn push(&mut self, event: Event) {
        if self.waiting.len() < self.limit {
            self.waiting.push_back(event);
        } else {
            self.counters.events_lost.add(1);
        }
    }

    /// Moves the oldest events to `out`; returns their number.
    pub(in crate::nat64) fn fetch(&mut self, out: &mut [Event]) -> usize {
        let n = out.len().min(self.waiting.len());
        for (slot, event) in out.iter_mut().zip(self.waiting.drain(..n)) {
            *slot = event;
        }
        n
    }
}
