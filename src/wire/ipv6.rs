//! IPv6 packets and their extension headers (RFC 8200).

use core::net::Ipv6Addr;

use super::buf::{Checksum, Offload};
use super::quoted::Quoted6;
use super::transport::{Ports, fits, invalid_header, ports_of};
use super::{Fragment, ICMP6, TCP, Transport, UDP, icmp, u16_at, u32_at};
use crate::reason::Reason;

/// Length of the fixed header, in bytes.
pub const HEADER: usize = 40;
/// Length of a Fragment header, in bytes.
pub const FRAGMENT_HEADER: usize = 8;
/// Minimum link MTU in bytes (RFC 8200 §5).
pub const MIN_MTU: usize = 1280;
/// Maximum number of extension headers that are parsed.
pub const MAX_EXTENSIONS: usize = 8;

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

/// A parsed IPv6 packet with valid layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Packet {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Length of the packet in bytes, header included; the buffer may hold trailing padding.
    pub len: usize,
    /// Offset of the transport header, after all extension headers, in bytes.
    pub upper_at: usize,
    /// Protocol number after all extension headers.
    pub protocol: u8,
    /// Content of the Fragment header, if there is one, even on an unfragmented packet.
    pub fragment: Option<Fragment>,
    /// Offset of the first non-zero Segments Left field of a Routing header, in bytes (RFC 7915 §5.1).
    pub segments_left_at: Option<u16>,
    /// The transport header.
    pub transport: Transport<Quoted6>,
}

/// Whether an extension header follows the Fragment header. Only reassembly reveals the datagram's protocol.
pub(super) const fn has_extension_after_fragment(fragment: Option<Fragment>, protocol: u8) -> bool {
    fragment.is_some() && matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

impl Ipv6Packet {
    /// Whether an extension header other than ESP follows the Fragment header (RFC 7915 §5.1.1). `protocol` is
    /// then its number.
    pub const fn has_extension_after_fragment(&self) -> bool {
        has_extension_after_fragment(self.fragment, self.protocol)
    }

    /// Parses the packet at the start of `bytes`.
    ///
    /// # Errors
    /// A [`Reason`] if the layout is invalid, or the checksum of an ICMP error is wrong.
    #[inline]
    pub fn parse(bytes: &[u8], offload: &Offload) -> Result<Self, Reason> {
        let head = bytes.first_chunk::<HEADER>().ok_or(Reason::Ipv6Header)?;
        let payload = usize::from(u16_at(head, 4));
        let len = HEADER + payload;
        // Payload length zero with a Hop-by-Hop header: a jumbogram (RFC 2675).
        if head[0] >> 4 != 6 || len > bytes.len() || (payload == 0 && head[6] == HOP_BY_HOP) {
            return Err(Reason::Ipv6Header);
        }
        let packet = &bytes[..len];
        let chain = walk(packet)?;
        let whole = chain.fragment.is_none_or(Fragment::is_atomic);
        let (src, dst) = (addr_at(head, 8), addr_at(head, 24));
        // Constructed in each arm, so that the large value is written once, without a copy.
        let with = |transport| {
            Ok(Self {
                src,
                dst,
                traffic_class: traffic_class_of(head),
                hop_limit: head[7],
                len,
                upper_at: chain.upper_at,
                protocol: chain.protocol,
                fragment: chain.fragment,
                segments_left_at: chain.segments_left_at,
                transport,
            })
        };
        let message = &packet[chain.upper_at..];
        if let Some(fragment) = chain.fragment {
            if !fits(fragment, message.len()) {
                return Err(Reason::FragmentSize);
            }
            if fragment.offset != 0 {
                return with(Transport::Fragment);
            }
        }
        match ports_of(chain.protocol, message, whole) {
            Ports::Tcp(src, dst, flags) => with(Transport::Tcp { src, dst, flags }),
            Ports::Udp(src, dst, checksum) => with(Transport::Udp { src, dst, checksum }),
            Ports::Bad => Err(invalid_header(whole)),
            Ports::None if chain.protocol != ICMP6 => with(Transport::Other),
            Ports::None if whole => {
                let partial = offload.checksum == Checksum::Partial;
                with(icmp::read6(packet, chain.upper_at, src, dst, partial)?)
            }
            Ports::None => with(icmp::first_fragment(message, [icmp::v6::ECHO, icmp::v6::ECHO_REPLY])?),
        }
    }
}

/// Result of parsing the chain of extension headers.
pub(super) struct Chain {
    pub(super) upper_at: usize,
    pub(super) protocol: u8,
    pub(super) fragment: Option<Fragment>,
    pub(super) segments_left_at: Option<u16>,
}

/// Parses at most [`MAX_EXTENSIONS`] extension headers. `packet` has a complete fixed header.
#[inline(always)]
pub(super) fn walk(packet: &[u8]) -> Result<Chain, Reason> {
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

pub(crate) fn addr_at(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets)
}

pub(crate) const fn traffic_class_of(head: &[u8; HEADER]) -> u8 {
    head[0] << 4 | head[1] >> 4
}
