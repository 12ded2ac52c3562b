//! Pending client queries: those that need upstream replies.

use core::net::Ipv6Addr;
use core::time::Duration;
use std::sync::Arc;

use super::answer::Draft;
use super::key::Key;
use super::ledger::Ledger;
use super::query::Query;
use super::upstream_query::{self, UpstreamReply, UpstreamResult};
use super::wire::{self, rr};
use super::{Answer, Ipv6Support, Outcome, Settings, Zone, reverse};
use crate::addr::HostKey;
use crate::time::Instant;

/// How a query is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// Forward the upstream reply. The outcome applies unless the reply is an error.
    Pass(Outcome),
    /// AAAA records, otherwise AAAA records synthesized from A records.
    Synthesis,
    /// The name of an embedded IPv4 address.
    Reverse,
}

/// Records that a pending query needs.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) key: Key,
    /// The upstream query.
    pub(super) query: Vec<u8>,
    pub(super) result: Option<UpstreamResult>,
    /// Expired data, used if upstreams fail (RFC 8767).
    pub(super) stale: Option<UpstreamReply>,
}

/// A client query that waits for upstream replies.
#[derive(Debug)]
pub(super) struct PendingQuery {
    pub(super) settings: Arc<Settings>,
    /// Index into the zones of `settings`.
    zone: usize,
    pub(super) query: Query,
    pub(super) plan: Plan,
    /// One lookup, or AAAA and A in this order.
    pub(super) lookups: Vec<Lookup>,
    pub(super) started: Instant,
    client: Ipv6Addr,
    /// Whether the translator of the zone is down.
    pub(super) translator_down: bool,
    /// When to stop waiting for AAAA.
    pub(super) aaaa_deadline: Instant,
}

impl PendingQuery {
    pub(super) fn new(
        now: Instant,
        settings: &Arc<Settings>,
        zone: usize,
        client: Ipv6Addr,
        query: Query,
    ) -> Self {
        let rules = &settings.zones[zone];
        let lookup = |name: &[u8], kind| Lookup {
            key: Key::new(&query, name, kind),
            query: query.upstream(name, kind),
            result: None,
            stale: None,
        };
        let (plan, lookups) = match (plan(rules, &query), reverse::mapped_by(rules, &query)) {
            (Plan::Reverse, Some(v4)) => (Plan::Reverse, vec![lookup(&reverse::in_addr_arpa(v4), rr::PTR)]),
            (Plan::Reverse, None) => {
                (Plan::Pass(Outcome::PassedType), vec![lookup(query.name(), query.kind())])
            }
            (Plan::Synthesis, _) => {
                (Plan::Synthesis, vec![lookup(query.name(), rr::AAAA), lookup(query.name(), rr::A)])
            }
            (Plan::Pass(outcome), _) => (Plan::Pass(outcome), vec![lookup(query.name(), query.kind())]),
        };
        let aaaa_deadline = now + settings.timeouts.aaaa_wait;
        Self {
            settings: Arc::clone(settings),
            zone,
            query,
            plan,
            lookups,
            started: now,
            client,
            translator_down: false,
            aaaa_deadline,
        }
    }

    pub(super) fn zone(&self) -> &Zone {
        // `settings` are those that the index was found in.
        &self.settings.zones[self.zone]
    }

    /// When to answer with stale data (RFC 8767 §5).
    pub(super) fn stale_at(&self) -> Instant {
        self.started + self.settings.timeouts.stale_wait
    }

