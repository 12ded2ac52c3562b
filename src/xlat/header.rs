//! The IP headers that are written in place of the ones received.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::checksum::Sum;
use crate::wire::ipv4;
use crate::wire::ipv6::{self, FRAGMENT_HEADER};
use crate::wire::{Fragment, put_u16, put_u32};

/// An IPv4 header without options, all but its length and checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header4 {
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) id: u16,
    pub(super) df: bool,
    /// Bytes, a multiple of 8.
    pub(super) offset: u16,
    pub(super) more: bool,
}

impl Header4 {
    /// Writes the header of a packet that is `total_len` bytes long, to the start of `out`.
    pub(super) fn write(&self, out: &mut [u8], total_len: usize) {
        let flags = u16::from(self.df) << 14 | u16::from(self.more) << 13 | self.offset >> 3;
        let words = [
            0x4500_0000 | u32::from(self.tos) << 16 | total_len as u32,
            u32::from(self.id) << 16 | u32::from(flags),
            u32::from(self.ttl) << 24 | u32::from(self.protocol) << 16,
        ];
        let sum =
            Sum::of_v4(self.src).plus(Sum::of_v4(self.dst)).pair(words[0]).pair(words[1]).pair(words[2]);
        let mut head = [0; ipv4::HEADER];
        head[..4].copy_from_slice(&words[0].to_be_bytes());
        head[4..8].copy_from_slice(&words[1].to_be_bytes());
        head[8..12].copy_from_slice(&(words[2] | u32::from(sum.checksum())).to_be_bytes());
        head[12..16].copy_from_slice(&self.src.octets());
        head[16..].copy_from_slice(&self.dst.octets());
        out[..ipv4::HEADER].copy_from_slice(&head);
    }
}

/// An IPv6 header and the Fragment header behind it, if there is to be one; all but the length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header6 {
    pub(super) src: Ipv6Addr,
    pub(super) dst: Ipv6Addr,
    pub(super) traffic_class: u8,
    pub(super) hop_limit: u8,
    pub(super) protocol: u8,
    pub(super) fragment: Option<Fragment>,
}

impl Header6 {
    /// How long it is: 40 or 48 bytes.
    pub(super) const fn len(&self) -> usize {
        match self.fragment {
            None => ipv6::HEADER,
            Some(_) => ipv6::HEADER + FRAGMENT_HEADER,
        }
    }

    /// Writes the headers of a packet with `upper` bytes behind them, to the start of `out`.
    pub(super) fn write(&self, out: &mut [u8], upper: usize) {
        let (next, extension) = match self.fragment {
            None => (self.protocol, 0),
            Some(_) => (ipv6::FRAGMENT, FRAGMENT_HEADER),
        };
        let mut head = [0; ipv6::HEADER];
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20;
        head[..4].copy_from_slice(&first.to_be_bytes());
        head[4..6].copy_from_slice(&((upper + extension) as u16).to_be_bytes());
        head[6] = next;
        head[7] = self.hop_limit;
        head[8..24].copy_from_slice(&self.src.octets());
        head[24..].copy_from_slice(&self.dst.octets());
        out[..ipv6::HEADER].copy_from_slice(&head);
        if let Some(fragment) = self.fragment {
            let out = &mut out[ipv6::HEADER..];
            out[0] = self.protocol;
            out[1] = 0;
            put_u16(out, 2, fragment.offset | u16::from(fragment.more));
            put_u32(out, 4, fragment.id);
        }
    }
}
