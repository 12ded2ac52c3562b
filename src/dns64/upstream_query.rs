//! An upstream query: its attempts, its result and the lookups that wait for it. Equal questions share one.

use core::net::SocketAddr;
use std::sync::Arc;

use super::Settings;
use super::key::Key;
use super::slab::Id;
use super::transmit::{Transmit, TransmitId, is_reply};
use super::upstream_state::HedgeBudget;
use super::wire::{self, Opt, flag, rcode};
use crate::addr::SiteKey;
use crate::time::Instant;

/// Result of an upstream query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum UpstreamResult {
    /// A reply, which may be an error.
    Reply(UpstreamReply),
    /// No reply in time.
    NoReply,
}

/// An upstream's reply, fresh or cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UpstreamReply {
    pub(super) message: Arc<[u8]>,
    /// Whether the data has expired (RFC 8767).
    pub(super) stale: bool,
    /// TTL in seconds; `None` if the reply has none (RFC 2308 §5).
    pub(super) left: Option<u32>,
}

impl core::ops::Deref for UpstreamReply {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message
    }
}

/// Purpose of an upstream query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// For clients, pending and future.
    Answer,
    /// To find the DNS zone of a name whose AAAA queries time out.
    ZoneCut,
}

/// A query to the upstreams.
#[derive(Debug)]
pub(super) struct UpstreamQuery {
    pub(super) key: Key,
    pub(super) purpose: Purpose,
    /// Upstream group in the settings.
    pub(super) group: usize,
    query: Vec<u8>,
    pub(super) started: Instant,
    /// Site of the first client, for cache eviction.
    pub(super) site: SiteKey,
    /// Pending queries that wait for it, with the index of the lookup.
    pub(super) waiters: Vec<(Id, usize)>,
    /// Attempts sent.
    attempts: u8,
    /// Server of each attempt.
    tried: Vec<SocketAddr>,
    /// Attempts that have neither a reply nor a failure.
    open: u8,
    /// When to send the next attempt; [`Instant::NEVER`] if none will follow.
    next: Instant,
    /// When to send a hedge: an extra attempt that does not count. [`Instant::NEVER`] if there is none.
    hedge_at: Instant,
    /// Hedges sent.
    hedges: u8,
    end: Instant,
    /// An error, used if no other upstream returns a better reply.
    fallback: Option<Arc<[u8]>>,
    pub(super) result: Option<UpstreamResult>,
    due: bool,
}

impl UpstreamQuery {
    /// A query whose first attempt is to be sent immediately.
    pub(super) fn new(
        now: Instant,
        settings: &Settings,
        key: Key,
        query: Vec<u8>,
        purpose: Purpose,
        site: SiteKey,
    ) -> Self {
        let group = settings.group_of(&key.name);
        Self {
            key,
            purpose,
            group,
            query,
            started: now,
            site,
            waiters: Vec::new(),
            attempts: 0,
            tried: Vec::new(),
            open: 0,
            next: Instant::NEVER,
            hedge_at: Instant::NEVER,
            hedges: 0,
            end: now + settings.timeouts.total,
            fallback: None,
            result: None,
            due: true,
        }
    }

    /// When to call [`UpstreamQuery::timeout`].
    pub(super) fn deadline(&self) -> Instant {
        self.next.min(self.hedge_at).min(self.end)
    }

    /// The attempt to send now.
    pub(super) fn poll_transmit(&mut self, now: Instant, id: Id, settings: &Settings) -> Option<Transmit> {
        if !core::mem::take(&mut self.due) || self.result.is_some() {
            return None;
        }
        let servers = settings.servers(self.group);
        let Some(upstream) = usize::from(self.attempts).checked_rem(servers.len()).map(|n| servers[n]) else {
            self.result = Some(UpstreamResult::NoReply);
            return None;
        };
        let id = TransmitId { query: id, attempt: self.attempts };
        let attempt = self.attempts;
        self.attempts += 1;
        self.open += 1;
        self.next = now + settings.timeouts.attempt;
        let tried = self.tried.clone();
        self.tried.push(upstream);
        let is_hedge = self.hedges > 0 && attempt == 1;
        let (group, query) = (self.group, self.query.clone());
        Some(Transmit { id, upstream, group, attempt, tried, is_hedge, query })
    }

    /// Records that an attempt went to another server than suggested.
    pub(super) fn sent_to(&mut self, attempt: u8, upstream: SocketAddr) {
        if let Some(tried) = self.tried.get_mut(usize::from(attempt)) {
            *tried = upstream;
        }
    }

