//! The path of a query: zone, limits and cookie, then the answer cache of this thread, then the engine of the
//! thread that owns the name.

use std::net::IpAddr;

use super::answer::{RESPONSE_BLOCK, allows_answer, seconds};
use super::message::ThreadMessage;
use super::state::{PendingClient, ThreadState};
use crate::addr::ZoneId;
use crate::dns64::{self, Outcome, QueryAction, wire};
use crate::resolver::admission::{self, Client};
use crate::resolver::client::{ReplyPath, Requestor};
use crate::resolver::cookie::{self, CookieStatus};
use crate::resolver::message_edit;
use crate::resolver::mmsg::Incoming;
use crate::resolver::query_key::{COOKIE, PADDING, SimpleQuery};
use crate::time::Instant;

impl ThreadState {
    /// Begins a batch of datagrams of a listener. `overflowed`: more arrived than were read.
    pub(in crate::resolver) fn begin_batch(&mut self, now: Instant, overflowed: u32, incoming: &Incoming) {
        self.counters.count_overflow(overflowed);
        self.shedding.begin(now, overflowed > 0, incoming.senders());
    }

    /// Handles a query. `false` if there will be no answer.
    pub(in crate::resolver) fn query(
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
            name_hash: 0,
            cache_slot: None,
            permit: None,
            is_padded: false,
        };
        let transport = requestor.transport();
        let (Some(zone), IpAddr::V6(addr)) = (self.active.clients.find(client), client) else {
            return self.refuse(now, requestor, query, None, Outcome::NoZone);
        };
        let of_client = Client::new(&self.active.settings.zones[zone], addr);
        requestor.client = Some(of_client);
        let is_datagram = matches!(requestor.reply_path, ReplyPath::Datagram(..));
        if is_datagram && !self.shedding.admits(now, &self.known_clients, of_client) {
            self.zone_counters[zone].count(Outcome::Shed);
            return false;
        }
        requestor.is_padded = requestor.is_encrypted() && message_edit::option(query, PADDING).is_some();
        if !self.rates.allow_query(now, of_client) {
            let id = self.active.settings.zones[zone].id;
            return self.refuse(now, requestor, query, Some(id), Outcome::RateLimited);
        }
        requestor.limit = wire::UDP_SIZE.into();
        requestor.name_hash = dns64::name_hash(self.seed, query);
        if let Some(simple) = SimpleQuery::read(query, transport) {
            requestor.limit = simple.limit;
            requestor.cookie = simple.cookie.map(|content| self.secret.verify(content, client, seconds(now)));
            if requestor.cookie == Some(CookieStatus::Malformed) {
                self.zone_counters[zone].count(Outcome::Formerr);
                return message_edit::refusal(query, wire::rcode::FORMERR)
                    .is_some_and(|answer| self.reply_sockets.queue(&requestor.reply_path, &answer));
            }
            if self.answer_from_cache(now, zone, &mut requestor, &simple) {
                return true;
            }
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
        let is_padded = requestor.is_padded;
        let Self { answer_cache, reply_sockets, zone_counters, rates, secret, .. } = self;
        let hash = answer_cache.hash(&key);
        let room = requestor.limit.saturating_sub(requestor.cookie.map_or(0, |_| cookie::OPTION_LEN));
        let Some(found) = answer_cache.find(now, hash, &key, room) else {
            let slot = answer_cache.record_miss(hash);
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
            message_edit::truncate(&mut short, found.opt());
            return reply_sockets.queue(&requestor.reply_path, &short);
        }
        reply_sockets.queue_with(&requestor.reply_path, |bytes| {
            let start = bytes.len();
            found.write(now, simple, bytes);
            if let (Some(opt), Some(cookie)) = (found.opt(), &cookie) {
                message_edit::push_option(bytes, start + opt, COOKIE, cookie);
            }
            // Only streams are padded: `bytes` is one answer.
            if is_padded {
                message_edit::pad(bytes, RESPONSE_BLOCK);
            }
        })
    }

    /// Passes the query to the engine that its name belongs to.
    fn forward(&mut self, now: Instant, requestor: Box<Requestor>, query: &[u8]) -> bool {
        if let Some(client) = requestor.client.filter(|_| !self.shedding.is_active(now)) {
            self.known_clients.remember(client);
        }
        let owner = self.owner(requestor.name_hash);
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

    /// The thread that the name with this hash belongs to.
    pub(super) fn owner(&self, name_hash: u64) -> usize {
        match self.peers.len() as u64 {
            0 | 1 => self.number,
            count => usize::try_from(name_hash % count).unwrap_or(0),
        }
    }

    /// Passes a query to the engine of this thread.
    pub(super) fn query_engine(
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
}
