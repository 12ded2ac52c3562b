//! Adds an RFC 4884 object with the IPv6 source of an ICMP error that has no IPv4 address
//! (RFC 5837, RFC 6791 §4).

use core::net::Ipv6Addr;

use super::header::{Header4, IpHeader};
use super::originate::MAX_ERROR4;
use super::quoted::MIN_QUOTED;
use crate::wire::buf::PacketBuf;
use crate::wire::checksum::Sum;
use crate::wire::{icmp, ipv4, put_u16};

/// Type of the object that carries the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// Interface Information Object: address of the incoming interface (RFC 5837 §4).
    Interface,
    /// Node Identification Object: address of the node (draft-ietf-intarea-extended-icmp-nodeid).
    Node,
}

impl Object {
    /// Class-Num and C-Type.
    const fn class(self) -> [u8; 2] {
        match self {
            // Interface role 0 (incoming); bit 0x04: an IP address is included.
            Self::Interface => [2, 0x04],
            Self::Node => [5, 0x04],
        }
    }
}

/// Length of the extension header in bytes: version and checksum (RFC 4884 §7).
const HEADER: usize = 4;
/// Length of the object in bytes: header, address family, address.
const OBJECT: usize = 4 + 4 + 16;
/// Address family number of IPv6 (IANA).
const FAMILY_IPV6: u16 = 2;
/// Offset of the length attribute in an ICMPv4 header; its unit is 4 bytes.
const ATTRIBUTE: usize = 5;

/// Adds an object to an ICMPv4 error that [`PlanTo4::apply`](super::PlanTo4::apply) has written: Destination
/// Unreachable, Time Exceeded or Parameter Problem. Returns false and changes nothing if the object does not
/// fit into 576 bytes, or into `mtu4` bytes.
pub(crate) fn add_object(object: Object, addr: Ipv6Addr, mtu4: u16, buf: &mut PacketBuf) -> bool {
    const QUOTED_AT: usize = ipv4::HEADER + icmp::HEADER;
    let max = MAX_ERROR4.min(usize::from(mtu4));
    let Some(head) = buf.bytes().first_chunk().map(Header4::read) else { return false };
    if buf.len() < QUOTED_AT || max < QUOTED_AT + MIN_QUOTED + HEADER + OBJECT {
        return false;
    }
    let quoted = usize::from(buf.bytes()[ipv4::HEADER + ATTRIBUTE]) * 4;
    let end = if quoted == 0 {
        // No extension yet: truncate or pad the quoted packet to leave room for one.
        let max_quoted = (max - QUOTED_AT - HEADER - OBJECT) / 4 * 4;
        let quoted = (buf.len() - QUOTED_AT).next_multiple_of(4).clamp(MIN_QUOTED, max_quoted);
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
        if buf.len() + OBJECT > max || OBJECT > buf.room() {
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

/// Computes the checksum of an extension or an ICMP message; both keep it at offset 2.
fn set_checksum(bytes: &mut [u8]) {
    put_u16(bytes, 2, 0);
    let checksum = Sum::of(bytes).checksum();
    put_u16(bytes, 2, checksum);
}
