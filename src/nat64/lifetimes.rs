//! The end of sessions, bindings and blocks (RFC 6146 §3.5, RFC 6888 REQ-8).

use core::net::Ipv6Addr;
use core::time::Duration;

use super::accepted::Accepted;
use super::context::Context;
use super::tables::bib::QuarantineTick;
use super::tables::pool4::Reclaimable;
use super::tables::slab::NIL;
use super::tables::tcp::{State, on_timeout};
use super::{Nat64, keepalive};
use crate::addr::Proto;
use crate::addr::{HostKey, Transport4, Transport6, ZoneId};
use crate::reason::Reason;
use crate::time::Instant;
use crate::wire::ICMP4;
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::PacketBuf;
use crate::xlat::{ErrorHeader, ErrorLimits, Urgency, is_error_due4, originate_error4};

/// Maximum sessions and bindings that one packet ends to reclaim port blocks.
const RECLAIM_BUDGET: usize = 256;

impl Nat64 {
    /// The next time at which `expire` has work.
    pub fn next_deadline(&self) -> Option<Instant> {
        let quarantine = self.policy.timers.quarantine;
        [
            self.sessions.next_deadline(),
            self.syns.next_deadline(),
            self.fragments.next_deadline(),
            self.bib.next_quarantine_end(quarantine),
            self.pool4.next_deadline(quarantine),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Ends what has expired by `now`, at most `budget` entries. Returns true if more is due.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        budget: usize,
        scratch: &mut PacketBuf,
        extra: &mut ExtraPackets,
        limits: &mut ErrorLimits,
    ) -> bool {
        let mut left = budget;
        while left > 0
            && let Some(session) = self.sessions.due(now, &mut left)
        {
            self.expire_session(session, extra);
            left = left.saturating_sub(1);
        }
        while left > 0 && self.expire_syn(now, scratch, extra, limits) {
            left -= 1;
        }
        while left > 0
            && let Some(expired) = self.fragments.expire(now)
        {
            let zone = self.zone_of_datagram(&expired.key);
            self.counters.zone(zone).drops(Reason::FragmentTimeout).add(u64::from(expired.held));
            left -= 1;
        }
        let quarantine = self.policy.timers.quarantine;
        while left > 0
            && let Some(binding) = self.bib.quarantine_ended(now, Some(quarantine))
        {
            self.unbind(now, binding);
            left -= 1;
        }
        while left > 0
            && let Some(block) = self.pool4.postponed_reclaim()
        {
            self.reclaim_within(now, block, &mut left);
        }
        while left > 0 && self.pool4.release_quarantined(now, quarantine, &mut self.events) {
            left -= 1;
        }
        self.next_deadline().is_some_and(|next| next <= now)
    }

    /// Handles a session timeout: probes the client of a TCP session that is established, or that a RST from
    /// outside made transitory, and ends any other.
    pub(super) fn expire_session(&mut self, slot: u32, extra: &mut ExtraPackets) {
        let session = self.sessions.session(slot);
        let deadline = Instant::from_nanos(session.deadline);
        let next = on_timeout(session.state());
        if next == State::Closed {
            self.end_session(deadline, slot);
            return;
        }
        self.probe(slot, extra);
        self.sessions.session_mut(slot).set_state(next);
        self.sessions.set_deadline(slot, deadline + self.policy.timers.tcp_closing);
    }

    /// Sends a keepalive probe to the client. Skips it if the batch has no room.
    fn probe(&mut self, slot: u32, extra: &mut ExtraPackets) {
        let session = self.sessions.session(slot);
        let client = self.bib.binding(session.binding()).v6();
        let server = self.policy.zones.embed(session.pref64, session.remote().addr);
        let server = Transport6::new(server, session.remote().port);
        if let Some(output) = extra.next_slot() {
            output.packet.fill(&keepalive::probe(server, client));
        }
    }

    /// Ends a session, and its binding if it was the last session.
    pub(super) fn end_session(&mut self, now: Instant, slot: u32) {
        self.log_session_end(now, slot);
        let binding = self.sessions.session(slot).binding();
        let (proto, mut first) = (self.bib.binding(binding).proto(), self.bib.binding(binding).first);
        let zone = self.zone_of_binding(binding);
        self.sessions.remove(slot, &mut first);
        self.bib.binding_mut(binding).first = first;
        self.counters.zone(zone).sessions[proto as usize].sub(1);
        if self.bib.binding(binding).is_static() {
            return;
        }
        let block = self.bib.binding(binding).allocation;
        self.pool4.uncount_session(block);
        if first != NIL {
            return;
        }
        self.count_binding(binding, -1);
        // A TCP port needs no quarantine: its connections were tracked to their end.
        if proto == Proto::Tcp || self.policy.timers.quarantine == Duration::ZERO {
            self.unbind(now, binding);
        } else {
            self.bib.quarantine(binding, now);
            self.pool4.set_quarantined(binding, true, &self.bib);
        }
    }

    /// Removes a binding and frees its port.
    pub(super) fn unbind(&mut self, now: Instant, slot: u32) {
        let binding = self.bib.binding(slot);
        let since =
            if binding.is_quarantined() { QuarantineTick(binding.first) } else { QuarantineTick::of(now) };
        self.pool4.unlink(since, slot, &mut self.bib);
        self.bib.remove(slot);
    }

    /// Ends the oldest quarantine because the table is full. Returns false if there is none.
    pub(super) fn end_oldest_quarantine(&mut self, now: Instant) -> bool {
        let found = self.bib.quarantine_ended(now, None);
        found.map(|slot| self.unbind(now, slot)).is_some()
    }

    /// Takes a port block back from its host, or all blocks of the host, which no packet from outside has answered.
    /// They need no quarantine: nobody outside is known to send to their ports. Returns false if too many sessions
    /// must end for one packet; then [`expire`](Self::expire) continues.
    pub(super) fn reclaim(&mut self, now: Instant, reclaimable: Reclaimable) -> bool {
        let mut left = RECLAIM_BUDGET;
        match reclaimable {
            Reclaimable::Block(block) => self.reclaim_within(now, block, &mut left),
            Reclaimable::HostOf(block) => {
                let host = self.pool4.blocks().block(block).host;
                (0..self.pool4.hosts().host(host).blocks).all(|_| {
                    let block = self.pool4.hosts().host(host).first_block;
                    self.reclaim_within(now, block, &mut left)
                })
            }
        }
    }

    /// Reclaims a block by ending at most `left` sessions and bindings. Returns whether it is free.
    fn reclaim_within(&mut self, now: Instant, block: u32, left: &mut usize) -> bool {
        while let Some(binding) = self.pool4.first_binding(block) {
            if !self.end_binding_within(now, binding, left) {
                self.pool4.postpone_reclaim(block, now);
                return false;
            }
        }
        self.pool4.release_reclaimed(block, &mut self.events);
        true
    }

    /// Answers an expired unsolicited SYN with an ICMP error. Returns false if none is due.
    fn expire_syn(
        &mut self,
        now: Instant,
        scratch: &mut PacketBuf,
        extra: &mut ExtraPackets,
        limits: &mut ErrorLimits,
    ) -> bool {
        let Some(due) = self.syns.due(now) else { return false };
        let Some(syn) = due else { return true };
        let zone = syn.zone;
        self.counters.zone(zone).drops(Reason::UnsolicitedSyn).add(1);
        scratch.fill(syn.bytes());
        let (header, sender, error) = (syn.packet, syn.sender(), ErrorHeader::unreachable4(3));
        let is_hairpinned = syn.hairpinned;
        let id = self.ids.take(self.policy.address4, header.src, ICMP4, false, 1);
        let mut is_allowed = || match is_hairpinned {
            true => limits.take6(now, error_limit_key(sender), Urgency::Refusal),
            false => limits.take4(now, header.src, Urgency::Refusal),
        };
        if extra.room() > 0
            && is_error_due4(&header, scratch)
            && is_allowed()
            && originate_error4(&header, error, self.policy.address4, id, scratch)
        {
            self.counters.zone(zone).errors_sent.add(1);
            if is_hairpinned {
                self.hairpin_error(now, sender, scratch, (extra, limits));
            } else if let Some(output) = extra.next_slot() {
                output.packet.fill(scratch.bytes());
            }
        }
        true
    }

    /// Sends an ICMPv4 error to the zone host that has a mapped address, by way of its worker.
    fn hairpin_error(
        &mut self,
        now: Instant,
        to: Transport4,
        error: &mut PacketBuf,
        (extra, limits): (&mut ExtraPackets, &mut ErrorLimits),
    ) {
        error.meta.hairpin = true;
        let me = self.pool4.worker();
        let other = self.pool4.owners().owner_of(Proto::Tcp, to).filter(|owner| *owner != me);
        if other.is_none() {
            let mut context = Context::without_scratch(now, extra, limits);
            if !matches!(self.packet4(&mut context, error), Ok(Accepted::Forward)) {
                return;
            }
        }
        if let Some(output) = extra.next_slot() {
            output.packet.fill(error.bytes());
            output.packet.meta = error.meta;
            output.to = other;
        }
    }

    /// Adds a binding to the gauge (positive `by`) or subtracts it.
    pub(super) fn count_binding(&self, slot: u32, by: i64) {
        let gauge =
            &self.counters.zone(self.zone_of_binding(slot)).bindings[self.bib.binding(slot).proto() as usize];
        if by > 0 { gauge.add(1) } else { gauge.sub(1) }
    }

    /// The zone of a binding's client.
    #[inline]
    pub(super) fn zone_of_binding(&self, slot: u32) -> Option<ZoneId> {
        let binding = self.bib.binding(slot);
        if binding.is_static() {
            return self.host_of_binding(slot).map(|host| host.zone);
        }
        Some(self.pool4.blocks().summary(binding.allocation).zone)
    }

    /// The host of a binding.
    pub(super) fn host_of_binding(&self, slot: u32) -> Option<HostKey> {
        let binding = self.bib.binding(slot);
        if binding.is_static() {
            let addr = binding.v6().addr;
            return self.policy.zones.index_of(addr).map(|zone| self.policy.zones.host_key(zone, addr));
        }
        Some(self.pool4.hosts().host(self.pool4.blocks().block(binding.allocation).host).key)
    }
}

/// The key of the error limit for a mapped address: its 256 aligned ports. Hosts with smaller blocks in the same range
/// share it.
fn error_limit_key(mapped: Transport4) -> Ipv6Addr {
    Ipv6Addr::from_bits((u128::from(mapped.addr.to_bits()) << 8 | u128::from(mapped.port >> 8)) << 64)
}
