//! The keepalive probe of an idle TCP connection (RFC 6146 §3.5.2.2).

use core::net::Ipv6Addr;

use crate::addr::Transport6;
use crate::wire::checksum::Sum;
use crate::wire::{DST_PORT, SRC_PORT, TCP, ipv6, put_u16, tcp};

const LEN: usize = ipv6::HEADER + tcp::HEADER;
const HOP_LIMIT: u8 = 64;

/// Builds an ACK from a server to a client with sequence number zero. The client replies with ACK or RST.
pub(super) fn probe(server: Ipv6Addr, port: u16, client: Transport6) -> [u8; LEN] {
    let mut packet = [0; LEN];
    packet[0] = 0x60;
    put_u16(&mut packet, ipv6::PAYLOAD_LEN, tcp::HEADER as u16);
    packet[6] = TCP;
    packet[7] = HOP_LIMIT;
    packet[8..24].copy_from_slice(&server.octets());
    packet[24..40].copy_from_slice(&client.addr.octets());
    let segment = &mut packet[ipv6::HEADER..];
    put_u16(segment, SRC_PORT, port);
    put_u16(segment, DST_PORT, client.port);
    segment[12] = (tcp::HEADER as u8 / 4) << 4;
    segment[13] = tcp::Flags::ACK.0;
    let sum = Sum::pseudo6(server, client.addr, TCP, tcp::HEADER).plus(Sum::of(segment));
    put_u16(segment, tcp::CHECKSUM, sum.checksum());
    packet
}
