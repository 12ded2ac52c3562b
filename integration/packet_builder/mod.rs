//! Builds whole packets from their parts, checksums included.
//!
//! The integration tests declare this module; the unit tests and `benches/lab` include it by its path.
//! It is not part of the library.

mod v4;
mod v6;

pub(crate) use v4::{Packet4, fragments4};
pub(crate) use v6::{Packet6, fragments6};

use gate64::wire::buf::{Checksum, PacketBuf, Segmentation};
use gate64::wire::checksum::Sum;
use gate64::wire::tcp::{self, Flags};
use gate64::wire::{ICMP4, ICMP6, TCP, UDP, icmp, udp};

/// A TCP header. Fields that a translator ignores are zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tcp {
    src: u16,
    dst: u16,
    seq: u32,
    ack: u32,
    flags: Flags,
    window: u16,
    options: Vec<u8>,
}

impl Tcp {
    /// A header from port `src` to port `dst`: ACK, no options.
    pub(crate) const fn new(src: u16, dst: u16) -> Self {
        Self { src, dst, seq: 0, ack: 0, flags: Flags::ACK, window: 64_240, options: Vec::new() }
    }

    /// Sets the flags.
    #[must_use]
    pub(crate) const fn flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    /// Sets sequence and acknowledgment number.
    #[must_use]
    pub(crate) const fn numbers(mut self, seq: u32, ack: u32) -> Self {
        self.seq = seq;
        self.ack = ack;
        self
    }

    /// Sets the window.
    #[must_use]
    pub(crate) const fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// Sets the options, padded to a multiple of four; at most 40 bytes.
    #[must_use]
    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Sets the maximum segment size as the only option.
    #[must_use]
    pub(crate) fn mss(self, mss: u16) -> Self {
        let [high, low] = mss.to_be_bytes();
        self.options(&[2, 4, high, low])
    }

    fn message(&self, payload: &[u8]) -> Vec<u8> {
        let words = (tcp::HEADER + self.options.len()) / 4;
        let mut bytes = Vec::with_capacity(words * 4 + payload.len());
        bytes.extend_from_slice(&self.src.to_be_bytes());
        bytes.extend_from_slice(&self.dst.to_be_bytes());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&self.ack.to_be_bytes());
        bytes.extend_from_slice(&[(words as u8) << 4, self.flags.0]);
        bytes.extend_from_slice(&self.window.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.options);
        bytes.extend_from_slice(payload);
        bytes
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn udp_message(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = (udp::HEADER + payload.len()) as u16;
    let mut bytes: Vec<u8> = [src, dst, len, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend_from_slice(payload);
    bytes
}

fn icmp_message(kind: u8, code: u8, info: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend_from_slice(&info.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Offset of the checksum in a message, in bytes.
const fn checksum_at(protocol: u8) -> usize {
    match protocol {
        TCP => tcp::CHECKSUM,
        UDP => udp::CHECKSUM,
        _ => icmp::CHECKSUM,
    }
}

/// Writes the checksum of a TCP, UDP or ICMP message.
fn put_checksum(message: &mut [u8], protocol: u8, pseudo: Sum) {
    let at = checksum_at(protocol);
    put_u16(message, at, 0);
    let pseudo = if protocol == ICMP4 { Sum::ZERO } else { pseudo };
    let sum = pseudo.plus(Sum::of(message));
    put_u16(message, at, if protocol == UDP { sum.udp_checksum() } else { sum.checksum() });
}

/// Turns a TCP or UDP packet without extension headers into a super-packet like the kernel's: `size`
/// bytes of payload per segment, and a partial checksum.
///
/// # Panics
/// If `packet` is neither TCP nor UDP.
pub(crate) fn super_packet(packet: &[u8], size: u16) -> PacketBuf {
    let v4 = packet[0] >> 4 == 4;
    let (at, protocol) = if v4 { (usize::from(packet[0] & 15) * 4, packet[9]) } else { (40, packet[6]) };
    let mut buf = PacketBuf::with_packet(packet);
    let len = packet.len() - at;
    let addresses = if v4 { &packet[12..20] } else { &packet[8..40] };
    let pseudo = Sum::of(addresses).word(u16::from(protocol)).pair(len as u32);
    buf.offload.checksum = Checksum::Partial;
    buf.offload.segmentation = match protocol {
        TCP => Segmentation::Tcp { size, ecn: packet[at + 13] & Flags::CWR.0 != 0 },
        UDP => Segmentation::Udp { size },
        _ => panic!("only TCP and UDP have super-packets"),
    };
    put_u16(buf.bytes_mut(), at + checksum_at(protocol), pseudo.fold());
    buf
}

/// Whether the checksums of an unfragmented packet are right: IPv4 header, TCP, UDP and ICMP. Ignores those
/// of a quoted packet. Parses only the headers that [`Packet4`] and [`Packet6`] write.
pub(crate) fn checksums_are_right(packet: &[u8]) -> bool {
    let v4 = packet[0] >> 4 == 4;
    let (mut at, mut protocol) =
        if v4 { (usize::from(packet[0] & 15) * 4, packet[9]) } else { (40, packet[6]) };
    while !v4 && matches!(protocol, 0 | 43 | 44 | 60) {
        let len = if protocol == 44 { 8 } else { (usize::from(packet[at + 1]) + 1) * 8 };
        protocol = packet[at];
        at += len;
    }
    if v4 && Sum::of(&packet[..at]).checksum() != 0 {
        return false;
    }
    let message = &packet[at..];
    let addresses = if v4 { &packet[12..20] } else { &packet[8..40] };
    let pseudo = Sum::of(addresses).word(u16::from(protocol)).pair(message.len() as u32);
    match protocol {
        UDP if u16_at(message, udp::CHECKSUM) == 0 => v4,
        TCP | UDP | ICMP6 => pseudo.plus(Sum::of(message)).checksum() == 0,
        ICMP4 => Sum::of(message).checksum() == 0,
        _ => true,
    }
}
