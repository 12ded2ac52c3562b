//! The DNS64 engine: queries and replies in, upstream queries and answers out. Time is an argument.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use super::action::answer;
use super::answer::Draft;
use super::broken_aaaa::BrokenAaaaDnsZones;
use super::cache::{Cache, Failure};
use super::key::{Key, Seed};
use super::ledger::Ledger;
use super::pending::{self, Lookup, PendingQuery, owner_of};
use super::query::Query;
use super::slab::{Id, Slab};
use super::upstream_query::{self, Purpose, UpstreamQuery, UpstreamResult};
use super::upstream_state::UpstreamState;
use super::wire::rr;
use super::{
    Answer, ClientZones, Outcome, QueryAction, Settings, Transmit, TransmitId, Transport, refuse,
    without_upstream,
};
use crate::addr::{SiteKey, ZoneId};
use crate::time::Instant;

mod report;

/// What a timer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    UpstreamQuery(Id),
    PendingQuery(Id),
}

#[derive(Debug)]
struct Zones {
    clients: ClientZones,
    /// Zones whose translator is down.
    down: BTreeSet<ZoneId>,
}

/// A DNS64 without I/O.
///
/// Pass client queries to [`query`](Self::query), upstream replies to [`reply`](Self::reply) and
/// [`failed`](Self::failed). Call [`timeout`](Self::timeout) at [`deadline`](Self::deadline). After each
/// call, send what [`poll_transmit`](Self::poll_transmit) and [`poll_answer`](Self::poll_answer) return.
/// Every pending query gets an answer within [`Timeouts::total`](super::Timeouts::total).
///
/// An engine has no lock. Several engines can share the load by [`name_hash`](super::name_hash). `T` is
/// what the caller needs to send an answer later; the engine returns it with the answer.
#[derive(Debug)]
pub struct Engine<T> {
    settings: Arc<Settings>,
    cache: Cache,
    broken_aaaa: BrokenAaaaDnsZones,
    ledger: Ledger,
    upstreams: UpstreamState,
    zones: Zones,
    upstream_queries: Slab<UpstreamQuery>,
    by_key: HashMap<Key, Id, Seed>,
    pending_queries: Slab<(T, PendingQuery)>,
    /// May contain timers of finished queries; those are skipped.
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    transmits: VecDeque<Transmit>,
    answers: VecDeque<(T, Answer)>,
}

