//! The upstreams of one thread: selection, channels and replies.
//!
//! Over UDP each query has a random id, port and letter case (RFC 5452, 0x20) and a cookie (RFC 7873). A
//! reply with the right id and source that fails the other checks is not trusted, and the query is repeated
//! over TCP.

mod attempt;
mod channel;
mod cookies;
mod health;
mod rtt;
pub(super) mod stream;
#[cfg(test)]
mod tests;

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

use super::cookie::Secret;
use super::counters::{Counters, UpstreamCounters};
use super::message_edit;
use super::mmsg::Outgoing;
use super::random::Random;
use crate::dns64::slab::{Id, Slab};
use crate::dns64::{Settings, Transmit, TransmitId, Via, wire};
use crate::time::Instant;

use attempt::Attempt;
use channel::{Channel, Kind, QuestionMatch};
use cookies::{Cookies, ReplyCookie};
use health::Health;

/// UDP sockets per upstream, each with its own port.
const SOCKETS: usize = 16;
/// Maximum number of messages queued for a stream.
const STREAM_QUEUE: usize = 1_024;
/// Every so many queries the upstream is chosen randomly, so that a faster one is noticed.
const PROBE_INTERVAL: usize = 64;
/// How long an upstream that rejects EDNS is queried without (RFC 6891 §7).
const WITHOUT_EDNS: Duration = Duration::from_secs(600);
/// Queries over TLS are padded to a multiple of this many bytes (RFC 8467 §4.1).
const QUERY_BLOCK: usize = 128;
/// Consecutive replies in another case after which the upstream is assumed not to preserve case.
const MAX_CASE_MISMATCHES: u32 = 8;

/// Result of a message from an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// A reply to this attempt.
    Reply(TransmitId),
    /// Ignore the message.
    Ignored,
}

/// A new channel, which needs a reader.
pub(super) enum NewChannel {
    Udp(Id, Rc<UdpSocket>),
    Stream(Id, SocketAddr, Via, mpsc::Receiver<Vec<u8>>),
}

struct Upstream {
    addr: SocketAddr,
    via: Via,
    health: Health,
    counters: Arc<UpstreamCounters>,
    /// Sockets in use. Those in `retired` accept late replies only.
    sockets: Vec<Id>,
    retired: Vec<Id>,
    stream: Option<Id>,
    cookies: Cookies,
    /// Consecutive replies in another case.
    case_mismatches: u32,
    /// Until when queries have no OPT record.
    without_edns_until: Instant,
    udp_queue: Vec<Attempt>,
    stream_queue: Vec<Attempt>,
}

/// The upstreams of one thread.
pub(super) struct Upstreams {
    secret: Secret,
    members: Vec<Upstream>,
    channels: Slab<Channel>,
    out: Outgoing,
    submitted: usize,
    /// Send time, channel and id of the queries sent, answered ones included.
    in_flight: VecDeque<(Instant, Id, u16)>,
}

impl Upstreams {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            members: Vec::new(),
            channels: Slab::default(),
            out: Outgoing::default(),
            submitted: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Applies new settings: abandons streams of upstreams whose transport changed.
    pub(super) fn set(&mut self, via: &BTreeMap<SocketAddr, Via>) {
        for upstream in &mut self.members {
            let now = via.get(&upstream.addr).cloned().unwrap_or_default();
            if now != upstream.via {
                upstream.via = now;
                upstream.stream = None;
            }
        }
    }

    fn index_of(&mut self, addr: SocketAddr, via: &BTreeMap<SocketAddr, Via>, counters: &Counters) -> usize {
        if let Some(index) = self.members.iter().position(|upstream| upstream.addr == addr) {
            return index;
        }
        self.members.push(Upstream {
            addr,
            via: via.get(&addr).cloned().unwrap_or_default(),
            health: Health::default(),
            counters: counters.upstream(addr),
            sockets: Vec::new(),
            retired: Vec::new(),
            stream: None,
            cookies: Cookies::new(self.secret.client(addr)),
            case_mismatches: 0,
            without_edns_until: Instant::ZERO,
            udp_queue: Vec::new(),
            stream_queue: Vec::new(),
        });
        self.members.len() - 1
    }

