//! IPv4 packets (RFC 791).

pub(super) mod header;

use core::net::Ipv4Addr;

use super::buf::{Checksum, Offload};
use super::checksum::Sum;
use super::quoted::Quoted4;
use super::transport::{ParsedPorts, fits, invalid_header, ports_of};
use super::{Fragment, ICMP4, Transport, icmp};
use crate::reason::Reason;

pub(crate) use header::FRAGMENT;
pub(crate) use header::Fields;
pub use header::{CHECKSUM, HEADER, ID, MIN_MTU, TOTAL_LEN};

/// A parsed IPv4 packet with valid layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Packet {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// Don't fragment.
    pub df: bool,
    /// Length of the header, options included, in bytes: 20 to 60.
    pub header_len: usize,
    /// Length of the packet in bytes; the buffer may hold trailing padding.
    pub total_len: usize,
    /// Protocol number.
    pub protocol: u8,
    /// Fragment offset and flags; `None` for an unfragmented packet.
    pub fragment: Option<Fragment>,
    /// Whether it has an unexpired source route (RFC 7915 §4.1).
    pub source_route: bool,
    /// The transport header.
    pub transport: Transport<Quoted4>,
}

impl Ipv4Packet {
    /// Parses the packet at the start of `bytes`.
    ///
    /// # Errors
    /// A [`Reason`] if the layout is invalid, or the checksum of the header or of an ICMP error is wrong.
    #[inline]
    pub fn parse(bytes: &[u8], offload: &Offload) -> Result<Self, Reason> {
        let head = Fields::of(bytes).ok_or(Reason::Ipv4Header)?;
        let (header_len, total_len) = (head.header_len(), head.total_len());
        if head.version() != 4 || header_len < HEADER || header_len > total_len || total_len > bytes.len() {
            return Err(Reason::Ipv4Header);
        }
        let source_route = if header_len == HEADER {
            if head.sum().checksum() != 0 {
                return Err(Reason::Ipv4Checksum);
            }
            false
        } else {
            if Sum::of(&bytes[..header_len]).checksum() != 0 {
                return Err(Reason::Ipv4Checksum);
            }
            has_source_route(&bytes[HEADER..header_len])?
        };
        let fragment = head.fragment();
        let whole = fragment.is_none();
        let packet = &bytes[..total_len];
        let protocol = head.protocol();
        // Constructed in each arm, so that the large value is written once, without a copy.
        let with = |transport| {
            Ok(Self {
                src: head.src(),
                dst: head.dst(),
                tos: head.tos(),
                ttl: head.ttl(),
                id: head.id(),
                df: head.df(),
                header_len,
                total_len,
                protocol,
                fragment,
                source_route,
                transport,
            })
        };
        let message = &packet[header_len..];
        if let Some(fragment) = fragment {
            if !fits(fragment, message.len()) {
                return Err(Reason::FragmentSize);
            }
            if fragment.offset != 0 {
                return with(Transport::Fragment);
            }
        }
        match ports_of(protocol, message, whole) {
            ParsedPorts::Tcp(src, dst, flags) => with(Transport::Tcp { src, dst, flags }),
            ParsedPorts::Udp(src, dst, checksum) => with(Transport::Udp { src, dst, checksum }),
            ParsedPorts::Invalid => Err(invalid_header(whole)),
            ParsedPorts::None if protocol != ICMP4 => with(Transport::Other),
            ParsedPorts::None if whole => {
                with(icmp::read4(packet, header_len, offload.checksum == Checksum::Partial)?)
            }
            ParsedPorts::None => with(icmp::first_fragment(message, [icmp::v4::ECHO, icmp::v4::ECHO_REPLY])?),
        }
    }
}

/// Whether the options hold an unexpired source route. At most 40 iterations: an option has at least one byte.
fn has_source_route(options: &[u8]) -> Result<bool, Reason> {
    const END: u8 = 0;
    const PADDING: u8 = 1;
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    let mut at = 0;
    while at < options.len() {
        match options[at] {
            END => break,
            PADDING => at += 1,
            kind => {
                let len = usize::from(*options.get(at + 1).ok_or(Reason::Ipv4Options)?);
                if len < 2 || at + len > options.len() {
                    return Err(Reason::Ipv4Options);
                }
                if matches!(kind, LOOSE | STRICT) {
                    if len < 3 {
                        return Err(Reason::Ipv4Options);
                    }
                    // The pointer counts from 1 and exceeds the length when the route is expired (RFC 791 §3.1).
                    if usize::from(options[at + 2]) <= len {
                        return Ok(true);
                    }
                }
                at += len;
            }
        }
    }
    Ok(false)
}
