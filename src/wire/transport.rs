//! Transport headers.

use super::icmp::IcmpError;
use super::{TCP, UDP, tcp, u16_at, udp};
use crate::reason::Reason;

/// Position of a fragment in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Identification of the datagram; 16 bits in IPv4.
    pub id: u32,
    /// Offset in bytes, a multiple of 8.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

impl Fragment {
    /// Whether this is an IPv6 atomic fragment: an unfragmented packet with a Fragment header (RFC 6946).
    pub const fn is_atomic(self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// The transport header of a packet. `Q` is the type of the packet that an ICMP error quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport<Q> {
    /// A TCP segment with a complete header.
    Tcp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// TCP flags.
        flags: tcp::Flags,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// The checksum field. Zero means "no checksum", unless the checksum is partial.
        checksum: u16,
    },
    /// An ICMP echo request or reply.
    Echo {
        /// The identifier.
        id: u16,
        /// Whether it is a reply.
        reply: bool,
    },
    /// An unfragmented ICMP error with a valid checksum and a valid quoted packet.
    Error(IcmpError<Q>),
    /// Another ICMP message, or the first fragment of an ICMP error.
    Icmp,
    /// A fragment other than the first.
    Fragment,
    /// Another protocol.
    Other,
}

impl<Q> Transport<Q> {
    /// Source and destination port. Both are the identifier of an echo, or 0 without ports.
    pub const fn ports(&self) -> (u16, u16) {
        match *self {
            Self::Tcp { src, dst, .. } | Self::Udp { src, dst, .. } => (src, dst),
            Self::Echo { id, .. } => (id, id),
            Self::Error(_) | Self::Icmp | Self::Fragment | Self::Other => (0, 0),
        }
    }

    /// The packet that an ICMP error quotes; `None` for other packets.
    pub const fn quoted(&self) -> Option<&Q> {
        match self {
            Self::Error(error) => Some(&error.quoted),
            Self::Tcp { .. }
            | Self::Udp { .. }
            | Self::Echo { .. }
            | Self::Icmp
            | Self::Fragment
            | Self::Other => None,
        }
    }
}

/// Offset of the source port in a TCP or UDP header, in bytes.
pub(crate) const SRC_PORT: usize = 0;
/// Offset of the destination port in a TCP or UDP header, in bytes.
pub(crate) const DST_PORT: usize = 2;

/// TCP or UDP ports, read without copying the whole [`Transport`].
pub(super) enum ParsedPorts {
    Tcp(u16, u16, tcp::Flags),
    Udp(u16, u16, u16),
    /// A truncated or invalid header.
    Invalid,
    /// Another protocol.
    None,
}

/// Parses the TCP or UDP header at the start of `message`. `whole`: the packet is not a fragment.
#[inline(always)]
pub(super) fn ports_of(protocol: u8, message: &[u8], whole: bool) -> ParsedPorts {
    match protocol {
        TCP => match tcp::header_len(message) {
            None => ParsedPorts::Invalid,
            Some(_) => ParsedPorts::Tcp(
                u16_at(message, SRC_PORT),
                u16_at(message, DST_PORT),
                tcp::Flags(message[tcp::FLAGS]),
            ),
        },
        UDP if !udp::is_valid(message, whole) => ParsedPorts::Invalid,
        UDP => ParsedPorts::Udp(
            u16_at(message, SRC_PORT),
            u16_at(message, DST_PORT),
            u16_at(message, udp::CHECKSUM),
        ),
        _ => ParsedPorts::None,
    }
}

/// The drop reason for an invalid transport header.
pub(super) const fn invalid_header(whole: bool) -> Reason {
    if whole { Reason::TransportHeader } else { Reason::FragmentHeader }
}

/// Whether a fragment with `len` bytes of payload is valid: not empty unless it is the last, and within a
/// packet of 65,535 bytes. Lengths that are not a multiple of 8 are left to the receiver.
pub(super) const fn fits(fragment: Fragment, len: usize) -> bool {
    (!fragment.more || len != 0) && fragment.offset as usize + len <= 65_535
}
