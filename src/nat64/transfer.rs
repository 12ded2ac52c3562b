//! Export and import of sessions, and restored block assignments.

use core::net::Ipv4Addr;
use core::time::Duration;

use super::prefetch::Candidate;
use super::tables::bib::{Allocation, QuarantineTick};
use super::tables::slab::NIL;
use super::tables::tcp::State;
use super::{BlockAssignment, Nat64, SessionRecord};
use crate::addr::{Proto, Transport4};
use crate::reason::Reason;
use crate::time::Instant;

impl Nat64 {
    /// Writes sessions from slot `cursor` on to `out`; returns their number, zero at the end.
    pub fn export(&self, now: Instant, cursor: &mut u32, out: &mut [SessionRecord]) -> usize {
        let mut written = 0;
        while written < out.len() && *cursor < self.session_slots() {
            if let Some(record) = self.record(now, *cursor) {
                out[written] = record;
                written += 1;
            }
            *cursor += 1;
        }
        written
    }

    /// Upper bound of the slots of sessions in use.
    pub const fn session_slots(&self) -> u32 {
        self.sessions.end()
    }

    /// The session in a slot; `None` if there is none or it has expired.
    pub fn record(&self, now: Instant, slot: u32) -> Option<SessionRecord> {
        let session = self.sessions.get(slot).filter(|session| !session.is_expired(now))?;
        let binding = self.bib.binding(session.binding());
        Some(SessionRecord {
            proto: binding.proto(),
            v6: binding.v6(),
            v4: self.mapped(session.binding()),
            remote: session.remote(),
            pref64: self.policy.zones.pref64(session.pref64),
            state: session.state() as u8,
            remaining: session.remaining(now),
            silent: binding.silence(now),
            inbound: session.is_inbound(),
            answered: binding.is_static() || self.is_answered(binding.allocation),
            packets: session.packets(),
            bytes: session.bytes(),
        })
    }

    /// Upper bound of the slots of bindings in use.
    pub const fn binding_slots(&self) -> u32 {
        self.bib.end()
    }

    /// The binding in a slot, if it is in quarantine: a record without a server, whose remaining time is that of the
    /// quarantine.
    pub fn quarantined(&self, now: Instant, slot: u32) -> Option<SessionRecord> {
        let binding = self.bib.get(slot).filter(|binding| binding.is_quarantined())?;
        let end = QuarantineTick(binding.first).end(self.policy.timers.quarantine);
        let remaining = end.since(now);
        (remaining > Duration::ZERO).then(|| SessionRecord {
            proto: binding.proto(),
            v6: binding.v6(),
            v4: self.mapped(slot),
            remote: Transport4::new(Ipv4Addr::UNSPECIFIED, 0),
            pref64: self.policy.zones.pref64(binding.pref64),
            state: 0,
            remaining,
            silent: Duration::ZERO,
            inbound: false,
            answered: self.is_answered(binding.allocation),
            packets: [0; 2],
            bytes: [0; 2],
        })
    }

