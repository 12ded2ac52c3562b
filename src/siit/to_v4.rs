//! Translates packets from IPv6 to IPv4, and hairpins those between two inside hosts (RFC 7757 §4.2.2).

use core::net::Ipv4Addr;

use super::admit::MappedAddresses;
use super::mapping::{Mapped, MappingRule};
use super::{Hairpin, Inside, Siit};
use crate::addr::{Transport4, special};
use crate::reason::Reason;
use crate::wire::Transport;
use crate::wire::batch::{ExtraPackets, Verdict};
use crate::wire::buf::{PacketBuf, PacketMeta};
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::quoted::Quoted6;
use crate::xlat::{self, ErrorHeader, Flow4, Pass, PlanTo4, Refusal, To4};

/// The refusal of an address without a mapping.
const fn unmapped() -> Refusal {
    Refusal::with_error(Reason::NoMapping, ErrorHeader::unreachable6(1))
}

impl Siit {
    /// Translates a packet to IPv4, or hairpins it.
    pub(super) fn packet6(
        &mut self,
        packet: &Ipv6Packet,
        addresses: &MappedAddresses,
        buf: &mut PacketBuf,
        extra: &mut ExtraPackets,
    ) -> Result<Verdict, Refusal> {
        if let Transport::Error(error) = &packet.transport {
            return self.translate_error6(packet, error, addresses, buf, extra);
        }
        let (Some(src), Some(dst)) = (addresses.src, addresses.dst) else {
            // Invalid host addresses are refused silently.
            let _plan = xlat::plan_v6_to_v4(&self.rules, packet, buf, Pass::Direct)?;
            return Err(unmapped());
        };
        let (src_port, dst_port) = packet.transport.ports();
        let to = To4 {
            outer: Flow4::new(
                Transport4::new(self.host4(src, Reason::SourceAddress)?, src_port),
                Transport4::new(self.destination4(dst)?, dst_port),
            ),
            quoted: None,
        };
        if self.is_hairpin(dst) {
            return self.hairpin_packet(packet, &to, dst.by, buf, extra);
        }
        let plan = xlat::plan_v6_to_v4(&self.rules, packet, buf, Pass::Direct)?;
        self.write_to4(plan, &to, extra)?;
        Ok(Verdict::Forward)
    }

    /// An ICMP error from the IPv6 side. Its sender may be a router without an IPv4 address.
    fn translate_error6(
        &mut self,
        packet: &Ipv6Packet,
        error: &IcmpError<Quoted6>,
        addresses: &MappedAddresses,
        buf: &mut PacketBuf,
        extra: &mut ExtraPackets,
    ) -> Result<Verdict, Refusal> {
        // Plan first: a refused packet must not draw a random source.
        let plan = xlat::plan_v6_to_v4(&self.rules, packet, buf, Pass::Direct)?;
        let quoted = &error.quoted;
        let dst = addresses.dst.ok_or_else(unmapped)?;
        let dst = self.remote4(dst)?;
        let from = self.mapping.to_v4(quoted.src).ok_or(Reason::IcmpQuoted)?;
        let to = self.mapping.to_v4(quoted.dst).ok_or(Reason::IcmpQuoted)?;
        let (src_port, dst_port) = quoted.transport.ports();
        let about = Flow4::new(
            Transport4::new(self.host4(from, Reason::IcmpQuoted)?, src_port),
            Transport4::new(self.host4(to, Reason::IcmpQuoted)?, dst_port),
        );
        let (src, substituted) = self.error_source4(addresses.src)?;
        let to =
            To4 { outer: Flow4::new(Transport4::new(src, 0), Transport4::new(dst, 0)), quoted: Some(about) };
        if self.is_hairpin(from) {
            return self.hairpin_packet(packet, &to, from.by, buf, extra);
        }
        // Packet Too Big carries no RFC 4884 extension.
        let extensible = plan.is_extensible_error();
        let buf = self.write_to4(plan, &to, extra)?;
        if let Some(object) = self.policy.error_object.filter(|_| substituted && extensible) {
            xlat::add_object(object, packet.src, self.rules.mtu4, buf);
        }
        Ok(Verdict::Forward)
    }

