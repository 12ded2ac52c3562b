//! An IPv6 header and its extension headers.

use core::net::Ipv6Addr;

use crate::reason::Reason;
use crate::wire::{Fragment, ICMP6, TCP, UDP, u16_at, u32_at};

/// Length of the fixed header, in bytes.
pub const HEADER: usize = 40;
/// Length of a Fragment header, in bytes.
pub const FRAGMENT_HEADER: usize = 8;
/// Offset of the fragment offset and flag in a Fragment header, in bytes.
pub(crate) const FRAGMENT_OFFSET: usize = 2;
/// Minimum link MTU in bytes (RFC 8200 §5).
pub const MIN_MTU: usize = 1280;
/// Maximum number of extension headers that are parsed.
pub const MAX_EXTENSIONS: usize = 8;

/// Offset of the payload length, in bytes.
pub const PAYLOAD_LEN: usize = 4;

/// Next header: Hop-by-Hop Options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: Routing.
pub const ROUTING: u8 = 43;
/// Next header: Fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: Authentication (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// Next header: Destination Options.
pub const DESTINATION: u8 = 60;

/// Whether an extension header follows the Fragment header. Only reassembly reveals the datagram's protocol.
pub(in crate::wire) const fn has_extension_after_fragment(fragment: Option<Fragment>, protocol: u8) -> bool {
    fragment.is_some() && matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Result of parsing the chain of extension headers.
pub(in crate::wire) struct Chain {
    pub(in crate::wire) upper_at: usize,
    pub(in crate::wire) protocol: u8,
    pub(in crate::wire) fragment: Option<Fragment>,
    pub(in crate::wire) segments_left_at: Option<u16>,
}

/// Parses at most [`MAX_EXTENSIONS`] extension headers. `packet` has a complete fixed header.
#[inline(always)]
pub(in crate::wire) fn walk(packet: &[u8]) -> Result<Chain, Reason> {
    let mut chain = Chain { upper_at: HEADER, protocol: packet[6], fragment: None, segments_left_at: None };
    if !matches!(chain.protocol, TCP | UDP | ICMP6) {
        walk_extensions(packet, &mut chain)?;
    }
    Ok(chain)
}

fn walk_extensions(packet: &[u8], chain: &mut Chain) -> Result<(), Reason> {
    for _ in 0..=MAX_EXTENSIONS {
        let at = chain.upper_at;
        match chain.protocol {
            HOP_BY_HOP if at != HEADER => return Err(Reason::ExtensionHeader),
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let head = packet.get(at..at + 8).ok_or(Reason::ExtensionHeader)?;
                let end = at + (usize::from(head[1]) + 1) * 8;
                if end > packet.len() {
                    return Err(Reason::ExtensionHeader);
                }
                if chain.protocol == ROUTING && head[3] != 0 && chain.segments_left_at.is_none() {
                    chain.segments_left_at = Some((at + 3) as u16);
                }
                chain.protocol = head[0];
                chain.upper_at = end;
            }
            FRAGMENT => {
                let head = packet.get(at..at + FRAGMENT_HEADER).ok_or(Reason::ExtensionHeader)?;
                let field = u16_at(head, 2);
                chain.fragment =
                    Some(Fragment { id: u32_at(head, 4), offset: field & 0xfff8, more: field & 1 != 0 });
                chain.protocol = head[0];
                chain.upper_at = at + FRAGMENT_HEADER;
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
    Err(Reason::ExtensionLimit)
}

/// The fields of a fixed header, which may be invalid.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8; HEADER]);

impl<'a> Fields<'a> {
    /// The fields at the start of `packet`; `None` if it is shorter than a header.
    #[inline(always)]
    pub(crate) fn of(packet: &'a [u8]) -> Option<Self> {
        packet.first_chunk().map(Self)
    }

    #[inline(always)]
    pub(crate) const fn version(self) -> u8 {
        self.0[0] >> 4
    }

    #[inline(always)]
    pub(crate) const fn traffic_class(self) -> u8 {
        self.0[0] << 4 | self.0[1] >> 4
    }

    /// Length of the packet after this header, in bytes.
    #[inline(always)]
    pub(crate) fn payload_len(self) -> usize {
        usize::from(u16_at(self.0, PAYLOAD_LEN))
    }

    #[inline(always)]
    pub(crate) const fn next_header(self) -> u8 {
        self.0[6]
    }

    #[inline(always)]
    pub(crate) const fn hop_limit(self) -> u8 {
        self.0[7]
    }

    #[inline(always)]
    pub(crate) fn src(self) -> Ipv6Addr {
        self.addr(8)
    }

    #[inline(always)]
    pub(crate) fn dst(self) -> Ipv6Addr {
        self.addr(24)
    }

    #[inline(always)]
    fn addr(self, at: usize) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.0[at..at + 16]);
        Ipv6Addr::from(octets)
    }
}
