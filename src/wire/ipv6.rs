//! IPv6 packets and their extension headers (RFC 8200).

pub(super) mod header;

use core::net::Ipv6Addr;

use super::buf::{Checksum, Offload};
use super::quoted::Quoted6;
use super::transport::{ParsedPorts, fits, invalid_header, ports_of};
use super::{Fragment, ICMP6, Transport, icmp};
use crate::reason::Reason;

pub(crate) use header::FRAGMENT_OFFSET;
pub(crate) use header::Fields;
pub use header::PAYLOAD_LEN;
pub use header::{
    AUTHENTICATION, DESTINATION, FRAGMENT, FRAGMENT_HEADER, HEADER, HOP_BY_HOP, MAX_EXTENSIONS, MIN_MTU,
    ROUTING,
};
pub(in crate::wire) use header::{has_extension_after_fragment, walk};

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
        let head = Fields::of(bytes).ok_or(Reason::Ipv6Header)?;
        let payload = head.payload_len();
        let len = HEADER + payload;
        // Payload length zero with a Hop-by-Hop header: a jumbogram (RFC 2675).
        if head.version() != 6 || len > bytes.len() || (payload == 0 && head.next_header() == HOP_BY_HOP) {
            return Err(Reason::Ipv6Header);
        }
        let packet = &bytes[..len];
        let chain = walk(packet)?;
        let whole = chain.fragment.is_none_or(Fragment::is_atomic);
        let (src, dst) = (head.src(), head.dst());
        // Constructed in each arm, so that the large value is written once, without a copy.
        let with = |transport| {
            Ok(Self {
                src,
                dst,
                traffic_class: head.traffic_class(),
                hop_limit: head.hop_limit(),
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
            ParsedPorts::Tcp(src, dst, flags) => with(Transport::Tcp { src, dst, flags }),
            ParsedPorts::Udp(src, dst, checksum) => with(Transport::Udp { src, dst, checksum }),
            ParsedPorts::Invalid => Err(invalid_header(whole)),
            ParsedPorts::None if chain.protocol != ICMP6 => with(Transport::Other),
            ParsedPorts::None if whole => {
                let partial = offload.checksum == Checksum::Partial;
                with(icmp::read6(packet, chain.upper_at, src, dst, partial)?)
            }
            ParsedPorts::None => with(icmp::first_fragment(message, [icmp::v6::ECHO, icmp::v6::ECHO_REPLY])?),
        }
    }
}
