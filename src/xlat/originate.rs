//! Originates ICMP errors: prepends IP and ICMP headers to the refused packet.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use super::header::{Header4, Header6, IpHeader};
use super::refusal::{ErrorHeader, Refusal};
use super::rules::RewriteRules;
use super::segment::{SuperPacket, complete};
use crate::addr::special::is_host_v4;
use crate::wire::buf::{Checksum, Offload, PacketBuf};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::{self, Ipv6Packet, MIN_MTU};
use crate::wire::{ICMP4, ICMP6, Transport, icmp, put_u16, put_u32, u16_at};

/// Longest ICMPv4 error in bytes (RFC 1812 §4.3.2.3).
pub(super) const MAX_ERROR4: usize = 576;

/// Hop limit and TTL of originated packets.
const OWN_HOP_LIMIT: u8 = 64;

/// DSCP bits of the traffic class. An error copies DSCP, not ECN (RFC 5508 REQ-7, RFC 1812 §4.3.2.5).
const DSCP: u8 = 0xfc;

/// Whether an ICMPv6 error may be sent about a packet (RFC 4443 §2.4 e, RFC 7915 §5.4). It may not:
///
/// - for an ICMPv6 error or redirect,
/// - for a packet whose source is unspecified or multicast,
/// - for a multicast destination, except Packet Too Big,
/// - "administratively prohibited" for any ICMPv6 message.
pub(super) fn is_error_due6(packet: &Ipv6Packet, error: ErrorHeader, buf: &PacketBuf) -> bool {
    let about_icmp = packet.protocol == ICMP6
        && (matches!(packet.transport, Transport::Fragment | Transport::Error(_))
            || buf.bytes().get(packet.upper_at).is_none_or(|&kind| icmp::v6::is_error(kind)));
    let prohibited = error.kind == icmp::v6::UNREACHABLE && error.code == 1 && packet.protocol == ICMP6;
    let no_single_source = packet.src.is_unspecified() || packet.src.is_multicast();
    // Path MTU discovery covers multicast (RFC 4443 §2.4 e).
    let multicast = packet.dst.is_multicast() && error.kind != icmp::v6::TOO_BIG;
    !(about_icmp || prohibited || no_single_source || multicast)
}

/// Replaces a refused IPv6 packet by the ICMPv6 error for its sender, if the refusal has one, it is due, and the
/// limit of errors allows it. Returns false if the buffer is unchanged.
pub(crate) fn reply6(
    refusal: Refusal,
    rules: &RewriteRules,
    from: Ipv6Addr,
    buf: &mut PacketBuf,
    is_allowed: impl FnOnce(&Ipv6Packet, ErrorHeader) -> bool,
) -> bool {
    if buf.meta.hairpin {
        return false;
    }
    let Some(error) = refusal.error6(rules) else { return false };
    let Ok(packet) = Ipv6Packet::parse(buf.bytes(), &buf.offload) else { return false };
    is_error_due6(&packet, error, buf)
        && is_allowed(&packet, error)
        && originate_error6(&packet, error, from, buf)
}

/// Replaces a refused IPv4 packet as [`reply6`] does. `allowed_id` returns the identification of an error that the
/// limit allows. The sender of a hairpinned packet is an IPv6 host and gets none.
pub(crate) fn reply4(
    refusal: Refusal,
    rules: &RewriteRules,
    from: Ipv4Addr,
    buf: &mut PacketBuf,
    allowed_id: impl FnOnce(&Ipv4Packet, ErrorHeader) -> Option<u16>,
) -> bool {
    if buf.meta.hairpin {
        return false;
    }
    let Some(error) = refusal.error4(rules) else { return false };
    let Ok(packet) = Ipv4Packet::parse(buf.bytes(), &buf.offload) else { return false };
    if !is_error_due4(&packet, buf) {
        return false;
    }
    let Some(id) = allowed_id(&packet, error) else { return false };
    originate_error4(&packet, error, from, id, buf)
}

