//! One thread of the resolver: its sockets, its part of the engine, its ready answers.
//!
//! Everything here runs on one thread and is never locked. Names belong to threads: a query that
//! comes to another thread than its name's, and for which that one has no answer ready, is handed over and
//! its answer handed back. So each name is asked and kept once, however many threads there are.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::admission::Admission;
use super::answer_cache::Ready;
use super::client::{Back, Caller};
use super::cookie::{self, Secret, Shown};
use super::counters::{Counters, ZoneCounters};
use super::egress::Outlets;
use super::mmsg::Incoming;
use super::query_key::{self, Asked, COOKIE};
use super::random::Random;
use super::rate::{self, Rate};
use super::report::Report;
use super::shared::{Shared, Told};
use super::upstream::{Came, Opened, Pool};
use super::{frame, tasks};
use crate::addr::ZoneId;
use crate::dns64::slab::Id;
use crate::dns64::{self, Answer, Engine, Outcome, Taken, wire};
use crate::time::Instant;

/// Queries and answers that may wait for another thread.
pub(super) const HANDED: usize = 4_096;

/// What one thread hands another.
pub(super) enum Handed {
    /// A query for a name of yours.
    Query { from: usize, query: Vec<u8>, caller: Box<Caller> },
    /// The answer to one of mine.
    Answer { caller: Box<Caller>, answer: Answer },
    /// The answer to a query for a name of yours was given so many times more.
    Repeated { zone: ZoneId, query: Vec<u8>, times: u64 },
}

/// Who waits in the engine.
struct Waiting {
    /// The thread that has the query, if it is another.
    from: Option<usize>,
    caller: Box<Caller>,
}

/// One thread of the resolver.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) state: RefCell<State>,
    /// Rung when something is due earlier than was said.
    pub(super) alarm: Notify,
    /// Whether connections are to end as soon as they have nothing under way.
    pub(super) closing: watch::Sender<bool>,
}

/// What a thread knows.
pub(super) struct State {
    number: usize,
    /// Shares out names among threads; the same for all.
    seed: u64,
    pub(super) told: Arc<Told>,
    /// The counters of each zone, in the order of the settings.
    rows: Vec<Arc<ZoneCounters>>,
    engine: Engine<Waiting>,
    ready: Ready,
    clients: Rate,
    responses: Rate,
    /// Counts answers withheld, so that every other one is sent empty.
    withheld: u32,
    pub(super) pool: Pool,
    pub(super) outlets: Outlets,
    pub(super) incoming: Option<Box<Incoming>>,
    pub(super) chance: Random,
    peers: Vec<mpsc::Sender<Handed>>,
    /// When the alarm goes off.
    pub(super) armed: Instant,
    counters: Arc<Counters>,
    queries: Arc<Admission>,
    secret: Secret,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        peers: Vec<mpsc::Sender<Handed>>,
    ) -> std::io::Result<Rc<Self>> {
        let told = shared.told();
        let mut chance = Random::new();
        let mut state = State {
            number,
            seed: shared.seed,
            rows: Vec::new(),
            engine: Engine::new(Arc::clone(&told.settings), chance.u64()?),
            ready: Ready::new(0),
            clients: Rate::new(0),
            responses: Rate::new(0),
            withheld: 0,
            pool: Pool::new(shared.secret),
            outlets: Outlets::default(),
            incoming: Some(Box::new(Incoming::new())),
            chance,
            peers,
            armed: Instant::NEVER,
            counters: Arc::clone(&shared.counters),
            queries: Arc::clone(&shared.queries),
            secret: shared.secret,
            told,
        };
        state.follow(shared.told());
        Ok(Rc::new(Self {
            shared,
            state: RefCell::new(state),
            alarm: Notify::new(),
            closing: watch::Sender::new(false),
        }))
    }

    /// Does something with the state, then sends what has come of it.
    pub(super) fn act<R>(self: &Rc<Self>, what: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = self.shared.now();
        let mut state = self.state.borrow_mut();
        if self.shared.generation() != state.told.generation {
            state.follow(self.shared.told());
        }
        let result = what(&mut state, now);
        let opened = state.flush(now);
        let deadline = state.engine.deadline();
        if deadline < state.armed {
            self.alarm.notify_one();
        }
        drop(state);
        opened.into_iter().for_each(|way| tasks::read_from(self, way));
        result
    }

    /// When something is due.
    pub(super) fn arm(&self) -> Instant {
        let mut state = self.state.borrow_mut();
        state.armed = state.engine.deadline();
        state.armed
    }
}

