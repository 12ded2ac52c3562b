//! Pending client queries: those that need answers of upstream resolvers.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::sync::Arc;

use super::answer::Draft;
use super::key::Key;
use super::ledger::Ledger;
use super::query::Query;
use super::upstream_query::{self, Fate, Heard};
use super::wire::{self, rr};
use super::{Answer, Outcome, Reach, Settings, Zone, reverse};
use crate::addr::HostKey;
use crate::time::Instant;

/// What is done with a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// The upstream's answer is passed on; the outcome if it is no error.
    Pass(Outcome),
    /// AAAA, else A made AAAA.
    Synthesis,
    /// The name of an IPv4 address.
    Reverse,
}

/// A question whose answer is needed.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) key: Key,
    /// The message for upstreams.
    pub(super) query: Vec<u8>,
    pub(super) fate: Option<Fate>,
    /// What was known once, in case nothing better is to be had (RFC 8767).
    pub(super) spare: Option<Heard>,
}

/// A query that waits for upstreams.
#[derive(Debug)]
pub(super) struct PendingQuery {
    pub(super) settings: Arc<Settings>,
    /// Index into the settings' zones.
    zone: usize,
    pub(super) query: Query,
    pub(super) plan: Plan,
    /// One question, or AAAA and A, in this order.
    pub(super) needs: Vec<Need>,
    pub(super) begun: Instant,
    client: Ipv6Addr,
    /// Whether nothing translates for the zone.
    pub(super) is_down: bool,
    /// When the wait for AAAA ends.
    pub(super) patience: Instant,
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
        let need = |name: &[u8], kind| Need {
            key: Key::new(&query, name, kind),
            query: query.upstream(name, kind),
            fate: None,
            spare: None,
        };
        let (plan, needs) = match (plan(rules, &query), mapped_by(rules, &query)) {
            (Plan::Reverse, Some(v4)) => (Plan::Reverse, vec![need(&reverse::in_addr_arpa(v4), rr::PTR)]),
            (Plan::Reverse, None) => {
                (Plan::Pass(Outcome::PassedType), vec![need(query.name(), query.kind())])
            }
            (Plan::Synthesis, _) => {
                (Plan::Synthesis, vec![need(query.name(), rr::AAAA), need(query.name(), rr::A)])
            }
            (Plan::Pass(outcome), _) => (Plan::Pass(outcome), vec![need(query.name(), query.kind())]),
        };
        let patience = now + settings.timeouts.aaaa_wait;
        Self {
            settings: Arc::clone(settings),
            zone,
            query,
            plan,
            needs,
            begun: now,
            client,
            is_down: false,
            patience,
        }
    }

    pub(super) fn zone(&self) -> &Zone {
        // The index was found in these very settings.
        &self.settings.zones[self.zone]
    }

    /// When stale data are better than to wait on (RFC 8767 §5).
    pub(super) fn stale_at(&self) -> Instant {
        self.begun + self.settings.timeouts.stale_wait
    }

    /// When [`PendingQuery::timeout`] has something to do, besides what flights do.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let patience = (self.plan == Plan::Synthesis).then_some(self.patience);
        let stale = self.needs.iter().any(|need| need.spare.is_some()).then(|| self.stale_at());
        patience.into_iter().chain(stale)
    }

    /// Falls back on what is there, if it is time.
    pub(super) fn timeout(&mut self, now: Instant) {
        if now >= self.stale_at() {
            for need in self.needs.iter_mut().filter(|need| need.fate.is_none()) {
                need.fate = need.spare.take().map(Fate::Reply);
            }
        }
    }

    /// The answer, if there is one by now.
    pub(super) fn settle(&self, now: Instant) -> Option<Answer> {
        let (draft, outcome) = match self.plan {
            Plan::Pass(outcome) => self.fate(0).map(|fate| self.pass(fate, outcome)),
            Plan::Reverse => self.fate(0).map(|fate| self.reverse(fate)),
            Plan::Synthesis => self.synthesis(now),
        }?;
        let (message, truncated) = self.marked(draft, outcome).finish(&self.query);
        let (took, keep) = (now.since(self.begun), self.keep(outcome, &message));
        Some(Answer { message, zone: Some(self.zone().id), outcome, truncated, took, keep })
    }

    /// How long an answer may be repeated.
    fn keep(&self, outcome: Outcome, message: &[u8]) -> Duration {
        let holds = |fate: Option<&Fate>| match fate {
            Some(Fate::Reply(heard)) if !upstream_query::is_failure(heard) => heard.left.unwrap_or(u32::MAX),
            Some(Fate::Reply(_) | Fate::Silent) | None => 0,
        };
        // What is ignored is not waited for, and decides nothing.
        let ignored = usize::from(outcome == Outcome::SynthesisedIgnored);
        let used = self.needs.iter().take(self.used(outcome)).skip(ignored);
        let least = used.map(|need| holds(need.fate.as_ref())).min().unwrap_or(0);
        let least = least_ttl(message).map_or(least, |ttl| ttl.min(least));
        if least == u32::MAX { Duration::ZERO } else { repeatable(least) }
    }

    /// How many of the needs an answer is made of.
    fn used(&self, outcome: Outcome) -> usize {
        let alone = matches!(outcome, Outcome::Native | Outcome::NativeFiltered | Outcome::Nxdomain);
        if alone && self.fate(0).is_some() { 1 } else { self.needs.len() }
    }

    pub(super) fn fate(&self, need: usize) -> Option<&Fate> {
        self.needs.get(need)?.fate.as_ref()
    }

    /// Where the A records lie, if A is known and AAAA is not: the end of the chain.
    pub(super) fn waits_for_aaaa_of(&self) -> Option<Vec<u8>> {
        if self.plan != Plan::Synthesis || self.fate(0).is_some() {
            return None;
        }
        match self.fate(1)? {
            Fate::Reply(heard) => owner_of(heard, rr::A),
            Fate::Silent => None,
        }
    }

    /// Whether AAAA records of the name are ignored.
    pub(super) fn ignores_aaaa(&self) -> bool {
        // While nothing translates they are better than nothing.
        !self.is_down && self.zone().rules.ignores_aaaa(&self.needs[0].key.name)
    }

    /// Notes what an answer tells about the name, and for whom.
    pub(super) fn note(&self, now: Instant, outcome: Outcome, ledger: &mut Ledger) {
        let (Some(reach), zone) = (self.reach(outcome), self.zone()) else { return };
        let name = &self.needs[0].key.name;
        let kind = if reach == Reach::Native { 0 } else { 1 };
        let reply = match self.fate(kind) {
            Some(Fate::Reply(heard)) => &heard[..],
            Some(Fate::Silent) | None => &[],
        };
        let alias = owner_of(reply, self.needs[kind].key.kind).filter(|owner| **owner != **name);
        ledger.note(now, zone.id, name, reach, alias);
        if outcome.is_synthesised() {
            let host = HostKey::new(zone.id, self.client, zone.rules.host_len);
            for record in wire::answers(reply).filter(|record| record.kind == rr::A) {
                if let Some(v4) = reply.get(record.data).and_then(|data| <[u8; 4]>::try_from(data).ok()) {
                    ledger.link(host, v4.into(), name);
                }
            }
        }
    }

    /// How the name can be reached, if it has addresses and an answer tells.
    fn reach(&self, outcome: Outcome) -> Option<Reach> {
        if self.plan != Plan::Synthesis {
            return None;
        }
        let aaaa = self.fate(0);
        let is_silent = match aaaa {
            Some(Fate::Reply(heard)) => upstream_query::is_failure(heard),
            Some(Fate::Silent) => true,
            // Nobody waited for it, or too long.
            None => outcome == Outcome::SynthesisedTimeout,
        };
        let has_aaaa =
            matches!(aaaa, Some(Fate::Reply(heard)) if wire::answers(heard).any(|r| r.kind == rr::AAAA));
        if matches!(outcome, Outcome::Native | Outcome::NativeFiltered)
            || outcome == Outcome::SynthesisedIgnored && has_aaaa
        {
            Some(Reach::Native)
        } else if outcome == Outcome::SynthesisedIgnored && aaaa.is_none() {
            None
        } else if outcome.is_synthesised() || matches!(outcome, Outcome::Untranslatable | Outcome::PassedDo) {
            Some(if is_silent { Reach::BrokenAaaa } else { Reach::Ipv4Only })
        } else {
            None
        }
    }

    /// Says that an answer is stale, if it is.
    fn marked(&self, draft: Draft, outcome: Outcome) -> Draft {
        let used = self.used(outcome);
        let is_stale = |need: &Need| matches!(&need.fate, Some(Fate::Reply(heard)) if heard.stale);
        if self.needs.iter().take(used).any(is_stale) { draft.stale() } else { draft }
    }
}

