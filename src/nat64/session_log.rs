//! Events of sessions, if the operator wants them: a record per session (RFC 6888 REQ-12, RFC 8158 §4.6.2).

use super::{Event, LoggedSession, Nat64};
use crate::time::Instant;

impl Nat64 {
    /// Reports the start of a session.
    #[inline]
    pub(super) fn log_session_start(&mut self, now: Instant, slot: u32) {
        if !self.events.logs_sessions() {
            return;
        }
        self.events.set_session_start(slot, now);
        if let Some(session) = self.logged_session(slot) {
            self.events.push(Event::SessionStarted { session });
        }
    }

    /// Reports the end of a session that is still in its table.
    #[inline]
    pub(super) fn log_session_end(&mut self, now: Instant, slot: u32) {
        if !self.events.logs_sessions() {
            return;
        }
        if let Some(session) = self.logged_session(slot) {
            let age = self.events.session_age(slot, now);
            self.events.push(Event::SessionEnded { session, age });
        }
    }

    fn logged_session(&self, slot: u32) -> Option<LoggedSession> {
        let session = self.sessions.session(slot);
        let binding = self.bib.binding(session.binding());
        Some(LoggedSession {
            proto: binding.proto(),
            zone: self.zone_of_binding(session.binding())?,
            client: binding.v6(),
            mapped: self.mapped(session.binding()),
            remote: session.remote(),
            server: self.policy.zones.embed(session.pref64, session.remote().addr),
            is_static: binding.is_static(),
        })
    }
}