    /// Selects the healthiest and fastest upstream of the group that earlier attempts have not used, and a
    /// demoted one to probe.
    fn choose(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        (settings, counters): (&Settings, &Counters),
        random: &mut Random,
    ) -> (usize, Option<usize>) {
        let (via, group) = (&settings.network.via, settings.servers(transmit.group));
        let mut order: Vec<_> = group.iter().map(|addr| self.index_of(*addr, via, counters)).collect();
        if order.len() <= 1 {
            return (self.index_of(transmit.upstream, via, counters), None);
        }
        self.submitted += 1;
        order.sort_by_key(|index| self.members[*index].health.rank());
        if self.submitted.is_multiple_of(PROBE_INTERVAL) {
            let by = random.below(order.len()).unwrap_or(0);
            order.rotate_left(by);
        }
        let new = order.iter().find(|index| !transmit.tried.contains(&self.members[**index].addr));
        let chosen = new.copied().unwrap_or_else(|| order[usize::from(transmit.attempt) % order.len()]);
        let mut others = order.into_iter().filter(|index| *index != chosen);
        (chosen, others.find(|index| self.members[*index].health.wants_copy(now)))
    }

    /// Queues an attempt for the next [`Upstreams::send`]. Returns the selected server, and the delay after which to
    /// query another one too.
    pub(super) fn submit(
        &mut self,
        now: Instant,
        transmit: Transmit,
        context: (&Settings, &Counters),
        random: &mut Random,
    ) -> (SocketAddr, Option<Duration>) {
        let group = transmit.group;
        let (index, probed) = self.choose(now, &transmit, context, random);
        let is_hedge = transmit.is_hedge;
        let attempt = Attempt::new(now, transmit);
        if let Some(probed) = probed {
            self.members[probed].health.probed(now);
            self.members[probed].enqueue(now, Attempt { is_probe: true, ..attempt.clone() });
        }
        let upstream = &mut self.members[index];
        upstream.enqueue(now, attempt);
        if is_hedge {
            upstream.counters.count_hedge();
        }
        let (addr, delay) = (upstream.addr, upstream.health.hedge_delay());
        (addr, delay.filter(|_| self.has_other(context.0.servers(group), addr)))
    }

    /// Whether the group has an upstream besides `addr` that is not demoted.
    fn has_other(&self, group: &[SocketAddr], addr: SocketAddr) -> bool {
        let is_good = |upstream: &Upstream| {
            upstream.addr != addr && group.contains(&upstream.addr) && !upstream.health.is_demoted()
        };
        self.members.iter().any(is_good)
    }

    /// When the next probe is due.
    pub(super) fn probe_at(&self) -> Instant {
        self.members.iter().map(|upstream| upstream.health.probe_at()).min().unwrap_or(Instant::NEVER)
    }

    /// Probes demoted upstreams, so that their return is noticed without client queries. Forgets those that the
    /// settings no longer contain.
    pub(super) fn probe(&mut self, now: Instant, settings: &Settings) {
        for upstream in &mut self.members {
            if now < upstream.health.probe_at() {
                continue;
            }
            upstream.health.probed(now);
            if settings.has_upstream(upstream.addr) {
                let attempt = Attempt { is_probe: true, ..Attempt::new(now, Transmit::probe(upstream.addr)) };
                upstream.enqueue(now, attempt);
            } else {
                upstream.health = Health::default();
            }
        }
    }

    /// Records timeouts of queries sent at least `timeout` ago.
    fn expire(&mut self, now: Instant, timeout: Duration) {
        while let Some((sent_at, id, number)) = self.in_flight.front().copied() {
            if now.since(sent_at) < timeout {
                return;
            }
            self.in_flight.pop_front();
            let Some(channel) = self.channels.find_mut(id).filter(|c| c.is_pending(number, sent_at)) else {
                continue;
            };
            let upstream = &mut self.members[channel.upstream];
            upstream.counters.count_timeout();
            upstream.health.timed_out(sent_at);
            let (addr, is_demoted) = (upstream.addr, upstream.health.is_demoted());
            upstream.counters.set_demoted(is_demoted);
            if is_demoted && upstream.counters.may_log(now) {
                let others = self.members.iter().any(|upstream| !upstream.health.is_demoted());
                let others = if others { "others do" } else { "nor does any other" };
                tracing::warn!("upstream resolver {addr} does not reply; {others}");
            }
        }
    }

    /// Sends queued attempts. New channels need a reader. Returns the attempts that could not be sent.
    pub(super) fn send(
        &mut self,
        now: Instant,
        timeout: Duration,
        random: &mut Random,
        opened: &mut Vec<NewChannel>,
    ) -> Vec<Attempt> {
        self.expire(now, timeout);
        let mut failed = Vec::new();
        for index in 0..self.members.len() {
            if !self.members[index].udp_queue.is_empty() {
                self.send_udp(now, index, random, opened, &mut failed);
            }
            if !self.members[index].stream_queue.is_empty() {
                self.send_stream(now, index, random, opened, &mut failed);
            }
        }
        failed.retain(|attempt| !attempt.is_probe);
        failed
    }

