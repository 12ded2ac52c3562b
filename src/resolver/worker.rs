//! One thread of the resolver: its sockets, engine and answer cache.
//!
//! This state belongs to one thread and needs no lock. Each name belongs to one thread. Another thread
//! answers queries for it from its own answer cache, or passes them to the owner and receives the answers.
//! Each name is thus queried and cached once, however many threads there are.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::admission::{self, Admission, Client};
use super::answer_cache::AnswerCache;
use super::client::{ReplyPath, Requestor};
use super::cookie::{self, CookieStatus, Secret};
use super::counters::{Counters, ZoneCounters};
use super::mmsg::Incoming;
use super::query_key::{self, COOKIE, PADDING, SimpleQuery};
use super::random::Random;
use super::rate::Rates;
use super::reply_sockets::ReplySockets;
use super::report::Report;
use super::shared::{ActiveSettings, Shared};
use super::upstream::{NewChannel, Pool, Received};
use super::{frame, tasks};
use crate::addr::ZoneId;
use crate::dns64::slab::Id;
use crate::dns64::{self, Answer, Engine, Outcome, QueryAction, wire};
use crate::time::Instant;

/// Maximum number of messages queued for a thread.
pub(super) const THREAD_QUEUE: usize = 4_096;

/// Responses to padded queries are padded to a multiple of this many bytes (RFC 8467 §4.1).
const RESPONSE_BLOCK: usize = 468;

/// A message between threads.
pub(super) enum ThreadMessage {
    /// A query for a name that belongs to the receiver.
    Query { from: usize, query: Vec<u8>, requestor: Box<Requestor> },
    /// The answer to a query that the receiver passed on.
    Answer { requestor: Box<Requestor>, answer: Answer },
    /// The sender answered `query` from its answer cache `times` times.
    CacheHits { zone: ZoneId, query: Vec<u8>, times: u64 },
}

/// Context of a pending query in the engine.
struct PendingClient {
    /// The thread that received the query, if another one.
    from: Option<usize>,
    requestor: Box<Requestor>,
}

/// One thread of the resolver.
pub(super) struct DnsWorker {
    pub(super) shared: Arc<Shared>,
    pub(super) state: RefCell<State>,
    /// Notified when a timer is due earlier than `timer_at`.
    pub(super) alarm: Notify,
    /// Whether connections close once they have no pending query.
    pub(super) closing: watch::Sender<bool>,
}

/// State of a thread.
pub(super) struct State {
    number: usize,
    /// Assigns names to threads; the same for all threads.
    seed: u64,
    pub(super) active: Arc<ActiveSettings>,
    /// Counters of each zone, in the order of the settings.
    zone_counters: Vec<Arc<ZoneCounters>>,
    engine: Engine<PendingClient>,
    answer_cache: AnswerCache,
    rates: Arc<Rates>,
    pub(super) pool: Pool,
    pub(super) reply_sockets: ReplySockets,
    pub(super) incoming: Option<Box<Incoming>>,
    pub(super) random: Random,
    peers: Vec<mpsc::Sender<ThreadMessage>>,
    /// When the timer task wakes up.
    pub(super) timer_at: Instant,
    counters: Arc<Counters>,
    queries: Arc<Admission>,
    secret: Secret,
}

impl DnsWorker {
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        peers: Vec<mpsc::Sender<ThreadMessage>>,
    ) -> std::io::Result<Rc<Self>> {
        let active = shared.active();
        let mut random = Random::new();
        let mut state = State {
            number,
            seed: shared.seed,
            zone_counters: Vec::new(),
            engine: Engine::new(Arc::clone(&active.settings), random.u64()?),
            answer_cache: AnswerCache::new(0),
            rates: Arc::clone(&shared.rates),
            pool: Pool::new(shared.secret),
            reply_sockets: ReplySockets::default(),
            incoming: Some(Box::new(Incoming::new())),
            random,
            peers,
            timer_at: Instant::NEVER,
            counters: Arc::clone(&shared.counters),
            queries: Arc::clone(&shared.queries),
            secret: shared.secret,
            active,
        };
        state.apply_settings(shared.active());
        Ok(Rc::new(Self {
            shared,
            state: RefCell::new(state),
            alarm: Notify::new(),
            closing: watch::Sender::new(false),
        }))
    }

    /// Runs `what` on the state, then sends what it queued.
    pub(super) fn with_state<R>(self: &Rc<Self>, what: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = self.shared.clock.now();
        let mut state = self.state.borrow_mut();
        if self.shared.generation() != state.active.generation {
            state.apply_settings(self.shared.active());
        }
        let result = what(&mut state, now);
        let opened = state.flush(now);
        let deadline = state.deadline();
        if deadline < state.timer_at {
            self.alarm.notify_one();
        }
        drop(state);
        opened.into_iter().for_each(|channel| tasks::read_from(self, channel));
        result
    }

    /// The time of the next timer.
    pub(super) fn arm(&self) -> Instant {
        let mut state = self.state.borrow_mut();
        state.timer_at = state.deadline();
        state.timer_at
    }
}

