//! The headers of a reassembled datagram.

use crate::wire::checksum::Sum;
use crate::wire::{ipv4, ipv6, put_u16};

/// Turns the header of a fragment into that of the whole IPv4 packet (RFC 791).
pub(in crate::nat64) fn header4(packet: &mut [u8], header: usize) {
    put_u16(packet, ipv4::TOTAL_LEN, packet.len() as u16);
    put_u16(packet, ipv4::FRAGMENT, 0);
    put_u16(packet, ipv4::CHECKSUM, 0);
    let checksum = Sum::of(&packet[..header]).checksum();
    put_u16(packet, ipv4::CHECKSUM, checksum);
}

/// Turns the headers in front of the data at `header` into those of an atomic fragment. The last of them is
/// the Fragment header.
pub(in crate::nat64) fn headers6(packet: &mut [u8], header: usize) {
    put_u16(packet, ipv6::PAYLOAD_LEN, (packet.len() - ipv6::HEADER) as u16);
    put_u16(packet, header - ipv6::FRAGMENT_HEADER + ipv6::FRAGMENT_OFFSET, 0);
}