impl State {
    /// Takes over new settings. Ready answers may be wrong under them.
    fn follow(&mut self, told: Arc<Told>) {
        let settings = &told.settings;
        self.rows = settings.zones.iter().map(|zone| self.counters.zone(Some(zone.id))).collect();
        self.engine.reconfigure(Arc::clone(settings));
        self.ready.clear(settings.network.ready_bytes);
        // Their zones are numbered by the old settings.
        self.ready.repeats().for_each(drop);
        self.clients.set(settings.network.queries_per_second);
        self.responses.set(settings.network.responses_per_second);
        self.pool.set(&settings.network.via);
        self.told = told;
    }

    /// Ready answers may be wrong once nothing translates, or once something does again.
    pub(super) fn set_translating(&mut self, zone: ZoneId, translating: bool) {
        self.engine.set_translating(zone, translating);
        self.ready.clear(self.told.settings.network.ready_bytes);
    }

    /// What the engine knows.
    pub(super) fn report(&mut self, now: Instant, most: usize) -> Report {
        self.ready.count_kept();
        self.tell_repeats(now);
        Report::of(&self.engine, &self.told.settings, now, most)
    }

    /// Takes a query. `false` if there will be no answer.
    pub(super) fn query(&mut self, now: Instant, client: IpAddr, back: Back, query: &[u8]) -> bool {
        let mut caller = Caller { back, client, cookie: None, limit: 0, hash: 0, keep: None, permit: None };
        let transport = caller.transport();
        let Some(zone) = self.told.settings.zone_of(client) else {
            return self.refuse(now, caller, query, None, Outcome::NoZone);
        };
        if !self.clients.allows(now, &client) {
            let id = self.told.settings.zones[zone].id;
            return self.refuse(now, caller, query, Some(id), Outcome::RateLimited);
        }
        caller.limit = wire::UDP_SIZE.into();
        if let Some(asked) = Asked::read(query, transport) {
            caller.limit = asked.limit;
            caller.cookie = asked.cookie.map(|content| self.secret.judge(content, client, seconds(now)));
            if caller.cookie == Some(Shown::Malformed) {
                self.rows[zone].count(Outcome::Formerr);
                return frame::refusal(query, wire::rcode::FORMERR)
                    .is_some_and(|answer| self.outlets.give(&caller.back, &answer));
            }
            if self.serve(now, zone, &mut caller, &asked) {
                return true;
            }
        }
        self.ask(now, Box::new(caller), query)
    }

    /// Gives the ready answer, if there is one; notes what was asked if there is none.
    fn serve(&mut self, now: Instant, zone: usize, caller: &mut Caller, asked: &Asked<'_>) -> bool {
        let key = asked.key(u16::try_from(zone).unwrap_or(u16::MAX));
        let Self { ready, outlets, rows, responses, withheld, secret, .. } = self;
        caller.hash = ready.hash(&key);
        let room = caller.limit.saturating_sub(caller.cookie.map_or(0, |_| cookie::OPTION));
        let Some(found) = ready.find(now, caller.hash, &key, room) else {
            let place = ready.missed(caller.hash);
            caller.keep = place.again.then(|| (place, Box::new(key)));
            return false;
        };
        rows[zone].count(found.outcome());
        rows[zone].count_ready();
        let verdict = limit(now, responses, withheld, caller);
        if verdict != Verdict::Whole {
            rows[zone].count(Outcome::ResponseLimited);
        }
        let whole = caller.cookie.and_then(Shown::client);
        let whole = whole.map(|client| secret.bake(client, caller.client, seconds(now)));
        match verdict {
            Verdict::Nothing => true,
            Verdict::Whole => outlets.write(&caller.back, |bytes| {
                let start = bytes.len();
                found.write(now, asked, bytes);
                if let (Some(opt), Some(whole)) = (found.opt(), &whole) {
                    frame::push_option(bytes, start + opt, COOKIE, whole);
                }
            }),
            Verdict::Cut => {
                let mut short = Vec::new();
                found.write(now, asked, &mut short);
                frame::cut(&mut short, found.opt());
                outlets.give(&caller.back, &short)
            }
        }
    }

