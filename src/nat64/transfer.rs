//! Export and import of sessions, and restored block assignments.

use super::prefetch::Candidate;
use super::tables::bib::Allocation;
use super::tables::tcp::State;
use super::{BlockAssignment, Nat64, Record};
use crate::addr::Proto;
use crate::reason::Reason;
use crate::time::Instant;

impl Nat64 {
    /// Writes sessions from slot `cursor` on to `out`; returns their number, zero at the end.
    pub fn export(&self, now: Instant, cursor: &mut u32, out: &mut [Record]) -> usize {
        let mut written = 0;
        while written < out.len() && *cursor < self.sessions.end() {
            let slot = *cursor;
            *cursor += 1;
            let Some(session) = self.sessions.get(slot).filter(|session| !session.is_expired(now)) else {
                continue;
            };
            let binding = self.bib.binding(session.binding());
            out[written] = Record {
                proto: binding.proto(),
                v6: binding.v6(),
                v4: self.mapped(session.binding()),
                remote: session.remote(),
                pref64: self.policy.zones.pref64(session.pref64),
                state: session.state() as u8,
                remaining: session.remaining(now),
            };
            written += 1;
        }
        written
    }

    /// Imports a session.
    ///
    /// # Errors
    /// The reason: a full table, or no matching zone, pool or pref64.
    pub fn import(&mut self, now: Instant, record: &Record) -> Result<(), Reason> {
        let state = State::from_number(record.state)
            .filter(|state| (*state == State::Closed) == (record.proto != Proto::Tcp))
            .ok_or(Reason::NoSession)?;
        let zone = self.policy.zones.zone_of(record.v6.addr).ok_or(Reason::NoZone)?;
        let pref64 = self.policy.zones.pref64_of(zone, record.pref64).ok_or(Reason::NotPref64)?;
        let binding = match self.binding_of(Candidate::NONE, record.proto, record.v6) {
            Some(binding) if self.mapped(binding) == record.v4 => binding,
            Some(_) => return Err(Reason::NoBinding),
            None => self.import_binding(now, zone, pref64, record)?,
        };
        if self.session_with(binding, record.remote).is_some() {
            return Ok(());
        }
        let session = self.open_session(now, binding, record.remote, pref64)?;
        self.bib.mark_active(binding, now);
        self.sessions.session_mut(session).set_state(state);
        self.sessions.set_deadline(session, now + record.remaining);
        Ok(())
    }

    /// Assigns a saved block to its host; its quarantine begins now.
    ///
    /// # Errors
    /// The reason: a full table, or no matching zone or pool.
    pub fn restore_block(&mut self, now: Instant, assignment: &BlockAssignment) -> Result<(), Reason> {
        let addr = assignment.host.prefix.addr();
        let zone = self.policy.zones.zone_of(addr).ok_or(Reason::NoZone)?;
        if self.policy.zones.host(zone, addr) != assignment.host {
            return Err(Reason::NoZone);
        }
        let pool = self.policy.zones.zone(zone).pool;
        self.pool4.restore_block(now, assignment, pool, &mut self.events)
    }

    fn import_binding(
        &mut self,
        now: Instant,
        zone: u16,
        pref64: u16,
        record: &Record,
    ) -> Result<u32, Reason> {
        if self.bib.find(record.proto, record.v6).is_some() {
            // The client has a quarantined binding with another port.
            return Err(Reason::NoBinding);
        }
        if self.sessions.is_full() || self.bib.is_full() && !self.end_oldest_quarantine(now) {
            return Err(Reason::TableFull);
        }
        let host = self.policy.zones.host(zone, record.v6.addr);
        let rules = self.policy.zones.zone(zone);
        let pool = rules.pool;
        let block = self.pool4.reserve_port(host, pool, record.proto, record.v4, &mut self.events)?;
        let slot = self
            .bib
            .insert(record.proto, record.v6, Allocation::Block(block), record.v4.port, pref64)
            .ok_or(Reason::TableFull)?;
        self.pool4.link(slot, &mut self.bib);
        self.count_binding(slot, 1);
        Ok(slot)
    }
}
