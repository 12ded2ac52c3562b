//! TCP segments of the gateway's own: the keepalive probe of an idle connection (RFC 6146 §3.5.2.2), and the form
//! that it shares with a RST.

use crate::addr::Transport6;
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;
use crate::wire::{DST_PORT, SRC_PORT, TCP, ipv6, put_u16, put_u32, tcp};

const LEN: usize = ipv6::HEADER + tcp::HEADER;
/// An IPv6 packet with a TCP segment without options and data.
pub(super) type Segment = [u8; LEN];
const HOP_LIMIT: u8 = 64;

/// Builds an ACK from a server to a client with sequence number zero. The client replies with ACK or RST.
pub(super) fn probe(server: Transport6, client: Transport6) -> Segment {
    segment(server, client, Flags::ACK, (0, 0))
}

/// Builds a segment without data: its flags, sequence and acknowledgment numbers.
pub(super) fn segment(
    from: Transport6,
    to: Transport6,
    flags: Flags,
    (sequence, acknowledged): (u32, u32),
) -> Segment {
    let mut packet = [0; LEN];
    packet[0] = 0x60;
    put_u16(&mut packet, ipv6::PAYLOAD_LEN, tcp::HEADER as u16);
    packet[6] = TCP;
    packet[7] = HOP_LIMIT;
    packet[8..24].copy_from_slice(&from.addr.octets());
    packet[24..40].copy_from_slice(&to.addr.octets());
    let segment = &mut packet[ipv6::HEADER..];
    put_u16(segment, SRC_PORT, from.port);
    put_u16(segment, DST_PORT, to.port);
    put_u32(segment, tcp::SEQUENCE, sequence);
    put_u32(segment, tcp::ACKNOWLEDGMENT, acknowledged);
    segment[12] = (tcp::HEADER as u8 / 4) << 4;
    segment[tcp::FLAGS] = flags.0;
    let sum = Sum::pseudo6(from.addr, to.addr, TCP, tcp::HEADER).plus(Sum::of(segment));
    put_u16(segment, tcp::CHECKSUM, sum.checksum());
    packet
}
