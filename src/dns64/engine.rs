//! The DNS64 as one thing that is driven from outside: queries and replies in, questions and answers
//! out, time as an argument.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use super::answer::Draft;
use super::cache::Cache;
use super::exchange::answer;
use super::failures::Broken;
use super::key::{Key, Seed};
use super::ledger::{Asked, Ledger, Reach};
use super::pending::{self, Need, PendingQuery, mapped_by, owner_of};
use super::query::Query;
use super::slab::{Id, Slab};
use super::upstream_query::{self, Fate, Purpose, UpstreamQuery};
use super::wire::rr;
use super::{Answer, Ask, AskId, Outcome, Settings, Taken, Transport, Zone, discovery, refuse};
use crate::addr::{HostKey, ZoneId};
use crate::time::Instant;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    UpstreamQuery(Id),
    PendingQuery(Id),
}

/// A DNS64.
///
/// Drive it so: hand in queries with [`query`](Self::query), and what upstreams send with
/// [`reply`](Self::reply) and [`failed`](Self::failed); call [`timeout`](Self::timeout) when
/// [`deadline`](Self::deadline) has come. After each of these, send what [`poll_ask`](Self::poll_ask)
/// gives and what [`poll_answer`](Self::poll_answer) gives. Every query that waits is answered within
/// [`Timeouts::total`](super::Timeouts::total), whatever upstreams do.
///
/// An engine has no lock. Several of them can share the work by [`share_of`](super::share_of).
/// `T` is what the caller needs to send an answer; it comes back with it.
#[derive(Debug)]
pub struct Engine<T> {
    settings: Arc<Settings>,
    cache: Cache,
    broken: Broken,
    ledger: Ledger,
    /// Zones for which nothing translates.
    down: BTreeSet<ZoneId>,
    flights: Slab<UpstreamQuery>,
    by_key: HashMap<Key, Id, Seed>,
    waits: Slab<(T, PendingQuery)>,
    /// May hold timers of what has ended; they are skipped.
    timers: BinaryHeap<Reverse<(Instant, Due)>>,
    asks: VecDeque<Ask>,
    answers: VecDeque<(T, Answer)>,
}

