//! Whose packet this is: a host inside has a mapping, everybody else may only talk to such.

use core::net::Ipv4Addr;

use super::mapping::Mapped;
use super::{Inside, Siit};
use crate::addr::special::{is_host_v4, is_host_v6};
use crate::reason::Reason;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::xlat::{ErrorHeader, Refusal};

/// What the ends of an IPv6 packet stand for, as far as they stand for anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends4 {
    pub(super) src: Option<Mapped<Ipv4Addr>>,
    pub(super) dst: Option<Mapped<Ipv4Addr>>,
}

impl Siit {
    pub(super) fn ends6(&self, packet: &Ipv6Packet) -> Ends4 {
        Ends4 { src: self.mapping.to_v4(packet.src), dst: self.mapping.to_v4(packet.dst) }
    }

    /// Whether an IPv6 packet is from or to a host inside. An error is the business of the host whose
    /// packet or to whom the packet was that it is about, whichever router sent it.
    pub(super) fn is_ours6(&self, packet: &Ipv6Packet, ends: &Ends4) -> bool {
        let inside = match self.inside {
            Inside::V4 => ends.dst,
            Inside::V6 => match packet.transport.quoted() {
                Some(quoted) => self.mapping.to_v4(quoted.dst),
                None => ends.src,
            },
        };
        // What leads nowhere from here may lead somewhere with state.
        inside.is_some_and(|inside| inside.is_inside()) && (self.who.alone || ends.dst.is_some())
    }

    /// Whether an IPv4 packet is to or from a host inside.
    pub(super) fn is_ours4(&self, packet: &Ipv4Packet) -> bool {
        let addr = match self.inside {
            Inside::V6 => packet.dst,
            Inside::V4 => packet.transport.quoted().map_or(packet.src, |quoted| quoted.dst),
        };
        self.mapping.to_v6(addr).is_some_and(|inside| inside.is_inside())
    }
}

/// Why an IPv6 packet that is nobody's is refused: an address that nothing stands for, unless it is no
/// address at all (RFC 7915 §5.4).
pub(super) const fn stranger6(packet: &Ipv6Packet) -> Refusal {
    if !is_host_v6(packet.src) {
        return Refusal { reason: Reason::SourceAddress, error: None };
    }
    if !is_host_v6(packet.dst) {
        return Refusal { reason: Reason::DestinationAddress, error: None };
    }
    Refusal::with_error(Reason::NoMapping, ErrorHeader::unreachable6(1))
}

/// Why an IPv4 packet that is nobody's is refused; see [`stranger6`] (RFC 7915 §4.4).
pub(super) const fn stranger4(packet: &Ipv4Packet) -> Refusal {
    if !is_host_v4(packet.src) {
        return Refusal { reason: Reason::SourceAddress, error: None };
    }
    if !is_host_v4(packet.dst) {
        return Refusal { reason: Reason::DestinationAddress, error: None };
    }
    Refusal::with_error(Reason::NoMapping, ErrorHeader::unreachable4(13))
}