    /// Hands the query to the engine that its name belongs to.
    fn ask(&mut self, now: Instant, caller: Box<Caller>, query: &[u8]) -> bool {
        let owner = self.owner(query);
        let Some(peer) = self.peers.get(owner).filter(|_| owner != self.number) else {
            return self.engage(now, None, caller, query);
        };
        let Ok(room) = peer.try_reserve() else {
            let zone = self.told.settings.zone_of(caller.client);
            let id = zone.map(|place| self.told.settings.zones[place].id);
            return self.refuse(now, *caller, query, id, Outcome::Busy);
        };
        room.send(Handed::Query { from: self.number, query: query.to_vec(), caller });
        true
    }

    /// The thread that a query's name belongs to.
    fn owner(&self, query: &[u8]) -> usize {
        match self.peers.len() as u64 {
            0 | 1 => self.number,
            count => usize::try_from(dns64::share_of(self.seed, query) % count).unwrap_or(0),
        }
    }

    /// Tells the engines how often their answers were given without asking them.
    fn tell_repeats(&mut self, now: Instant) {
        let gone: Vec<_> = self.ready.repeats().collect();
        for (key, times) in gone {
            let Some((place, query)) = query_key::query_of(&key) else { continue };
            let Some(zone) = self.told.settings.zones.get(usize::from(place)).map(|zone| zone.id) else {
                continue;
            };
            let owner = self.owner(&query);
            match self.peers.get(owner).filter(|_| owner != self.number) {
                // What finds no room is not counted; answers matter more.
                Some(peer) => _ = peer.try_send(Handed::Repeated { zone, query, times }),
                None => self.engine.repeated(now, zone, &query, times),
            }
        }
    }

    /// Takes what another thread has handed over.
    pub(super) fn take(&mut self, now: Instant, handed: Handed) {
        match handed {
            Handed::Query { from, query, caller } => _ = self.engage(now, Some(from), caller, &query),
            Handed::Answer { caller, answer } => _ = self.deliver(now, *caller, answer),
            Handed::Repeated { zone, query, times } => self.engine.repeated(now, zone, &query, times),
        }
    }

    fn engage(&mut self, now: Instant, from: Option<usize>, caller: Box<Caller>, query: &[u8]) -> bool {
        let (client, transport) = (caller.client, caller.transport());
        let limits = self.told.settings.limits;
        let queries = &self.queries;
        let mut caller = Some(caller);
        let admit = || {
            let permit = queries.enter(limits.in_flight, limits.in_flight_per_client, client)?;
            let mut caller = caller.take().ok_or(Outcome::Busy)?;
            caller.permit = Some(permit);
            Ok(Waiting { from, caller })
        };
        let taken = self.engine.query(now, client, transport, query, admit);
        match (taken, caller) {
            (Taken::Answer(answer), Some(caller)) => self.hand_back(now, from, caller, answer),
            (Taken::Drop(zone, outcome), _) => {
                self.count(zone, outcome);
                false
            }
            (Taken::Answer(_) | Taken::Waits, _) => true,
        }
    }

    fn hand_back(&mut self, now: Instant, from: Option<usize>, caller: Box<Caller>, answer: Answer) -> bool {
        match from.filter(|from| *from != self.number).and_then(|from| self.peers.get(from)) {
            None => self.deliver(now, *caller, answer),
            Some(peer) => {
                let given = peer.try_send(Handed::Answer { caller, answer }).is_ok();
                self.counters.count_lost(usize::from(!given));
                given
            }
        }
    }

    /// Turns a query away: over UDP silently, over TCP with REFUSED.
    fn refuse(
        &mut self,
        now: Instant,
        caller: Caller,
        query: &[u8],
        zone: Option<ZoneId>,
        outcome: Outcome,
    ) -> bool {
        match dns64::refuse(zone, caller.transport(), query, outcome) {
            Taken::Answer(answer) => self.deliver(now, caller, answer),
            Taken::Drop(zone, outcome) => {
                self.count(zone, outcome);
                false
            }
            Taken::Waits => false,
        }
    }

    fn count(&self, zone: Option<ZoneId>, outcome: Outcome) {
        self.counters.zone(zone).count(outcome);
    }

