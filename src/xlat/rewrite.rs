//! Applies a plan: rewrites the packet from the payload towards the front.

use super::flow::{Flow4, Flow6, To4, To6};
use super::fragment::CutPlan;
use super::header::{Header4, Header6, IpHeader};
use super::ids::Ids;
use super::plan::{Action, MAX_WITHOUT_DF, PlanTo4, PlanTo6, Rewrite};
use super::quoted::{error_to_v4, error_to_v6};
use super::rules::{RewriteRules, TrafficClass};
use super::segment::{Segments, complete};
use super::transport::{Addresses, add_udp_checksum, put_echo, rewrite_tcp, rewrite_udp};
use crate::reason::Reason;
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::{ICMP4, ICMP6, Transport, icmp, tcp};

impl<'p> PlanTo4<'p> {
    /// Rewrites the packet to IPv4 in place (RFC 7915 §5) and returns its buffer. If the packet is cut, the
    /// buffer holds the first of the resulting packets and `extra` the others.
    ///
    /// # Errors
    /// [`Reason::ExtraFull`] if `extra` has too little room; nothing is written then.
    #[inline]
    pub(crate) fn apply(
        self,
        rules: &RewriteRules,
        to: &To4,
        ids: &mut Ids,
        extra: &mut ExtraPackets,
    ) -> Result<&'p mut PacketBuf, Reason> {
        let Self { packet, buf, rewrite, ttl, .. } = self;
        buf.set_len(packet.len);
        let (src, dst) = (to.outer.src.addr, to.outer.dst.addr);
        let protocol = if packet.protocol == ICMP6 { ICMP4 } else { packet.protocol };
        let mut header = Header4 {
            src,
            dst,
            tos: traffic_class(rules.tos, packet.traffic_class),
            ttl,
            protocol,
            id: packet.fragment.map_or(0, |f| f.id as u16),
            df: false,
            offset: packet.fragment.map_or(0, |f| f.offset),
            more: packet.fragment.is_some_and(|f| f.more),
        };
        let mut count = 1;
        match rewrite {
            Rewrite::Error(message, error) => error_to_v4(rules, message, error, to, buf),
            Rewrite::Message(Action::Cut { max }) => {
                let message = &buf.bytes()[packet.upper_at..];
                let plan = CutPlan::of(&header, message, &buf.offload, usize::from(max));
                if !plan.fits(extra) {
                    return Err(Reason::ExtraFull);
                }
                if packet.fragment.is_none() {
                    header.id = ids.take(src, dst, protocol, false, plan.segments());
                }
                message_to_v4(rules, packet, &to.outer, buf);
                buf.shrink_front(packet.upper_at);
                plan.cut(&header, buf, extra);
                return Ok(buf);
            }
            Rewrite::Message(action @ (Action::Whole | Action::Resegment(_))) => {
                if let Action::Resegment(size) = action {
                    resegment(buf, size);
                }
                let segments = Segments::of(&buf.bytes()[packet.upper_at..], buf.offload.segmentation);
                count = segments.count;
                header.df = packet.fragment.is_none() && ipv4::HEADER + segments.longest > MAX_WITHOUT_DF;
                message_to_v4(rules, packet, &to.outer, buf);
                buf.shrink_front(packet.upper_at);
            }
        }
        if packet.fragment.is_none() {
            header.id = ids.take(src, dst, protocol, header.df, count);
        }
        put_header(&header, buf);
        Ok(buf)
    }
}

impl<'p> PlanTo6<'p> {
    /// Rewrites the packet to IPv6 in place (RFC 7915 §4) and returns its buffer. If the packet is cut, the
    /// buffer holds the first of the resulting packets and `extra` the others.
    ///
    /// # Errors
    /// [`Reason::ExtraFull`] if `extra` has too little room; nothing is written then.
    #[inline]
    pub(crate) fn apply(
        self,
        rules: &RewriteRules,
        to: &To6,
        extra: &mut ExtraPackets,
    ) -> Result<&'p mut PacketBuf, Reason> {
        let Self { packet, buf, rewrite, hop_limit } = self;
        buf.set_len(packet.total_len);
        let header = Header6 {
            src: to.outer.src.addr,
            dst: to.outer.dst.addr,
            traffic_class: traffic_class(rules.traffic_class, packet.tos),
            hop_limit,
            protocol: if packet.protocol == ICMP4 { ICMP6 } else { packet.protocol },
            fragment: packet.fragment,
            id: u32::from(packet.id),
        };
        match rewrite {
            Rewrite::Error(message, error) => error_to_v6(message, error, to, buf),
            Rewrite::Message(Action::Cut { max }) => {
                let message = &buf.bytes()[packet.header_len..];
                let plan = CutPlan::of(&header, message, &buf.offload, usize::from(max));
                if !plan.fits(extra) {
                    return Err(Reason::ExtraFull);
                }
                message_to_v6(rules, packet, &to.outer, buf);
                buf.shrink_front(packet.header_len);
                plan.cut(&header, buf, extra);
                return Ok(buf);
            }
            Rewrite::Message(action @ (Action::Whole | Action::Resegment(_))) => {
                if let Action::Resegment(size) = action {
                    resegment(buf, size);
                }
                message_to_v6(rules, packet, &to.outer, buf);
                buf.shrink_front(packet.header_len);
            }
        }
        put_header(&header, buf);
        Ok(buf)
    }
}