    /// Schedules a hedge for the first attempt, unless the next attempt comes sooner.
    pub(super) fn schedule_hedge(&mut self, at: Instant) -> bool {
        let schedules = self.attempts == 1 && self.result.is_none() && at < self.next;
        if schedules {
            self.hedge_at = at;
        }
        schedules
    }

    /// Processes a reply. `false` if it does not answer this query: the genuine reply may still arrive (RFC
    /// 5452 §9.1).
    pub(super) fn reply(&mut self, bytes: &[u8], settings: &Settings) -> bool {
        if !is_reply(&self.query, bytes) {
            return false;
        }
        if wire::u16_at(bytes, 2).is_some_and(|flags| flags & flag::TC != 0) {
            // A truncated reply is a failure: the sender has already retried over TCP.
            self.failed(settings);
            return true;
        }
        self.open = self.open.saturating_sub(1);
        // While only the first attempt and its hedge are in flight, the other one may have a better reply.
        let is_hedged = self.hedges > 0 && self.attempts == 2 && self.open > 0;
        let has_untried = self.has_untried(settings);
        if should_try_next_upstream(bytes) && (has_untried || is_hedged) {
            self.fallback = Some(bytes.into());
            self.due = has_untried && !is_hedged;
        } else {
            self.result = Some(uncached(bytes.into()));
        }
        true
    }

    /// An attempt failed: the port is closed, or the connection broke.
    pub(super) fn failed(&mut self, settings: &Settings) {
        self.open = self.open.saturating_sub(1);
        if self.has_untried(settings) {
            self.due = true;
        } else if self.open == 0 && !self.may_send_attempt(settings) {
            self.finish();
        }
    }

    /// Sends the next attempt to the next upstream, if it is time.
    pub(super) fn timeout(&mut self, now: Instant, settings: &Settings, hedges: &mut HedgeBudget) {
        if now >= self.end {
            self.finish();
        }
        if now >= self.hedge_at {
            self.hedge_at = Instant::NEVER;
            if self.attempts == 1 && self.result.is_none() && self.has_untried(settings) && hedges.spend() {
                self.hedges = 1;
                self.due = true;
                return;
            }
        }
        if now < self.next || self.result.is_some() {
            return;
        }
        self.next = Instant::NEVER;
        if self.may_send_attempt(settings) {
            self.due = true;
        } else if self.open == 0 {
            self.finish();
        }
    }

    /// Ends the query with the error received, or a timeout.
    fn finish(&mut self) {
        if self.result.is_none() {
            self.result = Some(self.fallback.take().map_or(UpstreamResult::NoReply, uncached));
        }
    }

    /// The error received so far.
    pub(super) fn error(&self) -> Option<UpstreamResult> {
        self.fallback.clone().map(uncached)
    }

    fn has_untried(&self, settings: &Settings) -> bool {
        usize::from(self.attempts) < settings.servers(self.group).len() && self.may_send_attempt(settings)
    }

    fn may_send_attempt(&self, settings: &Settings) -> bool {
        let wanted = !self.waiters.is_empty() || self.key.kind == wire::rr::AAAA;
        // A query without waiters is not retried, except for AAAA, whose timeouts are recorded.
        wanted && self.attempts - self.hedges < settings.limits.attempts.max(1)
    }
}

const fn uncached(message: Arc<[u8]>) -> UpstreamResult {
    UpstreamResult::Reply(UpstreamReply { message, stale: false, left: Some(0) })
}

/// Whether a reply is an error that says nothing about the name.
pub(super) fn is_failure(reply: &[u8]) -> bool {
    !matches!(wire::rcode_of(reply), rcode::NOERROR | rcode::NXDOMAIN)
}

/// Whether another upstream may have a better reply: this one failed for a reason other than bogus data.
fn should_try_next_upstream(reply: &[u8]) -> bool {
    is_failure(reply) && !is_bogus(reply)
}

/// Whether the upstream reports a validation failure (RFC 8914).
pub(super) fn is_bogus(reply: &[u8]) -> bool {
    let opt = wire::layout(reply).and_then(|layout| layout.opt);
    opt.and_then(|opt| Opt::read(reply, &opt.at))
        .is_some_and(|opt| opt.errors().any(|(code, _)| wire::ede::is_bogus(code)))
}