impl State {
    /// Applies new settings, and clears the answer cache: its answers may differ under them.
    fn apply_settings(&mut self, active: Arc<ActiveSettings>) {
        let settings = &active.settings;
        self.zone_counters = settings.zones.iter().map(|zone| self.counters.zone(Some(zone.id))).collect();
        self.engine.reconfigure(Arc::clone(settings));
        self.answer_cache.clear(settings.network.answer_cache_bytes);
        // Hits are counted by the old settings' zone indices.
        self.answer_cache.take_hits().for_each(drop);
        self.pool.set(&settings.network.via);
        self.active = active;
    }

    /// Clears the answer cache, as answers depend on whether the translator is up.
    pub(super) fn set_translating(&mut self, zone: ZoneId, translating: bool) {
        self.engine.set_translating(zone, translating);
        self.answer_cache.clear(self.active.settings.network.answer_cache_bytes);
    }

    /// Reports the engine's state.
    pub(super) fn report(&mut self, now: Instant, most: usize) -> Report {
        self.answer_cache.collect_hits();
        self.report_cache_hits(now);
        Report::of(&self.engine, &self.active.settings, now, most)
    }

    /// The failures of a name that the engine remembers.
    pub(super) fn failures(&self, now: Instant, name: &str) -> Vec<String> {
        self.engine.failures(now, name)
    }

    /// Handles a query. `false` if there will be no answer.
    pub(super) fn query(
        &mut self,
        now: Instant,
        client: IpAddr,
        reply_path: ReplyPath,
        query: &[u8],
    ) -> bool {
        let mut requestor = Requestor {
            reply_path,
            addr: client,
            client: None,
            cookie: None,
            limit: 0,
            hash: 0,
            cache_slot: None,
            permit: None,
            is_padded: false,
        };
        let transport = requestor.transport();
        let (Some(zone), IpAddr::V6(addr)) = (self.active.clients.find(client), client) else {
            return self.refuse(now, requestor, query, None, Outcome::NoZone);
        };
        let of_client = Client { addr, site: self.active.settings.zones[zone].site_of(addr) };
        requestor.client = Some(of_client);
        requestor.is_padded = requestor.is_encrypted() && frame::option(query, PADDING).is_some();
        if !self.rates.allow_query(now, of_client) {
            let id = self.active.settings.zones[zone].id;
            return self.refuse(now, requestor, query, Some(id), Outcome::RateLimited);
        }
        requestor.limit = wire::UDP_SIZE.into();
        if let Some(simple) = SimpleQuery::read(query, transport) {
            requestor.limit = simple.limit;
            requestor.cookie = simple.cookie.map(|content| self.secret.verify(content, client, seconds(now)));
            if requestor.cookie == Some(CookieStatus::Malformed) {
                self.zone_counters[zone].count(Outcome::Formerr);
                return frame::refusal(query, wire::rcode::FORMERR)
                    .is_some_and(|answer| self.reply_sockets.queue(&requestor.reply_path, &answer));
            }
            if self.answer_from_cache(now, zone, &mut requestor, &simple) {
                return true;
            }
        } else {
            requestor.hash = dns64::name_hash(self.seed, query);
        }
        self.forward(now, Box::new(requestor), query)
    }

    /// Answers from the answer cache, or records the miss.
    fn answer_from_cache(
        &mut self,
        now: Instant,
        zone: usize,
        requestor: &mut Requestor,
        simple: &SimpleQuery<'_>,
    ) -> bool {
        let key = simple.key(u16::try_from(zone).unwrap_or(u16::MAX));
        let Self { answer_cache, reply_sockets, zone_counters, rates, secret, .. } = self;
        requestor.hash = answer_cache.hash(&key);
        let room = requestor.limit.saturating_sub(requestor.cookie.map_or(0, |_| cookie::OPTION_LEN));
        let Some(found) = answer_cache.find(now, requestor.hash, &key, room) else {
            let slot = answer_cache.record_miss(requestor.hash);
            requestor.cache_slot = slot.seen_before.then(|| (slot, Box::new(key)));
            return false;
        };
        zone_counters[zone].count(found.outcome());
        zone_counters[zone].count_cached_answer();
        let is_limited = !allows_answer(now, rates, requestor, found.size());
        if is_limited {
            zone_counters[zone].count(Outcome::ResponseLimited);
        }
        let client_cookie = requestor.cookie.and_then(CookieStatus::client);
        let cookie = client_cookie.map(|client| secret.issue(client, requestor.addr, seconds(now)));
        if is_limited {
            let mut short = Vec::new();
            found.write(now, simple, &mut short);
            frame::truncate(&mut short, found.opt());
            return reply_sockets.queue(&requestor.reply_path, &short);
        }
        reply_sockets.queue_with(&requestor.reply_path, |bytes| {
            let start = bytes.len();
            found.write(now, simple, bytes);
            if let (Some(opt), Some(cookie)) = (found.opt(), &cookie) {
                frame::push_option(bytes, start + opt, COOKIE, cookie);
            }
        })
    }

