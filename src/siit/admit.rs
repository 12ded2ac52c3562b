//! Decides which packets the stateless translator handles: those of inside hosts, which have a mapping.

use core::net::Ipv4Addr;

use super::mapping::Mapped;
use super::{Inside, Siit};
use crate::addr::special::{is_host_v4, is_host_v6};
use crate::reason::Reason;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::xlat::{ErrorHeader, Refusal};

/// IPv4 addresses of an IPv6 packet's source and destination, where they have one.
#[derive(Clone, Copy, Debug)]
pub(super) struct MappedAddresses {
    pub(super) src: Option<Mapped<Ipv4Addr>>,
    pub(super) dst: Option<Mapped<Ipv4Addr>>,
}

impl Siit {
    /// Maps both addresses of an IPv6 packet.
    pub(super) fn mapped_addresses(&self, packet: &Ipv6Packet) -> MappedAddresses {
        MappedAddresses { src: self.mapping.to_v4(packet.src), dst: self.mapping.to_v4(packet.dst) }
    }

    /// Whether this translator handles an IPv6 packet: it is from or to an inside host. An ICMP error
    /// belongs to the inside host of the quoted packet, whichever router sent the error.
    pub(super) fn handles6(&self, packet: &Ipv6Packet, addresses: &MappedAddresses) -> bool {
        let inside = match self.policy.inside {
            Inside::V4 => addresses.dst,
            Inside::V6 => match packet.transport.quoted() {
                Some(quoted) => self.mapping.to_v4(quoted.dst),
                None => addresses.src,
            },
        };
        // Without a stateless mapping of the destination, the stateful translator may have one.
        inside.is_some_and(|inside| inside.is_inside())
            && (self.identity.without_nat64 || addresses.dst.is_some())
    }

    /// Whether this translator handles an IPv4 packet: it is to or from an inside host.
    pub(super) fn handles4(&self, packet: &Ipv4Packet) -> bool {
        let addr = match self.policy.inside {
            Inside::V6 => packet.dst,
            Inside::V4 => packet.transport.quoted().map_or(packet.src, |quoted| quoted.dst),
        };
        self.mapping.to_v6(addr).is_some_and(|inside| inside.is_inside())
    }
}

/// Why an IPv6 packet without an inside host is refused: an invalid host address, or no mapping
/// (RFC 7915 §5.4).
pub(super) const fn refusal6(packet: &Ipv6Packet) -> Refusal {
    if !is_host_v6(packet.src) {
        return Refusal { reason: Reason::SourceAddress, error: None };
    }
    if !is_host_v6(packet.dst) {
        return Refusal { reason: Reason::DestinationAddress, error: None };
    }
    Refusal::with_error(Reason::NoMapping, ErrorHeader::unreachable6(1))
}

/// Why an IPv4 packet without an inside host is refused; see [`refusal6`] (RFC 7915 §4.4).
pub(super) const fn refusal4(packet: &Ipv4Packet) -> Refusal {
    if !is_host_v4(packet.src) {
        return Refusal { reason: Reason::SourceAddress, error: None };
    }
    if !is_host_v4(packet.dst) {
        return Refusal { reason: Reason::DestinationAddress, error: None };
    }
    Refusal::with_error(Reason::NoMapping, ErrorHeader::unreachable4(13))
}
