//! One question on its way through the upstreams: which is asked when, and what came of it.

use core::net::SocketAddr;

use super::wire::{self, Opt, flag, rcode};
use super::{Ask, AskId, Settings};
use crate::time::Instant;

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// This answer, perhaps an error.
    Reply(Vec<u8>),
    /// None in time.
    Silent,
}

/// A question to the upstreams.
#[derive(Debug)]
pub(super) struct Slot {
    number: u8,
    query: Vec<u8>,
    /// Times sent.
    attempts: u8,
    /// Sent, and neither answered nor failed.
    open: u8,
    /// When the next attempt is due, [`Instant::NEVER`] if there will be none.
    next: Instant,
    /// An error, kept in case no other upstream knows better.
    fallback: Option<Vec<u8>>,
    fate: Option<Fate>,
    due: bool,
}

impl Slot {
    /// A question not yet asked; it is due at once.
    pub(super) fn new(number: u8, query: Vec<u8>) -> Self {
        Self {
            number,
            query,
            attempts: 0,
            open: 0,
            next: Instant::NEVER,
            fallback: None,
            fate: None,
            due: true,
        }
    }

    pub(super) fn fate(&self) -> Option<&Fate> {
        self.fate.as_ref()
    }

    /// When [`Slot::timeout`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        if self.fate.is_some() { Instant::NEVER } else { self.next }
    }

    /// What to send now, if anything.
    pub(super) fn poll_ask(&mut self, now: Instant, settings: &Settings) -> Option<Ask> {
        if !core::mem::take(&mut self.due) || self.fate.is_some() {
            return None;
        }
        let Some(upstream) = upstream(settings, self.attempts) else {
            self.fate = Some(Fate::Silent);
            return None;
        };
        let id = AskId { slot: self.number, attempt: self.attempts };
        self.attempts += 1;
        self.open += 1;
        self.next = now + settings.timeouts.attempt;
        Some(Ask { id, upstream, query: self.query.clone() })
    }

    /// Takes an answer to an attempt. `false` if it is no answer to this question: the true one may
    /// still come (RFC 5452 §9.1).
    pub(super) fn reply(&mut self, bytes: &[u8], settings: &Settings) -> bool {
        if !is_reply(&self.query, bytes) {
            return false;
        }
        if self.fate.is_some() {
            return true;
        }
        if wire::u16_at(bytes, 2).is_some_and(|flags| flags & flag::TC != 0) {
            // Half an answer is none: whoever sends our questions repeats them over TCP.
            self.failed(settings);
            return true;
        }
        self.open = self.open.saturating_sub(1);
        let untried = usize::from(self.attempts) < settings.upstreams.len() && self.may_ask(settings);
        if untried && may_be_local_trouble(bytes) {
            self.fallback = Some(bytes.to_vec());
            self.due = true;
        } else {
            self.fate = Some(Fate::Reply(bytes.to_vec()));
        }
        true
    }

    /// An attempt ended without an answer: nobody listens there, or the connection broke.
    pub(super) fn failed(&mut self, settings: &Settings) {
        self.open = self.open.saturating_sub(1);
        if usize::from(self.attempts) < settings.upstreams.len() && self.may_ask(settings) {
            self.due = true;
        } else if self.open == 0 && !self.may_ask(settings) {
            self.conclude();
        }
    }

    /// Asks again, the next upstream, if that is due.
    pub(super) fn timeout(&mut self, now: Instant, settings: &Settings) {
        if now < self.deadline() {
            return;
        }
        self.next = Instant::NEVER;
        if self.may_ask(settings) {
            self.due = true;
        } else if self.open == 0 {
            self.conclude();
        }
    }

    /// Settles for what there is: nobody waits any longer.
    pub(super) fn conclude(&mut self) {
        if self.fate.is_none() {
            self.fate = Some(self.fallback.take().map_or(Fate::Silent, Fate::Reply));
        }
    }

    /// Settles for an error if one came: no other upstream knew better in time.
    pub(super) fn settle_for_error(&mut self) {
        if self.fallback.is_some() {
            self.conclude();
        }
    }

    fn may_ask(&self, settings: &Settings) -> bool {
        self.attempts < settings.limits.attempts.max(1)
    }
}

/// Upstreams in their order, and round again.
fn upstream(settings: &Settings, attempt: u8) -> Option<SocketAddr> {
    let count = settings.upstreams.len();
    usize::from(attempt).checked_rem(count).and_then(|number| settings.upstreams.get(number)).copied()
}

/// Whether `reply` answers `query`: the question is the same but for case (0x20). An error may come
/// without a question (RFC 1035 §4.1.1: FORMERR).
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

/// Whether another upstream may know better: this one fails, but not because the data are bogus.
fn may_be_local_trouble(reply: &[u8]) -> bool {
    !matches!(wire::rcode_of(reply), rcode::NOERROR | rcode::NXDOMAIN) && !is_bogus(reply)
}

/// Whether the upstream says that validation failed (RFC 8914).
pub(super) fn is_bogus(reply: &[u8]) -> bool {
    let opt = wire::layout(reply).and_then(|layout| layout.opt);
    opt.and_then(|opt| Opt::read(reply, &opt.at))
        .is_some_and(|opt| opt.errors().any(|(code, _)| wire::ede::is_bogus(code)))
}
