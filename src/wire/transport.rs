//! What stands behind an IP header.

use super::icmp::IcmpError;
use super::{TCP, UDP, tcp, u16_at, udp};
use crate::reason::Reason;

/// Where a fragment belongs in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The datagram's identification; 16 bits of it in IPv4.
    pub id: u32,
    /// Where the payload starts in the datagram, in bytes; a multiple of 8.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

impl Fragment {
    /// A whole packet that has a Fragment header all the same (RFC 6946). Only IPv6 knows them.
    pub const fn is_atomic(self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// What stands behind an IP header. `Q` is the packet quoted by an ICMP error, of the family of the
/// outer one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport<Q> {
    /// A TCP segment with its whole header.
    Tcp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// SYN, ACK and so on.
        flags: tcp::Flags,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// The checksum field as it stands. Zero means none, unless the checksum is partial.
        checksum: u16,
    },
    /// An ICMP echo request or reply.
    Echo {
        /// The identifier.
        id: u16,
        /// Whether it is a reply.
        reply: bool,
    },
    /// An unfragmented ICMP error with a right checksum and a usable quoted packet.
    Error(IcmpError<Q>),
    /// Another ICMP message, or the first fragment of an ICMP error.
    Icmp,
    /// A fragment that is not the first.
    Fragment,
    /// Another protocol.
    Other,
}

impl<Q> Transport<Q> {
    /// Source and destination port; the identifier of an echo stands in both, and where there are none
    /// both are 0.
    pub const fn ports(&self) -> (u16, u16) {
        match *self {
            Self::Tcp { src, dst, .. } | Self::Udp { src, dst, .. } => (src, dst),
            Self::Echo { id, .. } => (id, id),
            Self::Error(_) | Self::Icmp | Self::Fragment | Self::Other => (0, 0),
        }
    }

    /// The packet that an ICMP error quotes; `None` if this is none.
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

/// What stands behind an IP header, as far as it is found without a second look.
pub(super) enum Ports {
    Tcp(u16, u16, tcp::Flags),
    Udp(u16, u16, u16),
    /// A header cut off or impossible.
    Bad,
    /// Another protocol.
    None,
}

/// Reads the TCP or UDP header at the start of `message`. `whole` says that it is not a fragment.
#[inline(always)]
pub(super) fn ports_of(protocol: u8, message: &[u8], whole: bool) -> Ports {
    match protocol {
        TCP => match tcp::header_len(message) {
            None => Ports::Bad,
            Some(_) => Ports::Tcp(u16_at(message, 0), u16_at(message, 2), tcp::Flags(message[13])),
        },
        UDP if !udp::is_valid(message, whole) => Ports::Bad,
        UDP => Ports::Udp(u16_at(message, 0), u16_at(message, 2), u16_at(message, udp::CHECKSUM)),
        _ => Ports::None,
    }
}

/// Why a transport header is refused.
pub(super) const fn cut_off(whole: bool) -> Reason {
    if whole { Reason::TransportHeader } else { Reason::FragmentHeader }
}

/// Whether a fragment can lie like this, `len` bytes of payload in it: not empty if more are to come, and
/// not beyond what a packet may have. One that is not the last and no multiple of 8 long passes: its
/// receiver knows what to make of it.
pub(super) const fn fits(fragment: Fragment, len: usize) -> bool {
    (!fragment.more || len != 0) && fragment.offset as usize + len <= 65_535
}
