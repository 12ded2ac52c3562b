//! Input and output types of an engine.

use core::net::SocketAddr;
use core::time::Duration;

use super::answer::Draft;
use super::query::Query;
use super::slab::Id;
use super::wire::{ede, rcode};
use super::{Outcome, upstream_query};
use crate::addr::ZoneId;

/// Transport of a client query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Datagram: answers have a size limit. Refused queries get no answer, so that forged sources cannot
    /// abuse it for reflection.
    Udp,
    /// Stream: answers may have 65,535 bytes, and refused queries get REFUSED.
    Tcp,
}

/// Identifies an attempt of an upstream query.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransmitId {
    pub(super) query: Id,
    pub(super) attempt: u8,
}

/// An upstream query to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// To pass to [`Engine::reply`](super::Engine::reply).
    pub id: TransmitId,
    /// Suggested server: attempts rotate over the group.
    pub upstream: SocketAddr,
    /// Group of servers that may receive it: the argument of
    /// [`Settings::servers`](super::Settings::servers).
    pub group: usize,
    /// Number of earlier attempts.
    pub attempt: u8,
    /// Servers of earlier attempts; this attempt should use another one.
    pub tried: Vec<SocketAddr>,
    /// The message. Its id (the first two bytes) is 0: the sender sets a random one and compares it with
    /// the reply.
    pub query: Vec<u8>,
}

impl Transmit {
    /// Whether `reply` answers this query, ignoring the id.
    pub fn is_answered_by(&self, reply: &[u8]) -> bool {
        upstream_query::is_reply(&self.query, reply)
    }
}

/// An answer for a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The message.
    pub message: Vec<u8>,
    /// The zone of the client.
    pub zone: Option<ZoneId>,
    /// Why the client got this answer.
    pub outcome: Outcome,
    /// Whether records were removed and TC was set, because the answer was too long.
    pub truncated: bool,
    /// How long the client waited.
    pub elapsed: Duration,
    /// How long the answer may be reused for the same question from the same zone, with its TTLs reduced by
    /// age. Zero is never.
    pub keep: Duration,
}

/// How the engine handles a client query.
#[derive(Debug)]
pub enum QueryAction {
    /// Send this answer now.
    Answer(Answer),
    /// Upstream queries are in progress; [`Engine::poll_answer`](super::Engine::poll_answer) returns the
    /// answer later.
    Pending,
    /// Send no answer.
    Drop(Option<ZoneId>, Outcome),
}

/// Refuses a query: without an answer over UDP, with REFUSED over TCP.
pub fn refuse(zone: Option<ZoneId>, transport: Transport, message: &[u8], outcome: Outcome) -> QueryAction {
    match (transport, Query::read(message, transport)) {
        (Transport::Udp, _) | (Transport::Tcp, None) => QueryAction::Drop(zone, outcome),
        (Transport::Tcp, Some(query)) => {
            let draft = Draft::empty(rcode::REFUSED).error(ede::PROHIBITED);
            QueryAction::Answer(answer(zone, &query, draft, outcome))
        }
    }
}

/// An answer without upstream queries.
pub(super) fn answer(zone: Option<ZoneId>, query: &Query, draft: Draft, outcome: Outcome) -> Answer {
    let (message, truncated) = draft.finish(query);
    Answer { message, zone, outcome, truncated, elapsed: Duration::ZERO, keep: Duration::ZERO }
}