    fn send_udp(
        &mut self,
        now: Instant,
        index: usize,
        random: &mut Random,
        opened: &mut Vec<NewChannel>,
        failed: &mut Vec<Attempt>,
    ) {
        let mut attempts = std::mem::take(&mut self.members[index].udp_queue);
        let id = match self.socket(now, index, random, opened) {
            Ok(id) => id,
            Err(error) => {
                let upstream = &mut self.members[index];
                if upstream.counters.may_log(now) {
                    tracing::warn!(%error, "no socket for upstream {}", upstream.addr);
                }
                return failed.append(&mut attempts);
            }
        };
        let upstream = &mut self.members[index];
        let Some(channel) = self.channels.find_mut(id) else { return failed.append(&mut attempts) };
        for attempt in attempts.drain(..) {
            upstream.counters.count_query();
            let shuffle = upstream.case_mismatches < MAX_CASE_MISMATCHES;
            match channel.start(attempt.clone(), shuffle, random) {
                Ok(message) => {
                    let number = wire::u16_at(&message, 0).unwrap_or(0);
                    self.in_flight.push_back((attempt.sent_at, id, number));
                    self.out.push(None, |bytes| {
                        let start = bytes.len();
                        bytes.extend_from_slice(&message);
                        upstream.cookies.append(now, bytes, start);
                        true
                    });
                }
                Err(_) => failed.push(attempt),
            }
        }
        upstream.udp_queue = attempts;
        if let Kind::Udp { socket, .. } = &channel.kind
            && let (1.., Some(error)) = self.out.send(socket.as_fd())
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::debug!(%error, "sending to upstream {}", upstream.addr);
            failed.append(&mut self.channel_closed(id));
        }
    }

    /// A socket for a query: a new one until there are enough, then a random one.
    fn socket(
        &mut self,
        now: Instant,
        index: usize,
        random: &mut Random,
        opened: &mut Vec<NewChannel>,
    ) -> io::Result<Id> {
        let Self { members, channels, .. } = self;
        let upstream = &mut members[index];
        let (worn, good): (Vec<_>, Vec<_>) = upstream
            .sockets
            .iter()
            .copied()
            .partition(|id| channels.find_mut(*id).is_none_or(|channel| channel.is_exhausted(now)));
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
            return Ok(upstream.sockets[random.below(SOCKETS)?]);
        }
        let socket = Channel::udp(upstream.addr)?;
        let kind = Kind::Udp { socket: Rc::clone(&socket), sent: 0, opened: now };
        let id = channels.insert(Channel::new(index, kind));
        upstream.sockets.push(id);
        opened.push(NewChannel::Udp(id, socket));
        Ok(id)
    }

    fn send_stream(
        &mut self,
        now: Instant,
        index: usize,
        random: &mut Random,
        opened: &mut Vec<NewChannel>,
        failed: &mut Vec<Attempt>,
    ) {
        let Self { members, channels, in_flight, .. } = self;
        let upstream = &mut members[index];
        let usable = |id: &Id| channels.find_mut(*id).is_some_and(|channel| !channel.is_exhausted(now));
        let id = upstream.stream.filter(usable).unwrap_or_else(|| {
            let (out, queue) = mpsc::channel(STREAM_QUEUE);
            let id = channels.insert(Channel::new(index, Kind::Stream { out }));
            opened.push(NewChannel::Stream(id, upstream.addr, upstream.via.clone(), queue));
            id
        });
        upstream.stream = Some(id);
        let Some(channel) = channels.find_mut(id) else { return };
        for attempt in upstream.stream_queue.drain(..) {
            upstream.counters.count_query();
            let sent = channel.start(attempt.clone(), false, random).is_ok_and(|mut message| {
                if matches!(upstream.via, Via::Tls(_)) {
                    message_edit::pad(&mut message, QUERY_BLOCK);
                }
                let number = wire::u16_at(&message, 0).unwrap_or(0);
                in_flight.push_back((attempt.sent_at, id, number));
                matches!(&channel.kind, Kind::Stream { out } if out.try_send(message).is_ok())
            });
            if !sent {
                failed.push(attempt);
            }
        }
    }

    /// Stores the reader of a channel, which ends with the channel.
    pub(super) fn attach(&mut self, id: Id, reader: AbortHandle) {
        match self.channels.find_mut(id) {
            Some(channel) => channel.reader = Some(reader),
            None => reader.abort(),
        }
    }

    /// Processes a message from a channel. For a reply, restores the case of the engine's question.
    pub(super) fn receive(&mut self, now: Instant, id: Id, message: &mut [u8]) -> Received {
        let Some(channel) = self.channels.find_mut(id) else { return Received::Ignored };
        channel.heard(now);
        let upstream = &mut self.members[channel.upstream];
        let is_udp = matches!(channel.kind, Kind::Udp { .. });
        let matched = channel.compare(message);
        if matched == QuestionMatch::Unknown {
            upstream.counters.count_unmatched();
            return Received::Ignored;
        }
        let cookie = if is_udp { upstream.cookies.verify(now, message) } else { ReplyCookie::Valid };
        if cookie == ReplyCookie::Mismatch {
            upstream.counters.count_unmatched();
            // One query counts once, however many forged replies arrive.
            if !channel.is_first_mismatch(message) || !upstream.cookies.count_mismatch(now) {
                return Received::Ignored;
            }
        }
        let Some(mut attempt) = channel.finish(message) else { return Received::Ignored };
        upstream.health.answered(now, now.since(attempt.sent_at));
        upstream.counters.count_reply(upstream.health.srtt);
        if attempt.is_probe {
            return Received::Ignored;
        }
        if is_udp && matched == QuestionMatch::OtherCase {
            upstream.case_mismatches = upstream.case_mismatches.saturating_add(1);
        } else if is_udp {
            upstream.case_mismatches =
                if upstream.case_mismatches >= MAX_CASE_MISMATCHES { MAX_CASE_MISMATCHES } else { 0 };
        }
        let other_case =
            matched == QuestionMatch::OtherCase && upstream.case_mismatches < MAX_CASE_MISMATCHES;
        if is_udp && cookie == ReplyCookie::Renewed && !attempt.retried {
            attempt.retried = true;
            upstream.udp_queue.push(attempt);
            return Received::Ignored;
        }
        if upstream.rejects_edns(now, message, &mut attempt) {
            upstream.enqueue(now, attempt);
            return Received::Ignored;
        }
        let is_truncated = wire::u16_at(message, 2).is_some_and(|flags| flags & wire::flag::TC != 0);
        if is_udp && (other_case || is_truncated || cookie != ReplyCookie::Valid) {
            upstream.counters.count_tcp_retry();
            upstream.stream_queue.push(attempt);
            return Received::Ignored;
        }
        if let (Some(sent), Some(received)) =
            (wire::question(&attempt.transmit.query), wire::question(message))
        {
            message[received].copy_from_slice(&attempt.transmit.query[sent]);
        }
        Received::Reply(attempt.transmit.id)
    }

    /// Removes a broken channel and returns its queries in flight.
    pub(super) fn channel_closed(&mut self, id: Id) -> Vec<Attempt> {
        let Some(mut channel) = self.channels.remove(id) else { return Vec::new() };
        let upstream = &mut self.members[channel.upstream];
        upstream.sockets.retain(|other| *other != id);
        let mut lost = channel.drain();
        if let Some(last) = lost.iter().map(|attempt| attempt.sent_at).max() {
            // Not a failure if another channel has received a reply since.
            upstream.health.timed_out(last);
            upstream.counters.set_demoted(upstream.health.is_demoted());
        }
        lost.retain(|attempt| !attempt.is_probe);
        lost
    }
}

