//! The path of an answer: back to the thread that received the query, into its answer cache, and to the client
//! within the response rate limit.

use super::message::ThreadMessage;
use super::state::ThreadState;
use crate::dns64::{Answer, Outcome};
use crate::resolver::client::Requestor;
use crate::resolver::cookie::{self, CookieStatus};
use crate::resolver::message_edit;
use crate::resolver::rate::Rates;
use crate::time::Instant;

/// Responses to padded queries are padded to a multiple of this many bytes (RFC 8467 §4.1).
pub(super) const RESPONSE_BLOCK: usize = 468;

impl ThreadState {
    /// Returns an answer of the engine to the thread that received the query. `false` if it was lost.
    pub(super) fn return_answer(
        &mut self,
        now: Instant,
        from: Option<usize>,
        requestor: Box<Requestor>,
        answer: Answer,
    ) -> bool {
        match from.filter(|from| *from != self.number).and_then(|from| self.peers.get(from)) {
            None => self.deliver(now, *requestor, answer),
            Some(peer) => {
                let given = peer.try_send(ThreadMessage::Answer { requestor, answer }).is_ok();
                self.counters.count_lost(usize::from(!given));
                given
            }
        }
    }

    /// Sends an answer of the engine, and stores it in the answer cache if requested.
    pub(super) fn deliver(&mut self, now: Instant, requestor: Requestor, answer: Answer) -> bool {
        let row = self.counters.zone(answer.zone);
        row.count(answer.outcome);
        if answer.truncated {
            row.count_truncated();
        }
        if requestor.permit.is_some() {
            row.count_wait(answer.elapsed);
        }
        if let Some((slot, key)) = &requestor.cache_slot {
            self.answer_cache.store(now, *slot, key, &answer.message, (answer.outcome, answer.keep));
        }
        let mut message = answer.message;
        if !allows_answer(now, &self.rates, &requestor, message.len()) {
            row.count(Outcome::ResponseLimited);
            let opt = message_edit::last_opt(&message);
            message_edit::truncate(&mut message, opt);
        }
        if let Some(client) = requestor.cookie.and_then(CookieStatus::client) {
            let whole = self.secret.issue(client, requestor.addr, seconds(now));
            cookie::append(&mut message, requestor.limit, &whole);
        }
        if requestor.is_padded {
            message_edit::pad(&mut message, RESPONSE_BLOCK);
        }
        self.reply_sockets.queue(&requestor.reply_path, &message)
    }
}

/// Response rate limiting: whether to send a whole answer of `len` bytes. Otherwise it is sent without records and
/// with TC: a genuine client retries over TCP, a forged one receives little.
pub(super) fn allows_answer(now: Instant, rates: &Rates, requestor: &Requestor, len: usize) -> bool {
    let forgeable = requestor.client.filter(|_| requestor.may_be_forged());
    forgeable.is_none_or(|client| rates.allow_answer(now, client, requestor.name_hash, len))
}

/// The clock of cookie timestamps.
pub(super) fn seconds(now: Instant) -> u32 {
    (now.as_secs() & u64::from(u32::MAX)) as u32
}
