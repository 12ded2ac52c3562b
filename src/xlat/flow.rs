//! Where a packet comes from and goes to, once translated.

use crate::addr::{Transport4, Transport6};

/// Source and destination of an IPv4 packet.
///
/// The identifier of an echo stands in `src.port`. Where a packet shows no ports (fragments, errors,
/// other protocols) they are not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow4 {
    /// Source.
    pub src: Transport4,
    /// Destination.
    pub dst: Transport4,
}

/// Source and destination of an IPv6 packet; ports as in [`Flow4`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow6 {
    /// Source.
    pub src: Transport6,
    /// Destination.
    pub dst: Transport6,
}

impl Flow4 {
    /// Puts the two together.
    pub const fn new(src: Transport4, dst: Transport4) -> Self {
        Self { src, dst }
    }

    /// The way back.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self { src: self.dst, dst: self.src }
    }
}

impl Flow6 {
    /// Puts the two together.
    pub const fn new(src: Transport6, dst: Transport6) -> Self {
        Self { src, dst }
    }

    /// The way back.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self { src: self.dst, dst: self.src }
    }
}

/// What the addresses and ports of a packet to the IPv4 side are to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct To4 {
    /// Of the packet.
    pub outer: Flow4,
    /// Of the packet quoted by an ICMP error. If `None`, its addresses are those of `outer` turned
    /// round, and its ports stay.
    pub quoted: Option<Flow4>,
}

/// What the addresses and ports of a packet to the IPv6 side are to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct To6 {
    /// Of the packet.
    pub outer: Flow6,
    /// Of the packet quoted by an ICMP error; see [`To4::quoted`].
    pub quoted: Option<Flow6>,
}
