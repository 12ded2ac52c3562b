//! Test frames, and the tag by which a sink recognises them.
//!
//! UDP with 18 bytes of payload: over IPv4 the shortest Ethernet frame (RFC 8219 §5.1.1). The tag follows
//! the UDP header (RFC 8219 §7.2):
//!
//! | bytes | |
//! |---|---|
//! | 0 | magic number |
//! | 2 | trial, to ignore late packets of earlier trials |
//! | 4 | flow |
//! | 8 | send time in nanoseconds since 1970, or 0 |

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::packet_builder::{Packet4, Packet6};
use gate64::wire::checksum::Sum;

const ETHERNET: usize = 14;
const UDP: usize = 8;
/// Bytes of payload.
const PAYLOAD: usize = 18;
const MAGIC: [u8; 2] = *b"g6";

/// The content of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) trial: u16,
    pub(crate) flow: u32,
    /// Send time in nanoseconds since 1970; 0 if the frame was not stamped.
    pub(crate) sent: u64,
}

/// A tagged packet that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrived {
    pub(crate) tag: Tag,
    pub(crate) src: SocketAddr,
    /// Number of packets: the segments of a super-packet, else 1.
    pub(crate) packets: u64,
}

/// Puts an Ethernet header in front of a packet. The source address is arbitrary.
pub(crate) fn ethernet(to: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&to[..], &[2, 0, 0, 0, 0, 1], &kind, packet].concat()
}

/// A packet of `flow`.
pub(crate) fn udp(src: SocketAddr, dst: SocketAddr, trial: u16, flow: u32) -> Vec<u8> {
    let mut payload = [0; PAYLOAD];
    payload[..2].copy_from_slice(&MAGIC);
    payload[2..4].copy_from_slice(&trial.to_be_bytes());
    payload[4..8].copy_from_slice(&flow.to_be_bytes());
    match (src, dst) {
        (SocketAddr::V6(src), SocketAddr::V6(dst)) => {
            Packet6::new(*src.ip(), *dst.ip()).udp(src.port(), dst.port(), &payload)
        }
        (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
            Packet4::new(*src.ip(), *dst.ip()).udp(src.port(), dst.port(), &payload)
        }
        (SocketAddr::V6(_), SocketAddr::V4(_)) | (SocketAddr::V4(_), SocketAddr::V6(_)) => {
            unreachable!("a packet is of one family")
        }
    }
}

/// Offset of the UDP header in a frame.
fn transport(frame: &[u8]) -> Option<usize> {
    match *frame.get(12..14)? {
        [0x08, 0x00] if *frame.get(23)? == 17 => Some(ETHERNET + usize::from(frame[14] & 15) * 4),
        [0x86, 0xdd] if *frame.get(20)? == 17 => Some(ETHERNET + 40),
        _ => None,
    }
}

/// Writes the send time into a tagged frame and updates its checksum.
pub(crate) fn stamp(frame: &mut [u8], now: u64) {
    let Some(at) = transport(frame) else { return };
    let old = u16::from_be_bytes([frame[at + 6], frame[at + 7]]);
    let time = now.to_be_bytes();
    let new = Sum::ZERO.replaced_by(Sum::of(&time)).apply_udp(old);
    frame[at + 6..at + 8].copy_from_slice(&new.to_be_bytes());
    frame[at + UDP + 8..at + UDP + 16].copy_from_slice(&time);
}

/// Reads a tagged frame with an original length of `length` bytes. It is a super-packet if `segment` is
/// not 0.
pub(crate) fn read(frame: &[u8], length: usize, segment: usize) -> Option<Arrived> {
    let at = transport(frame)?;
    let payload = frame.get(at + UDP..at + UDP + 16)?;
    if payload[..2] != MAGIC {
        return None;
    }
    let long =
        |at: usize| u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
    let tag = Tag {
        trial: u16::from_be_bytes([payload[2], payload[3]]),
        flow: long(4),
        sent: u64::from(long(8)) << 32 | u64::from(long(12)),
    };
    let port = u16::from_be_bytes([frame[at], frame[at + 1]]);
    let src = if frame[12] == 0x08 {
        let octets: [u8; 4] = frame[26..30].try_into().ok()?;
        SocketAddr::new(Ipv4Addr::from(octets).into(), port)
    } else {
        let octets: [u8; 16] = frame[22..38].try_into().ok()?;
        SocketAddr::new(Ipv6Addr::from(octets).into(), port)
    };
    let packets = if segment == 0 { 1 } else { length.saturating_sub(at + UDP).div_ceil(segment) };
    Some(Arrived { tag, src, packets: packets as u64 })
}
