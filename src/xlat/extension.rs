//! What an ICMPv4 error says of an IPv6 source that IPv4 can't express: an object behind the quoted
//! packet (RFC 4884, RFC 5837, RFC 6791 §4).

use core::net::Ipv6Addr;

use super::error::MAX_ERROR4;
use super::fragment::IpHeader;
use super::header::Header4;
use crate::wire::buf::PacketBuf;
use crate::wire::checksum::Sum;
use crate::wire::{icmp, ipv4, put_u16};

/// How the object calls the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// That of the interface at which the packet arrived (RFC 5837 §4).
    Interface,
    /// That of the node (draft-ietf-intarea-extended-icmp-nodeid).
    Node,
}

impl Object {
    /// Class and type.
    const fn class(self) -> [u8; 2] {
        match self {
            // The role of the incoming interface is 0; this bit announces an address.
            Self::Interface => [2, 0x04],
            Self::Node => [5, 0x04],
        }
    }
}

/// Bytes of the structure's header: version and checksum (RFC 4884 §7).
const HEADER: usize = 4;
/// Bytes of the object: its header, the address family, the address.
const OBJECT: usize = 4 + 4 + 16;
/// IPv6 in the registry of address families.
const FAMILY_IPV6: u16 = 2;
/// Least length of a quoted packet with a structure behind it (RFC 4884 §3).
const MIN_QUOTED: usize = 128;
/// Where the length attribute stands in an ICMPv4 header, in units of 4 bytes.
const ATTRIBUTE: usize = 5;

/// Adds an object to an ICMPv4 error as [`v6_to_v4`](super::v6_to_v4) leaves it: unreachable, time
/// exceeded or parameter problem. False, and nothing is changed, if it does not fit 576 bytes.
pub fn add_object(object: Object, addr: Ipv6Addr, buf: &mut PacketBuf) -> bool {
    const QUOTED_AT: usize = ipv4::HEADER + icmp::HEADER;
    let Some(head) = buf.bytes().first_chunk().map(Header4::read) else { return false };
    if buf.len() < QUOTED_AT {
        return false;
    }
    let quoted = usize::from(buf.bytes()[ipv4::HEADER + ATTRIBUTE]) * 4;
    let end = if quoted == 0 {
        // Without a structure all is quoted packet: cut or padded to what leaves room for one.
        let most = (MAX_ERROR4 - QUOTED_AT - HEADER - OBJECT) / 4 * 4;
        let quoted = (buf.len() - QUOTED_AT).next_multiple_of(4).clamp(MIN_QUOTED, most);
        let padding = (QUOTED_AT + quoted).saturating_sub(buf.len());
        if padding + HEADER + OBJECT > buf.room() {
            return false;
        }
        buf.append(padding).fill(0);
        buf.set_len(QUOTED_AT + quoted);
        buf.append(HEADER).copy_from_slice(&[0x20, 0, 0, 0]);
        buf.bytes_mut()[ipv4::HEADER + ATTRIBUTE] = (quoted / 4) as u8;
        QUOTED_AT + quoted
    } else {
        if buf.len() + OBJECT > MAX_ERROR4 || OBJECT > buf.room() {
            return false;
        }
        QUOTED_AT + quoted
    };
    let [class, kind] = object.class();
    let at = buf.append(OBJECT);
    put_u16(at, 0, OBJECT as u16);
    at[2] = class;
    at[3] = kind;
    put_u16(at, 4, FAMILY_IPV6);
    put_u16(at, 6, 0);
    at[8..].copy_from_slice(&addr.octets());
    let bytes = buf.bytes_mut();
    set_checksum(&mut bytes[end..]);
    set_checksum(&mut bytes[ipv4::HEADER..]);
    let upper = bytes.len() - ipv4::HEADER;
    head.write(bytes, upper);
    true
}

/// Structure and message both have their checksum in the second word.
fn set_checksum(bytes: &mut [u8]) {
    put_u16(bytes, 2, 0);
    let checksum = Sum::of(bytes).checksum();
    put_u16(bytes, 2, checksum);
}