    /// Imports a binding in quarantine, for at most the present quarantine. Import the one that ends first first: the
    /// queue is ordered. A client that has the binding already keeps it.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub fn import_quarantined(&mut self, now: Instant, record: &SessionRecord) -> Result<(), Reason> {
        let quarantine = self.policy.timers.quarantine;
        let zone = self.policy.zones.index_of(record.v6.addr).ok_or(Reason::NoZone)?;
        let pref64 = self.policy.zones.pref64_of(zone, record.pref64).ok_or(Reason::NotPref64)?;
        if quarantine == Duration::ZERO || self.bib.find(record.proto, record.v6).is_some() {
            return Ok(());
        }
        let slot = self.import_binding(now, zone, pref64, record)?;
        self.count_binding(slot, -1);
        let elapsed = quarantine.saturating_sub(record.remaining).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.bib.quarantine(slot, Instant::from_nanos(now.as_nanos().saturating_sub(elapsed)));
        self.pool4.set_quarantined(slot, true, &self.bib);
        Ok(())
    }

    fn is_answered(&self, block: u32) -> bool {
        self.pool4.hosts().host(self.pool4.blocks().block(block).host).answered
    }

    /// Imports a session. Its remaining time is at most the timeout of the present settings.
    ///
    /// # Errors
    /// - [`Reason::NoZone`], [`Reason::NotPref64`], [`Reason::NotPool4`]: the settings lack the zone, pref64 or port.
    /// - [`Reason::Denied`]: the deny list or a rule forbids the destination.
    /// - [`Reason::NoBinding`]: the client has a binding to another mapped address.
    /// - [`Reason::PoolExhausted`]: another host has the block or the port.
    /// - [`Reason::NoSession`]: the state does not belong to the protocol.
    /// - [`Reason::SessionLimit`], [`Reason::TableFull`]: a quota or table is full.
    pub fn import(&mut self, now: Instant, record: &SessionRecord) -> Result<(), Reason> {
        let state = State::from_number(record.state)
            .filter(|state| (*state == State::Closed) == (record.proto != Proto::Tcp))
            .ok_or(Reason::NoSession)?;
        let zone = self.policy.zones.index_of(record.v6.addr).ok_or(Reason::NoZone)?;
        let pref64 = self.policy.zones.pref64_of(zone, record.pref64).ok_or(Reason::NotPref64)?;
        if self.policy.zones.forbids(zone, record.proto, record.remote, record.inbound) {
            return Err(Reason::Denied);
        }
        let binding = match self.binding_of(Candidate::NONE, record.proto, record.v6) {
            Some(binding) if self.mapped(binding) == record.v4 => binding,
            Some(_) => return Err(Reason::NoBinding),
            None => self.import_binding(now, zone, pref64, record)?,
        };
        if self.session_with(binding, record.remote).is_some() {
            return Ok(());
        }
        let session = match self.check_and_insert_session(now, binding, record.remote, pref64) {
            Ok(session) => session,
            Err(reason) => {
                self.drop_unused(now, binding);
                return Err(reason);
            }
        };
        self.events.set_session_start(session, now);
        let entry = self.sessions.session_mut(session);
        entry.set_state(state);
        entry.set_traffic(record.packets, record.bytes);
        if record.inbound {
            entry.set_inbound();
        }
        let remaining = record.remaining.min(self.longest_lifetime(session, record.proto));
        self.sessions.set_deadline(session, now + remaining);
        Ok(())
    }

    /// The longest timeout that a session can have.
    fn longest_lifetime(&self, session: u32, proto: Proto) -> Duration {
        let timers = &self.policy.timers;
        match proto {
            Proto::Tcp => timers.tcp_established.max(timers.tcp_opening).max(timers.tcp_closing),
            Proto::Udp => self.udp_lifetime(session).into(),
            Proto::Icmp => timers.icmp,
        }
    }

    /// Removes a dynamic binding that was imported for a refused session.
    fn drop_unused(&mut self, now: Instant, binding: u32) {
        let entry = self.bib.binding(binding);
        if !entry.is_static() && entry.first == NIL {
            self.count_binding(binding, -1);
            self.unbind(now, binding);
        }
    }

    /// Assigns a saved block to its host; its quarantine begins now.
    ///
    /// # Errors
    /// The reason: a full table, or no matching zone or pool.
    pub fn restore_block(&mut self, now: Instant, assignment: &BlockAssignment) -> Result<(), Reason> {
        let addr = assignment.host.prefix.addr();
        let zone = self.policy.zones.index_of(addr).ok_or(Reason::NoZone)?;
        if self.policy.zones.host_key(zone, addr) != assignment.host {
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
        record: &SessionRecord,
    ) -> Result<u32, Reason> {
        if self.bib.find(record.proto, record.v6).is_some() {
            // The client has a quarantined binding with another port.
            return Err(Reason::NoBinding);
        }
        if self.sessions.is_full() || self.bib.is_full() && !self.end_oldest_quarantine(now) {
            return Err(Reason::TableFull);
        }
        let host = self.policy.zones.host_key(zone, record.v6.addr);
        let rules = self.policy.zones.zone(zone);
        let pool = rules.pool;
        if record.v4.port == 0 {
            return Err(Reason::NotPool4);
        }
        let block = self.pool4.reserve_port(host, pool, record.proto, record.v4, &mut self.events)?;
        if record.answered {
            self.pool4.note_answer(block);
        }
        let slot = self
            .bib
            .insert(record.proto, record.v6, Allocation::Block(block), record.v4.port, pref64)
            .ok_or(Reason::TableFull)?;
        self.pool4.link(slot, &mut self.bib);
        self.count_binding(slot, 1);
        let silent = u64::try_from(record.silent.as_nanos()).unwrap_or(u64::MAX);
        self.bib.mark_active(slot, Instant::from_nanos(now.as_nanos().saturating_sub(silent)));
        Ok(slot)
    }
}
