//! State of a resolver thread: its engine, answer cache, upstreams and reply sockets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::message::ThreadMessage;
use crate::addr::{HostKey, ZoneId};
use crate::dns64::slab::Id;
use crate::dns64::{self, AddressName, Engine, Outcome};
use crate::resolver::admission::Admission;
use crate::resolver::answer_cache::AnswerCache;
use crate::resolver::client::Requestor;
use crate::resolver::cookie::Secret;
use crate::resolver::counters::{Counters, ZoneCounters};
use crate::resolver::mmsg::Incoming;
use crate::resolver::query_key;
use crate::resolver::random::Random;
use crate::resolver::rate::Rates;
use crate::resolver::reply_sockets::ReplySockets;
use crate::resolver::report::{Name, Report};
use crate::resolver::shared::{ActiveSettings, Shared};
use crate::resolver::shedding::{KnownClients, Shedding};
use crate::resolver::upstream::{NewChannel, Received, Upstreams};
use crate::time::Instant;

/// Context of a pending query in the engine.
pub(super) struct PendingClient {
    /// The thread that received the query, if another one.
    pub(super) from: Option<usize>,
    pub(super) requestor: Box<Requestor>,
}

/// State of a thread.
pub(in crate::resolver) struct ThreadState {
    pub(super) number: usize,
    /// Assigns names to threads; the same for all threads.
    pub(super) seed: u64,
    pub(in crate::resolver) active: Arc<ActiveSettings>,
    /// Counters of each zone, in the order of the settings.
    pub(super) zone_counters: Vec<Arc<ZoneCounters>>,
    pub(super) engine: Engine<PendingClient>,
    pub(super) answer_cache: AnswerCache,
    pub(super) rates: Arc<Rates>,
    pub(super) known_clients: Arc<KnownClients>,
    pub(super) shedding: Shedding,
    pub(in crate::resolver) upstreams: Upstreams,
    pub(in crate::resolver) reply_sockets: ReplySockets,
    pub(in crate::resolver) incoming: Option<Box<Incoming>>,
    pub(in crate::resolver) random: Random,
    pub(super) peers: Vec<mpsc::Sender<ThreadMessage>>,
    /// When the timer task wakes up.
    pub(in crate::resolver) timer_at: Instant,
    pub(super) counters: Arc<Counters>,
    pub(super) queries: Arc<Admission>,
    pub(super) secret: Secret,
}

