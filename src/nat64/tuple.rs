//! The incoming tuple of a packet (RFC 6146 §3.4).

use super::tables::tcp;
use crate::addr::Proto;
use crate::reason::Reason;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::quoted::QuotedTransport;
use crate::wire::tcp::Flags;
use crate::wire::{ICMP4, ICMP6, TCP, Transport, UDP};
use crate::xlat::{ErrorHeader, Refusal};

/// Protocol and ports of a packet. An ICMP identifier is in both ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tuple {
    pub(super) proto: Proto,
    pub(super) src: u16,
    pub(super) dst: u16,
    /// Kind of TCP segment; `Other` for other protocols.
    pub(super) kind: tcp::Kind,
    /// Whether it is a RST or an echo reply: hosts send these by themselves, in response to any packet.
    pub(super) automatic: bool,
}

const fn kind_of(flags: Flags) -> tcp::Kind {
    if flags.has(Flags::RST) {
        tcp::Kind::Rst
    } else if flags.has(Flags::SYN) {
        if flags.has(Flags::ACK) { tcp::Kind::SynAck } else { tcp::Kind::Syn }
    } else if flags.has(Flags::FIN) {
        tcp::Kind::Fin
    } else {
        tcp::Kind::Other
    }
}

/// The protocol with this number, in either family.
pub(super) const fn proto_of(protocol: u8) -> Option<Proto> {
    match protocol {
        TCP => Some(Proto::Tcp),
        UDP => Some(Proto::Udp),
        ICMP4 | ICMP6 => Some(Proto::Icmp),
        _ => None,
    }
}

fn tuple_of<Q>(
    transport: &Transport<Q>,
    protocol: u8,
    fragment_ports: Option<(u16, u16)>,
    protocol_error: ErrorHeader,
) -> Result<Tuple, Refusal> {
    let other = tcp::Kind::Other;
    match *transport {
        Transport::Tcp { flags, .. } if !flags.are_valid() => Err(Reason::TcpFlags.into()),
        Transport::Tcp { src, dst, flags } => {
            let kind = kind_of(flags);
            Ok(Tuple { proto: Proto::Tcp, src, dst, kind, automatic: matches!(kind, tcp::Kind::Rst) })
        }
        Transport::Udp { src, dst, .. } => {
            Ok(Tuple { proto: Proto::Udp, src, dst, kind: other, automatic: false })
        }
        Transport::Echo { id, reply } => {
            Ok(Tuple { proto: Proto::Icmp, src: id, dst: id, kind: other, automatic: reply })
        }
        Transport::Fragment => match (proto_of(protocol), fragment_ports) {
            (Some(proto), Some((src, dst))) => Ok(Tuple { proto, src, dst, kind: other, automatic: false }),
            (Some(_), None) | (None, _) => Err(Reason::Protocol.into()),
        },
        Transport::Error(_) | Transport::Icmp => Err(Reason::IcmpType.into()),
        Transport::Other => Err(Refusal::with_error(Reason::Protocol, protocol_error)),
    }
}

/// The tuple of an IPv6 packet that is not an ICMP error. `fragment_ports` are the ports of a fragment's datagram.
///
/// # Errors
/// A protocol without state is answered with ICMPv6 port unreachable.
#[inline]
pub(super) fn of6(packet: &Ipv6Packet, fragment_ports: Option<(u16, u16)>) -> Result<Tuple, Refusal> {
    tuple_of(&packet.transport, packet.protocol, fragment_ports, ErrorHeader::unreachable6(4))
}

/// The tuple of an IPv4 packet that is not an ICMP error; see [`of6`].
///
/// # Errors
/// A protocol without state is answered with ICMPv4 protocol unreachable.
#[inline]
pub(super) fn of4(packet: &Ipv4Packet, fragment_ports: Option<(u16, u16)>) -> Result<Tuple, Refusal> {
    tuple_of(&packet.transport, packet.protocol, fragment_ports, ErrorHeader::unreachable4(2))
}

/// The tuple of the packet that an ICMP error quotes.
///
/// # Errors
/// [`Reason::IcmpQuoted`] if the quote contains no ports.
pub(super) fn of_quoted(transport: QuotedTransport, protocol: u8) -> Result<Tuple, Reason> {
    let of = |proto, src, dst| Tuple { proto, src, dst, kind: tcp::Kind::Other, automatic: false };
    match (transport, proto_of(protocol)) {
        (QuotedTransport::Ports { src, dst }, Some(proto)) => Ok(of(proto, src, dst)),
        (QuotedTransport::Echo { id, .. }, _) => Ok(of(Proto::Icmp, id, id)),
        (QuotedTransport::Ports { .. }, None) | (QuotedTransport::Error | QuotedTransport::Unknown, _) => {
            Err(Reason::IcmpQuoted)
        }
    }
}
