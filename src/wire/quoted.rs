//! Packets quoted by ICMP errors. A quoted packet may be truncated anywhere after its IP header and is not
//! validated like a received one, so it has a separate type.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::icmp::message as icmp;
use super::ipv4::header as ipv4;
use super::ipv6::header as ipv6;
use super::{Fragment, ICMP4, ICMP6, TCP, UDP, u16_at};
use crate::reason::Reason;

/// Minimum quoted length of a transport header, in bytes (RFC 792).
const MIN_TRANSPORT: usize = 8;

/// The transport header of a quoted packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotedTransport {
    /// TCP or UDP.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// An ICMP echo.
    Echo {
        /// The identifier.
        id: u16,
        /// Whether it is a reply.
        reply: bool,
    },
    /// An ICMP error, about which no error may be sent.
    Error,
    /// Truncated too early, not the first fragment, or another protocol.
    Unknown,
}

impl QuotedTransport {
    /// Source and destination port. Both are the identifier of an echo, or 0 without ports.
    pub const fn ports(self) -> (u16, u16) {
        match self {
            Self::Ports { src, dst } => (src, dst),
            Self::Echo { id, .. } => (id, id),
            Self::Error | Self::Unknown => (0, 0),
        }
    }
}

/// A quoted IPv4 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted4 {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Type of service.
    pub tos: u8,
    /// TTL when the error was sent.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// Protocol number.
    pub protocol: u8,
    /// Fragment offset and flags; `None` for an unfragmented packet.
    pub fragment: Option<Fragment>,
    /// The transport header.
    pub transport: QuotedTransport,
    /// Length of its header with options, in bytes.
    pub header_len: usize,
    /// Length before truncation by its header, in bytes.
    pub total_len: usize,
    /// Offset from the start of the outer packet, in bytes.
    pub at: usize,
    /// Quoted length in bytes.
    pub len: usize,
}

/// A quoted IPv6 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted6 {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit when the error was sent.
    pub hop_limit: u8,
    /// Protocol number after all extension headers.
    pub protocol: u8,
    /// Content of the Fragment header, if there is one.
    pub fragment: Option<Fragment>,
    /// The transport header.
    pub transport: QuotedTransport,
    /// Length of its header with extension headers, in bytes.
    pub header_len: usize,
    /// Length before truncation by its header, in bytes.
    pub total_len: usize,
    /// Offset from the start of the outer packet, in bytes.
    pub at: usize,
    /// Quoted length in bytes.
    pub len: usize,
}

impl Quoted4 {
    /// Parses the packet quoted in `at..end`. `padded`: zeros may follow it (RFC 4884 §3).
    pub(super) fn parse(packet: &[u8], at: usize, end: usize, padded: bool) -> Result<Self, Reason> {
        let bytes = &packet[at..end];
        let head = ipv4::Fields::of(bytes).ok_or(Reason::IcmpQuoted)?;
        let (header_len, total_len) = (head.header_len(), head.total_len());
        let valid = head.version() == 4
            && header_len >= ipv4::HEADER
            && header_len <= bytes.len()
            && header_len <= total_len
            && Sum::of(&bytes[..header_len]).checksum() == 0;
        if !valid {
            return Err(Reason::IcmpQuoted);
        }
        let len = if padded { bytes.len().min(total_len) } else { bytes.len() };
        let fragment = head.fragment();
        let protocol = head.protocol();
        let message = &bytes[header_len..len];
        let transport = match fragment {
            Some(f) if f.offset != 0 => QuotedTransport::Unknown,
            _ => transport_of(
                protocol,
                message,
                ICMP4,
                [icmp::v4::ECHO, icmp::v4::ECHO_REPLY],
                icmp::v4::is_error,
            ),
        };
        Ok(Self {
            src: head.src(),
            dst: head.dst(),
            tos: head.tos(),
            ttl: head.ttl(),
            id: head.id(),
            protocol,
            fragment,
            transport,
            header_len,
            total_len,
            at,
            len,
        })
    }
}

impl Quoted6 {
    /// Parses the packet quoted in `at..end`. `padded`: zeros may follow it (RFC 4884 §3).
    pub(super) fn parse(packet: &[u8], at: usize, end: usize, padded: bool) -> Result<Self, Reason> {
        let bytes = &packet[at..end];
        let head = ipv6::Fields::of(bytes).ok_or(Reason::IcmpQuoted)?;
        if head.version() != 6 {
            return Err(Reason::IcmpQuoted);
        }
        let chain = ipv6::walk(bytes).map_err(|_| Reason::IcmpQuoted)?;
        let total_len = ipv6::HEADER + head.payload_len();
        if chain.upper_at > total_len || ipv6::has_extension_after_fragment(chain.fragment, chain.protocol) {
            return Err(Reason::IcmpQuoted);
        }
        let len = if padded { bytes.len().min(total_len) } else { bytes.len() };
        let message = &bytes[chain.upper_at..len];
        let transport = match chain.fragment {
            Some(f) if f.offset != 0 => QuotedTransport::Unknown,
            _ => transport_of(
                chain.protocol,
                message,
                ICMP6,
                [icmp::v6::ECHO, icmp::v6::ECHO_REPLY],
                icmp::v6::is_error,
            ),
        };
        Ok(Self {
            src: head.src(),
            dst: head.dst(),
            traffic_class: head.traffic_class(),
            hop_limit: head.hop_limit(),
            protocol: chain.protocol,
            fragment: chain.fragment,
            transport,
            header_len: chain.upper_at,
            total_len,
            at,
            len,
        })
    }
}

/// Parses the transport header. `icmp` is the family's ICMP protocol number, `echo` its types of echo request
/// and reply.
fn transport_of(
    protocol: u8,
    message: &[u8],
    icmp: u8,
    echo: [u8; 2],
    is_error: fn(u8) -> bool,
) -> QuotedTransport {
    if message.len() < MIN_TRANSPORT {
        return QuotedTransport::Unknown;
    }
    match protocol {
        TCP | UDP => QuotedTransport::Ports { src: u16_at(message, 0), dst: u16_at(message, 2) },
        _ if protocol != icmp => QuotedTransport::Unknown,
        _ if echo.contains(&message[0]) => {
            QuotedTransport::Echo { id: u16_at(message, 4), reply: message[0] == echo[1] }
        }
        _ if is_error(message[0]) => QuotedTransport::Error,
        _ => QuotedTransport::Unknown,
    }
}
