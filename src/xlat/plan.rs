//! What a judge decides.

use super::icmp::Message;
use crate::reason::Reason;
use crate::wire::icmp::{v4, v6};

/// Which part of its way through the gateway a packet is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pass {
    /// From one network to the other.
    #[default]
    Direct,
    /// From one of our hosts to another, the half from IPv6 to IPv4: the hop limit is decremented,
    /// the MTU of the IPv4 side doesn't matter.
    HairpinOut,
    /// The half back from IPv4 to IPv6: the TTL stays, the MTU matters.
    HairpinIn,
}

/// How a packet is to be rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// As it is, super-packets included.
    Whole,
    /// A TCP super-packet, to be cut into segments with so many bytes of payload.
    Resegment(u16),
    /// A super-packet is cut into its packets, and each packet into fragments if it is longer than
    /// `max` bytes.
    Cut {
        /// The longest packet that may leave.
        max: u16,
    },
    /// An ICMP error, whose header becomes this.
    Error(Message),
}

/// What a judge decided about a packet that may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How it is to be rewritten.
    pub action: Action,
    /// Hop limit or TTL of what leaves.
    pub hop_limit: u8,
}

/// What the sender of a refused packet is told: an ICMP error of the packet's own family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorHeader {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Second word: MTU or pointer.
    pub info: u32,
}

impl ErrorHeader {
    /// ICMPv6: hop limit exceeded in transit.
    pub const HOP_LIMIT6: Self = Self { kind: v6::TIME_EXCEEDED, code: 0, info: 0 };
    /// ICMPv4: time to live exceeded in transit.
    pub const TTL4: Self = Self { kind: v4::TIME_EXCEEDED, code: 0, info: 0 };
    /// ICMPv4: source route failed (RFC 7915 §4.1).
    pub const SOURCE_ROUTE4: Self = Self::unreachable4(5);

    /// ICMPv6: destination unreachable.
    pub const fn unreachable6(code: u8) -> Self {
        Self { kind: v6::UNREACHABLE, code, info: 0 }
    }

    /// ICMPv4: destination unreachable.
    pub const fn unreachable4(code: u8) -> Self {
        Self { kind: v4::UNREACHABLE, code, info: 0 }
    }

    /// ICMPv6: packet too big, with the MTU it should fit.
    pub const fn too_big6(mtu: u32) -> Self {
        Self { kind: v6::TOO_BIG, code: 0, info: mtu }
    }

    /// ICMPv4: fragmentation needed and DF set, with the MTU it should fit (RFC 1191 §4).
    pub const fn too_big4(mtu: u16) -> Self {
        Self { kind: v4::UNREACHABLE, code: 4, info: mtu as u32 }
    }

    /// ICMPv6: erroneous header field, `pointer` bytes from the start.
    pub const fn parameter6(pointer: u32) -> Self {
        Self { kind: v6::PARAMETER, code: 0, info: pointer }
    }
}

/// Why a packet may not pass, and what its sender is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What the sender is told; `None` is silence.
    pub error: Option<ErrorHeader>,
}

impl Refusal {
    /// A refusal that the sender is told of.
    pub const fn with_error(reason: Reason, error: ErrorHeader) -> Self {
        Self { reason, error: Some(error) }
    }
}

impl From<Reason> for Refusal {
    /// A silent refusal.
    fn from(reason: Reason) -> Self {
        Self { reason, error: None }
    }
}
