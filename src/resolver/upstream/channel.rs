//! A channel to an upstream: a UDP socket or a stream, and its queries in flight.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::super::message_edit;
use super::super::random::Random;
use super::attempt::Attempt;
use crate::dns64::wire;
use crate::time::Instant;

/// Queries after which a new UDP socket with another port replaces this one.
const MAX_QUERIES: u32 = 512;
/// Age after which it does.
const MAX_AGE: Duration = Duration::from_secs(30);
/// How long a replaced socket still accepts late replies.
const LATE_REPLIES: Duration = Duration::from_secs(10);
/// How long a stream with queries in flight may receive nothing. Then another stream replaces it; this one
/// still accepts late replies.
const SILENCE: Duration = Duration::from_millis(2_500);
/// Maximum number of queries in flight per channel.
const MAX_PENDING: usize = 4_096;

/// A query in flight.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) attempt: Attempt,
    /// Name, type and class as sent, including case.
    question: Box<[u8]>,
    /// Whether a reply contained another client cookie.
    mismatched: bool,
}

/// How a reply matches the query in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum QuestionMatch {
    /// No query in flight has this id and question.
    Unknown,
    /// The question matches except for case.
    OtherCase,
    /// The question matches.
    Same,
}

#[derive(Debug)]
pub(super) enum Kind {
    Udp { socket: Rc<UdpSocket>, sent: u32, opened: Instant },
    Stream { out: mpsc::Sender<Vec<u8>> },
}

/// A channel to an upstream.
#[derive(Debug)]
pub(super) struct Channel {
    /// Index of the upstream in the upstreams.
    pub(super) upstream: usize,
    pub(super) kind: Kind,
    pub(super) reader: Option<AbortHandle>,
    /// At most [`MAX_PENDING`], and at most [`MAX_QUERIES`] over UDP.
    pending: HashMap<u16, Pending>,
    /// Time of the last message received, or of the first query in flight if that is later.
    waiting_since: Instant,
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl Channel {
    pub(super) fn new(upstream: usize, kind: Kind) -> Self {
        Self { upstream, kind, reader: None, pending: HashMap::new(), waiting_since: Instant::ZERO }
    }

    /// A socket on a random port chosen by the kernel. It also reports errors that the kernel considers transient,
    /// such as "host unreachable".
    pub(super) fn udp(to: SocketAddr) -> io::Result<Rc<UdpSocket>> {
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvErr, &true)?,
        }
        socket.connect(to)?;
        Ok(Rc::new(UdpSocket::from_std(socket)?))
    }

    /// Whether to send no further queries on it.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        self.pending.len() >= MAX_PENDING
            || match &self.kind {
                Kind::Udp { sent, opened, .. } => *sent >= MAX_QUERIES || now.since(*opened) > MAX_AGE,
                Kind::Stream { out } => out.is_closed() || self.is_silent(now),
            }
    }

    /// Whether a query is in flight and nothing has been received for [`SILENCE`].
    fn is_silent(&self, now: Instant) -> bool {
        !self.pending.is_empty() && now.since(self.waiting_since) >= SILENCE
    }

    /// Records that a message was received.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.waiting_since = now;
    }

    /// Whether no reply can arrive any more.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        self.pending.is_empty()
            || match &self.kind {
                Kind::Udp { opened, .. } => now.since(*opened) > MAX_AGE + LATE_REPLIES,
                Kind::Stream { out } => out.is_closed(),
            }
    }

    /// Registers `attempt` and returns the message to send, with a random id and, with `shuffle`, random
    /// case.
    pub(super) fn start(
        &mut self,
        attempt: Attempt,
        shuffle: bool,
        random: &mut Random,
    ) -> io::Result<Vec<u8>> {
        let mut id = random.u16()?;
        while self.pending.contains_key(&id) {
            id = random.u16()?;
        }
        let mut message = attempt.transmit.query.clone();
        if message.len() < wire::HEADER {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        wire::set_u16(&mut message, 0, id);
        if shuffle {
            message_edit::shuffle_case(&mut message, random.octets()?);
        }
        if self.pending.is_empty() {
            self.waiting_since = attempt.sent_at;
        }
        let question = wire::question(&message).map(|at| message[at].into()).unwrap_or_default();
        self.pending.insert(id, Pending { attempt, question, mismatched: false });
        if let Kind::Udp { sent, .. } = &mut self.kind {
            *sent += 1;
        }
        Ok(message)
    }

    /// Compares a reply with the query that has its id.
    pub(super) fn compare(&self, answer: &[u8]) -> QuestionMatch {
        let Some(pending) = wire::u16_at(answer, 0).and_then(|id| self.pending.get(&id)) else {
            return QuestionMatch::Unknown;
        };
        if !pending.attempt.transmit.is_answered_by(answer) {
            return QuestionMatch::Unknown;
        }
        match wire::question(answer) {
            Some(at) if answer[at.clone()] != *pending.question => QuestionMatch::OtherCase,
            Some(_) | None => QuestionMatch::Same,
        }
    }

    /// Marks the query that `answer` belongs to: its cookie does not match. Returns whether that is the first
    /// such reply.
    pub(super) fn is_first_mismatch(&mut self, answer: &[u8]) -> bool {
        let pending = wire::u16_at(answer, 0).and_then(|id| self.pending.get_mut(&id));
        pending.is_some_and(|pending| !std::mem::replace(&mut pending.mismatched, true))
    }

    /// Removes and returns the query that a reply answers.
    pub(super) fn finish(&mut self, answer: &[u8]) -> Option<Attempt> {
        let id = wire::u16_at(answer, 0)?;
        self.pending.remove(&id).map(|pending| pending.attempt)
    }

    /// Whether the query with this id and send time is still in flight.
    pub(super) fn is_pending(&self, id: u16, sent_at: Instant) -> bool {
        self.pending.get(&id).is_some_and(|pending| pending.attempt.sent_at == sent_at)
    }

    /// Removes and returns all queries in flight.
    pub(super) fn drain(&mut self) -> Vec<Attempt> {
        self.pending.drain().map(|(_, pending)| pending.attempt).collect()
    }
}