    /// When to call [`PendingQuery::timeout`]. Upstream queries have their own timers.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let aaaa_deadline = (self.plan == Plan::Synthesis).then_some(self.aaaa_deadline);
        let stale = self.lookups.iter().any(|lookup| lookup.stale.is_some()).then(|| self.stale_at());
        aaaa_deadline.into_iter().chain(stale)
    }

    /// Uses stale data once [`PendingQuery::stale_at`] has passed.
    pub(super) fn timeout(&mut self, now: Instant) {
        if now >= self.stale_at() {
            for lookup in self.lookups.iter_mut().filter(|lookup| lookup.result.is_none()) {
                lookup.result = lookup.stale.take().map(UpstreamResult::Reply);
            }
        }
    }

    /// The answer, if the results suffice.
    pub(super) fn try_answer(&self, now: Instant) -> Option<Answer> {
        let (draft, outcome) = match self.plan {
            Plan::Pass(outcome) => self.result(0).map(|result| self.pass(result, outcome)),
            Plan::Reverse => self.result(0).map(|result| self.reverse(result)),
            Plan::Synthesis => self.synthesis(now),
        }?;
        let (message, truncated) = self.mark_stale(draft, outcome).finish(&self.query);
        let (elapsed, keep) = (now.since(self.started), self.keep(outcome, &message));
        Some(Answer { message, zone: Some(self.zone().id), outcome, truncated, elapsed, keep })
    }

    /// How long the answer may be reused.
    fn keep(&self, outcome: Outcome, message: &[u8]) -> Duration {
        let remaining_ttl = |result: Option<&UpstreamResult>| match result {
            Some(UpstreamResult::Reply(reply)) if !upstream_query::is_failure(reply) => {
                reply.left.unwrap_or(u32::MAX)
            }
            Some(UpstreamResult::Reply(_) | UpstreamResult::NoReply) | None => 0,
        };
        // Ignored AAAA records do not affect the answer.
        let ignored = usize::from(outcome == Outcome::SynthesizedIgnored);
        let used = self.lookups.iter().take(self.used(outcome)).skip(ignored);
        let least = used.map(|lookup| remaining_ttl(lookup.result.as_ref())).min().unwrap_or(0);
        let least = least_ttl(message).map_or(least, |ttl| ttl.min(least));
        if least == u32::MAX { Duration::ZERO } else { reuse_time(least) }
    }

    /// How many of the lookups the answer depends on.
    fn used(&self, outcome: Outcome) -> usize {
        let alone = matches!(outcome, Outcome::Native | Outcome::NativeFiltered | Outcome::Nxdomain);
        if alone && self.result(0).is_some() { 1 } else { self.lookups.len() }
    }

    pub(super) fn result(&self, lookup: usize) -> Option<&UpstreamResult> {
        self.lookups.get(lookup)?.result.as_ref()
    }

    /// The owner of the A records, if A has a result and AAAA has none.
    pub(super) fn unanswered_aaaa_owner(&self) -> Option<Vec<u8>> {
        if self.plan != Plan::Synthesis || self.result(0).is_some() {
            return None;
        }
        match self.result(1)? {
            UpstreamResult::Reply(reply) => owner_of(reply, rr::A),
            UpstreamResult::NoReply => None,
        }
    }

    /// Whether AAAA records of the name are ignored.
    pub(super) fn ignores_aaaa(&self) -> bool {
        // While the translator is down, AAAA records are the only usable ones.
        !self.translator_down && self.zone().rules.ignores_aaaa(&self.lookups[0].key.name)
    }

    /// Records the name's IPv6 support, and the addresses that the client's host receives.
    pub(super) fn record(&self, now: Instant, outcome: Outcome, ledger: &mut Ledger) {
        let Key { name, kind, class, .. } = &self.lookups[0].key;
        match self.plan {
            Plan::Pass(_) if (*kind, *class) == (rr::A, rr::IN) => {
                self.link(now, (name, false), self.reply(0), ledger);
            }
            Plan::Synthesis if outcome.is_synthesized() => {
                self.link(now, (name, true), self.reply(1), ledger);
            }
            Plan::Pass(_) | Plan::Synthesis | Plan::Reverse => {}
        }
        let Some(ipv6_support) = self.ipv6_support(outcome) else { return };
        let kind = if ipv6_support == Ipv6Support::Native { 0 } else { 1 };
        let reply = self.reply(kind);
        let alias = owner_of(reply, self.lookups[kind].key.kind).filter(|owner| **owner != **name);
        ledger.record(now, self.zone().id, name, ipv6_support, alias);
    }

    /// The reply to a lookup; empty if there is none.
    fn reply(&self, lookup: usize) -> &[u8] {
        match self.result(lookup) {
            Some(UpstreamResult::Reply(reply)) => &reply[..],
            Some(UpstreamResult::NoReply) | None => &[],
        }
    }

    /// Links the A records of a reply to a name, for the client's host.
    fn link(&self, now: Instant, name: (&[u8], bool), reply: &[u8], ledger: &mut Ledger) {
        let zone = self.zone();
        let host = HostKey::new(zone.id, self.client, zone.rules.host_len);
        for record in wire::answers(reply).filter(|record| record.kind == rr::A) {
            if let Some(v4) = reply.get(record.data).and_then(|data| <[u8; 4]>::try_from(data).ok()) {
                ledger.link(now, host, v4.into(), name);
            }
        }
    }

    /// The name's IPv6 support, if it has addresses and the answer shows which.
    fn ipv6_support(&self, outcome: Outcome) -> Option<Ipv6Support> {
        if self.plan != Plan::Synthesis {
            return None;
        }
        let aaaa = self.result(0);
        let is_silent = match aaaa {
            Some(UpstreamResult::Reply(reply)) => upstream_query::is_failure(reply),
            Some(UpstreamResult::NoReply) => true,
            // Not waited for, or timed out.
            None => outcome == Outcome::SynthesizedTimeout,
        };
        let has_aaaa = matches!(aaaa, Some(UpstreamResult::Reply(reply)) if wire::answers(reply).any(|r| r.kind == rr::AAAA));
        if matches!(outcome, Outcome::Native | Outcome::NativeFiltered)
            || outcome == Outcome::SynthesizedIgnored && has_aaaa
        {
            Some(Ipv6Support::Native)
        } else if outcome == Outcome::SynthesizedIgnored && aaaa.is_none() {
            None
        } else if outcome.is_synthesized() || matches!(outcome, Outcome::Untranslatable | Outcome::PassedDo) {
            Some(if is_silent { Ipv6Support::BrokenAaaa } else { Ipv6Support::Ipv4Only })
        } else {
            None
        }
    }

    /// Marks the answer as stale if a used reply is.
    fn mark_stale(&self, draft: Draft, outcome: Outcome) -> Draft {
        let used = self.used(outcome);
        let is_stale =
            |lookup: &Lookup| matches!(&lookup.result, Some(UpstreamResult::Reply(reply)) if reply.stale);
        if self.lookups.iter().take(used).any(is_stale) { draft.stale() } else { draft }
    }
}

