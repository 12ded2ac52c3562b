//! The sender of a query (RFC 6891: requestor) and the return path of its answer.

use std::net::IpAddr;

use tokio::sync::mpsc;

use super::admission::{Client, Permit};
use super::answer_cache::CacheSlot;
use super::cookie::CookieStatus;
use super::mmsg::Path;
use super::query_key::Key;
use crate::dns64::Transport;

/// Return path of an answer.
#[derive(Debug)]
pub(super) enum ReplyPath {
    /// To a peer of the UDP listener with this number.
    Datagram(usize, Path),
    /// To the stream that reads from this channel.
    Stream { answers: mpsc::Sender<Vec<u8>>, is_encrypted: bool },
}

/// The sender of a query, and where its answer goes.
pub(super) struct Requestor {
    pub(super) reply_path: ReplyPath,
    pub(super) addr: IpAddr,
    /// Its address and site; `None` outside every zone.
    pub(super) client: Option<Client>,
    /// Status of the client's cookie, if it sent one.
    pub(super) cookie: Option<CookieStatus>,
    /// Largest answer that the client accepts, in bytes.
    pub(super) limit: usize,
    /// Hash of the queried name, the same in all threads. It selects the engine, and the response rate limit counts it.
    pub(super) name_hash: u64,
    /// Where to store the answer.
    pub(super) cache_slot: Option<(CacheSlot, Box<Key>)>,
    /// Whether the answer is padded (RFC 7830 §4).
    pub(super) is_padded: bool,
    /// Held while the query is pending.
    pub(super) permit: Option<Permit>,
}

impl Requestor {
    pub(super) const fn transport(&self) -> Transport {
        match self.reply_path {
            ReplyPath::Datagram(..) => Transport::Udp,
            ReplyPath::Stream { .. } => Transport::Tcp,
        }
    }

    pub(super) const fn is_encrypted(&self) -> bool {
        matches!(self.reply_path, ReplyPath::Stream { is_encrypted: true, .. })
    }

    /// Whether the source address may be forged: neither a stream nor a cookie has confirmed it.
    pub(super) const fn may_be_forged(&self) -> bool {
        matches!(self.reply_path, ReplyPath::Datagram(..))
            && !matches!(self.cookie, Some(CookieStatus::Verified(_)))
    }
}
