//! One question on its way through the upstreams: which is asked when, who waits for it, and what
//! came of it. However many wait, it is asked once.

use core::net::SocketAddr;
use std::sync::Arc;

use super::key::Key;
use super::slab::Id;
use super::wire::{self, Opt, flag, rcode};
use super::{Ask, AskId, Settings};
use crate::time::Instant;

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// This answer, perhaps an error.
    Reply(Heard),
    /// None in time.
    Silent,
}

/// An upstream's answer, fresh or kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub(super) message: Arc<[u8]>,
    /// Whether its time is over and nothing better was to be had (RFC 8767).
    pub(super) stale: bool,
    /// How long it holds, in seconds; `None` if it does not say (RFC 2308 §5).
    pub(super) left: Option<u32>,
}

impl core::ops::Deref for Heard {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message
    }
}

/// Why a question is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// For clients that wait, and for those to come.
    Answer,
    /// To learn the zone of a name whose AAAA queries are not answered.
    ZoneCut,
}

/// A question to the upstreams.
#[derive(Debug)]
pub(super) struct UpstreamQuery {
    pub(super) key: Key,
    pub(super) purpose: Purpose,
    /// Which of the settings' groups of upstreams is asked.
    group: usize,
    query: Vec<u8>,
    pub(super) begun: Instant,
    /// The client that was first, for the cache's fairness.
    pub(super) owner: u8,
    /// Who waits, and for which of its needs.
    pub(super) waiting: Vec<(Id, usize)>,
    /// Times sent.
    attempts: u8,
    /// Whom it was sent to.
    tried: Vec<SocketAddr>,
    /// Sent, and neither answered nor failed.
    open: u8,
    /// When the next attempt is due, [`Instant::NEVER`] if there will be none.
    next: Instant,
    end: Instant,
    /// An error, kept in case no other upstream knows better.
    fallback: Option<Arc<[u8]>>,
    pub(super) fate: Option<Fate>,
    due: bool,
}

impl UpstreamQuery {
    /// A question not yet asked; it is due at once.
    pub(super) fn new(
        now: Instant,
        settings: &Settings,
        key: Key,
        query: Vec<u8>,
        purpose: Purpose,
        owner: u8,
    ) -> Self {
        let group = settings.group_of(&key.name);
        Self {
            key,
            purpose,
            group,
            query,
            begun: now,
            owner,
            waiting: Vec::new(),
            attempts: 0,
            tried: Vec::new(),
            open: 0,
            next: Instant::NEVER,
            end: now + settings.timeouts.total,
            fallback: None,
            fate: None,
            due: true,
        }
    }

    /// When [`UpstreamQuery::timeout`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        self.next.min(self.end)
    }

    /// What to send now, if anything.
    pub(super) fn poll_ask(&mut self, now: Instant, id: Id, settings: &Settings) -> Option<Ask> {
        if !core::mem::take(&mut self.due) || self.fate.is_some() {
            return None;
        }
        let servers = settings.servers(self.group);
        let Some(upstream) = usize::from(self.attempts).checked_rem(servers.len()).map(|n| servers[n]) else {
            self.fate = Some(Fate::Silent);
            return None;
        };
        let id = AskId { flight: id, attempt: self.attempts };
        let attempt = self.attempts;
        self.attempts += 1;
        self.open += 1;
        self.next = now + settings.timeouts.attempt;
        let tried = self.tried.clone();
        self.tried.push(upstream);
        Some(Ask { id, upstream, group: self.group, attempt, tried, query: self.query.clone() })
    }

    /// An attempt was sent to another server than was proposed.
    pub(super) fn asked(&mut self, attempt: u8, upstream: SocketAddr) {
        if let Some(tried) = self.tried.get_mut(usize::from(attempt)) {
            *tried = upstream;
        }
    }

    /// Takes an answer to an attempt. `false` if it is no answer to this question: the true one may
    /// still come (RFC 5452 §9.1).
    pub(super) fn reply(&mut self, bytes: &[u8], settings: &Settings) -> bool {
        if !is_reply(&self.query, bytes) {
            return false;
        }
        if wire::u16_at(bytes, 2).is_some_and(|flags| flags & flag::TC != 0) {
            // Half an answer is none: whoever sends our questions repeats them over TCP.
            self.failed(settings);
            return true;
        }
        self.open = self.open.saturating_sub(1);
        if may_be_local_trouble(bytes) && self.has_untried(settings) {
            self.fallback = Some(bytes.into());
            self.due = true;
        } else {
            self.fate = Some(heard(bytes.into()));
        }
        true
    }

    /// An attempt ended without an answer: nobody listens there, or the connection broke.
    pub(super) fn failed(&mut self, settings: &Settings) {
        self.open = self.open.saturating_sub(1);
        if self.has_untried(settings) {
            self.due = true;
        } else if self.open == 0 && !self.may_ask(settings) {
            self.conclude();
        }
    }

    /// Asks again, the next upstream, if that is due.
    pub(super) fn timeout(&mut self, now: Instant, settings: &Settings) {
        if now >= self.end {
            self.conclude();
        }
        if now < self.next || self.fate.is_some() {
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
    fn conclude(&mut self) {
        if self.fate.is_none() {
            self.fate = Some(self.fallback.take().map_or(Fate::Silent, heard));
        }
    }

    /// An error that came, if that is all so far.
    pub(super) fn error(&self) -> Option<Fate> {
        self.fallback.clone().map(heard)
    }

    fn has_untried(&self, settings: &Settings) -> bool {
        usize::from(self.attempts) < settings.servers(self.group).len() && self.may_ask(settings)
    }

    fn may_ask(&self, settings: &Settings) -> bool {
        let wanted = !self.waiting.is_empty() || self.key.kind == wire::rr::AAAA;
        // A question nobody waits for is not repeated, except where its silence is to be learnt.
        wanted && self.attempts < settings.limits.attempts.max(1)
    }
}

const fn heard(message: Arc<[u8]>) -> Fate {
    Fate::Reply(Heard { message, stale: false, left: Some(0) })
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

/// Whether a reply tells nothing about the name.
pub(super) fn is_failure(reply: &[u8]) -> bool {
    !matches!(wire::rcode_of(reply), rcode::NOERROR | rcode::NXDOMAIN)
}

/// Whether another upstream may know better: this one fails, but not because the data are bogus.
fn may_be_local_trouble(reply: &[u8]) -> bool {
    is_failure(reply) && !is_bogus(reply)
}

/// Whether the upstream says that validation failed (RFC 8914).
pub(super) fn is_bogus(reply: &[u8]) -> bool {
    let opt = wire::layout(reply).and_then(|layout| layout.opt);
    opt.and_then(|opt| Opt::read(reply, &opt.at))
        .is_some_and(|opt| opt.errors().any(|(code, _)| wire::ede::is_bogus(code)))
}
