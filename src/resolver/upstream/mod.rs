//! The upstreams of one thread: who is asked by which way, and what comes back.
//!
//! Over UDP each message bears an id, a port and a case of letters by chance (RFC 5452, 0x20) and
//! a cookie (RFC 7873). An answer that has the right id from the right place but fails in the rest
//! is a doubt, and the question goes over TCP, where nobody can lie from beside.

mod channel;
mod health;
pub(super) mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::cookie::{ClientCookie, Secret};
use super::counters::{Counters, UpstreamCounters};
use super::mmsg::Outgoing;
use super::random::Random;
use super::{frame, query_key};
use crate::dns64::slab::{Id, Slab};
use crate::dns64::{Ask, AskId, Settings, Via, wire};
use crate::time::Instant;

use channel::{Channel, Kind, Likeness};
use health::Health;

/// UDP sockets to one upstream, each with a port of its own.
const SOCKETS: usize = 16;
/// Messages that wait for a stream.
const STREAM_QUEUE: usize = 1_024;
/// Every so many questions the order of the upstreams is left to chance, so that one that has become faster
/// is noticed.
const PROBE: usize = 64;
/// Answers in another case after which an upstream is believed not to keep it.
const CARELESS: u32 = 8;

/// A question on its way.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) ask: Ask,
    pub(super) asked: Instant,
    /// It has been sent a second time because of its cookie.
    retried: bool,
}

/// What became of a message from an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// The answer to this.
    Answer(AskId),
    /// Nothing to be looked at.
    Nothing,
}

/// A way to an upstream that needs somebody to read from it.
pub(super) enum Opened {
    Udp(Id, Rc<UdpSocket>),
    Stream(Id, SocketAddr, Via, mpsc::Receiver<Vec<u8>>),
}

struct Upstream {
    addr: SocketAddr,
    via: Via,
    health: Health,
    counters: Arc<UpstreamCounters>,
    /// In use; those before them only take late answers.
    sockets: Vec<Id>,
    retired: Vec<Id>,
    stream: Option<Id>,
    client_cookie: ClientCookie,
    /// The server's part, once it has given one.
    server_cookie: Vec<u8>,
    /// Answers in another case than asked, in a row.
    careless: u32,
    by_udp: Vec<Errand>,
    by_stream: Vec<Errand>,
}

/// The upstreams of one thread.
pub(super) struct Pool {
    secret: Secret,
    upstreams: Vec<Upstream>,
    channels: Slab<Channel>,
    out: Outgoing,
    asked: usize,
    /// Questions by when they were asked, the way and the id; those answered meanwhile too.
    under_way: VecDeque<(Instant, Id, u16)>,
}

