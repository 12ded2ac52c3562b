//! Software segmentation of super-packets (TSO, USO), by the rules of the kernel and of network cards.

use core::ops::Range;

use super::header::{Header4, Header6, IpHeader};
use super::rules::RewriteRules;
use crate::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;
use crate::wire::{ICMP4, ICMP6, TCP, UDP, icmp, ipv4, ipv6, put_u16, put_u32, tcp, u32_at, udp};

/// Longest transport header in bytes: TCP with all options.
const MAX_HEADER: usize = 60;

/// The segments of a TCP or UDP super-packet: equal in size, except that the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct SuperPacket {
    protocol: u8,
    /// Length of each segment's transport header, in bytes.
    pub(super) header_len: usize,
    /// Payload bytes of a segment.
    size: usize,
    /// Payload bytes of all segments.
    payload: usize,
}

impl SuperPacket {
    /// `None` if `message` is a single packet.
    #[inline]
    pub(super) fn of(message: &[u8], segmentation: Segmentation) -> Option<Self> {
        let (protocol, header_len, size) = match segmentation {
            Segmentation::None => return None,
            Segmentation::Tcp { size, .. } => (TCP, tcp::header_len(message)?, size),
            Segmentation::Udp { size } => (UDP, udp::HEADER, size),
        };
        let payload = message.len().checked_sub(header_len)?;
        Some(Self { protocol, header_len, size: usize::from(size.max(1)), payload })
    }

    /// Number of packets, at least 1.
    pub(super) const fn count(&self) -> usize {
        let full = self.payload.div_ceil(self.size);
        if full == 0 { 1 } else { full }
    }

    /// The byte range of packet `index`'s payload in the message.
    pub(super) fn payload(&self, index: usize) -> Range<usize> {
        let start = self.size * index;
        let end = (start + self.size).min(self.payload);
        self.header_len + start..self.header_len + end
    }

    /// Length of the longest packet without its IP header, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.header_len + self.size.min(self.payload)
    }

    /// The transport header of packet `index`, with a complete checksum. `pseudo` is the sum of the
    /// pseudo-header without its length field.
    pub(super) fn header(&self, message: &[u8], index: usize, pseudo: Sum) -> ([u8; MAX_HEADER], usize) {
        let mut bytes = [0; MAX_HEADER];
        let header = &mut bytes[..self.header_len];
        header.copy_from_slice(&message[..self.header_len]);
        let payload = &message[self.payload(index)];
        let len = self.header_len + payload.len();
        let at = if self.protocol == TCP {
            let seq = u32_at(header, 4).wrapping_add((self.size * index) as u32);
            put_u32(header, 4, seq);
            let mut flags = Flags(header[13]);
            if index + 1 < self.count() {
                flags = flags.without(Flags::FIN.with(Flags::PSH));
            }
            if index > 0 {
                flags = flags.without(Flags::CWR);
            }
            header[13] = flags.0;
            tcp::CHECKSUM
        } else {
            put_u16(header, udp::LENGTH, len as u16);
            udp::CHECKSUM
        };
        put_u16(header, at, 0);
        let sum = pseudo.pair(len as u32).plus(Sum::of(header)).plus(Sum::of(payload));
        let checksum = if self.protocol == UDP { sum.udp_checksum() } else { sum.checksum() };
        put_u16(header, at, checksum);
        (bytes, self.header_len)
    }
}

/// Number of packets on the wire that a message holds, at least 1.
#[inline]
pub(super) fn packets(message: &[u8], offload: &Offload) -> usize {
    Segments::of(message, offload.segmentation).count
}

/// Number and size of the packets on the wire that a packet in memory holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    /// Length of the longest without its IP header, in bytes.
    pub(super) longest: usize,
    /// Number of packets, at least 1.
    pub(super) count: usize,
    /// Length of the TCP header in bytes, for segments of a TCP super-packet.
    tcp_header: Option<usize>,
}

impl Segments {
    #[inline(always)]
    pub(super) fn of(message: &[u8], segmentation: Segmentation) -> Self {
        match SuperPacket::of(message, segmentation) {
            None => Self { longest: message.len(), count: 1, tcp_header: None },
            Some(packet) => Self {
                longest: packet.longest(),
                count: packet.count(),
                tcp_header: (packet.protocol == TCP).then_some(packet.header_len),
            },
        }
    }

    /// The segment size, in payload bytes, with which a TCP super-packet fits `mtu`, given an IP header of
    /// `header` bytes. `None` if resegmentation is off or impossible.
    pub(super) fn resegmented(&self, rules: &RewriteRules, mtu: usize, header: usize) -> Option<u16> {
        let room = mtu.checked_sub(header + self.tcp_header?)?;
        (rules.tcp_resegment && room > 0).then_some(room as u16)
    }
}

/// Completes a partial checksum, whose field holds the sum of the pseudo-header. `message` must be whole.
pub(super) fn complete(message: &mut [u8], protocol: u8) {
    let at = match protocol {
        TCP => tcp::CHECKSUM,
        UDP => udp::CHECKSUM,
        ICMP4 | ICMP6 => icmp::CHECKSUM,
        _ => return,
    };
    if message.len() < at + 2 {
        return;
    }
    let sum = Sum::of(message);
    put_u16(message, at, if protocol == UDP { sum.udp_checksum() } else { sum.checksum() });
}

/// The packets on the wire of a translated super-packet, for devices that can't segment it.
///
/// A translated packet has no IPv4 options and no extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    head: Head,
    packet: SuperPacket,
}

#[derive(Clone, Copy, Debug)]
enum Head {
    V4(Header4),
    V6(Header6),
}

impl Cuts {
    /// `None` if `packet` is a single packet already.
    pub fn of(packet: &[u8], offload: &Offload) -> Option<Self> {
        let (head, at) = match packet.first()? >> 4 {
            4 => (Head::V4(Header4::read(packet.first_chunk()?)), ipv4::HEADER),
            _ => (Head::V6(Header6::read(packet.first_chunk()?)), ipv6::HEADER),
        };
        Some(Self { head, packet: SuperPacket::of(&packet[at..], offload.segmentation)? })
    }

    /// Number of packets, at least 1.
    pub const fn count(&self) -> usize {
        self.packet.count()
    }

    /// Replaces the content of `out` by packet `index` of `packet`, with a complete checksum.
    ///
    /// # Panics
    /// If `index` is not below [`count`](Self::count), or the packet does not fit `out`.
    pub fn write(&self, packet: &[u8], index: usize, out: &mut PacketBuf) {
        assert!(index < self.count(), "packet {index} of {}", self.count());
        match &self.head {
            Head::V4(head) => write(head, &self.packet, &packet[ipv4::HEADER..], index, out),
            Head::V6(head) => write(head, &self.packet, &packet[ipv6::HEADER..], index, out),
        }
    }
}

fn write<H: IpHeader>(head: &H, packet: &SuperPacket, message: &[u8], index: usize, out: &mut PacketBuf) {
    let (header, header_len) = packet.header(message, index, head.pseudo());
    let payload = &message[packet.payload(index)];
    let head = head.segment(index);
    out.clear();
    let bytes = out.append(head.len() + header_len + payload.len());
    head.write(bytes, header_len + payload.len());
    let (transport, body) = bytes[head.len()..].split_at_mut(header_len);
    transport.copy_from_slice(&header[..header_len]);
    body.copy_from_slice(payload);
    out.offload.checksum = Checksum::Verified;
}