/// Writes the IP header in front of the message that `buf` holds.
#[inline]
fn put_header<H: IpHeader>(header: &H, buf: &mut PacketBuf) {
    let upper = buf.len();
    buf.grow_front(header.len());
    header.write(buf.bytes_mut(), upper);
}

/// The traffic class or TOS byte of the translated packet.
pub(super) const fn traffic_class(rule: TrafficClass, received: u8) -> u8 {
    match rule {
        TrafficClass::Copy => received,
        TrafficClass::Set(value) => value,
    }
}

/// Sets the segment size of a TCP super-packet, in bytes of payload.
fn resegment(buf: &mut PacketBuf, size: u16) {
    if let Segmentation::Tcp { ecn, .. } = buf.offload.segmentation {
        buf.offload.segmentation = Segmentation::Tcp { size, ecn };
    }
}

/// Upper bound for the MSS option of a SYN, in bytes, so that segments fit both MTUs; `None` if the MSS
/// is not clamped.
fn max_mss(rules: &RewriteRules, flags: tcp::Flags) -> Option<u16> {
    (rules.mss_clamp && flags.has(tcp::Flags::SYN))
        .then(|| rules.mtu6.saturating_sub(60).min(rules.mtu4.saturating_sub(40)))
}

/// Rewrites the transport header of a packet to IPv4.
#[inline(always)]
fn message_to_v4(rules: &RewriteRules, packet: &Ipv6Packet, to: &Flow4, buf: &mut PacketBuf) {
    let mut offload = buf.offload;
    let message = &mut buf.bytes_mut()[packet.upper_at..];
    let addresses = Addresses {
        old: Sum::of_v6(packet.src).plus(Sum::of_v6(packet.dst)),
        new: Sum::of_v4(to.src.addr).plus(Sum::of_v4(to.dst.addr)),
    };
    let ports = (to.src.port, to.dst.port);
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            rewrite_tcp(message, ports, addresses, max_mss(rules, flags), &offload);
        }
        Transport::Udp { .. } => rewrite_udp(message, ports, addresses, &offload),
        Transport::Echo { reply, .. } => {
            complete_echo(message, &mut offload, ICMP6);
            let pseudo = Sum::pseudo6(packet.src, packet.dst, ICMP6, message.len());
            let kind = if reply { icmp::v4::ECHO_REPLY } else { icmp::v4::ECHO };
            put_echo(message, kind, to.src.port, pseudo, Sum::ZERO);
        }
        Transport::Error(_) | Transport::Icmp | Transport::Fragment | Transport::Other => {}
    }
    buf.offload = offload;
}

/// Rewrites the transport header of a packet to IPv6.
#[inline(always)]
fn message_to_v6(rules: &RewriteRules, packet: &Ipv4Packet, to: &Flow6, buf: &mut PacketBuf) {
    let mut offload = buf.offload;
    let message = &mut buf.bytes_mut()[packet.header_len..];
    let addresses = Addresses {
        old: Sum::of_v4(packet.src).plus(Sum::of_v4(packet.dst)),
        new: Sum::of_v6(to.src.addr).plus(Sum::of_v6(to.dst.addr)),
    };
    let ports = (to.src.port, to.dst.port);
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            rewrite_tcp(message, ports, addresses, max_mss(rules, flags), &offload);
        }
        Transport::Udp { checksum: 0, .. } if offload.checksum != Checksum::Partial => {
            let pseudo = addresses.new.word(u16::from(packet.protocol));
            add_udp_checksum(message, ports, pseudo, &mut offload);
        }
        Transport::Udp { .. } => rewrite_udp(message, ports, addresses, &offload),
        Transport::Echo { reply, .. } => {
            complete_echo(message, &mut offload, ICMP4);
            let pseudo = Sum::pseudo6(to.src.addr, to.dst.addr, ICMP6, message.len());
            let kind = if reply { icmp::v6::ECHO_REPLY } else { icmp::v6::ECHO };
            put_echo(message, kind, to.src.port, Sum::ZERO, pseudo);
        }
        Transport::Error(_) | Transport::Icmp | Transport::Fragment | Transport::Other => {}
    }
    buf.offload = offload;
}

/// Completes a partial ICMP checksum. It can't stay partial: ICMPv6 has a pseudo-header and ICMPv4 has
/// none.
fn complete_echo(message: &mut [u8], offload: &mut Offload, protocol: u8) {
    if offload.checksum == Checksum::Partial {
        complete(message, protocol);
        offload.checksum = Checksum::Verified;
    }
}