/// How long an answer that holds for `ttl` seconds may be repeated: nine tenths of that, so that what
/// is asked for often is asked for again before its time is over.
pub(super) fn repeatable(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl) * 9 / 10)
}

/// The least TTL of an answer's records, OPT left out.
pub(super) fn least_ttl(message: &[u8]) -> Option<u32> {
    let start = wire::question(message)?.end;
    wire::records(message, start).filter(|record| record.kind != rr::OPT).map(|record| record.ttl).min()
}

/// The owner of the last record of a type in an answer.
pub(super) fn owner_of(reply: &[u8], kind: u16) -> Option<Vec<u8>> {
    let last = wire::answers(reply).filter(|record| record.kind == kind).last()?;
    wire::name_at(reply, last.at)
}

/// The IPv4 address whose name is asked for under a pref64 of the zone (RFC 6147 §5.3.1).
pub(super) fn mapped_by(zone: &Zone, query: &Query) -> Option<Ipv4Addr> {
    if query.kind() != rr::PTR {
        return None;
    }
    let v6 = reverse::ip6_arpa(query.name())?;
    zone.pref64.iter().find_map(|m| {
        let v4 = m.pref64.extract(v6)?;
        m.only.is_none_or(|only| only.contains(v4)).then_some(v4)
    })
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
    } else if kind == rr::AAAA && !zone.rules.may_synthesise(&query.name().to_ascii_lowercase()) {
        Plan::Pass(Outcome::PassedPolicy)
    } else if kind == rr::AAAA {
        Plan::Synthesis
    } else if kind == rr::PTR {
        Plan::Reverse
    } else {
        Plan::Pass(Outcome::PassedType)
    }
}
