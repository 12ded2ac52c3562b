//! What goes into an engine and comes out of it.

use core::net::SocketAddr;
use core::time::Duration;

use super::answer::Draft;
use super::query::Query;
use super::slab::Id;
use super::wire::{ede, rcode};
use super::{Outcome, upstream_query};
use crate::addr::ZoneId;

/// How a query came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A datagram: answers have a size limit, and who is not served gets nothing, so that forged
    /// sources gain nothing.
    Udp,
    /// A stream: answers may have 65,535 bytes, and who is not served is told so.
    Tcp,
}

/// Names a question sent upstream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AskId {
    pub(super) flight: Id,
    pub(super) attempt: u8,
}

/// A question to be sent upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// To be given back with the answer.
    pub id: AskId,
    /// Whom to ask if all servers of the group are equally good: they take turns by attempt.
    pub upstream: SocketAddr,
    /// Who may be asked: [`Settings::servers`](super::Settings::servers) of this number.
    pub group: usize,
    /// How many times this question has been sent before.
    pub attempt: u8,
    /// Who has been asked before: this attempt is for another server, if there is one.
    pub tried: Vec<SocketAddr>,
    /// The message. Its id, the first two bytes, is 0: the sender puts a random one there and checks
    /// that the answer has it.
    pub query: Vec<u8>,
}

impl Ask {
    /// Whether `reply` is an answer to this question, whatever its id.
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
    /// Why the answer is what it is.
    pub outcome: Outcome,
    /// Whether it was too big and went without records, with TC.
    pub truncated: bool,
    /// How long the client waited.
    pub took: Duration,
    /// How long the same answer may be given to the same question from a client of the same zone
    /// without asking again, if TTLs are lowered by the age; zero if not at all.
    pub keep: Duration,
}

/// What becomes of a query when it comes.
#[derive(Debug)]
pub enum Taken {
    /// It is answered at once.
    Answer(Answer),
    /// It waits for upstreams; [`Engine::poll_answer`](super::Engine::poll_answer) will give its answer.
    Waits,
    /// It is not answered.
    Drop(Option<ZoneId>, Outcome),
}

/// Turns a query away: over UDP silently, over TCP with REFUSED.
pub fn refuse(zone: Option<ZoneId>, transport: Transport, message: &[u8], outcome: Outcome) -> Taken {
    match (transport, Query::read(message, transport)) {
        (Transport::Udp, _) | (Transport::Tcp, None) => Taken::Drop(zone, outcome),
        (Transport::Tcp, Some(query)) => {
            let draft = Draft::empty(rcode::REFUSED).error(ede::PROHIBITED);
            Taken::Answer(answer(zone, &query, draft, outcome))
        }
    }
}

/// An answer that nobody waited for.
pub(super) fn answer(zone: Option<ZoneId>, query: &Query, draft: Draft, outcome: Outcome) -> Answer {
    let (message, truncated) = draft.finish(query);
    Answer { message, zone, outcome, truncated, took: Duration::ZERO, keep: Duration::ZERO }
}
