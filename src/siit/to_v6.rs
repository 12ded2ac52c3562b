//! Translates packets from IPv4 to IPv6.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::mapping::{Mapped, MappingRule};
use super::{Hairpin, Inside, Siit, ZeroChecksum};
use crate::addr::{Transport4, Transport6};
use crate::reason::Reason;
use crate::time::Instant;
use crate::wire::batch::{ExtraPackets, Verdict};
use crate::wire::buf::{Checksum, PacketBuf};
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::quoted::Quoted4;
use crate::wire::{IGMP, Transport};
use crate::xlat::{self, ErrorHeader, Flow6, Pass, PlanTo6, Refusal, To6};

/// A refusal with ICMPv4 Communication Administratively Prohibited (RFC 7915 §4.4).
const fn prohibited(reason: Reason) -> Refusal {
    Refusal::with_error(reason, ErrorHeader::unreachable4(13))
}

/// Adds an ICMP error to refusals of untranslatable protocols. IGMP stays silent (RFC 7915 §4.2, §4.4).
fn with_default_error(refusal: Refusal, packet: &Ipv4Packet) -> Refusal {
    let sends_error = refusal.reason == Reason::Protocol && packet.protocol != IGMP;
    if sends_error && refusal.error.is_none() { prohibited(refusal.reason) } else { refusal }
}

impl Siit {
    /// Refuses and records a UDP datagram without a checksum, if none is to be computed (RFC 7915 §4.5).
    pub(super) fn check_udp_checksum(
        &mut self,
        now: Instant,
        packet: &Ipv4Packet,
        buf: &PacketBuf,
    ) -> Result<(), Refusal> {
        if let Transport::Udp { checksum: 0, .. } = packet.transport
            && buf.offload.checksum != Checksum::Partial
            && (self.policy.udp_zero_checksum == ZeroChecksum::Drop || packet.fragment.is_some())
        {
            self.record_zero_checksum(now, packet);
            return Err(prohibited(Reason::UdpZeroChecksum));
        }
        Ok(())
    }

    /// Translates a packet to IPv6. `hairpin` is the prefix by which the sender of a hairpinned packet addressed
    /// its receiver.
    pub(super) fn packet4(
        &mut self,
        packet: &Ipv4Packet,
        hairpin: Option<MappingRule>,
        buf: &mut PacketBuf,
        extra: &mut ExtraPackets,
    ) -> Result<Verdict, Refusal> {
        let pass = if hairpin.is_some() { Pass::HairpinIn } else { Pass::Direct };
        let plan = xlat::plan_v4_to_v6(&self.rules, packet, buf, pass);
        let plan = plan.map_err(|refusal| with_default_error(refusal, packet))?;
        if let Transport::Error(error) = &packet.transport {
            return self.translate_error4(plan, error, hairpin, extra);
        }
        let (src_port, dst_port) = packet.transport.ports();
        let src = self.host6(packet.src, self.map_peer(packet.src, hairpin))?;
        let dst = self.destination6(packet.dst)?;
        let outer = Flow6::new(Transport6::new(src, src_port), Transport6::new(dst, dst_port));
        self.write_to6(plan, &To6 { outer, quoted: None }, extra)
    }

    /// An ICMP error from the IPv4 side.
    fn translate_error4(
        &mut self,
        plan: PlanTo6<'_>,
        error: &IcmpError<Quoted4>,
        hairpin: Option<MappingRule>,
        extra: &mut ExtraPackets,
    ) -> Result<Verdict, Refusal> {
        let (src, dst) = (plan.packet().src, plan.packet().dst);
        let quoted = &error.quoted;
        let dst = self.destination6(dst)?;
        let (src_port, dst_port) = quoted.transport.ports();
        let quoted_reason = |_| Reason::IcmpQuoted;
        let from = self.host6(quoted.src, self.mapping.to_v6(quoted.src)).map_err(quoted_reason)?;
        let to = self.host6(quoted.dst, self.map_peer(quoted.dst, hairpin)).map_err(quoted_reason)?;
        // If the quoted packet's destination sent the error, both addresses must map alike.
        let same_host = src == quoted.dst;
        let mapped = if same_host { self.map_peer(src, hairpin) } else { self.mapping.to_v6(src) };
        let src = self.error_source6(src, mapped);
        let to = To6 {
            outer: Flow6::new(Transport6::new(src, 0), Transport6::new(dst, 0)),
            quoted: Some(Flow6::new(Transport6::new(from, src_port), Transport6::new(to, dst_port))),
        };
        self.write_to6(plan, &to, extra)
    }

    /// Maps the peer of an inside host to the address by which that host addresses it: for a hairpinned packet
    /// under a prefix, else by an explicit mapping first (RFC 7757 §4.2).
    fn map_peer(&self, addr: Ipv4Addr, hairpin: Option<MappingRule>) -> Option<Mapped<Ipv6Addr>> {
        match hairpin {
            Some(by) => self.mapping.to_v6_under(by, addr),
            None if self.policy.hairpin == Hairpin::Simple => self.mapping.to_v6_for_hairpin(addr),
            None => self.mapping.to_v6(addr),
        }
    }

    /// Checks the IPv6 address that `addr` is mapped to.
    ///
    /// # Errors
    /// A [`Refusal`] without a mapping, or for a private address under the Well-Known Prefix.
    fn host6(&self, addr: Ipv4Addr, mapped: Option<Mapped<Ipv6Addr>>) -> Result<Ipv6Addr, Refusal> {
        let mapped = mapped.ok_or(prohibited(Reason::NoMapping))?;
        if !self.mapping.allows(addr, mapped.by) {
            return Err(Reason::WellKnownNotGlobal.into());
        }
        Ok(mapped.addr)
    }

    /// The IPv6 destination of `dst`, unless the deny list has it or this host has the address.
    fn destination6(&self, dst: Ipv4Addr) -> Result<Ipv6Addr, Refusal> {
        let addr = self.host6(dst, self.mapping.to_v6(dst))?;
        if self.local.has_v6(addr) {
            return Err(Reason::LocalDestination.into());
        }
        if self.policy.inside == Inside::V4
            && !self.policy.denied.is_empty()
            && self.policy.denied.find_v4(dst).is_some()
        {
            return Err(Reason::Denied.into());
        }
        Ok(addr)
    }

    /// Rewrites a packet to IPv6 and counts it.
    fn write_to6(
        &mut self,
        plan: PlanTo6<'_>,
        to: &To6,
        extra: &mut ExtraPackets,
    ) -> Result<Verdict, Refusal> {
        let (packets, len) = (plan.packets(), plan.packet().total_len);
        plan.apply(&self.rules, to, extra)?;
        let row = self.counters.zone(None);
        row.packets_v4_to_v6.add(packets as u64);
        row.bytes_v4_to_v6.add(len as u64);
        Ok(Verdict::Forward)
    }

    /// Records a datagram dropped for its missing checksum, one per second at most (RFC 7915 §4.5).
    fn record_zero_checksum(&mut self, now: Instant, packet: &Ipv4Packet) {
        let (src, dst) = packet.transport.ports();
        let second = Some(now.as_secs());
        if self.zero_checksum.second != second {
            self.zero_checksum.second = second;
            self.zero_checksum.pending =
                Some((Transport4::new(packet.src, src), Transport4::new(packet.dst, dst)));
        }
    }
}
