//! The key of a datagram.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The key of a datagram, common to its fragments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::nat64) struct Key {
    /// Source.
    pub(in crate::nat64) src: IpAddr,
    /// Destination, of the same family.
    pub(in crate::nat64) dst: IpAddr,
    /// IPv4 protocol, or the next header after the IPv6 Fragment header.
    pub(in crate::nat64) protocol: u8,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub(in crate::nat64) id: u32,
}

impl Key {
    /// The key of an IPv4 datagram.
    pub(in crate::nat64) const fn v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, id: u16) -> Self {
        Self { src: IpAddr::V4(src), dst: IpAddr::V4(dst), protocol, id: id as u32 }
    }

    /// The key of an IPv6 datagram.
    pub(in crate::nat64) const fn v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, id: u32) -> Self {
        Self { src: IpAddr::V6(src), dst: IpAddr::V6(dst), protocol, id }
    }

    /// Start and end of the data of a fragment with this offset, in a packet of `packet_len` bytes whose data begin at
    /// `data_at`. `None` if it is empty, or if the datagram would exceed the maximum length of either family.
    pub(super) fn extent(&self, packet_len: usize, data_at: usize, offset: u16) -> Option<(u32, u32)> {
        let len = packet_len.checked_sub(data_at)?;
        let end = usize::from(offset) + len;
        let headers = match self.src {
            IpAddr::V4(_) => data_at,
            IpAddr::V6(_) => data_at.saturating_sub(40).max(20),
        };
        let possible = len > 0 && headers + end <= usize::from(u16::MAX);
        possible.then_some((u32::from(offset), end as u32))
    }
}
