//! Upstream queries to send, and the replies that answer them.

use core::net::SocketAddr;

use super::slab::Id;
use super::wire::{self, flag, rr};

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
    /// Whether it is sent before an earlier attempt has timed out.
    pub is_hedge: bool,
    /// The message. Its id (the first two bytes) is 0: the sender sets a random one and compares it with
    /// the reply.
    pub query: Vec<u8>,
}

impl Transmit {
    /// A small query that every resolver answers: for the name servers of the root.
    pub fn probe(upstream: SocketAddr) -> Self {
        let id = TransmitId { query: Id::NONE, attempt: 0 };
        let query = wire::upstream_query(&[0], rr::NS, rr::IN, flag::RD, false);
        Self { id, upstream, group: 0, attempt: 0, tried: Vec::new(), is_hedge: false, query }
    }

    /// Whether `reply` answers this query, ignoring the id.
    pub fn is_answered_by(&self, reply: &[u8]) -> bool {
        is_reply(&self.query, reply)
    }
}

/// Whether `reply` answers `query`: the questions are equal except for case (0x20). An error may have no
/// question (RFC 1035 §4.1.1: FORMERR).
pub(super) fn is_reply(query: &[u8], reply: &[u8]) -> bool {
    let Some(flags) = wire::u16_at(reply, 2).filter(|_| reply.len() >= wire::HEADER) else { return false };
    if flags & flag::QR == 0 || flags & flag::OPCODE != 0 {
        return false;
    }
    let Some(asked) = wire::question(query) else { return false };
    match wire::question(reply) {
        Some(answered) => {
            let (asked, answered) = (&query[asked], &reply[answered]);
            let name = asked.len() - 4;
            asked.len() == answered.len()
                && asked[name..] == answered[name..]
                && asked[..name].eq_ignore_ascii_case(&answered[..name])
        }
        None => wire::u16_at(reply, 4) == Some(0) && flags & flag::RCODE != 0,
    }
}
