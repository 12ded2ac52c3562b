//! One way to an upstream: a UDP socket or a stream, and the questions under way on it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::super::frame;
use super::super::random::Random;
use super::Errand;
use crate::dns64::wire;
use crate::time::Instant;

/// Questions after which a UDP socket gets a successor with another port.
const WORN: u32 = 512;
/// Age after which it does.
const OLD: Duration = Duration::from_secs(30);
/// How long a socket that is no longer asked through still takes late answers.
const LATE: Duration = Duration::from_secs(10);
/// Questions under way on one channel.
const MOST: usize = 4_096;

/// A question under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) errand: Errand,
    /// Name, type and class as they were sent, in the case they were sent in.
    question: Box<[u8]>,
}

/// How an answer compares with what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Likeness {
    /// Nobody asked that.
    Stray,
    /// The question has another case than the one sent.
    OtherCase,
    /// It answers what was asked.
    Same,
}

#[derive(Debug)]
pub(super) enum Kind {
    Udp { socket: Rc<UdpSocket>, sent: u32, opened: Instant },
    Stream { out: mpsc::Sender<Vec<u8>> },
}

/// One way to an upstream.
#[derive(Debug)]
pub(super) struct Channel {
    /// Place of the upstream in its list.
    pub(super) upstream: usize,
    pub(super) kind: Kind,
    pub(super) reader: Option<AbortHandle>,
    /// At most [`MOST`], and on UDP at most [`WORN`].
    pending: HashMap<u16, Pending>,
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
        Self { upstream, kind, reader: None, pending: HashMap::new() }
    }

    /// A socket on a port that the kernel chooses by chance.
    pub(super) fn udp(to: SocketAddr) -> io::Result<Rc<UdpSocket>> {
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        Ok(Rc::new(UdpSocket::from_std(socket)?))
    }

    /// Whether no more should be asked through it.
    pub(super) fn is_worn(&self, now: Instant) -> bool {
        self.pending.len() >= MOST
            || match &self.kind {
                Kind::Udp { sent, opened, .. } => *sent >= WORN || now.since(*opened) > OLD,
                Kind::Stream { out } => out.is_closed(),
            }
    }

    /// Whether nothing can come from it any more.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        self.pending.is_empty()
            || match &self.kind {
                Kind::Udp { opened, .. } => now.since(*opened) > OLD + LATE,
                Kind::Stream { out } => out.is_closed(),
            }
    }

    /// Notes `errand` as under way and gives the message to send: its id by chance and, with
    /// `shuffle`, the case of its name too.
    pub(super) fn depart(
        &mut self,
        errand: Errand,
        shuffle: bool,
        chance: &mut Random,
    ) -> io::Result<Vec<u8>> {
        let mut id = chance.u16()?;
        while self.pending.contains_key(&id) {
            id = chance.u16()?;
        }
        let mut message = errand.ask.query.clone();
        if message.len() < wire::HEADER {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        wire::set_u16(&mut message, 0, id);
        if shuffle {
            frame::shuffle_case(&mut message, chance.octets()?);
        }
        let question = wire::question(&message).map(|at| message[at].into()).unwrap_or_default();
        self.pending.insert(id, Pending { errand, question });
        if let Kind::Udp { sent, .. } = &mut self.kind {
            *sent += 1;
        }
        Ok(message)
    }

    /// Compares an answer with the question that has its id.
    pub(super) fn compare(&self, answer: &[u8]) -> Likeness {
        let Some(pending) = wire::u16_at(answer, 0).and_then(|id| self.pending.get(&id)) else {
            return Likeness::Stray;
        };
        if !pending.errand.ask.is_answered_by(answer) {
            return Likeness::Stray;
        }
        match wire::question(answer) {
            Some(at) if answer[at.clone()] != *pending.question => Likeness::OtherCase,
            Some(_) | None => Likeness::Same,
        }
    }

    /// The question that an answer is about is under way no longer.
    pub(super) fn arrive(&mut self, answer: &[u8]) -> Option<Errand> {
        let id = wire::u16_at(answer, 0)?;
        self.pending.remove(&id).map(|pending| pending.errand)
    }

    /// Whether the question with this id is still under way since `asked`.
    pub(super) fn waits(&self, id: u16, asked: Instant) -> bool {
        self.pending.get(&id).is_some_and(|pending| pending.errand.asked == asked)
    }

    /// All that was under way.
    pub(super) fn abandon(&mut self) -> Vec<Errand> {
        self.pending.drain().map(|(_, pending)| pending.errand).collect()
    }
}
