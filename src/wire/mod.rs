//! Packet buffers and parsed headers. Parsing validates, so that accessors can't fail.
//!
//! A parsed packet holds values and offsets, not a borrow: the buffer can be rewritten meanwhile.

pub mod batch;
pub mod buf;
pub mod checksum;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod quoted;
pub mod tcp;
mod transport;
pub mod udp;

pub(crate) use transport::{DST_PORT, SRC_PORT};
pub use transport::{Fragment, Transport};

/// Protocol number of ICMP for IPv4.
pub const ICMP4: u8 = 1;
/// Protocol number of IGMP.
pub const IGMP: u8 = 2;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMP for IPv6.
pub const ICMP6: u8 = 58;

// Each function has a single bounds check; indexing byte by byte would have one per byte.

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let mut word = [0; 2];
    word.copy_from_slice(&bytes[at..at + 2]);
    u16::from_be_bytes(word)
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}