impl Upstream {
    /// Whether the reply rejects the query's OPT record, which is then removed (RFC 6891 §7). An upstream that
    /// answers without one is queried without for a while.
    fn rejects_edns(&mut self, now: Instant, reply: &[u8], attempt: &mut Attempt) -> bool {
        let has_opt = wire::layout(reply).is_some_and(|layout| layout.opt.is_some());
        let is_rejected =
            matches!(wire::rcode_of(reply), wire::rcode::FORMERR | wire::rcode::NOTIMP) && !has_opt;
        if !is_rejected {
            if attempt.without_edns {
                self.without_edns_until = now + WITHOUT_EDNS;
            }
            return false;
        }
        let removed = message_edit::remove_opt(&mut attempt.transmit.query);
        attempt.without_edns |= removed;
        removed
    }

    fn enqueue(&mut self, now: Instant, mut attempt: Attempt) {
        if now < self.without_edns_until {
            message_edit::remove_opt(&mut attempt.transmit.query);
        }
        match self.via {
            Via::Udp => self.udp_queue.push(attempt),
            Via::Tcp | Via::Tls(_) => self.stream_queue.push(attempt),
        }
    }
}

/// Idle timeout of a stream to an upstream.
pub(super) const STREAM_IDLE: Duration = Duration::from_secs(10);
