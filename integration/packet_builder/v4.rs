//! IPv4 packets.

use core::net::Ipv4Addr;

use gate64::wire::checksum::Sum;
use gate64::wire::icmp::v4;
use gate64::wire::ipv4::HEADER;
use gate64::wire::{ICMP4, TCP, UDP, udp};

use super::{Tcp, icmp_message, put_checksum, put_u16, u16_at, udp_message};

/// An IPv4 header: TTL 64, no options, DF clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packet4 {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    tos: u8,
    ttl: u8,
    id: u16,
    flags_offset: u16,
    options: Vec<u8>,
}

impl Packet4 {
    /// A header from `src` to `dst`.
    pub(crate) const fn new(src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        Self { src, dst, tos: 0, ttl: 64, id: 0, flags_offset: 0, options: Vec::new() }
    }

    /// Sets type of service.
    #[must_use]
    pub(crate) const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Sets time to live.
    #[must_use]
    pub(crate) const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the identification.
    #[must_use]
    pub(crate) const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Sets "don't fragment".
    #[must_use]
    pub(crate) const fn df(mut self) -> Self {
        self.flags_offset |= 0x4000;
        self
    }

    /// Makes it a fragment. `offset` is in bytes, a multiple of 8; `more` is the More Fragments flag.
    #[must_use]
    pub(crate) const fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.flags_offset = self.flags_offset & 0x4000 | (more as u16) << 13 | offset >> 3;
        self
    }

    /// Sets the options, padded to a multiple of four; at most 40 bytes.
    #[must_use]
    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// A packet with any payload.
    pub(crate) fn payload(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = HEADER + self.options.len();
        let mut bytes = vec![0x40 | (header / 4) as u8, self.tos];
        for word in [(header + payload.len()) as u16, self.id, self.flags_offset] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(&[self.ttl, protocol, 0, 0]);
        bytes.extend_from_slice(&self.src.octets());
        bytes.extend_from_slice(&self.dst.octets());
        bytes.extend_from_slice(&self.options);
        let checksum = Sum::of(&bytes).checksum();
        put_u16(&mut bytes, 10, checksum);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn with_checksum(&self, protocol: u8, mut message: Vec<u8>) -> Vec<u8> {
        let pseudo = Sum::pseudo4(self.src, self.dst, protocol, message.len());
        put_checksum(&mut message, protocol, pseudo);
        self.payload(protocol, &message)
    }

    /// A UDP packet.
    pub(crate) fn udp(&self, src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
        self.with_checksum(UDP, udp_message(src, dst, payload))
    }

    /// A UDP packet without checksum.
    pub(crate) fn udp_without_checksum(&self, src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
        let mut message = udp_message(src, dst, payload);
        put_u16(&mut message, udp::CHECKSUM, 0);
        self.payload(UDP, &message)
    }

    /// A TCP packet.
    pub(crate) fn tcp(&self, header: Tcp, payload: &[u8]) -> Vec<u8> {
        self.with_checksum(TCP, header.message(payload))
    }

    /// An echo request.
    pub(crate) fn echo(&self, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
        self.icmp(v4::ECHO, 0, u32::from(id) << 16 | u32::from(sequence), payload)
    }

    /// An echo reply.
    pub(crate) fn echo_reply(&self, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
        self.icmp(v4::ECHO_REPLY, 0, u32::from(id) << 16 | u32::from(sequence), payload)
    }

    /// Any ICMP message. The `body` of an error is the quoted packet.
    pub(crate) fn icmp(&self, kind: u8, code: u8, info: u32, body: &[u8]) -> Vec<u8> {
        self.with_checksum(ICMP4, icmp_message(kind, code, info, body))
    }
}

/// Cuts a packet into fragments of at most `mtu` bytes. Options are repeated in each.
///
/// # Panics
/// If `mtu` is shorter than the header and 8 bytes.
pub(crate) fn fragments4(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let header = usize::from(packet[0] & 15) * 4;
    let size = (mtu - header) & !7;
    assert!(size > 0, "no fragment fits {mtu} bytes");
    let flags = u16_at(packet, 6);
    let pieces: Vec<_> = packet[header..].chunks(size).collect();
    let fragment = |(number, piece): (usize, &&[u8])| {
        let mut bytes = packet[..header].to_vec();
        let more = number + 1 < pieces.len() || flags & 0x2000 != 0;
        put_u16(&mut bytes, 2, (header + piece.len()) as u16);
        let offset = (flags & 0x1fff) + (number * size / 8) as u16;
        put_u16(&mut bytes, 6, flags & 0x4000 | u16::from(more) << 13 | offset);
        put_u16(&mut bytes, 10, 0);
        let checksum = Sum::of(&bytes).checksum();
        put_u16(&mut bytes, 10, checksum);
        bytes.extend_from_slice(piece);
        bytes
    };
    pieces.iter().enumerate().map(fragment).collect()
}
