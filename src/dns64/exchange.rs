//! One client query from beginning to end, without sockets and without a clock.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::answer::Draft;
use super::query::Query;
use super::slot::{self, Slot};
use super::wire::{ede, rcode, rr};
use super::{Outcome, Settings, Zone, discovery, reverse};
use crate::addr::ZoneId;
use crate::time::Instant;

/// How a query came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A datagram: answers have a size limit, and who is not served gets nothing, so that forged
    /// sources gain nothing.
    Udp,
    /// A stream: answers may have 65,535 bytes, and who is not served is told so.
    Tcp,
}

/// Names a question sent upstream within its exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AskId {
    pub(super) slot: u8,
    pub(super) attempt: u8,
}

/// A question to be sent upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// To be given back with the answer.
    pub id: AskId,
    /// Whom to ask.
    pub upstream: SocketAddr,
    /// The message. Its id, the first two bytes, is 0: the sender puts a random one there and checks
    /// that the answer has it.
    pub query: Vec<u8>,
}

impl Ask {
    /// Whether `reply` is an answer to this question, whatever its id.
    pub fn is_answered_by(&self, reply: &[u8]) -> bool {
        slot::is_reply(&self.query, reply)
    }
}

/// An answer for a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The message.
    pub message: Vec<u8>,
    /// The zone of the client.
    pub zone: Option<ZoneId>,
    /// Why the answer is what it is.
    pub outcome: Outcome,
    /// Whether it was too big and went without records, with TC.
    pub truncated: bool,
}

/// What becomes of a query when it comes.
#[derive(Debug)]
pub enum Begin {
    /// It is answered at once.
    Answer(Answer),
    /// Upstreams have to be asked.
    Exchange(Exchange),
    /// It is not answered.
    Drop(Option<ZoneId>, Outcome),
}

/// What is done with a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// The upstream's answer is passed on; the outcome if it is no error.
    Pass(Outcome),
    /// AAAA, else A made AAAA.
    Synthesis,
    /// The name of an IPv4 address.
    Reverse,
}

/// A query that waits for upstreams.
///
/// Drive it so: send what [`poll_ask`](Self::poll_ask) gives; hand in what comes back with
/// [`reply`](Self::reply) and [`failed`](Self::failed); call [`timeout`](Self::timeout) when
/// [`deadline`](Self::deadline) has come; after each, look at [`poll_answer`](Self::poll_answer). It
/// gives an answer within [`Timeouts::total`](super::Timeouts::total), whatever upstreams do.
#[derive(Debug)]
pub struct Exchange {
    pub(super) settings: Arc<Settings>,
    /// Index into the settings' zones.
    zone: usize,
    pub(super) query: Query,
    plan: Plan,
    /// One question, or AAAA and A, in this order.
    pub(super) slots: Vec<Slot>,
    /// When the wait for AAAA ends.
    pub(super) wait: Instant,
    /// When all ends.
    end: Instant,
    answer: Option<Answer>,
}

/// Takes a query of `client` to the DNS64.
pub fn begin(
    now: Instant,
    settings: &Arc<Settings>,
    client: IpAddr,
    transport: Transport,
    message: &[u8],
) -> Begin {
    let Some(zone) = settings.zone_of(client) else {
        return refuse(None, transport, message, Outcome::NoZone);
    };
    let id = Some(zone.id);
    let Some(query) = Query::read(message, transport) else { return Begin::Drop(id, Outcome::Ignored) };
    if let Some((code, outcome)) = query.refusal() {
        return Begin::Answer(answer(id, &query, Draft::empty(code), outcome));
    }
    if let Some((draft, outcome)) = local(settings, zone, &query) {
        return Begin::Answer(answer(id, &query, draft, outcome));
    }
    let zone = settings.zones.iter().position(|z| z.id == zone.id).unwrap_or(0);
    Begin::Exchange(Exchange::new(now, settings, zone, query))
}

/// Turns a query away: over UDP silently, over TCP with REFUSED.
pub fn refuse(zone: Option<ZoneId>, transport: Transport, message: &[u8], outcome: Outcome) -> Begin {
    match (transport, Query::read(message, transport)) {
        (Transport::Udp, _) | (Transport::Tcp, None) => Begin::Drop(zone, outcome),
        (Transport::Tcp, Some(query)) => {
            let draft = Draft::empty(rcode::REFUSED).error(ede::PROHIBITED);
            Begin::Answer(answer(zone, &query, draft, outcome))
        }
    }
}

