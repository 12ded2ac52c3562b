//! IPv6 packets.

use core::net::Ipv6Addr;

use gate64::wire::checksum::Sum;
use gate64::wire::icmp::v6;
use gate64::wire::ipv6::{DESTINATION, FRAGMENT, HEADER, HOP_BY_HOP, ROUTING};
use gate64::wire::{ICMP6, TCP, UDP, udp};

use super::{Tcp, icmp_message, put_checksum, put_u16, udp_message};

/// An IPv6 header: hop limit 64, no extension headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packet6 {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    traffic_class: u8,
    flow_label: u32,
    hop_limit: u8,
    /// Types and bytes of the extension headers; `payload` fills in the first byte of each.
    extensions: Vec<(u8, Vec<u8>)>,
}

impl Packet6 {
    /// A header from `src` to `dst`.
    pub(crate) const fn new(src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        Self { src, dst, traffic_class: 0, flow_label: 0, hop_limit: 64, extensions: Vec::new() }
    }

    /// Sets the traffic class.
    #[must_use]
    pub(crate) const fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    /// Sets the flow label, 20 bits.
    #[must_use]
    pub(crate) const fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label & 0xf_ffff;
        self
    }

    /// Sets the hop limit.
    #[must_use]
    pub(crate) const fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Adds an extension header: its type and its bytes, a multiple of eight. `payload` fills in the first
    /// byte, Next Header.
    #[must_use]
    pub(crate) fn extension(mut self, kind: u8, bytes: &[u8]) -> Self {
        self.extensions.push((kind, bytes.to_vec()));
        self
    }

    /// Adds a Hop-by-Hop Options header of 8 bytes, all padding.
    #[must_use]
    pub(crate) fn hop_by_hop(self) -> Self {
        self.extension(HOP_BY_HOP, &[0, 0, 1, 4, 0, 0, 0, 0])
    }

    /// Adds a Destination Options header of 8 bytes, all padding.
    #[must_use]
    pub(crate) fn destination_options(self) -> Self {
        self.extension(DESTINATION, &[0, 0, 1, 4, 0, 0, 0, 0])
    }

    /// Adds a Routing header of type 0 with one address.
    #[must_use]
    pub(crate) fn routing(self, segments_left: u8) -> Self {
        let mut bytes = [0; 24];
        bytes[1] = 2;
        bytes[3] = segments_left;
        self.extension(ROUTING, &bytes)
    }

    /// Adds a Fragment header. `offset` is in bytes, a multiple of 8; `more` is the M flag.
    #[must_use]
    pub(crate) fn fragment(self, id: u32, offset: u16, more: bool) -> Self {
        let mut bytes = [0; 8];
        put_u16(&mut bytes, 2, offset & 0xfff8 | u16::from(more));
        bytes[4..].copy_from_slice(&id.to_be_bytes());
        self.extension(FRAGMENT, &bytes)
    }

    /// A packet with any payload.
    pub(crate) fn payload(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let kinds = self.extensions.iter().map(|(kind, _)| *kind);
        let mut next = kinds.skip(1).chain([protocol]);
        let mut upper = Vec::new();
        for (_, bytes) in &self.extensions {
            let start = upper.len();
            upper.extend_from_slice(bytes);
            upper[start] = next.next().unwrap_or(protocol);
        }
        upper.extend_from_slice(payload);
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut bytes = Vec::with_capacity(HEADER + upper.len());
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&(upper.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&[
            self.extensions.first().map_or(protocol, |(kind, _)| *kind),
            self.hop_limit,
        ]);
        bytes.extend_from_slice(&self.src.octets());
        bytes.extend_from_slice(&self.dst.octets());
        bytes.extend_from_slice(&upper);
        bytes
    }

    fn with_checksum(&self, protocol: u8, mut message: Vec<u8>) -> Vec<u8> {
        let pseudo = Sum::pseudo6(self.src, self.dst, protocol, message.len());
        put_checksum(&mut message, protocol, pseudo);
        self.payload(protocol, &message)
    }

    /// A UDP packet.
    pub(crate) fn udp(&self, src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
        self.with_checksum(UDP, udp_message(src, dst, payload))
    }

    /// A UDP packet without checksum, which IPv6 forbids.
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
        self.icmp(v6::ECHO, 0, u32::from(id) << 16 | u32::from(sequence), payload)
    }

    /// An echo reply.
    pub(crate) fn echo_reply(&self, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
        self.icmp(v6::ECHO_REPLY, 0, u32::from(id) << 16 | u32::from(sequence), payload)
    }

    /// Any ICMP message. The `body` of an error is the quoted packet.
    pub(crate) fn icmp(&self, kind: u8, code: u8, info: u32, body: &[u8]) -> Vec<u8> {
        self.with_checksum(ICMP6, icmp_message(kind, code, info, body))
    }
}

/// Cuts a packet without extension headers into fragments of at most `mtu` bytes.
///
/// # Panics
/// If `mtu` is shorter than the headers and 8 bytes.
pub(crate) fn fragments6(packet: &[u8], id: u32, mtu: usize) -> Vec<Vec<u8>> {
    let size = (mtu - HEADER - 8) & !7;
    assert!(size > 0, "no fragment fits {mtu} bytes");
    let pieces: Vec<_> = packet[HEADER..].chunks(size).collect();
    let fragment = |(number, piece): (usize, &&[u8])| {
        let mut bytes = packet[..HEADER].to_vec();
        put_u16(&mut bytes, 4, (8 + piece.len()) as u16);
        bytes[6] = FRAGMENT;
        let more = number + 1 < pieces.len();
        bytes.extend_from_slice(&[packet[6], 0]);
        bytes.extend_from_slice(&((number * size) as u16 | u16::from(more)).to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(piece);
        bytes
    };
    pieces.iter().enumerate().map(fragment).collect()
}
