//! The rewriting itself: from the payload towards the front.

use super::flow::{Flow4, Flow6, To4, To6};
use super::header::{Header4, Header6};
use super::ids::Ids;
use super::judge::MAX_WITHOUT_DF;
use super::plan::{Plan, Way};
use super::rules::{Rules, TrafficClass};
use super::transport::{give_udp_checksum, rewrite_tcp, rewrite_udp};
use crate::reason::Reason;
use crate::wire::batch::Batch;
use crate::wire::buf::{Checksum, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::{Fragment, ICMP4, ICMP6, Transport, icmp, put_u16, tcp, u16_at};

/// Rewrites a packet to IPv4 in place (RFC 7915 §5). Further packets, if it is cut, go to `extra`.
///
/// `plan` must be that of the same packet and buffer.
///
/// # Errors
/// [`Reason::ExtraFull`] if `extra` has not enough room; nothing is written then.
#[inline]
pub fn v6_to_v4(
    rules: &Rules,
    plan: Plan,
    packet: &Ipv6Packet,
    to: &To4,
    ids: &mut Ids,
    buf: &mut PacketBuf,
    extra: &mut Batch,
) -> Result<(), Reason> {
    let upper = packet.len - packet.upper_at;
    let _ = extra;
    match plan.way {
        Way::Whole => {}
        Way::Resegment(size) => resegment(buf, size),
        Way::Cut { .. } => return Err(Reason::TooBig),
        Way::Error(_) => return Err(Reason::IcmpType),
    }
    buf.set_len(packet.len);
    message_to_v4(rules, packet, &to.outer, buf);
    let (unit, units) = unit_of(buf, packet.upper_at);
    let df = packet.fragment.is_none() && ipv4::HEADER + unit > MAX_WITHOUT_DF;
    let (src, dst) = (to.outer.src.addr, to.outer.dst.addr);
    let protocol = if packet.protocol == ICMP6 { ICMP4 } else { packet.protocol };
    let header = Header4 {
        src,
        dst,
        tos: traffic_class(rules.tos, packet.traffic_class),
        ttl: plan.hop_limit,
        protocol,
        id: match packet.fragment {
            Some(fragment) => fragment.id as u16,
            None => ids.take(src, dst, protocol, df, units),
        },
        df,
        offset: packet.fragment.map_or(0, |f| f.offset),
        more: packet.fragment.is_some_and(|f| f.more),
    };
    buf.shrink_front(packet.upper_at);
    buf.grow_front(ipv4::HEADER);
    header.write(buf.bytes_mut(), ipv4::HEADER + upper);
    Ok(())
}

/// Rewrites a packet to IPv6 in place (RFC 7915 §4). Further packets, if it is cut, go to `extra`.
///
/// `plan` must be that of the same packet and buffer.
///
/// # Errors
/// [`Reason::ExtraFull`] if `extra` has not enough room; nothing is written then.
#[inline]
pub fn v4_to_v6(
    rules: &Rules,
    plan: Plan,
    packet: &Ipv4Packet,
    to: &To6,
    buf: &mut PacketBuf,
    extra: &mut Batch,
) -> Result<(), Reason> {
    let upper = packet.total_len - packet.header_len;
    let _ = extra;
    match plan.way {
        Way::Whole => {}
        Way::Resegment(size) => resegment(buf, size),
        Way::Cut { .. } => return Err(Reason::TooBig),
        Way::Error(_) => return Err(Reason::IcmpType),
    }
    buf.set_len(packet.total_len);
    message_to_v6(rules, packet, &to.outer, buf);
    let header = Header6 {
        src: to.outer.src.addr,
        dst: to.outer.dst.addr,
        traffic_class: traffic_class(rules.traffic_class, packet.tos),
        hop_limit: plan.hop_limit,
        protocol: if packet.protocol == ICMP4 { ICMP6 } else { packet.protocol },
        fragment: packet.fragment.map(|f| Fragment { id: u32::from(packet.id), ..f }),
    };
    buf.shrink_front(packet.header_len);
    buf.grow_front(header.len());
    header.write(buf.bytes_mut(), upper);
    Ok(())
}

const fn traffic_class(rule: TrafficClass, received: u8) -> u8 {
    match rule {
        TrafficClass::Copy => received,
        TrafficClass::Set(value) => value,
    }
}

fn resegment(buf: &mut PacketBuf, size: u16) {
    if let Segmentation::Tcp { ecn, .. } = buf.offload.segmentation {
        buf.offload.segmentation = Segmentation::Tcp { size, ecn };
    }
}

/// Length without the IP header of the longest packet on the wire, and how many there are.
#[inline]
fn unit_of(buf: &PacketBuf, upper_at: usize) -> (usize, usize) {
    let upper = buf.len() - upper_at;
    let (header, size) = match buf.offload.segmentation {
        Segmentation::None => return (upper, 1),
        Segmentation::Udp { size } => (crate::wire::udp::HEADER, size),
        Segmentation::Tcp { size, .. } => {
            (tcp::header_len(&buf.bytes()[upper_at..]).unwrap_or(tcp::HEADER), size)
        }
    };
    let units = buf.offload.segments(upper.saturating_sub(header));
    (upper.min(header + usize::from(size)), units)
}

/// The most that a SYN may announce, if that is to be limited: what fits both MTUs.
fn most_mss(rules: &Rules, flags: tcp::Flags) -> Option<u16> {
    (rules.mss_clamp && flags.has(tcp::Flags::SYN))
        .then(|| rules.mtu6.saturating_sub(60).min(rules.mtu4.saturating_sub(40)))
}

#[inline]
fn message_to_v4(rules: &Rules, packet: &Ipv6Packet, to: &Flow4, buf: &mut PacketBuf) {
    let offload = buf.offload;
    let message = &mut buf.bytes_mut()[packet.upper_at..];
    let old = Sum::of_v6(packet.src).plus(Sum::of_v6(packet.dst));
    let new = Sum::of_v4(to.src.addr).plus(Sum::of_v4(to.dst.addr));
    let ports = (to.src.port, to.dst.port);
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            rewrite_tcp(message, ports, old.replaced_by(new), most_mss(rules, flags), &offload);
        }
        Transport::Udp { .. } => rewrite_udp(message, ports, old.replaced_by(new), &offload),
        Transport::Echo { reply, .. } => {
            let pseudo = Sum::pseudo6(packet.src, packet.dst, ICMP6, message.len());
            let kind = if reply { icmp::v4::ECHO_REPLY } else { icmp::v4::ECHO };
            put_echo(message, kind, to.src.port, pseudo, Sum::ZERO);
        }
        Transport::Error(_) | Transport::Icmp | Transport::Fragment | Transport::Other => {}
    }
}

