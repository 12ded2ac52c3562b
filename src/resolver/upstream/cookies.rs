//! The cookies exchanged with one upstream (RFC 7873 §5.3), and when to do without them.

use std::time::Duration;

use super::super::cookie::ClientCookie;
use super::super::{message_edit, query_key};
use crate::dns64::wire;
use crate::time::Instant;

/// Consecutive queries with replies that contain another client cookie, after which no cookie is sent for a
/// while: the upstream returns stored cookies.
const MAX_MISMATCHES: u32 = 3;
/// How long no cookie is sent then.
const PAUSE: Duration = Duration::from_secs(300);
/// Consecutive replies without a cookie after which the upstream is assumed not to support cookies any more.
const MAX_MISSING: u32 = 3;
/// Response code BADCOOKIE (RFC 7873 §8).
const BADCOOKIE: u16 = 23;

/// Status of the cookie in a reply (RFC 7873 §5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReplyCookie {
    /// Valid, or not expected.
    Valid,
    /// Absent, although the upstream has sent one before.
    Missing,
    /// Not the cookie that was sent: the reply is forged, or the upstream returns a stored cookie.
    Mismatch,
    /// The upstream requires its new cookie (BADCOOKIE).
    Renewed,
}

/// The cookies of one upstream.
#[derive(Debug)]
pub(super) struct Cookies {
    client: ClientCookie,
    /// The server part, once received.
    server: Vec<u8>,
    mismatches: u32,
    missing: u32,
    paused_until: Instant,
}

impl Cookies {
    pub(super) const fn new(client: ClientCookie) -> Self {
        Self { client, server: Vec::new(), mismatches: 0, missing: 0, paused_until: Instant::ZERO }
    }

    /// Adds a cookie to the query at `start`, if it has an OPT record without options.
    pub(super) fn append(&self, now: Instant, bytes: &mut Vec<u8>, start: usize) {
        if now < self.paused_until {
            return;
        }
        let Some(opt) = message_edit::trailing_empty_opt(&bytes[start..]) else { return };
        let mut content = [0; 40];
        content[..8].copy_from_slice(&self.client);
        let len = 8 + self.server.len().min(32);
        content[8..len].copy_from_slice(&self.server[..len - 8]);
        message_edit::push_option(bytes, start + opt, query_key::COOKIE, &content[..len]);
    }

    /// Verifies the cookie of a reply over UDP.
    pub(super) fn verify(&mut self, now: Instant, message: &[u8]) -> ReplyCookie {
        if now < self.paused_until {
            return ReplyCookie::Valid;
        }
        let Some(content) = message_edit::option(message, query_key::COOKIE) else {
            // FORMERR may come without an OPT record.
            let formerr = wire::rcode_of(message) == wire::rcode::FORMERR;
            return if self.server.is_empty() || formerr { ReplyCookie::Valid } else { self.count_missing() };
        };
        match content.split_first_chunk::<8>() {
            Some((client, server)) if *client == self.client && server.len() <= 32 => {
                (self.mismatches, self.missing) = (0, 0);
                if self.server != server {
                    self.server = server.to_vec();
                }
                let renewed = wire::rcode_of(message) == BADCOOKIE;
                if renewed { ReplyCookie::Renewed } else { ReplyCookie::Valid }
            }
            Some(_) | None => ReplyCookie::Mismatch,
        }
    }

    /// Counts a reply without a cookie. Support once seen is not required for ever.
    fn count_missing(&mut self) -> ReplyCookie {
        self.missing += 1;
        if self.missing >= MAX_MISSING {
            self.missing = 0;
            self.server.clear();
        }
        ReplyCookie::Missing
    }

    /// Counts a query with a reply that contains another client cookie. Returns whether to stop sending
    /// cookies; the query is then repeated over TCP.
    pub(super) fn count_mismatch(&mut self, now: Instant) -> bool {
        self.mismatches += 1;
        let pauses = self.mismatches >= MAX_MISMATCHES;
        if pauses {
            self.mismatches = 0;
            self.server.clear();
            self.paused_until = now + PAUSE;
        }
        pauses
    }
}
