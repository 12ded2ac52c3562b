//! Packets by shape, as a device delivers them.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};
use gate64::addr::{Pref64, Transport4, Transport6};
use gate64::wire::buf::{Checksum, Offload, Segmentation};

/// Payload bytes of a segment of the super-packet.
const SEGMENT: u16 = 1428;
/// Segments in the super-packet: the number that fits 64 KiB.
const SEGMENTS: usize = 45;

/// A packet and its pending offloads.
#[derive(Clone)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub offload: Offload,
}

/// The shape of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// UDP with 64 bytes of payload.
    Udp64,
    /// A TCP segment without payload.
    TcpAck,
    /// A TCP segment of 1,400 bytes.
    Tcp1400,
    /// A super-packet of 45 segments with 1,428 bytes each and a partial checksum.
    Super64k,
    /// An ICMP error that quotes a UDP packet of the flow.
    IcmpError,
}

impl Shape {
    pub const ALL: [Self; 5] = [Self::Udp64, Self::TcpAck, Self::Tcp1400, Self::Super64k, Self::IcmpError];

    pub fn name(self) -> &'static str {
        match self {
            Self::Udp64 => "udp_64",
            Self::TcpAck => "tcp_ack",
            Self::Tcp1400 => "tcp_1400",
            Self::Super64k => "tcp_64k_super",
            Self::IcmpError => "icmp_error",
        }
    }

    pub fn is_tcp(self) -> bool {
        match self {
            Self::Udp64 | Self::IcmpError => false,
            Self::TcpAck | Self::Tcp1400 | Self::Super64k => true,
        }
    }
}

/// Flags of a TCP segment.
#[derive(Clone, Copy)]
pub enum Tcp {
    Syn,
    SynAck,
    Ack,
}

pub fn pref64() -> Pref64 {
    "2001:db8:64::/96".parse().expect("literal")
}

/// Client `n`; host and port both depend on `n`.
pub fn client(n: u16) -> Transport6 {
    let host = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10 + n / 128);
    Transport6::new(host, 20_000 + n % 128)
}

pub fn server(n: u16) -> Transport4 {
    Transport4::new(Ipv4Addr::new(198, 51, 100, 7), 1024 + n)
}

fn tcp_flags(
    step: etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    flags: Tcp,
) -> etherparse::PacketBuilderStep<etherparse::TcpHeader> {
    match flags {
        Tcp::Syn => step.syn(),
        Tcp::SynAck => step.syn().ack(1),
        Tcp::Ack => step.ack(1),
    }
}

fn write(payload: &[u8], build: impl FnOnce(&mut Vec<u8>, &[u8])) -> Packet {
    let mut bytes = Vec::new();
    build(&mut bytes, payload);
    Packet { bytes, offload: Offload::default() }
}

pub fn udp6(src: Transport6, dst: Transport6) -> Packet {
    let builder = PacketBuilder::ipv6(src.addr.octets(), dst.addr.octets(), 64).udp(src.port, dst.port);
    write(&[7; 64], |out, payload| builder.write(out, payload).expect("fits"))
}

pub fn udp4(src: Transport4, dst: Transport4) -> Packet {
    let builder = PacketBuilder::ipv4(src.addr.octets(), dst.addr.octets(), 64).udp(src.port, dst.port);
    write(&[7; 64], |out, payload| builder.write(out, payload).expect("fits"))
}

pub fn tcp6(src: Transport6, dst: Transport6, flags: Tcp, payload: usize) -> Packet {
    let step =
        PacketBuilder::ipv6(src.addr.octets(), dst.addr.octets(), 64).tcp(src.port, dst.port, 1, 65_000);
    let builder = tcp_flags(step, flags);
    write(&vec![7; payload], |out, payload| builder.write(out, payload).expect("fits"))
}

pub fn tcp4(src: Transport4, dst: Transport4, flags: Tcp, payload: usize) -> Packet {
    let step =
        PacketBuilder::ipv4(src.addr.octets(), dst.addr.octets(), 64).tcp(src.port, dst.port, 1, 65_000);
    let builder = tcp_flags(step, flags);
    write(&vec![7; payload], |out, payload| builder.write(out, payload).expect("fits"))
}

fn error6(src: Transport6, dst: Transport6) -> Packet {
    let quoted = udp6(dst, src).bytes;
    let kind = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
    let builder = PacketBuilder::ipv6(src.addr.octets(), dst.addr.octets(), 64).icmpv6(kind);
    write(&quoted, |out, payload| builder.write(out, payload).expect("fits"))
}

fn error4(src: Transport4, dst: Transport4) -> Packet {
    let quoted = udp4(dst, src).bytes;
    let kind = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
    let builder = PacketBuilder::ipv4(src.addr.octets(), dst.addr.octets(), 64).icmpv4(kind);
    write(&quoted, |out, payload| builder.write(out, payload).expect("fits"))
}

/// A packet of this shape from `src` to the IPv6 form of a server.
pub fn shaped6(shape: Shape, src: Transport6, dst: Transport6) -> Packet {
    match shape {
        Shape::Udp64 => udp6(src, dst),
        Shape::TcpAck => tcp6(src, dst, Tcp::Ack, 0),
        Shape::Tcp1400 => tcp6(src, dst, Tcp::Ack, 1400 - 60),
        Shape::Super64k => into_super_packet(tcp6(src, dst, Tcp::Ack, SEGMENTS * usize::from(SEGMENT)), 40),
        Shape::IcmpError => error6(src, dst),
    }
}

/// A packet of this shape from a server to the mapped address of a client.
pub fn shaped4(shape: Shape, src: Transport4, dst: Transport4) -> Packet {
    match shape {
        Shape::Udp64 => udp4(src, dst),
        Shape::TcpAck => tcp4(src, dst, Tcp::Ack, 0),
        Shape::Tcp1400 => tcp4(src, dst, Tcp::Ack, 1400 - 40),
        Shape::Super64k => into_super_packet(tcp4(src, dst, Tcp::Ack, SEGMENTS * usize::from(SEGMENT)), 20),
        Shape::IcmpError => error4(src, dst),
    }
}

/// Turns the packet into a super-packet: its checksum field contains the sum of the pseudo-header.
fn into_super_packet(mut packet: Packet, header: usize) -> Packet {
    let addresses = if header == 40 { 8..40 } else { 12..20 };
    let length = packet.bytes.len() - header;
    let words = packet.bytes[addresses].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum = words.sum::<u32>() + 6 + length as u32;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    packet.bytes[header + 16..header + 18].copy_from_slice(&(sum as u16).to_be_bytes());
    packet.offload = Offload {
        segmentation: Segmentation::Tcp { size: SEGMENT, ecn: false },
        checksum: Checksum::Partial,
    };
    packet
}