impl ThreadState {
    pub(super) fn new(
        number: usize,
        shared: &Shared,
        peers: Vec<mpsc::Sender<ThreadMessage>>,
    ) -> std::io::Result<Self> {
        let active = shared.active();
        let mut random = Random::new();
        let mut state = Self {
            number,
            seed: shared.seed,
            zone_counters: Vec::new(),
            engine: Engine::new(Arc::clone(&active.settings), random.u64()?),
            answer_cache: AnswerCache::new(0),
            rates: Arc::clone(&shared.rates),
            known_clients: Arc::clone(&shared.known_clients),
            shedding: Shedding::default(),
            upstreams: Upstreams::new(shared.secret),
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
        Ok(state)
    }

    /// Applies new settings, and clears the answer cache: its answers may differ under them.
    pub(super) fn apply_settings(&mut self, active: Arc<ActiveSettings>) {
        let settings = &active.settings;
        self.zone_counters = settings.zones.iter().map(|zone| self.counters.zone(Some(zone.id))).collect();
        self.engine.reconfigure(Arc::clone(settings));
        self.answer_cache.clear(settings.network.answer_cache_bytes);
        // Hits are counted by the old settings' zone indices.
        self.answer_cache.take_hits().for_each(drop);
        self.upstreams.set(&settings.network.via);
        self.active = active;
    }

    /// Clears the answer cache, as answers depend on whether the translator is up.
    pub(in crate::resolver) fn set_translating(&mut self, zone: ZoneId, translating: bool) {
        self.engine.set_translating(zone, translating);
        self.answer_cache.clear(self.active.settings.network.answer_cache_bytes);
    }

    /// Reports the engine's state.
    pub(in crate::resolver) fn report(&mut self, now: Instant, most: usize) -> Report {
        self.answer_cache.collect_hits();
        self.report_cache_hits(now);
        Report::of(&self.engine, &self.active.settings, now, most)
    }

    /// The names under which hosts last received these addresses.
    pub(in crate::resolver) fn names_of(&self, of: &[(HostKey, Ipv4Addr)]) -> Vec<Option<AddressName>> {
        of.iter().map(|(host, v4)| self.engine.name_of(*host, *v4)).collect()
    }

    /// The queries since the last call, by zone.
    pub(in crate::resolver) fn take_usage(&mut self, now: Instant) -> BTreeMap<ZoneId, Vec<Name>> {
        self.answer_cache.collect_hits();
        self.report_cache_hits(now);
        let engine = &mut self.engine;
        let mut zone =
            |id| engine.take_usage(id).into_iter().map(|(name, usage)| Name::new(now, name, usage));
        self.active.settings.zones.iter().map(|z| z.id).map(|id| (id, zone(id).collect())).collect()
    }

    /// The failures of a name that the engine remembers.
    pub(in crate::resolver) fn failures(&self, now: Instant, name: &str) -> Vec<String> {
        self.engine.failures(now, name)
    }

    /// Handles a message of another thread.
    pub(in crate::resolver) fn handle_message(&mut self, now: Instant, message: ThreadMessage) {
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

    /// Reports answer cache hits to the engines.
    pub(super) fn report_cache_hits(&mut self, now: Instant) {
        let hits: Vec<_> = self.answer_cache.take_hits().collect();
        for (key, times) in hits {
            let Some((index, query)) = query_key::query_of(&key) else { continue };
            let Some(zone) = self.active.settings.zones.get(usize::from(index)).map(|zone| zone.id) else {
                continue;
            };
            let owner = self.owner(dns64::name_hash(self.seed, &query));
            match self.peers.get(owner).filter(|_| owner != self.number) {
                // If the queue is full, the hits are lost; answers matter more.
                Some(peer) => _ = peer.try_send(ThreadMessage::CacheHits { zone, query, times }),
                None => self.engine.record_repeats(now, zone, &query, times),
            }
        }
    }

    /// Processes a message from an upstream.
    pub(in crate::resolver) fn receive(&mut self, now: Instant, channel: Id, message: &mut [u8]) {
        if let Received::Reply(transmit) = self.upstreams.receive(now, channel, message) {
            self.engine.reply(now, transmit, message);
        }
    }

    /// Closes a broken channel.
    pub(in crate::resolver) fn channel_closed(&mut self, now: Instant, channel: Id) {
        for attempt in self.upstreams.channel_closed(channel) {
            self.engine.failed(now, attempt.transmit.id);
        }
    }

    /// Runs the timers that have expired.
    pub(in crate::resolver) fn timeout(&mut self, now: Instant) {
        self.engine.timeout(now);
        self.upstreams.probe(now, &self.active.settings);
    }

    /// When the next timer expires.
    pub(super) fn deadline(&mut self) -> Instant {
        self.engine.deadline().min(self.upstreams.probe_at())
    }

    /// Sends queued upstream queries and answers. New channels need a reader.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<NewChannel> {
        self.report_cache_hits(now);
        let mut opened = Vec::new();
        loop {
            while let Some(transmit) = self.engine.poll_transmit() {
                let active = (&*self.active.settings, &*self.counters);
                let id = transmit.id;
                let (upstream, hedge_delay) = self.upstreams.submit(now, transmit, active, &mut self.random);
                self.engine.sent_to(now, id, upstream, hedge_delay);
            }
            while let Some((waiting, answer)) = self.engine.poll_answer() {
                self.return_answer(now, waiting.from, waiting.requestor, answer);
            }
            let timeout = self.active.settings.timeouts.attempt;
            let failed = self.upstreams.send(now, timeout, &mut self.random, &mut opened);
            if failed.is_empty() {
                break;
            }
            for attempt in failed {
                self.engine.failed(now, attempt.transmit.id);
            }
        }
        self.counters.count_lost(self.reply_sockets.flush());
        opened
    }

    /// Counts an outcome of a query of this zone.
    pub(super) fn count(&self, zone: Option<ZoneId>, outcome: Outcome) {
        self.counters.zone(zone).count(outcome);
    }
}
