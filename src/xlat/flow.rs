//! Addresses and ports of a translated packet.

use crate::addr::{Transport4, Transport6};

/// Source and destination of an IPv4 packet.
///
/// `src.port` holds the identifier of an ICMP echo. Ports are ignored for packets without ports (fragments,
/// ICMP errors, other protocols).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow4 {
    /// Source.
    pub(crate) src: Transport4,
    /// Destination.
    pub(crate) dst: Transport4,
}

/// Source and destination of an IPv6 packet; ports as in [`Flow4`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow6 {
    /// Source.
    pub(crate) src: Transport6,
    /// Destination.
    pub(crate) dst: Transport6,
}

impl Flow4 {
    /// A flow from `src` to `dst`.
    pub(crate) const fn new(src: Transport4, dst: Transport4) -> Self {
        Self { src, dst }
    }
}

impl Flow6 {
    /// A flow from `src` to `dst`.
    pub(crate) const fn new(src: Transport6, dst: Transport6) -> Self {
        Self { src, dst }
    }
}

/// Addresses and ports for a packet to the IPv4 side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct To4 {
    /// Those of the packet.
    pub(crate) outer: Flow4,
    /// Those of the packet that an ICMP error quotes. `None` reverses the addresses of `outer` and keeps the
    /// ports.
    pub(crate) quoted: Option<Flow4>,
}

/// Addresses and ports for a packet to the IPv6 side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct To6 {
    /// Those of the packet.
    pub(crate) outer: Flow6,
    /// Those of the packet that an ICMP error quotes; see [`To4::quoted`].
    pub(crate) quoted: Option<Flow6>,
}