impl Pool {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            upstreams: Vec::new(),
            channels: Slab::default(),
            out: Outgoing::default(),
            asked: 0,
            under_way: VecDeque::new(),
        }
    }

    /// Takes over new settings: ways to upstreams that are spoken to otherwise now are given up.
    pub(super) fn set(&mut self, via: &BTreeMap<SocketAddr, Via>) {
        for upstream in &mut self.upstreams {
            let now = via.get(&upstream.addr).cloned().unwrap_or_default();
            if now != upstream.via {
                upstream.via = now;
                upstream.stream = None;
            }
        }
    }

    fn place(&mut self, addr: SocketAddr, via: &BTreeMap<SocketAddr, Via>, counters: &Counters) -> usize {
        if let Some(place) = self.upstreams.iter().position(|upstream| upstream.addr == addr) {
            return place;
        }
        self.upstreams.push(Upstream {
            addr,
            via: via.get(&addr).cloned().unwrap_or_default(),
            health: Health::default(),
            counters: counters.upstream(addr),
            sockets: Vec::new(),
            retired: Vec::new(),
            stream: None,
            client_cookie: self.secret.client(addr),
            server_cookie: Vec::new(),
            careless: 0,
            by_udp: Vec::new(),
            by_stream: Vec::new(),
        });
        self.upstreams.len() - 1
    }

    /// Whom to ask: the healthiest and fastest of the group that has not been asked yet.
    fn choose(
        &mut self,
        now: Instant,
        ask: &Ask,
        (settings, counters): (&Settings, &Counters),
        chance: &mut Random,
    ) -> usize {
        let (via, group) = (&settings.network.via, settings.servers(ask.group));
        let mut order: Vec<_> = group.iter().map(|addr| self.place(*addr, via, counters)).collect();
        if order.len() <= 1 {
            return self.place(ask.upstream, via, counters);
        }
        self.asked += 1;
        order.sort_by_key(|place| self.upstreams[*place].health.rank(now));
        if self.asked.is_multiple_of(PROBE) {
            let by = chance.below(order.len()).unwrap_or(0);
            order.rotate_left(by);
        }
        let new = order.iter().find(|place| !ask.tried.contains(&self.upstreams[**place].addr));
        new.copied().unwrap_or_else(|| order[usize::from(ask.attempt) % order.len()])
    }

    /// Takes a question; it leaves with the next [`Pool::send`]. Says whom it goes to.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        ask: Ask,
        told: (&Settings, &Counters),
        chance: &mut Random,
    ) -> SocketAddr {
        let place = self.choose(now, &ask, told, chance);
        let errand = Errand { ask, asked: now, retried: false };
        let upstream = &mut self.upstreams[place];
        match upstream.via {
            Via::Udp => upstream.by_udp.push(errand),
            Via::Tcp | Via::Tls(_) => upstream.by_stream.push(errand),
        }
        upstream.addr
    }

    /// Notes which upstreams have left questions without an answer for `patience`.
    fn look_for_silence(&mut self, now: Instant, patience: Duration) {
        while let Some((asked, id, number)) = self.under_way.front().copied() {
            if now.since(asked) < patience {
                return;
            }
            self.under_way.pop_front();
            let Some(channel) = self.channels.find_mut(id).filter(|c| c.waits(number, asked)) else {
                continue;
            };
            let upstream = &mut self.upstreams[channel.upstream];
            upstream.counters.unanswered();
            upstream.health.silent(now, asked);
            upstream.counters.set_resting(upstream.health.rests(now));
        }
    }

    /// Sends what waits. Ways that were opened need a reader; questions that could not be sent come back.
    pub(super) fn send(
        &mut self,
        now: Instant,
        patience: Duration,
        chance: &mut Random,
        opened: &mut Vec<Opened>,
    ) -> Vec<Errand> {
        self.look_for_silence(now, patience);
        let mut failed = Vec::new();
        for place in 0..self.upstreams.len() {
            if !self.upstreams[place].by_udp.is_empty() {
                self.send_udp(now, place, chance, opened, &mut failed);
            }
            if !self.upstreams[place].by_stream.is_empty() {
                self.send_stream(now, place, chance, opened, &mut failed);
            }
        }
        failed
    }

    fn send_udp(
        &mut self,
        now: Instant,
        place: usize,
        chance: &mut Random,
        opened: &mut Vec<Opened>,
        failed: &mut Vec<Errand>,
    ) {
        let mut errands = std::mem::take(&mut self.upstreams[place].by_udp);
        let id = match self.socket(now, place, chance, opened) {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!(%error, "no socket to ask {}", self.upstreams[place].addr);
                return failed.append(&mut errands);
            }
        };
        let upstream = &mut self.upstreams[place];
        let Some(channel) = self.channels.find_mut(id) else { return failed.append(&mut errands) };
        for errand in errands.drain(..) {
            upstream.counters.asked();
            let shuffle = upstream.careless < CARELESS;
            match channel.depart(errand.clone(), shuffle, chance) {
                Ok(message) => {
                    let number = wire::u16_at(&message, 0).unwrap_or(0);
                    self.under_way.push_back((errand.asked, id, number));
                    self.out.push(None, |bytes| {
                        let start = bytes.len();
                        bytes.extend_from_slice(&message);
                        with_cookie(bytes, start, upstream.client_cookie, &upstream.server_cookie);
                        true
                    });
                }
                Err(_) => failed.push(errand),
            }
        }
        upstream.by_udp = errands;
        if let Kind::Udp { socket, .. } = &channel.kind
            && let (1.., Some(error)) = self.out.send(socket.as_fd())
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::debug!(%error, "asking {}", upstream.addr);
            failed.append(&mut self.broken(now, id));
        }
    }

    /// A socket to ask through: a new one until there are enough, then any.
    fn socket(
        &mut self,
        now: Instant,
        place: usize,
        chance: &mut Random,
        opened: &mut Vec<Opened>,
    ) -> io::Result<Id> {
        let Self { upstreams, channels, .. } = self;
        let upstream = &mut upstreams[place];
        let (worn, good): (Vec<_>, Vec<_>) = upstream
            .sockets
            .iter()
            .copied()
            .partition(|id| channels.find_mut(*id).is_none_or(|channel| channel.is_worn(now)));
        upstream.sockets = good;
        upstream.retired.extend(worn);
        upstream.retired.retain(|id| {
            let done = channels.find_mut(*id).is_none_or(|channel| channel.is_done(now));
            if done {
                channels.remove(*id);
            }
            !done
        });
        if upstream.sockets.len() >= SOCKETS {
            return Ok(upstream.sockets[chance.below(SOCKETS)?]);
        }
        let socket = Channel::udp(upstream.addr)?;
        let kind = Kind::Udp { socket: Rc::clone(&socket), sent: 0, opened: now };
        let id = channels.insert(Channel::new(place, kind));
        upstream.sockets.push(id);
        opened.push(Opened::Udp(id, socket));
        Ok(id)
    }

    fn send_stream(
        &mut self,
        now: Instant,
        place: usize,
        chance: &mut Random,
        opened: &mut Vec<Opened>,
        failed: &mut Vec<Errand>,
    ) {
        let Self { upstreams, channels, under_way, .. } = self;
        let upstream = &mut upstreams[place];
        let usable = |id: &Id| channels.find_mut(*id).is_some_and(|channel| !channel.is_worn(now));
        let id = upstream.stream.filter(usable).unwrap_or_else(|| {
            let (out, queue) = mpsc::channel(STREAM_QUEUE);
            let id = channels.insert(Channel::new(place, Kind::Stream { out }));
            opened.push(Opened::Stream(id, upstream.addr, upstream.via.clone(), queue));
            id
        });
        upstream.stream = Some(id);
        let Some(channel) = channels.find_mut(id) else { return };
        for errand in upstream.by_stream.drain(..) {
            upstream.counters.asked();
            let sent = channel.depart(errand.clone(), false, chance).is_ok_and(|message| {
                let number = wire::u16_at(&message, 0).unwrap_or(0);
                under_way.push_back((errand.asked, id, number));
                matches!(&channel.kind, Kind::Stream { out } if out.try_send(message).is_ok())
            });
            if !sent {
                failed.push(errand);
            }
        }
    }

    /// Keeps the way's reader, which ends with it.
    pub(super) fn attach(&mut self, id: Id, reader: AbortHandle) {
        match self.channels.find_mut(id) {
            Some(channel) => channel.reader = Some(reader),
            None => reader.abort(),
        }
    }

    /// Takes a message that came by a way. If it is an answer, the case of its question is as the
    /// engine asked it.
    pub(super) fn came(&mut self, now: Instant, id: Id, message: &mut [u8]) -> Came {
        let Some(channel) = self.channels.find_mut(id) else { return Came::Nothing };
        let upstream = &mut self.upstreams[channel.upstream];
        let by_udp = matches!(channel.kind, Kind::Udp { .. });
        let likeness = channel.compare(message);
        if likeness == Likeness::Stray {
            upstream.counters.stray();
            return Came::Nothing;
        }
        let cookie = if by_udp { upstream.judge_cookie(message) } else { Cookie::Fine };
        if cookie == Cookie::Forged {
            upstream.counters.stray();
            return Came::Nothing;
        }
        let Some(mut errand) = channel.arrive(message) else { return Came::Nothing };
        upstream.health.answered(now, now.since(errand.asked));
        upstream.counters.answered(upstream.health.srtt);
        if by_udp && likeness == Likeness::OtherCase {
            upstream.careless = upstream.careless.saturating_add(1);
        } else if by_udp {
            upstream.careless = if upstream.careless >= CARELESS { CARELESS } else { 0 };
        }
        let other_case = likeness == Likeness::OtherCase && upstream.careless < CARELESS;
        if by_udp && cookie == Cookie::Renewed && !errand.retried {
            errand.retried = true;
            upstream.by_udp.push(errand);
            return Came::Nothing;
        }
        let cut_short = message[2] & 0x02 != 0;
        if by_udp && (other_case || cut_short || matches!(cookie, Cookie::Missing | Cookie::Renewed)) {
            upstream.counters.again_by_tcp();
            upstream.by_stream.push(errand);
            return Came::Nothing;
        }
        if let (Some(asked), Some(answered)) = (wire::question(&errand.ask.query), wire::question(message)) {
            message[answered].copy_from_slice(&errand.ask.query[asked]);
        }
        Came::Answer(errand.ask.id)
    }

    /// A way is broken; what was under way on it.
    pub(super) fn broken(&mut self, now: Instant, id: Id) -> Vec<Errand> {
        let Some(mut channel) = self.channels.remove(id) else { return Vec::new() };
        let upstream = &mut self.upstreams[channel.upstream];
        upstream.sockets.retain(|other| *other != id);
        let lost = channel.abandon();
        if !lost.is_empty() {
            upstream.health.failed(now);
            upstream.counters.set_resting(upstream.health.rests(now));
        }
        lost
    }
}

