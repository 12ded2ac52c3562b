//! The client of a query, and the return path of its answer.

use std::net::IpAddr;

use tokio::sync::mpsc;

use super::admission::Permit;
use super::answer_cache::Place;
use super::cookie::Shown;
use super::mmsg::Path;
use super::query_key::Key;
use crate::dns64::Transport;

/// The way back to a client.
#[derive(Debug)]
pub(super) enum Back {
    /// A datagram from the listener of this number.
    Datagram(usize, Path),
    /// The stream that reads from this channel.
    Stream(mpsc::Sender<Vec<u8>>),
}

/// Who asked, and how the answer gets there.
pub(super) struct Caller {
    pub(super) back: Back,
    pub(super) client: IpAddr,
    /// What the client's cookie says, if it sent one.
    pub(super) cookie: Option<Shown>,
    /// Longest answer it takes.
    pub(super) limit: usize,
    /// What is asked, hashed; of unusual queries 0.
    pub(super) hash: u64,
    /// Where the answer is to be kept.
    pub(super) keep: Option<(Place, Box<Key>)>,
    /// While it waits.
    pub(super) permit: Option<Permit>,
}

impl Caller {
    pub(super) const fn transport(&self) -> Transport {
        match self.back {
            Back::Datagram(..) => Transport::Udp,
            Back::Stream(_) => Transport::Tcp,
        }
    }

    /// Whether its address may be somebody else's: nothing has shown that it receives what we send.
    pub(super) const fn may_be_forged(&self) -> bool {
        matches!(self.back, Back::Datagram(..)) && !matches!(self.cookie, Some(Shown::Known(_)))
    }
}
