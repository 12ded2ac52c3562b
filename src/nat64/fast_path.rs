//! The fast path: plain TCP and UDP packets of a live session whose addresses the slow path has accepted.
//!
//! Such packets only refresh the session's timeout and counters. What the slow path decides about a flow's
//! addresses (zone, pref64, ranges, denied prefixes, hairpin) depends only on the addresses and the settings.
//! The session records that decision until the settings change. All other packets take the slow path; the
//! fast path has written and counted nothing by then.

use core::net::Ipv6Addr;

use super::Nat64;
use super::prefetch::Candidate;
use super::tables::session::Traffic;
use super::tables::tcp::{Side, State};
use crate::addr::{Transport4, Transport6, ZoneId};
use crate::time::Instant;
use crate::wire::batch::Verdict;
use crate::wire::buf::PacketBuf;
use crate::wire::ipv6;
use crate::wire::tcp::Flags;
use crate::xlat::{Flow4, Flow6, Plain, PlainPorts};

impl Nat64 {
    /// Allows the fast path for packets of a session from the IPv6 side to `dst`.
    ///
    /// Only for the address that the session's own pref64 gives the server. Other addresses may represent the
    /// same server, by another pref64 or with a suffix.
    #[inline]
    pub(super) fn allow_fast_path6(&mut self, session: Option<u32>, dst: Ipv6Addr) {
        if let Some(slot) = session
            && !self.sessions.session(slot).has_fast_path(Side::V6)
            && self.server6_of(slot) == dst
        {
            self.sessions.session_mut(slot).allow_fast_path(Side::V6);
        }
    }

    /// Allows the fast path for packets of a session from the IPv4 side.
    #[inline]
    pub(super) fn allow_fast_path4(&mut self, session: Option<u32>) {
        if let Some(slot) = session {
            self.sessions.session_mut(slot).allow_fast_path(Side::V4);
        }
    }

    /// The IPv6 address by which the client of a session addresses the server.
    #[inline(always)]
    fn server6_of(&self, slot: u32) -> Ipv6Addr {
        let session = self.sessions.session(slot);
        self.policy.zones.pref64(session.pref64).embed(session.remote().addr)
    }

    /// The session between a binding and the IPv6 transport address of a server.
    #[inline]
    fn session_to6(&self, slot: u32, server: Transport6) -> Option<u32> {
        let binding = self.bib.binding(slot);
        let is = |session: u32| {
            self.sessions.session(session).remote().port == server.port
                && self.server6_of(session) == server.addr
        };
        if self.sessions.get(binding.first).is_some() && is(binding.first) {
            return Some(binding.first);
        }
        let addr = self.policy.zones.pref64(binding.pref64).extract(server.addr)?;
        self.session_with(slot, Transport4::new(addr, server.port)).filter(|session| is(*session))
    }

    /// Translates a packet from the IPv6 side, if it can take the fast path.
    #[inline]
    pub(super) fn fast_path6(
        &mut self,
        now: Instant,
        candidate: Candidate,
        buf: &mut PacketBuf,
    ) -> Option<Verdict> {
        if !buf.meta.is_fresh() {
            return None;
        }
        let packet = Plain::read6(&self.policy.rules, buf)?;
        let proto = packet.ports.proto();
        let binding = self.binding_of(candidate, proto, Transport6::new(packet.src, packet.ports.src))?;
        let session = self.session_to6(binding, Transport6::new(packet.dst, packet.ports.dst))?;
        let traffic = Traffic { from: Side::V6, packets: packet.count as u32, bytes: packet.len as u64 };
        self.refresh(now, (binding, session), packet.ports, traffic)?;
        self.bib.mark_active(binding, now);
        let (mapped, zone) = self.mapped_and_zone(binding);
        let to = Flow4::new(mapped, self.sessions.session(session).remote());
        packet.rewrite_to4(&self.policy.rules, &to, &mut self.ids, buf);
        let row = self.counters.zone(zone);
        row.packets_v6_to_v4.add(packet.count as u64);
        row.bytes_v6_to_v4.add(packet.len as u64);
        Some(Verdict::Forward)
    }

    /// Translates a packet from the IPv4 side, if it can take the fast path.
    #[inline]
    pub(super) fn fast_path4(
        &mut self,
        now: Instant,
        candidate: Candidate,
        buf: &mut PacketBuf,
    ) -> Option<Verdict> {
        if !buf.meta.is_fresh() {
            return None;
        }
        let packet = Plain::read4(&self.policy.rules, buf)?;
        let mapped = Transport4::new(packet.dst, packet.ports.dst);
        let binding = self.binding_at(candidate, packet.ports.proto(), mapped)?;
        let session = self.session_with(binding, Transport4::new(packet.src, packet.ports.src))?;
        let bytes = packet.len - crate::wire::ipv4::HEADER + ipv6::HEADER;
        let traffic = Traffic { from: Side::V4, packets: packet.count as u32, bytes: bytes as u64 };
        self.refresh(now, (binding, session), packet.ports, traffic)?;
        let server = Transport6::new(self.server6_of(session), packet.ports.src);
        let to = Flow6::new(server, self.bib.binding(binding).v6());
        packet.rewrite_to6(&self.policy.rules, &to, buf);
        let row = self.counters.zone(self.mapped_and_zone(binding).1);
        row.packets_v4_to_v6.add(packet.count as u64);
        row.bytes_v4_to_v6.add(packet.len as u64);
        Some(Verdict::Forward)
    }

    /// The IPv4 transport address of a binding and its client's zone.
    #[inline(always)]
    fn mapped_and_zone(&self, slot: u32) -> (Transport4, Option<ZoneId>) {
        let binding = self.bib.binding(slot);
        if binding.is_static() {
            return (self.mapped(slot), self.zone_of_binding(slot));
        }
        let summary = self.pool4.blocks().summary(binding.allocation);
        (Transport4::new(summary.addr, binding.port), Some(summary.zone))
    }

    /// Refreshes a session and counts the traffic. Returns `None` and changes nothing if the packet needs
    /// the slow path.
    #[inline(always)]
    fn refresh(
        &mut self,
        now: Instant,
        (binding, slot): (u32, u32),
        ports: PlainPorts,
        traffic: Traffic,
    ) -> Option<()> {
        let session = self.sessions.session(slot);
        if session.is_expired(now) || !session.has_fast_path(traffic.from) {
            return None;
        }
        let lifetime = match ports.flags {
            None => self.udp_lifetime(slot),
            Some(flags) => {
                let ends = flags.has(Flags::FIN) || flags.has(Flags::RST);
                if ends || session.state() != State::Established {
                    return None;
                }
                self.policy.spans.tcp_established
            }
        };
        let refreshes = traffic.from == Side::V6 || self.refreshes_inbound(now, binding, lifetime);
        self.sessions.record_traffic(slot, traffic, if refreshes { Some(now + lifetime) } else { None });
        Some(())
    }
}
