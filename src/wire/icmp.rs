//! ICMPv4 (RFC 792) and ICMPv6 (RFC 4443), with RFC 4884 extensions.

pub(super) mod message;

use core::net::Ipv6Addr;

use super::checksum::Sum;
use super::quoted::{Quoted4, Quoted6};
use super::{ICMP6, Transport, u16_at, u32_at};
use crate::reason::Reason;

pub use message::{CHECKSUM, HEADER, IDENTIFIER, IcmpError, v4, v6};

/// Offsets of the parts of an ICMP error, in bytes from the start of the outer packet.
struct Layout {
    quoted_at: usize,
    quoted_end: usize,
    extension_len: usize,
}

impl Layout {
    /// `attribute` is the length attribute in bytes. If it exceeds the message or leaves no room for an
    /// extension header, the sender does not implement RFC 4884: there is no extension (§5.5).
    const fn of(end: usize, message_at: usize, attribute: usize) -> Self {
        const EXTENSION_HEADER: usize = 4;
        let quoted_at = message_at + HEADER;
        if attribute >= 20 && quoted_at + attribute + EXTENSION_HEADER <= end {
            let quoted_end = quoted_at + attribute;
            Self { quoted_at, quoted_end, extension_len: end - quoted_end }
        } else {
            Self { quoted_at, quoted_end: end, extension_len: 0 }
        }
    }
}

/// Parses the ICMPv4 message at offset `at` of an unfragmented packet.
#[inline(never)]
pub(super) fn read4(packet: &[u8], at: usize, partial: bool) -> Result<Transport<Quoted4>, Reason> {
    let message = &packet[at..];
    if message.len() < HEADER {
        return Err(Reason::TransportHeader);
    }
    let (kind, code) = (message[0], message[1]);
    match kind {
        v4::ECHO | v4::ECHO_REPLY if code == 0 => {
            Ok(Transport::Echo { id: u16_at(message, IDENTIFIER), reply: kind == v4::ECHO_REPLY })
        }
        v4::UNREACHABLE | v4::TIME_EXCEEDED | v4::PARAMETER => {
            if !partial && Sum::of(message).checksum() != 0 {
                return Err(Reason::IcmpChecksum);
            }
            let layout = Layout::of(packet.len(), at, usize::from(message[5]) * 4);
            let quoted =
                Quoted4::parse(packet, layout.quoted_at, layout.quoted_end, layout.extension_len > 0)?;
            Ok(Transport::Error(IcmpError {
                kind,
                code,
                info: u32_at(message, 4),
                quoted,
                extension_at: layout.quoted_end,
                extension_len: layout.extension_len,
            }))
        }
        _ => Ok(Transport::Icmp),
    }
}

/// Parses the ICMPv6 message at offset `at` of an unfragmented packet.
#[inline(never)]
pub(super) fn read6(
    packet: &[u8],
    at: usize,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    partial: bool,
) -> Result<Transport<Quoted6>, Reason> {
    let message = &packet[at..];
    if message.len() < HEADER {
        return Err(Reason::TransportHeader);
    }
    let (kind, code) = (message[0], message[1]);
    match kind {
        v6::ECHO | v6::ECHO_REPLY if code == 0 => {
            Ok(Transport::Echo { id: u16_at(message, IDENTIFIER), reply: kind == v6::ECHO_REPLY })
        }
        v6::UNREACHABLE | v6::TOO_BIG | v6::TIME_EXCEEDED | v6::PARAMETER => {
            let pseudo = Sum::pseudo6(src, dst, ICMP6, message.len());
            if !partial && pseudo.plus(Sum::of(message)).checksum() != 0 {
                return Err(Reason::IcmpChecksum);
            }
            // Only these types have a length attribute (RFC 4884 §4.6).
            let attribute = match kind {
                v6::UNREACHABLE | v6::TIME_EXCEEDED => usize::from(message[4]) * 8,
                _ => 0,
            };
            let layout = Layout::of(packet.len(), at, attribute);
            let quoted =
                Quoted6::parse(packet, layout.quoted_at, layout.quoted_end, layout.extension_len > 0)?;
            Ok(Transport::Error(IcmpError {
                kind,
                code,
                info: u32_at(message, 4),
                quoted,
                extension_at: layout.quoted_end,
                extension_len: layout.extension_len,
            }))
        }
        _ => Ok(Transport::Icmp),
    }
}

/// Parses the first fragment of a message. `echo` holds the family's types of echo request and reply. An ICMP
/// error can't be parsed from its first fragment.
pub(super) fn first_fragment<Q>(message: &[u8], echo: [u8; 2]) -> Result<Transport<Q>, Reason> {
    if message.len() < HEADER {
        return Err(Reason::FragmentHeader);
    }
    Ok(if echo.contains(&message[0]) && message[1] == 0 {
        Transport::Echo { id: u16_at(message, IDENTIFIER), reply: message[0] == echo[1] }
    } else {
        Transport::Icmp
    })
}