/// Replaces a refused IPv6 packet by the ICMPv6 error for its sender, 1,280 bytes at most. Returns false and leaves
/// the buffer unchanged if [the error is not due](is_error_due6).
pub(super) fn originate_error6(
    packet: &Ipv6Packet,
    error: ErrorHeader,
    from: Ipv6Addr,
    buf: &mut PacketBuf,
) -> bool {
    if !is_error_due6(packet, error, buf) {
        return false;
    }
    let header = Header6 {
        src: from,
        dst: packet.src,
        traffic_class: packet.traffic_class & DSCP,
        hop_limit: OWN_HOP_LIMIT,
        protocol: ICMP6,
        fragment: None,
        id: 0,
    };
    let pseudo = Sum::of_v6(packet.src).plus(Sum::of_v6(packet.dst)).word(u16::from(packet.protocol));
    let len = restore_wire_form(buf, packet.upper_at..packet.len, packet.protocol, pseudo);
    if len != packet.len {
        put_u16(buf.bytes_mut(), ipv6::PAYLOAD_LEN, (len - ipv6::HEADER) as u16);
    }
    buf.set_len(len.min(MIN_MTU - ipv6::HEADER - icmp::HEADER));
    put_message(buf, error, |len| Sum::pseudo6(from, packet.src, ICMP6, len));
    let upper = buf.len();
    buf.grow_front(ipv6::HEADER);
    header.write(buf.bytes_mut(), upper);
    true
}

/// Whether an ICMPv4 error may be sent about a packet (RFC 1812 §4.3.2.7). It may not:
///
/// - for an ICMP error,
/// - for a fragment other than the first,
/// - for a source or destination that is not a host address.
pub(crate) fn is_error_due4(packet: &Ipv4Packet, buf: &PacketBuf) -> bool {
    let about_icmp = packet.protocol == ICMP4
        && (matches!(packet.transport, Transport::Error(_))
            || buf.bytes().get(packet.header_len).is_none_or(|&kind| icmp::v4::is_error(kind)));
    let not_first = packet.transport == Transport::Fragment;
    !(about_icmp || not_first) && is_host_v4(packet.src) && is_host_v4(packet.dst)
}

/// Replaces a refused IPv4 packet by the ICMPv4 error for its sender, 576 bytes at most. `id` is the
/// identification of the error. Returns false and leaves the buffer unchanged if [the error is not
/// due](is_error_due4).
pub(crate) fn originate_error4(
    packet: &Ipv4Packet,
    error: ErrorHeader,
    from: Ipv4Addr,
    id: u16,
    buf: &mut PacketBuf,
) -> bool {
    if !is_error_due4(packet, buf) {
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
    let pseudo = Sum::of_v4(packet.src).plus(Sum::of_v4(packet.dst)).word(u16::from(packet.protocol));
    let len = restore_wire_form(buf, packet.header_len..packet.total_len, packet.protocol, pseudo);
    if len != packet.total_len {
        let bytes = buf.bytes_mut();
        let change = Sum::ZERO.word(packet.total_len as u16).replaced_by(Sum::ZERO.word(len as u16));
        put_u16(bytes, ipv4::TOTAL_LEN, len as u16);
        let checksum = change.apply(u16_at(bytes, ipv4::CHECKSUM));
        put_u16(bytes, ipv4::CHECKSUM, checksum);
    }
    buf.set_len(len.min(MAX_ERROR4 - ipv4::HEADER - icmp::HEADER));
    put_message(buf, error, |_| Sum::ZERO);
    let upper = buf.len();
    buf.grow_front(ipv4::HEADER);
    header.write(buf.bytes_mut(), upper);
    true
}

/// Restores the message at `at` to its form on the wire: the first packet of a super-packet, with a
/// complete checksum. Returns that packet's length with its IP header. `pseudo` is the sum of the
/// pseudo-header without its length field.
fn restore_wire_form(buf: &mut PacketBuf, at: Range<usize>, protocol: u8, pseudo: Sum) -> usize {
    let offload = buf.offload;
    let message = &mut buf.bytes_mut()[at.clone()];
    if let Some(super_packet) = SuperPacket::of(message, offload.segmentation) {
        let (header, len) = super_packet.header(message, 0, pseudo);
        message[..len].copy_from_slice(&header[..len]);
        return at.start + super_packet.longest();
    }
    if offload.checksum == Checksum::Partial {
        complete(message, protocol);
    }
    at.end
}

/// Writes an ICMP header in front of the quoted packet.
pub(super) fn put_message(buf: &mut PacketBuf, error: ErrorHeader, pseudo: impl Fn(usize) -> Sum) {
    buf.offload = Offload::default();
    buf.grow_front(icmp::HEADER);
    let message = buf.bytes_mut();
    message[0] = error.kind;
    message[1] = error.code;
    put_u16(message, icmp::CHECKSUM, 0);
    put_u32(message, 4, error.info);
    let checksum = pseudo(message.len()).plus(Sum::of(message)).checksum();
    put_u16(message, icmp::CHECKSUM, checksum);
}