fn answer(zone: Option<ZoneId>, query: &Query, draft: Draft, outcome: Outcome) -> Answer {
    let (message, truncated) = draft.finish(query);
    Answer { message, zone, outcome, truncated }
}

/// What is answered without an upstream (RFC 8880 §7).
fn local(settings: &Settings, zone: &Zone, query: &Query) -> Option<(Draft, Outcome)> {
    if !zone.rules.enabled || query.class() != rr::IN {
        return None;
    }
    let draft = discovery::answer(settings, zone, query).or_else(|| {
        let v4 = mapped_by(zone, query)?;
        discovery::reverse(settings, query, v4)
    });
    draft.map(|draft| (draft, Outcome::Ipv4only))
}

/// The IPv4 address whose name is asked for under a pref64 of the zone (RFC 6147 §5.3.1).
fn mapped_by(zone: &Zone, query: &Query) -> Option<Ipv4Addr> {
    if query.kind() != rr::PTR {
        return None;
    }
    let v6 = reverse::ip6_arpa(query.name())?;
    zone.pref64.iter().find_map(|m| {
        let v4 = m.pref64.extract(v6)?;
        m.only.is_none_or(|only| only.contains(v4)).then_some(v4)
    })
}

impl Exchange {
    fn new(now: Instant, settings: &Arc<Settings>, zone: usize, query: Query) -> Self {
        let rules = &settings.zones[zone];
        let mut slots = Vec::with_capacity(2);
        let mut plan = plan(rules, &query);
        match (plan, mapped_by(rules, &query)) {
            (Plan::Reverse, Some(v4)) => {
                slots.push(Slot::new(0, query.upstream(&reverse::in_addr_arpa(v4), rr::PTR)));
            }
            (Plan::Reverse, None) => plan = Plan::Pass(Outcome::PassedType),
            (Plan::Synthesis | Plan::Pass(_), _) => {}
        }
        if slots.is_empty() {
            slots.push(Slot::new(0, query.upstream(query.name(), query.kind())));
        }
        if plan == Plan::Synthesis {
            slots.push(Slot::new(1, query.upstream(query.name(), rr::A)));
        }
        let timeouts = settings.timeouts;
        Self {
            settings: Arc::clone(settings),
            zone,
            query,
            plan,
            slots,
            wait: now + timeouts.aaaa_wait,
            end: now + timeouts.total,
            answer: None,
        }
    }

    pub(super) fn zone(&self) -> &Zone {
        // The index was found in these very settings.
        &self.settings.zones[self.zone]
    }

    /// The zone of the client.
    pub fn zone_id(&self) -> ZoneId {
        self.zone().id
    }

    /// The next question to send, if there is one.
    pub fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        if self.answer.is_some() {
            return None;
        }
        let ask = self.slots.iter_mut().find_map(|slot| slot.poll_ask(now, &self.settings));
        if ask.is_none() {
            self.settle(now);
        }
        ask
    }

    /// When [`timeout`](Self::timeout) has something to do, at the latest.
    pub fn deadline(&self, now: Instant) -> Instant {
        let waits = self.plan == Plan::Synthesis && now < self.wait;
        let wait = if waits { self.wait } else { self.end };
        self.slots.iter().map(Slot::deadline).fold(self.end.min(wait), Instant::min)
    }

    /// Takes an answer to `id`. `false` if it is none: wait on.
    pub fn reply(&mut self, now: Instant, id: AskId, message: &[u8]) -> bool {
        let Some(slot) = self.slots.get_mut(usize::from(id.slot)) else { return false };
        let taken = slot.reply(message, &self.settings);
        self.settle(now);
        taken
    }

    /// No answer to `id` will come.
    pub fn failed(&mut self, now: Instant, id: AskId) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            slot.failed(&self.settings);
        }
        self.settle(now);
    }

    /// Does what is due by `now`.
    pub fn timeout(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.timeout(now, &self.settings);
            if now >= self.end {
                slot.conclude();
            }
        }
        if self.plan == Plan::Synthesis && now >= self.wait {
            self.slots[0].settle_for_error();
        }
        self.settle(now);
    }

    /// The answer, once.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    fn settle(&mut self, now: Instant) {
        if self.answer.is_some() {
            return;
        }
        let done = match self.plan {
            Plan::Pass(outcome) => self.slots[0].fate().map(|fate| self.pass(fate, outcome)),
            Plan::Reverse => self.slots[0].fate().map(|fate| self.reverse(fate)),
            Plan::Synthesis => self.synthesis(now),
        };
        self.answer = done.map(|(draft, outcome)| answer(Some(self.zone_id()), &self.query, draft, outcome));
    }
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
