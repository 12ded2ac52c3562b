//! Fields of an IPv4 header.

use core::net::Ipv4Addr;

use crate::wire::checksum::Sum;
use crate::wire::{Fragment, u16_at, u32_at};

/// Length of a header without options, in bytes.
pub const HEADER: usize = 20;
/// Maximum length of a header with options, in bytes.
pub const MAX_HEADER: usize = 60;

/// The checksum sum of a header without options.
pub(crate) fn header_sum(head: &[u8; HEADER]) -> Sum {
    let pair = |at: usize| u32_at(head, at);
    Sum::ZERO.pair(pair(0)).pair(pair(4)).pair(pair(8)).pair(pair(12)).pair(pair(16))
}

pub(crate) fn addr_at(head: &[u8; HEADER], at: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32_at(head, at))
}

pub(in crate::wire) fn fragment_of(head: &[u8; HEADER]) -> Option<Fragment> {
    let field = u16_at(head, 6);
    let (offset, more) = ((field & 0x1fff) << 3, field & 0x2000 != 0);
    (offset != 0 || more).then(|| Fragment { id: u32::from(u16_at(head, 4)), offset, more })
}