    /// Checks a mapped IPv4 address.
    ///
    /// # Errors
    /// `otherwise` if it is not a host address; [`Reason::WellKnownNotGlobal`] if the Well-Known Prefix must
    /// not represent it.
    pub(super) fn host4(&self, mapped: Mapped<Ipv4Addr>, otherwise: Reason) -> Result<Ipv4Addr, Reason> {
        if !special::is_host_v4(mapped.addr) {
            return Err(otherwise);
        }
        if !self.mapping.allows(mapped.addr, mapped.by) {
            return Err(Reason::WellKnownNotGlobal);
        }
        Ok(mapped.addr)
    }

    /// The IPv4 destination, unless this host has the address.
    fn remote4(&self, dst: Mapped<Ipv4Addr>) -> Result<Ipv4Addr, Reason> {
        let addr = self.host4(dst, Reason::DestinationAddress)?;
        // The inside host of a CLAT may be this host.
        let may_be_local = self.policy.inside == Inside::V4 && dst.is_inside();
        if !may_be_local && self.local.has_v4(addr) { Err(Reason::LocalDestination) } else { Ok(addr) }
    }

    /// The IPv4 destination, unless the deny list has it or this host has the address.
    fn destination4(&self, dst: Mapped<Ipv4Addr>) -> Result<Ipv4Addr, Reason> {
        let addr = self.remote4(dst)?;
        if dst.by == MappingRule::Pref64
            && !self.policy.denied.is_empty()
            && self.policy.denied.find_v4(addr).is_some()
        {
            return Err(Reason::Denied);
        }
        Ok(addr)
    }

    /// Whether a packet to `mapped`, or an ICMP error about a packet from it, is for an inside host: a prefix
    /// represents the address, and the host has another one (RFC 7757 §4.2.2).
    fn is_hairpin(&self, mapped: Mapped<Ipv4Addr>) -> bool {
        self.policy.hairpin == Hairpin::Intrinsic && self.mapping.is_alias(mapped)
    }

    /// Rewrites a packet to IPv4 and counts it.
    fn write_to4<'p>(
        &mut self,
        plan: PlanTo4<'p>,
        to: &To4,
        extra: &mut ExtraPackets,
    ) -> Result<&'p mut PacketBuf, Reason> {
        let (packets, len) = (plan.packets(), plan.packet().len);
        let buf = plan.apply(&self.rules, to, &mut self.ids, extra)?;
        let row = self.counters.zone(None);
        row.packets_v6_to_v4.add(packets as u64);
        row.bytes_v6_to_v4.add(len as u64);
        Ok(buf)
    }

    /// Translates a packet to IPv4 and back to IPv6. Decrements the hop limit once; a packet can't be hairpinned
    /// twice.
    ///
    /// `by` is the prefix by which the sender addressed the receiver. The sender appears under the same prefix, so
    /// that a reply has the source that the sender expects.
    ///
    /// A refusal in the second half is silent: the buffer no longer holds the sender's packet.
    fn hairpin_packet(
        &mut self,
        packet: &Ipv6Packet,
        to: &To4,
        by: MappingRule,
        buf: &mut PacketBuf,
        extra: &mut ExtraPackets,
    ) -> Result<Verdict, Refusal> {
        let plan = xlat::plan_v6_to_v4(&self.rules, packet, buf, Pass::HairpinOut)?;
        let buf = self.write_to4(plan, to, extra)?;
        buf.meta.hairpin = true;
        let packet = Ipv4Packet::parse(buf.bytes(), &buf.offload)?;
        let done = self.packet4(&packet, Some(by), buf, extra);
        let verdict = done.map_err(|refusal| refusal.reason)?;
        buf.meta = PacketMeta::default();
        Ok(verdict)
    }
}