    /// Gives an answer of the engine's to who asked, and keeps it if that is wanted.
    fn deliver(&mut self, now: Instant, caller: Caller, answer: Answer) -> bool {
        let row = self.counters.zone(answer.zone);
        row.count(answer.outcome);
        if answer.truncated {
            row.count_truncated();
        }
        if caller.permit.is_some() {
            row.count_wait(answer.took);
        }
        if let Some((place, key)) = &caller.keep {
            self.ready.keep(now, *place, key, &answer.message, (answer.outcome, answer.keep));
        }
        let mut message = answer.message;
        match limit(now, &mut self.responses, &mut self.withheld, &caller) {
            Verdict::Whole => {}
            Verdict::Cut => {
                row.count(Outcome::ResponseLimited);
                let opt = frame::last_opt(&message);
                frame::cut(&mut message, opt);
            }
            Verdict::Nothing => {
                row.count(Outcome::ResponseLimited);
                return true;
            }
        }
        if let Some(client) = caller.cookie.and_then(Shown::client) {
            let whole = self.secret.bake(client, caller.client, seconds(now));
            with_cookie(&mut message, caller.limit, &whole);
        }
        self.outlets.give(&caller.back, &message)
    }

    /// Takes what an upstream has sent.
    pub(super) fn came(&mut self, now: Instant, way: Id, message: &mut [u8]) {
        if let Came::Answer(ask) = self.pool.came(now, way, message) {
            self.engine.reply(now, ask, message);
        }
    }

    /// A way to an upstream is broken.
    pub(super) fn broken(&mut self, now: Instant, way: Id) {
        for errand in self.pool.broken(now, way) {
            self.engine.failed(now, errand.ask.id);
        }
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, now: Instant) {
        self.engine.timeout(now);
    }

    /// Sends what has come up: questions, answers. Ways that were opened need a reader.
    fn flush(&mut self, now: Instant) -> Vec<Opened> {
        self.tell_repeats(now);
        let mut opened = Vec::new();
        loop {
            while let Some(ask) = self.engine.poll_ask() {
                let told = (&*self.told.settings, &*self.counters);
                let id = ask.id;
                let upstream = self.pool.ask(now, ask, told, &mut self.chance);
                self.engine.asked(id, upstream);
            }
            while let Some((waiting, answer)) = self.engine.poll_answer() {
                self.hand_back(now, waiting.from, waiting.caller, answer);
            }
            let patience = self.told.settings.timeouts.attempt;
            let failed = self.pool.send(now, patience, &mut self.chance, &mut opened);
            if failed.is_empty() {
                break;
            }
            for errand in failed {
                self.engine.failed(now, errand.ask.id);
            }
        }
        self.counters.count_lost(self.outlets.send());
        opened
    }
}

/// What a client gets of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Whole,
    /// Nothing but TC: who is there comes again over TCP, who was named by a liar is spared.
    Cut,
    Nothing,
}

/// Response rate limiting: of the answers beyond the rate every other one is sent empty, with TC.
fn limit(now: Instant, responses: &mut Rate, withheld: &mut u32, caller: &Caller) -> Verdict {
    let forgeable = caller.may_be_forged() && caller.hash != 0;
    if !forgeable || responses.allows(now, &(rate::network(caller.client), caller.hash)) {
        return Verdict::Whole;
    }
    *withheld = withheld.wrapping_add(1);
    if withheld.is_multiple_of(2) { Verdict::Nothing } else { Verdict::Cut }
}

/// Adds a cookie to an answer, which is emptied if it grows too long by it.
fn with_cookie(message: &mut Vec<u8>, limit: usize, whole: &[u8]) {
    let Some(opt) = frame::last_opt(message) else { return };
    if message.len() + cookie::OPTION > limit {
        frame::cut(message, Some(opt));
    }
    if let Some(opt) = frame::last_opt(message) {
        if message.len() + cookie::OPTION > limit {
            // An extended error may carry a text of any length (RFC 8914 §2).
            frame::clear_options(message, opt);
        }
        frame::push_option(message, opt, COOKIE, whole);
    }
}

/// The clock that cookies are stamped by.
fn seconds(now: Instant) -> u32 {
    (now.as_secs() & u64::from(u32::MAX)) as u32
}