/// What the cookie in an answer says (RFC 7873 §5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cookie {
    /// Ours, or none is expected.
    Fine,
    /// None, though the upstream has shown that it gives them.
    Missing,
    /// Not the one we sent: the answer is forged.
    Forged,
    /// The upstream wants the new one that it gave (BADCOOKIE).
    Renewed,
}

impl Upstream {
    fn judge_cookie(&mut self, message: &[u8]) -> Cookie {
        let Some(content) = frame::option(message, query_key::COOKIE) else {
            // Errors of the format may come without any OPT record.
            let formerr = wire::rcode_of(message) == wire::rcode::FORMERR;
            return if self.server_cookie.is_empty() || formerr { Cookie::Fine } else { Cookie::Missing };
        };
        match content.split_first_chunk::<8>() {
            Some((client, server)) if *client == self.client_cookie && server.len() <= 32 => {
                let renewed = wire::rcode_of(message) == BADCOOKIE;
                if self.server_cookie != server {
                    self.server_cookie = server.to_vec();
                }
                if renewed { Cookie::Renewed } else { Cookie::Fine }
            }
            Some(_) | None => Cookie::Forged,
        }
    }
}

/// RFC 7873 §8.
const BADCOOKIE: u16 = 23;

/// Adds a cookie to the query that begins at `start`, if it has an OPT record to take it.
fn with_cookie(bytes: &mut Vec<u8>, start: usize, client: ClientCookie, server: &[u8]) {
    let Some(opt) = frame::takes_options(&bytes[start..]) else { return };
    let mut content = [0; 40];
    content[..8].copy_from_slice(&client);
    let len = 8 + server.len().min(32);
    content[8..len].copy_from_slice(&server[..len - 8]);
    frame::push_option(bytes, start + opt, query_key::COOKIE, &content[..len]);
}

/// How long a stream to an upstream may be idle.
pub(super) const STREAM_IDLE: Duration = Duration::from_secs(10);
