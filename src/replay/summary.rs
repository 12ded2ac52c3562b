//! A one-line summary of a packet. Accepts damaged and truncated packets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::addr::Proto;
use crate::wire::{DST_PORT, ICMP4, ICMP6, SRC_PORT, TCP, UDP, ipv4, ipv6, u16_at};

/// Maximum nesting depth of quoted packets in a summary.
const DEPTH: u8 = 2;

/// The header fields that a summary shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Summary<'a> {
    bytes: &'a [u8],
    depth: u8,
    /// Its addresses; `None` if it has no IP header.
    addresses: Option<(IpAddr, IpAddr)>,
    protocol: u8,
    /// The payload of the IP packet, after IPv6 extension headers.
    payload: &'a [u8],
    /// Of a fragment: offset in bytes and More Fragments flag.
    fragment: Option<(u16, bool)>,
}

/// The kind of payload, as far as the RFC sections differ by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Tcp,
    Udp,
    Echo,
    IcmpError,
    Other,
}

impl<'a> Summary<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self::at_depth(bytes, 0)
    }

    fn at_depth(bytes: &'a [u8], depth: u8) -> Self {
        let read = match bytes.first().map(|byte| byte >> 4) {
            Some(4) => Self::of_v4(bytes),
            Some(6) => Self::of_v6(bytes),
            _ => None,
        };
        let nothing = Self { bytes, depth, addresses: None, protocol: 0, payload: &[], fragment: None };
        Self { depth, ..read.unwrap_or(nothing) }
    }

    fn of_v4(bytes: &'a [u8]) -> Option<Self> {
        let head = ipv4::Fields::of(bytes)?;
        let fragment = head.fragment().map(|fragment| (fragment.offset, fragment.more));
        let payload = bytes.get(head.header_len()..).unwrap_or_default();
        let addresses = Some((head.src().into(), head.dst().into()));
        Some(Self { bytes, depth: 0, addresses, protocol: head.protocol(), payload, fragment })
    }

    fn of_v6(bytes: &'a [u8]) -> Option<Self> {
        let head = ipv6::Fields::of(bytes)?;
        let (mut protocol, mut at, mut fragment) = (head.next_header(), ipv6::HEADER, None);
        while let (ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::FRAGMENT | ipv6::DESTINATION, Some(next)) =
            (protocol, bytes.get(at..at + 8))
        {
            let mut len = 8 + usize::from(next[1]) * 8;
            if protocol == ipv6::FRAGMENT {
                let word = u16_at(next, 2);
                fragment = Some((word & !7, word & 1 != 0));
                len = ipv6::FRAGMENT_HEADER;
            }
            (protocol, at) = (next[0], at + len);
            if fragment.is_some_and(|(offset, _)| offset > 0) {
                break;
            }
        }
        let payload = bytes.get(at..).unwrap_or_default();
        let addresses = Some((head.src().into(), head.dst().into()));
        Some(Self { bytes, depth: 0, addresses, protocol, payload, fragment })
    }

    /// The IP version; `None` if it has no IP header.
    pub(super) fn version(&self) -> Option<u8> {
        self.addresses.map(|(src, _)| if src.is_ipv4() { 4 } else { 6 })
    }

    pub(super) const fn is_fragment(&self) -> bool {
        self.fragment.is_some()
    }

    pub(super) fn kind(&self) -> Kind {
        match (self.protocol, self.payload.first()) {
            (TCP, _) => Kind::Tcp,
            (UDP, _) => Kind::Udp,
            (ICMP4, Some(0 | 8)) | (ICMP6, Some(128 | 129)) => Kind::Echo,
            (ICMP4, Some(3..=5 | 11 | 12)) | (ICMP6, Some(0..=127)) => Kind::IcmpError,
            _ => Kind::Other,
        }
    }

    /// The packet that an ICMP error quotes.
    pub(super) fn quoted(&self) -> Option<Self> {
        let quoted = self.payload.get(8..).filter(|quoted| !quoted.is_empty())?;
        (self.kind() == Kind::IcmpError).then(|| Self::at_depth(quoted, self.depth + 1))
    }

    /// Protocol, source and destination. An ICMP identifier is in both ports.
    pub(super) fn flow(&self) -> Option<(Proto, SocketAddr, SocketAddr)> {
        let (src, dst) = self.addresses?;
        let (proto, from, to) = match self.kind() {
            Kind::Tcp => (Proto::Tcp, self.word(SRC_PORT)?, self.word(DST_PORT)?),
            Kind::Udp => (Proto::Udp, self.word(SRC_PORT)?, self.word(DST_PORT)?),
            Kind::Echo => (Proto::Icmp, self.word(4)?, self.word(4)?),
            Kind::IcmpError | Kind::Other => return None,
        };
        Some((proto, SocketAddr::new(src, from), SocketAddr::new(dst, to)))
    }

    /// The 16-bit word at `at` of the payload.
    fn word(&self, at: usize) -> Option<u16> {
        self.payload.get(at..at + 2).map(|word| u16_at(word, 0))
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((src, dst)) = self.addresses else {
            return write!(f, "{} bytes without an IP header", self.bytes.len());
        };
        let ports = match self.protocol {
            TCP | UDP if self.fragment.is_none_or(|(offset, _)| offset == 0) => {
                self.word(SRC_PORT).zip(self.word(DST_PORT))
            }
            _ => None,
        };
        match self.protocol {
            TCP => f.write_str("TCP ")?,
            UDP => f.write_str("UDP ")?,
            ICMP4 => f.write_str("ICMPv4 ")?,
            ICMP6 => f.write_str("ICMPv6 ")?,
            other => write!(f, "protocol {other} ")?,
        }
        match ports {
            Some((from, to)) => {
                write!(f, "{} > {}", SocketAddr::new(src, from), SocketAddr::new(dst, to))?;
            }
            None => write!(f, "{src} > {dst}")?,
        }
        self.details(f)?;
        if let Some((offset, more)) = self.fragment {
            write!(f, ", fragment from {offset}{}", if more { "" } else { ", the last" })?;
        }
        write!(f, ", {} bytes", self.bytes.len())
    }
}

impl Summary<'_> {
    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fragment.is_some_and(|(offset, _)| offset > 0) {
            return Ok(());
        }
        match (self.protocol, self.payload) {
            (TCP, [_, _, _, _, _, _, _, _, _, _, _, _, _, flags, ..]) => {
                let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
                names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| flags >> bit & 1 == 1)
                    .try_for_each(|(_, n)| write!(f, " {n}"))
            }
            (ICMP4 | ICMP6, [kind, code, ..]) if self.kind() == Kind::Echo => {
                let what = if matches!(kind, 8 | 128) { "request" } else { "reply" };
                let (id, seq) = (self.word(4).unwrap_or(0), self.word(6).unwrap_or(0));
                write!(f, " echo {what} id {id} seq {seq}")?;
                if *code == 0 { Ok(()) } else { write!(f, " code {code}") }
            }
            (ICMP4 | ICMP6, [kind, code, ..]) => {
                write!(f, " {kind}/{code}")?;
                let mtu = match (self.protocol, kind, code) {
                    (ICMP4, 3, 4) => self.word(6).map(u32::from),
                    (ICMP6, 2, 0) => {
                        self.word(4).zip(self.word(6)).map(|(a, b)| u32::from(a) << 16 | u32::from(b))
                    }
                    _ => None,
                };
                mtu.map_or(Ok(()), |mtu| write!(f, " MTU {mtu}"))?;
                match self.quoted().filter(|_| self.depth < DEPTH) {
                    Some(quoted) => write!(f, " {{ {quoted} }}"),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
