//! The rewriting itself: from the payload towards the front.

use super::flow::{Flow4, Flow6, To4, To6};
use super::fragment::{IpHeader, Shape};
use super::header::{Header4, Header6};
use super::ids::Ids;
use super::judge::MAX_WITHOUT_DF;
use super::plan::{Action, Plan};
use super::quoted::{error_to_v4, error_to_v6};
use super::rules::{Rules, TrafficClass};
use super::segment::{Unit, complete};
use super::transport::{Addresses, give_udp_checksum, put_echo, rewrite_tcp, rewrite_udp};
use crate::reason::Reason;
use crate::wire::batch::Batch;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::{ICMP4, ICMP6, Transport, icmp, tcp};

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
    buf.set_len(packet.len);
    let (src, dst) = (to.outer.src.addr, to.outer.dst.addr);
    let protocol = if packet.protocol == ICMP6 { ICMP4 } else { packet.protocol };
    let mut header = Header4 {
        src,
        dst,
        tos: traffic_class(rules.tos, packet.traffic_class),
        ttl: plan.hop_limit,
        protocol,
        id: packet.fragment.map_or(0, |f| f.id as u16),
        df: false,
        offset: packet.fragment.map_or(0, |f| f.offset),
        more: packet.fragment.is_some_and(|f| f.more),
    };
    let mut units = 1;
    match (plan.action, packet.transport) {
        (Action::Error(message), Transport::Error(error)) => error_to_v4(rules, message, &error, to, buf),
        (Action::Error(_), _) => return Err(Reason::IcmpType),
        (Action::Cut { max }, _) => {
            let message = &buf.bytes()[packet.upper_at..];
            let shape = Shape::of(&header, message, &buf.offload, usize::from(max));
            if !shape.fits(extra) {
                return Err(Reason::ExtraFull);
            }
            if packet.fragment.is_none() {
                header.id = ids.take(src, dst, protocol, false, shape.segments());
            }
            message_to_v4(rules, packet, &to.outer, buf);
            buf.shrink_front(packet.upper_at);
            shape.cut(&header, buf, extra);
            return Ok(());
        }
        (Action::Whole | Action::Resegment(_), _) => {
            if let Action::Resegment(size) = plan.action {
                resegment(buf, size);
            }
            let unit = Unit::of(&buf.bytes()[packet.upper_at..], buf.offload.segmentation);
            units = unit.count;
            header.df = packet.fragment.is_none() && ipv4::HEADER + unit.len > MAX_WITHOUT_DF;
            message_to_v4(rules, packet, &to.outer, buf);
            buf.shrink_front(packet.upper_at);
        }
    }
    if packet.fragment.is_none() {
        header.id = ids.take(src, dst, protocol, header.df, units);
    }
    put_header(&header, buf);
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
    buf.set_len(packet.total_len);
    let header = Header6 {
        src: to.outer.src.addr,
        dst: to.outer.dst.addr,
        traffic_class: traffic_class(rules.traffic_class, packet.tos),
        hop_limit: plan.hop_limit,
        protocol: if packet.protocol == ICMP4 { ICMP6 } else { packet.protocol },
        fragment: packet.fragment,
        id: u32::from(packet.id),
    };
    match (plan.action, packet.transport) {
        (Action::Error(message), Transport::Error(error)) => error_to_v6(message, &error, to, buf),
        (Action::Error(_), _) => return Err(Reason::IcmpType),
        (Action::Cut { max }, _) => {
            let message = &buf.bytes()[packet.header_len..];
            let shape = Shape::of(&header, message, &buf.offload, usize::from(max));
            if !shape.fits(extra) {
                return Err(Reason::ExtraFull);
            }
            message_to_v6(rules, packet, &to.outer, buf);
            buf.shrink_front(packet.header_len);
            shape.cut(&header, buf, extra);
            return Ok(());
        }
        (Action::Whole | Action::Resegment(_), _) => {
            if let Action::Resegment(size) = plan.action {
                resegment(buf, size);
            }
            message_to_v6(rules, packet, &to.outer, buf);
            buf.shrink_front(packet.header_len);
        }
    }
    put_header(&header, buf);
    Ok(())
}

/// Puts the header in front of what `buf` holds.
#[inline]
fn put_header<H: IpHeader>(header: &H, buf: &mut PacketBuf) {
    let upper = buf.len();
    buf.grow_front(header.len());
    header.write(buf.bytes_mut(), upper);
}

pub(super) const fn traffic_class(rule: TrafficClass, received: u8) -> u8 {
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

/// The most that a SYN may announce, if that is to be limited: what fits both MTUs.
fn most_mss(rules: &Rules, flags: tcp::Flags) -> Option<u16> {
    (rules.mss_clamp && flags.has(tcp::Flags::SYN))
        .then(|| rules.mtu6.saturating_sub(60).min(rules.mtu4.saturating_sub(40)))
}

#[inline(always)]
fn message_to_v4(rules: &Rules, packet: &Ipv6Packet, to: &Flow4, buf: &mut PacketBuf) {
    let mut offload = buf.offload;
    let message = &mut buf.bytes_mut()[packet.upper_at..];
    let addresses = Addresses {
        old: Sum::of_v6(packet.src).plus(Sum::of_v6(packet.dst)),
        new: Sum::of_v4(to.src.addr).plus(Sum::of_v4(to.dst.addr)),
    };
    let ports = (to.src.port, to.dst.port);
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            rewrite_tcp(message, ports, addresses, most_mss(rules, flags), &offload);
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

#[inline(always)]
fn message_to_v6(rules: &Rules, packet: &Ipv4Packet, to: &Flow6, buf: &mut PacketBuf) {
    let mut offload = buf.offload;
    let message = &mut buf.bytes_mut()[packet.header_len..];
    let addresses = Addresses {
        old: Sum::of_v4(packet.src).plus(Sum::of_v4(packet.dst)),
        new: Sum::of_v6(to.src.addr).plus(Sum::of_v6(to.dst.addr)),
    };
    let ports = (to.src.port, to.dst.port);
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            rewrite_tcp(message, ports, addresses, most_mss(rules, flags), &offload);
        }
        Transport::Udp { checksum: 0, .. } if offload.checksum != Checksum::Partial => {
            let pseudo = addresses.new.word(u16::from(packet.protocol));
            give_udp_checksum(message, ports, pseudo, &mut offload);
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

/// A partial checksum of ICMP is completed at once: it can't go on, as only one family has a
/// pseudo-header.
fn complete_echo(message: &mut [u8], offload: &mut Offload, protocol: u8) {
    if offload.checksum == Checksum::Partial {
        complete(message, protocol);
        offload.checksum = Checksum::Verified;
    }
}