/// How long an answer with `ttl` seconds left may be reused: nine tenths. The rest lets the engine see
/// queries for popular names in time to prefetch them.
pub(super) fn reuse_time(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl) * 9 / 10)
}

/// The smallest TTL of an answer's records, except OPT.
pub(super) fn least_ttl(message: &[u8]) -> Option<u32> {
    let start = wire::question(message)?.end;
    wire::records(message, start).filter(|record| record.kind != rr::OPT).map(|record| record.ttl).min()
}

/// The owner of an answer's last record of a type.
pub(super) fn owner_of(reply: &[u8], kind: u16) -> Option<Vec<u8>> {
    let last = wire::answers(reply).filter(|record| record.kind == kind).last()?;
    wire::name_at(reply, last.at)
}

fn plan(zone: &Zone, query: &Query) -> Plan {
    if query.class() != rr::IN {
        return Plan::Pass(Outcome::PassedClass);
    }
    let kind = query.kind();
    if !zone.rules.enabled {
        Plan::Pass(Outcome::PassedOff)
    } else if query.checking_disabled() && matches!(kind, rr::AAAA | rr::PTR) {
        Plan::Pass(Outcome::PassedCd)
    } else if kind == rr::AAAA && !zone.rules.may_synthesize(&query.name().to_ascii_lowercase()) {
        Plan::Pass(Outcome::PassedPolicy)
    } else if kind == rr::AAAA {
        Plan::Synthesis
    } else if kind == rr::PTR {
        Plan::Reverse
    } else {
        Plan::Pass(Outcome::PassedType)
    }
}
