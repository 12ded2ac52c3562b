//! Header offsets of a TCP or UDP packet, as offloads need them.

use crate::wire::checksum::Sum;
use crate::wire::{TCP, UDP, ipv4, ipv6, put_u16, tcp, u16_at, udp};

/// The layout of an unfragmented TCP or UDP packet with complete headers and consistent lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Whether the outer header is IPv6.
    pub(super) v6: bool,
    /// TCP or UDP.
    pub(super) protocol: u8,
    /// Where the TCP or UDP header starts.
    pub(super) transport_at: usize,
    /// Where the payload starts; at most 60 bytes after `transport_at`.
    pub(super) payload_at: usize,
}

impl Layout {
    /// Reads the headers of `bytes`; `None` for a fragment, another protocol, a header that is cut
    /// off or a length that does not fit.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let (v6, protocol, transport_at) = match bytes.first()? >> 4 {
            4 => of_v4(bytes)?,
            6 => of_v6(bytes)?,
            _ => return None,
        };
        let transport = bytes.get(transport_at..)?;
        let header_len = match protocol {
            TCP => tcp::header_len(transport)?,
            UDP => {
                let head = transport.get(..udp::HEADER)?;
                let whole = usize::from(u16_at(head, udp::LENGTH)) == transport.len();
                whole.then_some(udp::HEADER)?
            }
            _ => return None,
        };
        Some(Self { v6, protocol, transport_at, payload_at: transport_at + header_len })
    }

    /// Offset of the checksum field from the transport header.
    pub(super) const fn checksum_offset(self) -> usize {
        if self.protocol == TCP { tcp::CHECKSUM } else { udp::CHECKSUM }
    }

    /// The checksum field.
    pub(super) fn checksum(self, bytes: &[u8]) -> u16 {
        u16_at(bytes, self.transport_at + self.checksum_offset())
    }

    /// The sum of the pseudo-header for a packet of `len` bytes with these headers.
    pub(super) fn pseudo(self, bytes: &[u8], len: usize) -> Sum {
        let len = len - self.transport_at;
        if self.v6 {
            let head = ipv6::Fields::of(bytes).expect("a layout has a complete header");
            Sum::pseudo6(head.src(), head.dst(), self.protocol, len)
        } else {
            let head = ipv4::Fields::of(bytes).expect("a layout has a complete header");
            Sum::pseudo4(head.src(), head.dst(), self.protocol, len)
        }
    }

    /// Whether the checksum is correct. A UDP datagram without a checksum counts as incorrect.
    pub(super) fn verify(self, bytes: &[u8]) -> bool {
        let missing = self.protocol == UDP && self.checksum(bytes) == 0;
        !missing
            && self.pseudo(bytes, bytes.len()).plus(Sum::of(&bytes[self.transport_at..])).fold() == 0xffff
    }

    /// Writes the lengths of a packet whose length has changed, and the IPv4 header checksum.
    /// `head` holds the headers, `len` is the whole packet's length.
    pub(super) fn set_len(self, head: &mut [u8], len: usize) {
        if self.v6 {
            put_u16(head, ipv6::PAYLOAD_LEN, (len - ipv6::HEADER) as u16);
        } else {
            put_u16(head, ipv4::TOTAL_LEN, len as u16);
            put_u16(head, ipv4::CHECKSUM, 0);
            let sum = Sum::of(&head[..self.transport_at]).checksum();
            put_u16(head, ipv4::CHECKSUM, sum);
        }
        if self.protocol == UDP {
            put_u16(head, self.transport_at + udp::LENGTH, (len - self.transport_at) as u16);
        }
    }

    /// Writes the checksum field.
    pub(super) fn set_checksum(self, head: &mut [u8], checksum: u16) {
        put_u16(head, self.transport_at + self.checksum_offset(), checksum);
    }
}

fn of_v4(bytes: &[u8]) -> Option<(bool, u8, usize)> {
    let head = ipv4::Fields::of(bytes)?;
    let fits = head.header_len() >= ipv4::HEADER && head.total_len() == bytes.len();
    (fits && !head.is_fragment()).then_some((false, head.protocol(), head.header_len()))
}

/// Walks Hop-by-Hop Options, Routing and Destination Options.
fn of_v6(bytes: &[u8]) -> Option<(bool, u8, usize)> {
    let head = ipv6::Fields::of(bytes)?;
    if head.payload_len() + ipv6::HEADER != bytes.len() {
        return None;
    }
    let (mut next, mut at) = (head.next_header(), ipv6::HEADER);
    while matches!(next, ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION) {
        next = *bytes.get(at)?;
        at += (usize::from(*bytes.get(at + 1)?) + 1) * 8;
    }
    Some((true, next, at))
}