    /// Passes the query to the engine that its name belongs to.
    fn forward(&mut self, now: Instant, requestor: Box<Requestor>, query: &[u8]) -> bool {
        let owner = self.owner(query);
        let Some(peer) = self.peers.get(owner).filter(|_| owner != self.number) else {
            return self.query_engine(now, None, requestor, query);
        };
        let Ok(room) = peer.try_reserve() else {
            let zone = self.active.clients.find(requestor.addr);
            let id = zone.map(|index| self.active.settings.zones[index].id);
            return self.refuse(now, *requestor, query, id, Outcome::Busy);
        };
        room.send(ThreadMessage::Query { from: self.number, query: query.to_vec(), requestor });
        true
    }

    /// The thread that a query's name belongs to.
    fn owner(&self, query: &[u8]) -> usize {
        match self.peers.len() as u64 {
            0 | 1 => self.number,
            count => usize::try_from(dns64::name_hash(self.seed, query) % count).unwrap_or(0),
        }
    }

    /// Reports answer cache hits to the engines.
    fn report_cache_hits(&mut self, now: Instant) {
        let hits: Vec<_> = self.answer_cache.take_hits().collect();
        for (key, times) in hits {
            let Some((index, query)) = query_key::query_of(&key) else { continue };
            let Some(zone) = self.active.settings.zones.get(usize::from(index)).map(|zone| zone.id) else {
                continue;
            };
            let owner = self.owner(&query);
            match self.peers.get(owner).filter(|_| owner != self.number) {
                // If the queue is full, the hits are lost; answers matter more.
                Some(peer) => _ = peer.try_send(ThreadMessage::CacheHits { zone, query, times }),
                None => self.engine.record_repeats(now, zone, &query, times),
            }
        }
    }

    /// Handles a message of another thread.
    pub(super) fn handle_message(&mut self, now: Instant, message: ThreadMessage) {
        match message {
            ThreadMessage::Query { from, query, requestor } => {
                _ = self.query_engine(now, Some(from), requestor, &query);
            }
            ThreadMessage::Answer { requestor, answer } => _ = self.deliver(now, *requestor, answer),
            ThreadMessage::CacheHits { zone, query, times } => {
                self.engine.record_repeats(now, zone, &query, times);
            }
        }
    }

    fn query_engine(
        &mut self,
        now: Instant,
        from: Option<usize>,
        requestor: Box<Requestor>,
        query: &[u8],
    ) -> bool {
        let (client, transport) = (requestor.addr, requestor.transport());
        let limits = self.active.settings.limits;
        let (queries, of_client) = (&self.queries, requestor.client);
        let mut requestor = Some(requestor);
        let admit = || {
            let permit = queries
                .enter(limits.in_flight, limits.in_flight_per_client, of_client.ok_or(Outcome::NoZone)?)
                .map_err(admission::refusal)?;
            let mut requestor = requestor.take().ok_or(Outcome::Busy)?;
            requestor.permit = Some(permit);
            Ok(PendingClient { from, requestor })
        };
        let taken = self.engine.query(now, client, transport, query, admit);
        match (taken, requestor) {
            (QueryAction::Answer(answer), Some(requestor)) => {
                self.return_answer(now, from, requestor, answer)
            }
            (QueryAction::Drop(zone, outcome), _) => {
                self.count(zone, outcome);
                false
            }
            (QueryAction::Answer(_) | QueryAction::Pending, _) => true,
        }
    }

    fn return_answer(
        &mut self,
        now: Instant,
        from: Option<usize>,
        requestor: Box<Requestor>,
        answer: Answer,
    ) -> bool {
        match from.filter(|from| *from != self.number).and_then(|from| self.peers.get(from)) {
            None => self.deliver(now, *requestor, answer),
            Some(peer) => {
                let given = peer.try_send(ThreadMessage::Answer { requestor, answer }).is_ok();
                self.counters.count_lost(usize::from(!given));
                given
            }
        }
    }

