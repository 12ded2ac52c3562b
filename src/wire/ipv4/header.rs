//! Fields of an IPv4 header.

use core::net::Ipv4Addr;

use crate::wire::checksum::Sum;
use crate::wire::{Fragment, u16_at, u32_at};

/// Length of a header without options, in bytes.
pub const HEADER: usize = 20;
/// Minimum link MTU in bytes (RFC 791 §3.2).
pub const MIN_MTU: usize = 68;
/// Offset of the total length, in bytes.
pub const TOTAL_LEN: usize = 2;
/// Offset of the identification, in bytes.
pub const ID: usize = 4;
/// Offset of the fragment flags and offset, in bytes.
pub(crate) const FRAGMENT: usize = 6;
/// Offset of the header checksum, in bytes.
pub const CHECKSUM: usize = 10;

/// The fields of a header, which may be invalid. Options are not covered.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8; HEADER]);

impl<'a> Fields<'a> {
    /// The fields at the start of `packet`; `None` if it is shorter than a header.
    #[inline(always)]
    pub(crate) fn of(packet: &'a [u8]) -> Option<Self> {
        packet.first_chunk().map(Self)
    }

    #[inline(always)]
    pub(crate) const fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Length of the header with its options, in bytes.
    #[inline(always)]
    pub(crate) const fn header_len(self) -> usize {
        (self.0[0] & 0x0f) as usize * 4
    }

    /// Whether version and header length are those of an IPv4 header without options.
    #[inline(always)]
    pub(crate) const fn is_without_options(self) -> bool {
        self.0[0] == 0x45
    }

    #[inline(always)]
    pub(crate) const fn tos(self) -> u8 {
        self.0[1]
    }

    #[inline(always)]
    pub(crate) fn total_len(self) -> usize {
        usize::from(u16_at(self.0, TOTAL_LEN))
    }

    #[inline(always)]
    pub(crate) fn id(self) -> u16 {
        u16_at(self.0, ID)
    }

    /// Don't Fragment.
    #[inline(always)]
    pub(crate) fn df(self) -> bool {
        u16_at(self.0, 6) & 0x4000 != 0
    }

    /// Whether More Fragments or a fragment offset is set.
    #[inline(always)]
    pub(crate) fn is_fragment(self) -> bool {
        u16_at(self.0, 6) & 0x3fff != 0
    }

    /// Offset and More Fragments; `None` for an unfragmented packet.
    #[inline(always)]
    pub(crate) fn fragment(self) -> Option<Fragment> {
        let field = u16_at(self.0, 6);
        let (offset, more) = ((field & 0x1fff) << 3, field & 0x2000 != 0);
        (offset != 0 || more).then(|| Fragment { id: u32::from(self.id()), offset, more })
    }

    #[inline(always)]
    pub(crate) const fn ttl(self) -> u8 {
        self.0[8]
    }

    #[inline(always)]
    pub(crate) const fn protocol(self) -> u8 {
        self.0[9]
    }

    #[inline(always)]
    pub(crate) fn src(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32_at(self.0, 12))
    }

    #[inline(always)]
    pub(crate) fn dst(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32_at(self.0, 16))
    }

    /// The sum of the header without its options.
    #[inline(always)]
    pub(crate) fn sum(self) -> Sum {
        let pair = |at: usize| u32_at(self.0, at);
        Sum::ZERO.pair(pair(0)).pair(pair(4)).pair(pair(8)).pair(pair(12)).pair(pair(16))
    }
}