#[inline]
fn message_to_v6(rules: &Rules, packet: &Ipv4Packet, to: &Flow6, buf: &mut PacketBuf) {
    let mut offload = buf.offload;
    let message = &mut buf.bytes_mut()[packet.header_len..];
    let old = Sum::of_v4(packet.src).plus(Sum::of_v4(packet.dst));
    let new = Sum::of_v6(to.src.addr).plus(Sum::of_v6(to.dst.addr));
    let ports = (to.src.port, to.dst.port);
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            rewrite_tcp(message, ports, old.replaced_by(new), most_mss(rules, flags), &offload);
        }
        Transport::Udp { checksum: 0, .. } if offload.checksum != Checksum::Partial => {
            let pseudo = new.word(u16::from(packet.protocol));
            give_udp_checksum(message, ports, pseudo, &mut offload);
            buf.offload = offload;
        }
        Transport::Udp { .. } => rewrite_udp(message, ports, old.replaced_by(new), &offload),
        Transport::Echo { reply, .. } => {
            let pseudo = Sum::pseudo6(to.src.addr, to.dst.addr, ICMP6, message.len());
            let kind = if reply { icmp::v6::ECHO_REPLY } else { icmp::v6::ECHO };
            put_echo(message, kind, to.src.port, Sum::ZERO, pseudo);
        }
        Transport::Error(_) | Transport::Icmp | Transport::Fragment | Transport::Other => {}
    }
}

/// Rewrites an echo: type and identifier, and the checksum, whose pseudo-header was `old` and
/// becomes `new` (ICMPv4 has none).
fn put_echo(message: &mut [u8], kind: u8, id: u16, old: Sum, new: Sum) {
    let old = old.word(u16_at(message, 0)).word(u16_at(message, icmp::IDENTIFIER));
    message[0] = kind;
    put_u16(message, icmp::IDENTIFIER, id);
    let new = new.word(u16_at(message, 0)).word(id);
    let field = u16_at(message, icmp::CHECKSUM);
    put_u16(message, icmp::CHECKSUM, old.replaced_by(new).apply(field));
}
