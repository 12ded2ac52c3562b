//! IP headers of translated packets.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::checksum::Sum;
use crate::wire::ipv4;
use crate::wire::ipv6::{self, FRAGMENT_HEADER};
use crate::wire::{Fragment, put_u16, put_u32};

/// The operations on an IP header that cutting needs, for both families.
pub(super) trait IpHeader: Copy {
    /// Length of the header in bytes.
    fn len(&self) -> usize;

    /// Length of the header on a fragment, in bytes.
    fn fragment_len(&self) -> usize;

    /// Protocol number of the transport header.
    fn protocol(&self) -> u8;

    /// Sum of the transport's pseudo-header without its length field.
    fn pseudo(&self) -> Sum;

    /// The header of packet `index` of a super-packet.
    #[must_use]
    fn segment(self, index: usize) -> Self;

    /// The header of the fragment `offset` bytes into the packet; `more` is the M flag.
    #[must_use]
    fn fragment(self, offset: usize, more: bool) -> Self;

    /// Writes the header to the start of `out`; `upper` bytes of the packet follow it.
    fn write(&self, out: &mut [u8], upper: usize);
}

/// An IPv4 header without options. Total Length and checksum are computed when it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header4 {
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) id: u16,
    pub(super) df: bool,
    /// Fragment offset in bytes, a multiple of 8.
    pub(super) offset: u16,
    pub(super) more: bool,
}

impl Header4 {
    /// Reads a header, without its options.
    pub(super) fn read(head: &[u8; ipv4::HEADER]) -> Self {
        let fields = ipv4::Fields(head);
        let fragment = fields.fragment();
        Self {
            src: fields.src(),
            dst: fields.dst(),
            tos: fields.tos(),
            ttl: fields.ttl(),
            protocol: fields.protocol(),
            id: fields.id(),
            df: fields.df(),
            offset: fragment.map_or(0, |fragment| fragment.offset),
            more: fragment.is_some_and(|fragment| fragment.more),
        }
    }
}

impl IpHeader for Header4 {
    fn len(&self) -> usize {
        ipv4::HEADER
    }

    fn fragment_len(&self) -> usize {
        ipv4::HEADER
    }

    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn pseudo(&self) -> Sum {
        Sum::of_v4(self.src).plus(Sum::of_v4(self.dst)).word(u16::from(self.protocol))
    }

    fn segment(self, index: usize) -> Self {
        Self { id: self.id.wrapping_add(index as u16), ..self }
    }

    fn fragment(self, offset: usize, more: bool) -> Self {
        Self { offset: self.offset + offset as u16, more: self.more || more, ..self }
    }

    #[inline(always)]
    fn write(&self, out: &mut [u8], upper: usize) {
        let total_len = ipv4::HEADER + upper;
        let flags = u16::from(self.df) << 14 | u16::from(self.more) << 13 | self.offset >> 3;
        let words = [
            0x4500_0000 | u32::from(self.tos) << 16 | total_len as u32,
            u32::from(self.id) << 16 | u32::from(flags),
            u32::from(self.ttl) << 24 | u32::from(self.protocol) << 16,
        ];
        let sum =
            Sum::of_v4(self.src).plus(Sum::of_v4(self.dst)).pair(words[0]).pair(words[1]).pair(words[2]);
        let head = &mut out[..ipv4::HEADER];
        head[..4].copy_from_slice(&words[0].to_be_bytes());
        head[4..8].copy_from_slice(&words[1].to_be_bytes());
        head[8..12].copy_from_slice(&(words[2] | u32::from(sum.checksum())).to_be_bytes());
        head[12..16].copy_from_slice(&self.src.octets());
        head[16..].copy_from_slice(&self.dst.octets());
    }
}

/// An IPv6 header and an optional Fragment header. Payload Length is computed when it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header6 {
    pub(super) src: Ipv6Addr,
    pub(super) dst: Ipv6Addr,
    pub(super) traffic_class: u8,
    pub(super) hop_limit: u8,
    pub(super) protocol: u8,
    pub(super) fragment: Option<Fragment>,
    /// Identification for fragments, if the packet is cut.
    pub(super) id: u32,
}

impl Header6 {
    /// Reads a fixed header.
    pub(super) fn read(head: &[u8; ipv6::HEADER]) -> Self {
        let fields = ipv6::Fields(head);
        Self {
            src: fields.src(),
            dst: fields.dst(),
            traffic_class: fields.traffic_class(),
            hop_limit: fields.hop_limit(),
            protocol: fields.next_header(),
            fragment: None,
            id: 0,
        }
    }
}

impl IpHeader for Header6 {
    fn len(&self) -> usize {
        match self.fragment {
            None => ipv6::HEADER,
            Some(_) => self.fragment_len(),
        }
    }

    fn fragment_len(&self) -> usize {
        ipv6::HEADER + FRAGMENT_HEADER
    }

    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn pseudo(&self) -> Sum {
        Sum::of_v6(self.src).plus(Sum::of_v6(self.dst)).word(u16::from(self.protocol))
    }

    fn segment(self, index: usize) -> Self {
        // IPv4 identifications have 16 bits; each segment gets its own.
        Self { id: u32::from((self.id as u16).wrapping_add(index as u16)), ..self }
    }

    fn fragment(self, offset: usize, more: bool) -> Self {
        let (id, base, last) = self.fragment.map_or((self.id, 0, true), |f| (f.id, f.offset, !f.more));
        let fragment = Fragment { id, offset: base + offset as u16, more: more || !last };
        Self { fragment: Some(fragment), ..self }
    }

    #[inline(always)]
    fn write(&self, out: &mut [u8], upper: usize) {
        let (next, extension) = match self.fragment {
            None => (self.protocol, 0),
            Some(_) => (ipv6::FRAGMENT, FRAGMENT_HEADER),
        };
        let (head, extension_header) = out.split_at_mut(ipv6::HEADER);
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20;
        head[..4].copy_from_slice(&first.to_be_bytes());
        head[4..6].copy_from_slice(&((upper + extension) as u16).to_be_bytes());
        head[6..8].copy_from_slice(&[next, self.hop_limit]);
        head[8..24].copy_from_slice(&self.src.octets());
        head[24..].copy_from_slice(&self.dst.octets());
        if let Some(fragment) = self.fragment {
            extension_header[0] = self.protocol;
            extension_header[1] = 0;
            put_u16(extension_header, 2, fragment.offset | u16::from(fragment.more));
            put_u32(extension_header, 4, fragment.id);
        }
    }
}
