//! Hosts with an explicit mapping (RFC 7757) are translated without state (RFC 7915): methods of the model.

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::addr::{Pref64, Transport4, Transport6};
use gate64::reason::Reason;

use super::{Model, Outcome, Verdict};
use crate::model::address::{embed, extract, is_host4};
use crate::model::packet::{self, Refusal, ports};
use crate::script::packet::{Body, Csum, Packet, Quote};

/// All ones in the last `bits` bits.
fn low(bits: u8) -> u128 {
    (1u128 << bits) - 1
}

impl Model {
    fn stateless_pref64(&self) -> Option<Pref64> {
        self.settings.siit.as_ref()?.pref64
    }

    /// The mapped address of an IPv6 host: the bits after the longest IPv6 prefix follow the IPv4 prefix
    /// (RFC 7757 §3.3.2).
    fn mapped4(&self, addr: Ipv6Addr) -> Option<Ipv4Addr> {
        let eams = self.settings.siit.as_ref()?.eams.iter();
        let eam = eams.filter(|eam| eam.v6().contains(addr)).max_by_key(|eam| eam.v6().len())?;
        let (suffix4, suffix6) = (32 - eam.v4().len(), 128 - eam.v6().len());
        let suffix = (addr.to_bits() & low(suffix6)) >> (suffix6 - suffix4);
        Some(Ipv4Addr::from_bits(eam.v4().addr().to_bits() | suffix as u32))
    }

    /// The mapped address of an IPv4 host: zeros follow its suffix (RFC 7757 §3.3.1).
    fn mapped6(&self, addr: Ipv4Addr) -> Option<Ipv6Addr> {
        let eams = self.settings.siit.as_ref()?.eams.iter();
        let eam = eams.filter(|eam| eam.v4().contains(addr)).max_by_key(|eam| eam.v4().len())?;
        let (suffix4, suffix6) = (32 - eam.v4().len(), 128 - eam.v6().len());
        let suffix = u128::from(addr.to_bits()) & low(suffix4);
        Some(Ipv6Addr::from_bits(eam.v6().addr().to_bits() | suffix << (suffix6 - suffix4)))
    }

    /// The IPv6 address of any IPv4 host: mapped, else under the prefix.
    fn any6(&self, pref64: Pref64, addr: Ipv4Addr) -> Ipv6Addr {
        self.mapped6(addr).unwrap_or_else(|| embed(pref64, addr))
    }

    /// The IPv4 address of any IPv6 host that has one.
    fn any4(&self, pref64: Pref64, addr: Ipv6Addr) -> Option<Ipv4Addr> {
        let under = || pref64.prefix().contains(addr).then(|| extract(pref64, addr));
        self.mapped4(addr).or_else(under)
    }

    /// A packet from a mapped host; `None` if its source has no mapping.
    pub(super) fn stateless6(&self, packet: &Packet) -> Option<Result<Outcome, Refusal>> {
        let (src, dst) = packet::addresses6(packet);
        let (pref64, from) = (self.stateless_pref64()?, self.mapped4(src)?);
        let to = self.any4(pref64, dst)?;
        let forward = || {
            if let Body::Icmp { quote: Some(Quote::Packet(inner)), .. } = &packet.body {
                return self.stateless_error6(packet, inner, pref64, (from, to));
            }
            if !is_host4(to) {
                return Err(Reason::DestinationAddress.into());
            }
            self.is_remote(false, to)?;
            if matches!(packet.body, Body::Udp { .. }) && packet.csum == Csum::Zero {
                return Err(Reason::UdpZeroChecksum.into());
            }
            // RFC 7757 §4.2.2: the prefix represents an address that another host is mapped to.
            let inside = self.mapped6(to).filter(|_| self.mapped4(dst).is_none());
            self.judge6(packet, inside.is_some())?;
            let (src_port, dst_port) = ports(packet);
            let ends = (Transport4::new(from, src_port), Transport4::new(to, dst_port));
            let rules = &self.settings.rules;
            let mtu4 = if inside.is_some() { u16::MAX } else { rules.mtu4 };
            let mut packets = packet::to_v4(packet, ends.0, ends.1, rules.tos, mtu4);
            if let Some(inside) = inside {
                let from = Transport6::new(embed(pref64, from), src_port);
                packets = packet::to_v6(&packets[0], from, Transport6::new(inside, dst_port), rules, true);
            }
            Ok(Outcome { verdict: Verdict::Forward, packets })
        };
        Some(forward())
    }

    fn stateless_error6(
        &self,
        packet: &Packet,
        inner: &Packet,
        pref64: Pref64,
        (from, to): (Ipv4Addr, Ipv4Addr),
    ) -> Result<Outcome, Refusal> {
        self.judge6_error(packet)?;
        let (server, client) = packet::addresses6(inner);
        let (server_port, client_port) = ports(inner);
        let four = |addr| self.any4(pref64, addr).filter(|addr| is_host4(*addr));
        let quoted = |addr, port| Transport4::new(four(addr).unwrap_or(Ipv4Addr::UNSPECIFIED), port);
        let ends = (quoted(server, server_port), quoted(client, client_port));
        // The type is judged before the addresses.
        let out = packet::error_to_v4(packet, (Transport4::new(from, 0), to), ends, &self.settings.rules)
            .ok_or(Reason::IcmpType)?;
        if !is_host4(to) {
            return Err(Reason::DestinationAddress.into());
        }
        self.is_remote(false, to)?;
        if four(server).is_none() || four(client).is_none() {
            return Err(Reason::IcmpQuoted.into());
        }
        Ok(Outcome { verdict: Verdict::Forward, packets: vec![out] })
    }

    /// A packet to a mapped host; `None` if its destination has no mapping.
    pub(super) fn stateless4(&self, packet: &Packet) -> Option<Result<Outcome, Refusal>> {
        let (src, dst) = packet::addresses4(packet);
        let (pref64, to) = (self.stateless_pref64()?, self.mapped6(dst)?);
        let forward = || {
            self.judge4(packet, false)?;
            let (rules, from) = (&self.settings.rules, self.any6(pref64, src));
            if let Body::Icmp { quote: Some(Quote::Packet(inner)), .. } = &packet.body {
                let (client, server) = packet::addresses4(inner);
                let (client_port, server_port) = ports(inner);
                let client = Transport6::new(self.any6(pref64, client), client_port);
                let server = Transport6::new(self.any6(pref64, server), server_port);
                // The quoted packet's sender is the error's receiver.
                let mut out = packet::error_to_v6(packet, (from, client), server, rules, false)
                    .ok_or(Reason::IcmpType)?;
                out.dst = to.into();
                return Ok(Outcome { verdict: Verdict::Forward, packets: vec![out] });
            }
            let (src_port, dst_port) = ports(packet);
            let ends = (Transport6::new(from, src_port), Transport6::new(to, dst_port));
            let packets = packet::to_v6(packet, ends.0, ends.1, rules, false);
            Ok(Outcome { verdict: Verdict::Forward, packets })
        };
        Some(forward())
    }
}