impl<T> Engine<T> {
    /// An engine that knows nothing yet. `seed` is random: it keeps others from foreseeing where in
    /// its tables a name lies.
    pub fn new(settings: Arc<Settings>, seed: u64) -> Self {
        Self {
            cache: Cache::new(settings.keeping_of_one(), Seed(seed)),
            broken: Broken::default(),
            ledger: Ledger::new(settings.ledger_of_one(), Seed(seed)),
            down: BTreeSet::new(),
            settings,
            flights: Slab::default(),
            by_key: HashMap::with_hasher(Seed(seed)),
            waits: Slab::default(),
            timers: BinaryHeap::new(),
            asks: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Changes the settings. Queries that wait end under those they began with.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.cache.set(settings.keeping_of_one());
        let serves = |zone| settings.zones.iter().any(|known| known.id == zone);
        self.ledger.set(settings.ledger_of_one(), serves);
        self.settings = settings;
    }

    /// Takes a query of `client`.
    ///
    /// If it has to wait, `admit` is asked for what is needed to send the answer later, or says why
    /// there is no room ([`Outcome::Busy`], [`Outcome::BusyClient`]).
    pub fn query(
        &mut self,
        now: Instant,
        client: IpAddr,
        transport: Transport,
        message: &[u8],
        admit: impl FnOnce() -> Result<T, Outcome>,
    ) -> Taken {
        let settings = Arc::clone(&self.settings);
        let (IpAddr::V6(host), Some(place)) = (client, settings.zone_of(client)) else {
            return refuse(None, transport, message, Outcome::NoZone);
        };
        let zone = &settings.zones[place];
        let id = Some(zone.id);
        let Some(query) = Query::read(message, transport) else { return Taken::Drop(id, Outcome::Ignored) };
        if let Some((code, outcome)) = query.refusal() {
            return Taken::Answer(answer(id, &query, Draft::empty(code), outcome));
        }
        if let Some((draft, outcome)) = local(&settings, zone, &query) {
            let answer = answer(id, &query, draft, outcome);
            let keep = pending::least_ttl(&answer.message).map_or(Duration::ZERO, pending::repeatable);
            return Taken::Answer(Answer { keep, ..answer });
        }
        let mut wait = PendingQuery::new(now, &settings, place, host, query);
        wait.is_down = self.down.contains(&zone.id);
        let owner = self.cache.owner(client);
        self.remember(now, &mut wait, owner);
        if let Some(answer) = wait.settle(now) {
            wait.note(now, answer.outcome, &mut self.ledger);
            return Taken::Answer(answer);
        }
        let back = match self.has_room().then(admit) {
            Some(Ok(back)) => back,
            Some(Err(outcome)) => return refuse(id, transport, message, outcome),
            None => return refuse(id, transport, message, Outcome::Busy),
        };
        self.wait(now, back, wait, owner);
        Taken::Waits
    }

    fn has_room(&self) -> bool {
        let most = self.settings.limits.in_flight;
        self.waits.len() < most && self.flights.len() < most.saturating_mul(2)
    }

    /// Takes from the cache what it has, and has refreshed what is wanted and soon too old.
    fn remember(&mut self, now: Instant, wait: &mut PendingQuery, owner: u8) {
        for need in &mut wait.needs {
            let look = self.cache.look(now, &need.key, owner);
            need.fate = match (look.fresh, look.failing, look.stale) {
                (Some(fresh), ..) => Some(Fate::Reply(fresh)),
                (None, Some(_), Some(stale)) => Some(Fate::Reply(stale)),
                (None, failing, None) => failing,
                (None, None, Some(stale)) => {
                    need.spare = Some(stale);
                    None
                }
            };
            if look.refresh && self.flights.len() < self.settings.limits.in_flight {
                let flight = self.flight(now, need, owner);
                self.advance(now, flight);
            }
        }
        if let Some(flight) = self.by_key.get(&wait.needs[0].key).and_then(|id| self.flights.find(*id)) {
            // Who joins late has not to wait as long.
            wait.patience = flight.begun + wait.settings.timeouts.aaaa_wait;
        }
        self.broken.hasten(now, wait);
    }

    /// Asks what has to be asked.
    fn wait(&mut self, now: Instant, back: T, wait: PendingQuery, owner: u8) {
        let missing: Vec<usize> = (0..wait.needs.len()).filter(|n| wait.needs[*n].fate.is_none()).collect();
        let flights: Vec<Id> = missing.iter().map(|n| self.flight(now, &wait.needs[*n], owner)).collect();
        self.prune();
        let deadlines: Vec<_> = wait.deadlines().collect();
        let id = self.waits.insert((back, wait));
        for at in deadlines {
            self.timers.push(Reverse((at.max(now), Due::PendingQuery(id))));
        }
        for (need, flight) in missing.into_iter().zip(&flights) {
            if let Some(flight) = self.flights.find_mut(*flight) {
                flight.waiting.push((id, need));
            }
        }
        for flight in flights {
            self.advance(now, flight);
        }
    }

    /// Timers of what has ended are forgotten when there are many.
    fn prune(&mut self) {
        if self.timers.len() > 1_024 + 8 * (self.flights.len() + self.waits.len()) {
            let (flights, waits) = (&self.flights, &self.waits);
            self.timers.retain(|Reverse((_, due))| match due {
                Due::UpstreamQuery(id) => flights.find(*id).is_some(),
                Due::PendingQuery(id) => waits.find(*id).is_some(),
            });
        }
    }

    /// The flight of a question: the one under way, or a new one.
    fn flight(&mut self, now: Instant, need: &Need, owner: u8) -> Id {
        match self.by_key.get(&need.key) {
            Some(id) => *id,
            None => {
                let (key, query) = (need.key.clone(), need.query.clone());
                self.launch(UpstreamQuery::new(now, &self.settings, key, query, Purpose::Answer, owner))
            }
        }
    }

    fn launch(&mut self, flight: UpstreamQuery) -> Id {
        let key = flight.key.clone();
        let id = self.flights.insert(flight);
        self.by_key.insert(key, id);
        id
    }

    /// Sends what a flight has to ask, and ends it if it has come to something.
    fn advance(&mut self, now: Instant, id: Id) {
        let Some(flight) = self.flights.find_mut(id) else { return };
        if let Some(ask) = flight.poll_ask(now, id, &self.settings) {
            self.asks.push_back(ask);
            self.timers.push(Reverse((flight.deadline(), Due::UpstreamQuery(id))));
        }
        if flight.fate.is_some() {
            self.conclude(now, id);
        }
    }

    /// Ends a flight: what it came to is kept, and told to all who wait.
    fn conclude(&mut self, now: Instant, id: Id) {
        let Some(flight) = self.flights.remove(id) else { return };
        self.by_key.remove(&flight.key);
        let (Some(mut fate), key) = (flight.fate, flight.key) else { return };
        let failed = match &mut fate {
            Fate::Silent => true,
            Fate::Reply(heard) if upstream_query::is_failure(heard) => true,
            Fate::Reply(heard) => {
                heard.left = self.cache.store(now, &key, flight.owner, heard);
                false
            }
        };
        if failed {
            let reply = if let Fate::Reply(heard) = &fate { Some(&heard[..]) } else { None };
            self.cache.fail(now, &key, flight.owner, reply);
        }
        self.learn(now, &key, flight.purpose, &fate, flight.owner);
        for (id, need) in flight.waiting {
            if let Some((_, wait)) = self.waits.find_mut(id) {
                let need = &mut wait.needs[need];
                let bogus = matches!(&fate, Fate::Reply(heard) if upstream_query::is_bogus(heard));
                let spare = need.spare.take().filter(|_| failed && !bogus).map(Fate::Reply);
                need.fate.get_or_insert_with(|| spare.unwrap_or_else(|| fate.clone()));
                self.settle(now, id);
            }
        }
    }

    /// Learns which zones don't answer AAAA queries.
    fn learn(&mut self, now: Instant, key: &Key, purpose: Purpose, fate: &Fate, owner: u8) {
        match (purpose, fate) {
            (Purpose::ZoneCut, Fate::Reply(reply)) => self.broken.learn(now, &key.name, reply),
            (Purpose::Answer, Fate::Reply(reply))
                if key.kind == rr::AAAA && !upstream_query::is_failure(reply) =>
            {
                self.broken.forgive(reply);
            }
            (Purpose::Answer, Fate::Silent) if key.kind == rr::AAAA && key.is_cacheable() => {
                // The name has A records, so it is only AAAA that nobody answers. Where?
                let known = self.cache.look(now, &key.other(&key.name, rr::A), owner);
                let end = known.fresh.and_then(|a| owner_of(&a, rr::A));
                let Some(end) = end.filter(|end| !self.broken.hold(now, end)) else { return };
                let key = key.other(&end, rr::SOA);
                if !self.by_key.contains_key(&key) && self.has_room() {
                    let query = key.query();
                    let flight = UpstreamQuery::new(now, &self.settings, key, query, Purpose::ZoneCut, owner);
                    let id = self.launch(flight);
                    self.advance(now, id);
                }
            }
            (Purpose::Answer | Purpose::ZoneCut, Fate::Reply(_) | Fate::Silent) => {}
        }
    }

    fn settle(&mut self, now: Instant, id: Id) {
        let broken = &self.broken;
        let answer = self.waits.find_mut(id).and_then(|(_, wait)| {
            broken.hasten(now, wait);
            wait.settle(now)
        });
        if let Some(answer) = answer
            && let Some((back, wait)) = self.waits.remove(id)
        {
            wait.note(now, answer.outcome, &mut self.ledger);
            self.answers.push_back((back, answer));
        }
    }

    /// The next question to send, if there is one.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Says that a question went to another server than [`Ask::upstream`], so that the next attempt
    /// goes to neither.
    pub fn asked(&mut self, id: AskId, upstream: SocketAddr) {
        if let Some(flight) = self.flights.find_mut(id.flight) {
            flight.asked(id.attempt, upstream);
        }
    }

    /// The next answer to a query that waited, if there is one, with what `admit` gave.
    pub fn poll_answer(&mut self) -> Option<(T, Answer)> {
        self.answers.pop_front()
    }

    /// Takes an answer to `id`. `false` if it is none: wait on.
    pub fn reply(&mut self, now: Instant, id: AskId, message: &[u8]) -> bool {
        // An answer to a question that has been answered meanwhile is taken too.
        let Some(flight) = self.flights.find_mut(id.flight) else { return true };
        let taken = flight.reply(message, &self.settings);
        self.advance(now, id.flight);
        taken
    }

    /// No answer to `id` will come.
    pub fn failed(&mut self, now: Instant, id: AskId) {
        if let Some(flight) = self.flights.find_mut(id.flight) {
            flight.failed(&self.settings);
        }
        self.advance(now, id.flight);
    }

    /// When [`timeout`](Self::timeout) has something to do; [`Instant::NEVER`] if nothing is under way.
    pub fn deadline(&mut self) -> Instant {
        while let Some(Reverse((at, due))) = self.timers.peek() {
            let alive = match due {
                Due::UpstreamQuery(id) => {
                    self.flights.find(*id).is_some_and(|flight| flight.deadline() == *at)
                }
                Due::PendingQuery(id) => self.waits.find(*id).is_some(),
            };
            if alive {
                return *at;
            }
            self.timers.pop();
        }
        Instant::NEVER
    }

    /// Does what is due by `now`.
    pub fn timeout(&mut self, now: Instant) {
        while self.deadline() <= now {
            match self.timers.pop() {
                Some(Reverse((_, Due::UpstreamQuery(id)))) => self.flight_is_due(now, id),
                Some(Reverse((_, Due::PendingQuery(id)))) => self.wait_is_due(now, id),
                None => return,
            }
        }
    }

    fn flight_is_due(&mut self, now: Instant, id: Id) {
        let Some(flight) = self.flights.find_mut(id) else { return };
        flight.timeout(now, &self.settings);
        let at = flight.deadline();
        self.advance(now, id);
        if self.flights.find(id).is_some_and(|flight| flight.deadline() == at) {
            self.timers.push(Reverse((at, Due::UpstreamQuery(id))));
        }
    }

    fn wait_is_due(&mut self, now: Instant, id: Id) {
        let Some((_, wait)) = self.waits.find_mut(id) else { return };
        wait.timeout(now);
        if now >= wait.patience {
            // Without better news an error that came is what AAAA has come to.
            for need in wait.needs.iter_mut().take(1).filter(|need| need.fate.is_none()) {
                let flight = self.by_key.get(&need.key).and_then(|id| self.flights.find(*id));
                need.fate = flight.and_then(UpstreamQuery::error);
            }
        }
        self.settle(now, id);
    }

    /// Says whether anything translates for a zone. While nothing does, nothing is synthesised for it.
    pub fn set_translating(&mut self, zone: ZoneId, translating: bool) {
        if translating {
            self.down.remove(&zone)
        } else {
            self.down.insert(zone)
        };
    }

    /// Tells that the answer to `query` was given `times` more to clients of a zone without asking the
    /// engine, so that the ledger counts them.
    pub fn repeated(&mut self, now: Instant, zone: ZoneId, query: &[u8], times: u64) {
        if let Some(question) = super::wire::question(query) {
            let name = query[question.start..question.end - 4].to_ascii_lowercase();
            self.ledger.repeated(now, zone, &name, times);
        }
    }

    /// The names that clients of a zone have asked for and that have addresses, in no order.
    pub fn names(&self, zone: ZoneId) -> impl Iterator<Item = (String, Asked)> {
        self.ledger.names(zone)
    }

    /// How many such names there are, by how they can be reached.
    pub fn reach(&self, zone: ZoneId) -> std::collections::BTreeMap<Reach, u64> {
        self.ledger.count(zone)
    }

    /// The name that an IPv4 address was last synthesised for: for this host, else for any host of its
    /// zone.
    pub fn name_of(&self, host: HostKey, v4: Ipv4Addr) -> Option<String> {
        self.ledger.name_of(host, v4)
    }

    /// Names in the cache, and the bytes they take.
    pub fn cached(&self) -> (usize, usize) {
        (self.cache.names(), self.cache.bytes())
    }

    /// Queries that wait.
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }
}

/// What is answered without an upstream: ipv4only.arpa (RFC 8880 §7) and what the operator told.
fn local(settings: &Settings, zone: &Zone, query: &Query) -> Option<(Draft, Outcome)> {
    if query.class() != rr::IN {
        return None;
    }
    if !zone.rules.enabled {
        return settings.local.answer(zone, query);
    }
    let draft = discovery::answer(settings, zone, query).or_else(|| {
        let v4 = mapped_by(zone, query)?;
        discovery::reverse(settings, query, v4)
    });
    draft.map(|draft| (draft, Outcome::Ipv4only)).or_else(|| settings.local.answer(zone, query))
}
