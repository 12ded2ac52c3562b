//! Numbered flows and their packets. Building a packet is cheap compared with the measured work.

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::addr::Pref64;
use gate64::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};

/// Flows per host: the number of ports in a block.
pub const PER_HOST: u64 = 256;
/// Port blocks per address above port 1023.
const BLOCKS: u64 = 252;
/// Payload that makes the IPv4 packet 64 bytes long.
const PAYLOAD: usize = 36;
/// Payload bytes of a super-packet's segment, and the number of segments in 64 KiB.
const SEGMENT: u16 = 1428;
const SEGMENTS: usize = 45;

const UDP: u8 = 17;
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A flow: a client's transport address and a server's.
#[derive(Clone, Copy)]
pub struct Flow {
    host: u64,
    port: u16,
    server: (u32, u16),
}

/// Kind of packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UDP with 36 bytes of payload.
    Udp,
    /// A TCP SYN.
    Syn,
    /// A TCP ACK.
    Ack,
    /// A TCP SYN ACK.
    SynAck,
    /// A super-packet of 45 segments with 1,428 bytes each and a partial checksum.
    Super,
}

impl Kind {
    const fn protocol(self) -> u8 {
        match self {
            Self::Udp => UDP,
            Self::Syn | Self::SynAck | Self::Ack | Self::Super => TCP,
        }
    }

    /// Length of the message after the IP header.
    const fn len(self) -> usize {
        match self {
            Self::Udp | Self::Syn | Self::SynAck | Self::Ack => 8 + PAYLOAD,
            Self::Super => 20 + SEGMENTS * SEGMENT as usize,
        }
    }

    const fn offload(self) -> Offload {
        match self {
            Self::Udp | Self::Syn | Self::SynAck | Self::Ack => {
                Offload { segmentation: Segmentation::None, checksum: Checksum::Unverified }
            }
            Self::Super => Offload {
                segmentation: Segmentation::Tcp { size: SEGMENT, ecn: false },
                checksum: Checksum::Partial,
            },
        }
    }

    fn write(self, (src, dst): (u16, u16), message: &mut [u8]) {
        message[..8 + PAYLOAD].fill(0);
        message[..2].copy_from_slice(&src.to_be_bytes());
        message[2..4].copy_from_slice(&dst.to_be_bytes());
        let len = (message.len() as u16).to_be_bytes();
        match self {
            Self::Udp => {
                message[4..6].copy_from_slice(&len);
                // The translator does not verify it.
                message[6..8].copy_from_slice(&[0x12, 0x34]);
            }
            Self::Syn | Self::SynAck | Self::Ack | Self::Super => {
                message[12] = 5 << 4;
                message[13] = match self {
                    Self::Syn => SYN,
                    Self::SynAck => SYN | ACK,
                    Self::Udp | Self::Ack | Self::Super => ACK,
                };
            }
        }
    }
}

pub fn pref64() -> Pref64 {
    "2001:db8:64::/96".parse().expect("literal")
}

impl Flow {
    /// Flow number `n`. Each host uses one port block, each flow its own server.
    pub const fn new(n: u64) -> Self {
        let host = n / PER_HOST;
        let port = (1024 + host % BLOCKS * PER_HOST + n % PER_HOST) as u16;
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Self { host, port, server: (0xc633_0000 + (mixed as u32 & 0xffff), 1024 + (mixed >> 20) as u16) }
    }

    pub const fn host(self) -> u64 {
        self.host
    }

    pub const fn port(self) -> u16 {
        self.port
    }

    fn client(self) -> Ipv6Addr {
        let n = self.host as u128;
        Ipv6Addr::from_bits((0x2001_0db8_0001_0000_u128 << 64) + 0x10 + n)
    }

    /// Fills `buf` with a packet from the client.
    pub fn outward(self, kind: Kind, buf: &mut PacketBuf) {
        buf.clear();
        buf.offload = kind.offload();
        let packet = buf.append(40 + kind.len());
        packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        packet[4..6].copy_from_slice(&(kind.len() as u16).to_be_bytes());
        packet[6] = kind.protocol();
        packet[7] = 64;
        packet[8..24].copy_from_slice(&self.client().octets());
        packet[24..40].copy_from_slice(&pref64().embed(Ipv4Addr::from_bits(self.server.0)).octets());
        kind.write((self.port, self.server.1), &mut packet[40..]);
    }

    /// Fills `buf` with a packet from the server to the mapped address `mapped`.
    pub fn inward(self, kind: Kind, mapped: Ipv4Addr, buf: &mut PacketBuf) {
        buf.clear();
        buf.offload = kind.offload();
        let packet = buf.append(20 + kind.len());
        packet[..2].copy_from_slice(&[0x45, 0]);
        packet[2..4].copy_from_slice(&(20 + kind.len() as u16).to_be_bytes());
        packet[4..12].copy_from_slice(&[0, 0, 0x40, 0, 64, kind.protocol(), 0, 0]);
        packet[12..16].copy_from_slice(&self.server.0.to_be_bytes());
        packet[16..20].copy_from_slice(&mapped.octets());
        let sum: u32 = packet[..20].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        packet[10..12].copy_from_slice(&(!(folded as u16 + (folded >> 16) as u16)).to_be_bytes());
        kind.write((self.server.1, self.port), &mut packet[20..]);
    }
}

/// Pseudo-random numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((u128::from(self.0 ^ self.0 >> 29) * u128::from(n)) >> 64) as u64
    }
}