impl<T> Engine<T> {
    /// An engine with an empty cache. `seed` is random, so that clients cannot predict hash collisions.
    pub fn new(settings: Arc<Settings>, seed: u64) -> Self {
        Self {
            cache: Cache::new(settings.cache_limits_per_engine(), Seed(seed)),
            broken_aaaa: BrokenAaaaDnsZones::default(),
            ledger: Ledger::new(settings.ledger_limits_per_engine(), Seed(seed)),
            upstreams: UpstreamState::default(),
            zones: Zones { clients: settings.client_zones(), down: BTreeSet::new() },
            settings,
            upstream_queries: Slab::default(),
            by_key: HashMap::with_hasher(Seed(seed)),
            pending_queries: Slab::default(),
            timers: BinaryHeap::new(),
            transmits: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Changes the settings. Pending queries finish under their old ones.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.cache.set(settings.cache_limits_per_engine());
        let serves = |zone| settings.zones.iter().any(|known| known.id == zone);
        self.ledger.set(settings.ledger_limits_per_engine(), serves);
        // Groups may have other numbers.
        self.upstreams.last_replies.clear();
        self.zones.clients = settings.client_zones();
        self.settings = settings;
    }

    /// Processes a query of `client`.
    ///
    /// If the query needs an upstream, `admit` returns the context for the later answer, or the limit that
    /// was reached ([`Outcome::Busy`], [`Outcome::BusyClient`]).
    pub fn query(
        &mut self,
        now: Instant,
        client: IpAddr,
        transport: Transport,
        message: &[u8],
        admit: impl FnOnce() -> Result<T, Outcome>,
    ) -> QueryAction {
        let settings = Arc::clone(&self.settings);
        let (IpAddr::V6(host), Some(index)) = (client, self.zones.clients.find(client)) else {
            return refuse(None, transport, message, Outcome::NoZone);
        };
        let zone = &settings.zones[index];
        let id = Some(zone.id);
        let Some(query) = Query::read(message, transport) else {
            return QueryAction::Drop(id, Outcome::Ignored);
        };
        if let Some((code, outcome)) = query.refusal() {
            return QueryAction::Answer(answer(id, &query, Draft::empty(code), outcome));
        }
        if let Some((draft, outcome)) = without_upstream::answer(&settings, zone, &query) {
            let answer = answer(id, &query, draft, outcome);
            let keep = pending::least_ttl(&answer.message).map_or(Duration::ZERO, pending::reuse_time);
            return QueryAction::Answer(Answer { keep, ..answer });
        }
        let mut pending = PendingQuery::new(now, &settings, index, host, query);
        pending.translator_down = self.zones.down.contains(&zone.id);
        let site = zone.site_of(host);
        self.look_up_cache(now, &mut pending, site);
        if let Some(answer) = pending.try_answer(now) {
            pending.record(now, answer.outcome, &mut self.ledger);
            return QueryAction::Answer(answer);
        }
        let context = match self.has_capacity().then(admit) {
            Some(Ok(context)) => context,
            Some(Err(outcome)) => return refuse(id, transport, message, outcome),
            None => return refuse(id, transport, message, Outcome::Busy),
        };
        self.add_pending(now, context, pending, site);
        QueryAction::Pending
    }

    fn has_capacity(&self) -> bool {
        let most = self.settings.limits.in_flight;
        self.pending_queries.len() < most && self.upstream_queries.len() < most.saturating_mul(2)
    }

    /// Fills lookups from the cache, and prefetches answers that expire soon.
    fn look_up_cache(&mut self, now: Instant, pending: &mut PendingQuery, site: SiteKey) {
        let ignores_aaaa = pending.ignores_aaaa();
        for lookup in &mut pending.lookups {
            let cached = if ignores_aaaa {
                self.cache.look_up_ignoring_aaaa(now, &lookup.key, site)
            } else {
                self.cache.get(now, &lookup.key, site)
            };
            let is_over = |failed_at| {
                let last_reply = self.upstreams.last_replies.get(&self.settings.group_of(&lookup.key.name));
                last_reply.is_some_and(|last_reply| *last_reply >= failed_at)
            };
            let failing = cached.failing.filter(|_| !cached.outage.is_some_and(is_over));
            lookup.result = match (cached.fresh, failing, cached.stale) {
                (Some(fresh), ..) => Some(UpstreamResult::Reply(fresh)),
                (None, Some(_), Some(stale)) => Some(UpstreamResult::Reply(stale)),
                (None, failing, None) => failing,
                (None, None, Some(stale)) => {
                    lookup.stale = Some(stale);
                    None
                }
            };
            if cached.refresh && self.upstream_queries.len() < self.settings.limits.in_flight {
                let upstream_query = self.upstream_query_for(now, lookup, site);
                self.advance(now, upstream_query);
            }
        }
        if let Some(upstream_query) =
            self.by_key.get(&pending.lookups[0].key).and_then(|id| self.upstream_queries.find(*id))
        {
            // A client that joins an upstream query waits only from when that query began.
            pending.aaaa_deadline = upstream_query.started + pending.settings.timeouts.aaaa_wait;
        }
        self.broken_aaaa.end_aaaa_wait(now, pending);
    }

    /// Adds a pending query and starts its upstream queries.
    fn add_pending(&mut self, now: Instant, context: T, pending: PendingQuery, site: SiteKey) {
        let missing: Vec<usize> =
            (0..pending.lookups.len()).filter(|n| pending.lookups[*n].result.is_none()).collect();
        let upstream_queries: Vec<Id> =
            missing.iter().map(|n| self.upstream_query_for(now, &pending.lookups[*n], site)).collect();
        self.prune_timers();
        let deadlines: Vec<_> = pending.deadlines().collect();
        let id = self.pending_queries.insert((context, pending));
        for at in deadlines {
            self.timers.push(Reverse((at.max(now), Timer::PendingQuery(id))));
        }
        for (lookup, upstream_query) in missing.into_iter().zip(&upstream_queries) {
            if let Some(upstream_query) = self.upstream_queries.find_mut(*upstream_query) {
                upstream_query.waiters.push((id, lookup));
            }
        }
        for upstream_query in upstream_queries {
            self.advance(now, upstream_query);
        }
    }

    /// Removes timers of finished queries once they outnumber the live ones.
    fn prune_timers(&mut self) {
        if self.timers.len() > 1_024 + 8 * (self.upstream_queries.len() + self.pending_queries.len()) {
            let (upstream_queries, pending_queries) = (&self.upstream_queries, &self.pending_queries);
            self.timers.retain(|Reverse((_, timer))| match timer {
                Timer::UpstreamQuery(id) => upstream_queries.find(*id).is_some(),
                Timer::PendingQuery(id) => pending_queries.find(*id).is_some(),
            });
        }
    }

    /// The upstream query for a lookup: the one in progress, or a new one.
    fn upstream_query_for(&mut self, now: Instant, lookup: &Lookup, site: SiteKey) -> Id {
        match self.by_key.get(&lookup.key) {
            Some(id) => *id,
            None => {
                let (key, query) = (lookup.key.clone(), lookup.query.clone());
                self.add_upstream_query(UpstreamQuery::new(
                    now,
                    &self.settings,
                    key,
                    query,
                    Purpose::Answer,
                    site,
                ))
            }
        }
    }

    fn add_upstream_query(&mut self, upstream_query: UpstreamQuery) -> Id {
        let key = upstream_query.key.clone();
        let id = self.upstream_queries.insert(upstream_query);
        self.by_key.insert(key, id);
        id
    }

    /// Sends the next attempt of an upstream query, and finishes the query if it has a result.
    fn advance(&mut self, now: Instant, id: Id) {
        let Some(upstream_query) = self.upstream_queries.find_mut(id) else { return };
        if let Some(transmit) = upstream_query.poll_transmit(now, id, &self.settings) {
            self.transmits.push_back(transmit);
            self.timers.push(Reverse((upstream_query.deadline(), Timer::UpstreamQuery(id))));
        }
        if upstream_query.result.is_some() {
            self.finish_upstream_query(now, id);
        }
    }

    /// Finishes an upstream query: caches the result and completes the lookups that wait for it.
    fn finish_upstream_query(&mut self, now: Instant, id: Id) {
        let Some(upstream_query) = self.upstream_queries.remove(id) else { return };
        self.by_key.remove(&upstream_query.key);
        let is_outage = self.is_outage(&upstream_query);
        let (Some(mut result), key) = (upstream_query.result, upstream_query.key) else { return };
        let failure = match &mut result {
            UpstreamResult::NoReply if is_outage => Some(Failure::Outage),
            UpstreamResult::NoReply => Some(Failure::NoReply),
            UpstreamResult::Reply(reply) if upstream_query::is_failure(reply) => Some(Failure::Reply(reply)),
            UpstreamResult::Reply(reply) => {
                reply.left = self.cache.store(now, &key, upstream_query.site, reply);
                None
            }
        };
        let failed = failure.is_some();
        if let Some(failure) = failure {
            self.cache.store_failure(now, &key, upstream_query.site, failure);
        }
        self.learn_broken_dns_zones(now, &key, upstream_query.purpose, &result, upstream_query.site);
        for (id, lookup) in upstream_query.waiters {
            if let Some((_, pending)) = self.pending_queries.find_mut(id) {
                let lookup = &mut pending.lookups[lookup];
                let bogus =
                    matches!(&result, UpstreamResult::Reply(reply) if upstream_query::is_bogus(reply));
                let stale = lookup.stale.take().filter(|_| failed && !bogus).map(UpstreamResult::Reply);
                lookup.result.get_or_insert_with(|| stale.unwrap_or_else(|| result.clone()));
                self.finish_pending(now, id);
            }
        }
    }

    /// Whether the upstreams have answered nothing since the query began.
    fn is_outage(&self, query: &UpstreamQuery) -> bool {
        self.upstreams.last_replies.get(&query.group).is_none_or(|last_reply| *last_reply < query.started)
    }

    /// Learns which DNS zones do not answer AAAA queries.
    fn learn_broken_dns_zones(
        &mut self,
        now: Instant,
        key: &Key,
        purpose: Purpose,
        result: &UpstreamResult,
        site: SiteKey,
    ) {
        match (purpose, result) {
            (Purpose::ZoneCut, UpstreamResult::Reply(reply)) => self.broken_aaaa.learn(now, &key.name, reply),
            (Purpose::Answer, UpstreamResult::Reply(reply))
                if key.kind == rr::AAAA && !upstream_query::is_failure(reply) =>
            {
                self.broken_aaaa.forget(reply);
            }
            (Purpose::Answer, UpstreamResult::NoReply) if key.kind == rr::AAAA && key.is_cacheable() => {
                // The name has A records and its AAAA query timed out. Finds the DNS zone by its SOA record.
                let known = self.cache.get(now, &key.other(&key.name, rr::A), site);
                let end = known.fresh.and_then(|a| owner_of(&a, rr::A));
                let Some(end) = end.filter(|end| !self.broken_aaaa.contains(now, end)) else { return };
                let key = key.other(&end, rr::SOA);
                if !self.by_key.contains_key(&key) && self.has_capacity() {
                    let query = key.query();
                    let upstream_query =
                        UpstreamQuery::new(now, &self.settings, key, query, Purpose::ZoneCut, site);
                    let id = self.add_upstream_query(upstream_query);
                    self.advance(now, id);
                }
            }
            (Purpose::Answer | Purpose::ZoneCut, UpstreamResult::Reply(_) | UpstreamResult::NoReply) => {}
        }
    }

    fn finish_pending(&mut self, now: Instant, id: Id) {
        let broken_aaaa = &self.broken_aaaa;
        let answer = self.pending_queries.find_mut(id).and_then(|(_, pending)| {
            broken_aaaa.end_aaaa_wait(now, pending);
            pending.try_answer(now)
        });
        if let Some(answer) = answer
            && let Some((context, pending)) = self.pending_queries.remove(id)
        {
            pending.record(now, answer.outcome, &mut self.ledger);
            self.answers.push_back((context, answer));
        }
    }

    /// The next upstream query to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Reports the server that a query went to, so that the next attempt avoids it. Without a reply after
    /// `hedge_delay`, another server is queried too, as far as the budget of such hedges allows.
    pub fn sent_to(
        &mut self,
        now: Instant,
        id: TransmitId,
        upstream: SocketAddr,
        hedge_delay: Option<Duration>,
    ) {
        let Some(upstream_query) = self.upstream_queries.find_mut(id.query) else { return };
        upstream_query.sent_to(id.attempt, upstream);
        if id.attempt == 0 {
            self.upstreams.hedges.earn();
        }
        if let Some(delay) = hedge_delay
            && upstream_query.schedule_hedge(now + delay)
        {
            self.timers.push(Reverse((upstream_query.deadline(), Timer::UpstreamQuery(id.query))));
        }
    }

    /// The next answer to a pending query, with its context.
    pub fn poll_answer(&mut self) -> Option<(T, Answer)> {
        self.answers.pop_front()
    }

    /// Processes a reply to `id`. `false` if the reply does not match the query: keep waiting.
    pub fn reply(&mut self, now: Instant, id: TransmitId, message: &[u8]) -> bool {
        // A reply to a finished query is accepted and ignored.
        let Some(upstream_query) = self.upstream_queries.find_mut(id.query) else { return true };
        let taken = upstream_query.reply(message, &self.settings);
        if taken {
            self.upstreams.last_replies.insert(upstream_query.group, now);
        }
        self.advance(now, id.query);
        taken
    }

    /// Reports that no reply to `id` will arrive.
    pub fn failed(&mut self, now: Instant, id: TransmitId) {
        if let Some(upstream_query) = self.upstream_queries.find_mut(id.query) {
            upstream_query.failed(&self.settings);
        }
        self.advance(now, id.query);
    }

    /// When to call [`timeout`](Self::timeout); [`Instant::NEVER`] if nothing is pending.
    pub fn deadline(&mut self) -> Instant {
        while let Some(Reverse((at, timer))) = self.timers.peek() {
            let alive = match timer {
                Timer::UpstreamQuery(id) => self
                    .upstream_queries
                    .find(*id)
                    .is_some_and(|upstream_query| upstream_query.deadline() == *at),
                Timer::PendingQuery(id) => self.pending_queries.find(*id).is_some(),
            };
            if alive {
                return *at;
            }
            self.timers.pop();
        }
        Instant::NEVER
    }

    /// Runs the timers that have expired at `now`.
    pub fn timeout(&mut self, now: Instant) {
        while self.deadline() <= now {
            match self.timers.pop() {
                Some(Reverse((_, Timer::UpstreamQuery(id)))) => self.upstream_query_timeout(now, id),
                Some(Reverse((_, Timer::PendingQuery(id)))) => self.pending_query_timeout(now, id),
                None => return,
            }
        }
    }

    fn upstream_query_timeout(&mut self, now: Instant, id: Id) {
        let Some(upstream_query) = self.upstream_queries.find_mut(id) else { return };
        upstream_query.timeout(now, &self.settings, &mut self.upstreams.hedges);
        let at = upstream_query.deadline();
        self.advance(now, id);
        if self.upstream_queries.find(id).is_some_and(|upstream_query| upstream_query.deadline() == at) {
            self.timers.push(Reverse((at, Timer::UpstreamQuery(id))));
        }
    }

    fn pending_query_timeout(&mut self, now: Instant, id: Id) {
        let Some((_, pending)) = self.pending_queries.find_mut(id) else { return };
        pending.timeout(now);
        if now >= pending.aaaa_deadline {
            // After the AAAA wait, an error received so far is the AAAA result.
            for lookup in pending.lookups.iter_mut().take(1).filter(|lookup| lookup.result.is_none()) {
                let upstream_query =
                    self.by_key.get(&lookup.key).and_then(|id| self.upstream_queries.find(*id));
                lookup.result = upstream_query.and_then(UpstreamQuery::error);
            }
        }
        self.finish_pending(now, id);
    }

    /// Reports whether the translator of a zone is up. While it is down, nothing is synthesized for the
    /// zone.
    pub fn set_translating(&mut self, zone: ZoneId, translating: bool) {
        if translating {
            self.zones.down.remove(&zone)
        } else {
            self.zones.down.insert(zone)
        };
    }

    /// Records that `query` was answered `times` times from an answer cache outside the engine, so that the
    /// ledger counts them. As in the engine, it counts queries for AAAA.
    pub fn record_repeats(&mut self, now: Instant, zone: ZoneId, query: &[u8], times: u64) {
        if let Some(question) = super::wire::question(query)
            && super::wire::u16_at(query, question.end - 4) == Some(rr::AAAA)
        {
            let name = query[question.start..question.end - 4].to_ascii_lowercase();
            self.ledger.record_repeats(now, zone, &name, times);
        }
    }
}
