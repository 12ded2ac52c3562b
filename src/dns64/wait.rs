//! One client's query that waits for answers of upstreams.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::sync::Arc;

use super::answer::Draft;
use super::flight::{Fate, Heard};
use super::key::Key;
use super::query::Query;
use super::wire::{ede, rr};
use super::{Answer, Outcome, Settings, Zone, reverse};
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
pub(super) struct Wait {
    pub(super) settings: Arc<Settings>,
    /// Index into the settings' zones.
    zone: usize,
    pub(super) query: Query,
    pub(super) plan: Plan,
    /// One question, or AAAA and A, in this order.
    pub(super) needs: Vec<Need>,
    pub(super) begun: Instant,
    /// When the wait for AAAA ends.
    pub(super) patience: Instant,
}

impl Wait {
    pub(super) fn new(now: Instant, settings: &Arc<Settings>, zone: usize, query: Query) -> Self {
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
        Self { settings: Arc::clone(settings), zone, query, plan, needs, begun: now, patience }
    }

    pub(super) fn zone(&self) -> &Zone {
        // The index was found in these very settings.
        &self.settings.zones[self.zone]
    }

    /// When stale data are better than to wait on (RFC 8767 §5).
    pub(super) fn stale_at(&self) -> Instant {
        self.begun + self.settings.timeouts.stale_wait
    }

    /// When [`Wait::timeout`] has something to do, besides what flights do.
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
        let took = now.since(self.begun);
        Some(Answer { message, zone: Some(self.zone().id), outcome, truncated, took, keep: Duration::ZERO })
    }

    pub(super) fn fate(&self, need: usize) -> Option<&Fate> {
        self.needs.get(need)?.fate.as_ref()
    }

    /// Says that an answer is stale (RFC 8914 §4.4, §4.20).
    fn marked(&self, draft: Draft, outcome: Outcome) -> Draft {
        let alone = matches!(outcome, Outcome::Native | Outcome::NativeFiltered | Outcome::Nxdomain);
        let used = if alone { 1 } else { self.needs.len() };
        let is_stale = |need: &Need| matches!(&need.fate, Some(Fate::Reply(heard)) if heard.stale);
        match (self.needs.iter().take(used).any(is_stale), outcome) {
            (false, _) => draft,
            (true, Outcome::Nxdomain) => draft.error(ede::STALE_NXDOMAIN),
            (true, _) => draft.error(ede::STALE),
        }
    }
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
    } else if kind == rr::AAAA {
        Plan::Synthesis
    } else if kind == rr::PTR {
        Plan::Reverse
    } else {
        Plan::Pass(Outcome::PassedType)
    }
}
