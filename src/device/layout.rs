//! Header offsets of a TCP or UDP packet, as offloads need them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::checksum::Sum;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const HEADER4: usize = 20;
const HEADER6: usize = 40;

/// The layout of an unfragmented TCP or UDP packet with complete headers and consistent lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Whether the outer header is IPv6.
    pub(super) v6: bool,
    /// [`TCP`] or [`UDP`].
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
            TCP => usize::from(transport.get(12)? >> 4) * 4,
            UDP => 8,
            _ => return None,
        };
        let least = if protocol == TCP { 20 } else { 8 };
        let whole = protocol == TCP || usize::from(word(transport.get(..8)?, 4)) == transport.len();
        let fits = whole && (least..=transport.len()).contains(&header_len);
        fits.then_some(Self { v6, protocol, transport_at, payload_at: transport_at + header_len })
    }

    /// Offset of the checksum field from the transport header.
    pub(super) const fn checksum_offset(self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// The checksum field.
    pub(super) fn checksum(self, bytes: &[u8]) -> u16 {
        word(bytes, self.transport_at + self.checksum_offset())
    }

    /// The sum of the pseudo-header for a packet of `len` bytes with these headers.
    pub(super) fn pseudo(self, bytes: &[u8], len: usize) -> Sum {
        let len = len - self.transport_at;
        if self.v6 {
            let addr = |at: usize| Ipv6Addr::from(*bytes[at..].first_chunk().unwrap_or(&[0; 16]));
            Sum::pseudo6(addr(8), addr(24), self.protocol, len)
        } else {
            let addr = |at: usize| Ipv4Addr::from(*bytes[at..].first_chunk().unwrap_or(&[0; 4]));
            Sum::pseudo4(addr(12), addr(16), self.protocol, len)
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
            put(head, 4, len - HEADER6);
        } else {
            put(head, 2, len);
            put(head, 10, 0);
            let sum = Sum::of(&head[..self.transport_at]).checksum();
            put(head, 10, usize::from(sum));
        }
        if self.protocol == UDP {
            put(head, self.transport_at + 4, len - self.transport_at);
        }
    }

    /// Writes the checksum field.
    pub(super) fn set_checksum(self, head: &mut [u8], checksum: u16) {
        put(head, self.transport_at + self.checksum_offset(), usize::from(checksum));
    }
}

fn of_v4(bytes: &[u8]) -> Option<(bool, u8, usize)> {
    let head: &[u8; HEADER4] = bytes.first_chunk()?;
    let header_len = usize::from(head[0] & 15) * 4;
    let fragment = word(head, 6) & 0x3fff != 0;
    let fits = header_len >= HEADER4 && usize::from(word(head, 2)) == bytes.len();
    (fits && !fragment).then_some((false, head[9], header_len))
}

/// Walks Hop-by-Hop Options, Routing and Destination Options.
fn of_v6(bytes: &[u8]) -> Option<(bool, u8, usize)> {
    let head: &[u8; HEADER6] = bytes.first_chunk()?;
    if usize::from(word(head, 4)) + HEADER6 != bytes.len() {
        return None;
    }
    let (mut next, mut at) = (head[6], HEADER6);
    while matches!(next, 0 | 43 | 60) {
        next = *bytes.get(at)?;
        at += (usize::from(*bytes.get(at + 1)?) + 1) * 8;
    }
    Some((true, next, at))
}

/// The 16 bits at `at`, which is inside `bytes`.
pub(super) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The 32 bits at `at`, which is inside `bytes`.
pub(super) fn double(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

/// Writes `value`, which fits 16 bits, at `at`.
pub(super) fn put(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}
