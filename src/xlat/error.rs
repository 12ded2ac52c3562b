//! ICMP errors of our own: the refused packet with an error in front of it.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::header::{Header4, Header6};
use super::plan::Answer;
use crate::addr::special::is_host_v4;
use crate::wire::buf::{Offload, PacketBuf};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::{self, Ipv6Packet, MIN_MTU};
use crate::wire::{ICMP4, ICMP6, Transport, icmp, put_u16, put_u32};

/// Longest ICMPv4 error (RFC 1812 §4.3.2.3).
pub(super) const MAX_ERROR4: usize = 576;

/// Hop limit and TTL of packets of our own.
const OWN_HOP_LIMIT: u8 = 64;

/// ECN is not copied into an error, DSCP is (RFC 5508 REQ-7, RFC 1812 §4.3.2.5).
const DSCP: u8 = 0xfc;

/// Turns a refused IPv6 packet into the ICMPv6 error for its sender, quoting what fits 1,280 bytes.
///
/// False, and the buffer unchanged, if no error may be sent (RFC 4443 §2.4 e): about an ICMPv6 error
/// or redirect, about a packet from or to what is no single host; and no "prohibited" about any ICMPv6
/// message (RFC 7915 §5.4).
pub fn answer6(packet: &Ipv6Packet, answer: Answer, from: Ipv6Addr, buf: &mut PacketBuf) -> bool {
    let about_icmp = packet.protocol == ICMP6
        && (matches!(packet.transport, Transport::Fragment | Transport::Error(_))
            || buf.bytes().get(packet.upper_at).is_none_or(|&kind| icmp::v6::is_error(kind)));
    let prohibited = answer.kind == icmp::v6::UNREACHABLE && answer.code == 1 && packet.protocol == ICMP6;
    let no_host = packet.src.is_unspecified() || packet.src.is_multicast();
    // Path MTU discovery works for multicast too.
    let to_many = packet.dst.is_multicast() && answer.kind != icmp::v6::TOO_BIG;
    if about_icmp || prohibited || no_host || to_many {
        return false;
    }
    let header = Header6 {
        src: from,
        dst: packet.src,
        traffic_class: packet.traffic_class & DSCP,
        hop_limit: OWN_HOP_LIMIT,
        protocol: ICMP6,
        fragment: None,
    };
    buf.set_len(packet.len.min(MIN_MTU - ipv6::HEADER - icmp::HEADER));
    buf.grow_front(icmp::HEADER);
    put_message(buf, answer, |len| Sum::pseudo6(from, packet.src, ICMP6, len));
    let upper = buf.len();
    buf.grow_front(ipv6::HEADER);
    header.write(buf.bytes_mut(), upper);
    true
}

/// Turns a refused IPv4 packet into the ICMPv4 error for its sender, quoting what fits 576 bytes.
/// `id` is the identification of the packet that results.
///
/// False, and the buffer unchanged, if no error may be sent (RFC 1812 §4.3.2.7): about an ICMP error,
/// a fragment that is not the first, a packet from or to what is no single host.
pub fn answer4(packet: &Ipv4Packet, answer: Answer, from: Ipv4Addr, id: u16, buf: &mut PacketBuf) -> bool {
    let about_icmp = packet.protocol == ICMP4
        && (matches!(packet.transport, Transport::Error(_))
            || buf.bytes().get(packet.header_len).is_none_or(|&kind| icmp::v4::is_error(kind)));
    let not_first = packet.transport == Transport::Fragment;
    if about_icmp || not_first || !is_host_v4(packet.src) || !is_host_v4(packet.dst) {
        return false;
    }
    let header = Header4 {
        src: from,
        dst: packet.src,
        tos: packet.tos & DSCP,
        ttl: OWN_HOP_LIMIT,
        protocol: ICMP4,
        id,
        df: false,
        offset: 0,
        more: false,
    };
    buf.set_len(packet.total_len.min(MAX_ERROR4 - ipv4::HEADER - icmp::HEADER));
    buf.grow_front(icmp::HEADER);
    put_message(buf, answer, |_| Sum::ZERO);
    buf.grow_front(ipv4::HEADER);
    let len = buf.len();
    header.write(buf.bytes_mut(), len);
    true
}

/// Writes the ICMP header in front of the quoted packet.
fn put_message(buf: &mut PacketBuf, answer: Answer, pseudo: impl Fn(usize) -> Sum) {
    buf.offload = Offload::default();
    let message = buf.bytes_mut();
    message[0] = answer.kind;
    message[1] = answer.code;
    put_u16(message, icmp::CHECKSUM, 0);
    put_u32(message, 4, answer.info);
    let checksum = pseudo(message.len()).plus(Sum::of(message)).checksum();
    put_u16(message, icmp::CHECKSUM, checksum);
}