    /// Refuses a query: without an answer over UDP, with REFUSED over TCP.
    fn refuse(
        &mut self,
        now: Instant,
        requestor: Requestor,
        query: &[u8],
        zone: Option<ZoneId>,
        outcome: Outcome,
    ) -> bool {
        match dns64::refuse(zone, requestor.transport(), query, outcome) {
            QueryAction::Answer(answer) => self.deliver(now, requestor, answer),
            QueryAction::Drop(zone, outcome) => {
                self.count(zone, outcome);
                false
            }
            QueryAction::Pending => false,
        }
    }

    fn count(&self, zone: Option<ZoneId>, outcome: Outcome) {
        self.counters.zone(zone).count(outcome);
    }

    /// Sends an answer of the engine, and stores it in the answer cache if requested.
    fn deliver(&mut self, now: Instant, requestor: Requestor, answer: Answer) -> bool {
        let row = self.counters.zone(answer.zone);
        row.count(answer.outcome);
        if answer.truncated {
            row.count_truncated();
        }
        if requestor.permit.is_some() {
            row.count_wait(answer.elapsed);
        }
        if let Some((slot, key)) = &requestor.cache_slot {
            self.answer_cache.store(now, *slot, key, &answer.message, (answer.outcome, answer.keep));
        }
        let mut message = answer.message;
        if !allows_answer(now, &self.rates, &requestor, message.len()) {
            row.count(Outcome::ResponseLimited);
            let opt = frame::last_opt(&message);
            frame::truncate(&mut message, opt);
        }
        if let Some(client) = requestor.cookie.and_then(CookieStatus::client) {
            let whole = self.secret.issue(client, requestor.addr, seconds(now));
            cookie::append(&mut message, requestor.limit, &whole);
        }
        if requestor.is_padded {
            frame::pad(&mut message, RESPONSE_BLOCK);
        }
        self.reply_sockets.queue(&requestor.reply_path, &message)
    }

    /// Processes a message from an upstream.
    pub(super) fn receive(&mut self, now: Instant, channel: Id, message: &mut [u8]) {
        if let Received::Answer(transmit) = self.pool.receive(now, channel, message) {
            self.engine.reply(now, transmit, message);
        }
    }

    /// Closes a broken channel.
    pub(super) fn channel_closed(&mut self, now: Instant, channel: Id) {
        for exchange in self.pool.channel_closed(channel) {
            self.engine.failed(now, exchange.transmit.id);
        }
    }

    /// Runs the timers that have expired.
    pub(super) fn timeout(&mut self, now: Instant) {
        self.engine.timeout(now);
        self.pool.probe(now, &self.active.settings);
    }

    /// When the next timer expires.
    fn deadline(&mut self) -> Instant {
        self.engine.deadline().min(self.pool.probe_at())
    }

    /// Sends queued upstream queries and answers. New channels need a reader.
    fn flush(&mut self, now: Instant) -> Vec<NewChannel> {
        self.report_cache_hits(now);
        let mut opened = Vec::new();
        loop {
            while let Some(transmit) = self.engine.poll_transmit() {
                let active = (&*self.active.settings, &*self.counters);
                let id = transmit.id;
                let (upstream, hedge_delay) = self.pool.submit(now, transmit, active, &mut self.random);
                self.engine.sent_to(now, id, upstream, hedge_delay);
            }
            while let Some((waiting, answer)) = self.engine.poll_answer() {
                self.return_answer(now, waiting.from, waiting.requestor, answer);
            }
            let timeout = self.active.settings.timeouts.attempt;
            let failed = self.pool.send(now, timeout, &mut self.random, &mut opened);
            if failed.is_empty() {
                break;
            }
            for exchange in failed {
                self.engine.failed(now, exchange.transmit.id);
            }
        }
        self.counters.count_lost(self.reply_sockets.flush());
        opened
    }
}

/// Response rate limiting: whether to send a whole answer of `len` bytes. Otherwise it is sent without records and
/// with TC: a genuine client retries over TCP, a forged one receives little.
fn allows_answer(now: Instant, rates: &Rates, requestor: &Requestor, len: usize) -> bool {
    let forgeable = requestor.client.filter(|_| requestor.may_be_forged());
    forgeable.is_none_or(|client| rates.allow_answer(now, client, requestor.hash, len))
}

/// The clock of cookie timestamps.
fn seconds(now: Instant) -> u32 {
    (now.as_secs() & u64::from(u32::MAX)) as u32
}
