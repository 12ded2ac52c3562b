//! Input and output types of an engine.

use core::time::Duration;

use super::Outcome;
use super::answer::Draft;
use super::query::{Query, Transport};
use super::wire::{ede, rcode};
use crate::addr::ZoneId;

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
