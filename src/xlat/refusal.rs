//! Why a packet is not translated, and the ICMP error that its sender receives.

use super::rules::RewriteRules;
use crate::reason::Reason;
use crate::wire::icmp::{v4, v6};

/// Header of an ICMP error that the translator originates, in the address family of the refused packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ErrorHeader {
    /// ICMP type.
    pub(crate) kind: u8,
    /// ICMP code.
    pub(crate) code: u8,
    /// Second 32-bit word: MTU or pointer.
    pub(crate) info: u32,
}

impl ErrorHeader {
    /// ICMPv6 Time Exceeded: hop limit exceeded in transit.
    pub(crate) const HOP_LIMIT6: Self = Self { kind: v6::TIME_EXCEEDED, code: 0, info: 0 };
    /// ICMPv4 Time Exceeded: TTL exceeded in transit.
    pub(crate) const TTL4: Self = Self { kind: v4::TIME_EXCEEDED, code: 0, info: 0 };
    /// ICMPv4 Destination Unreachable: source route failed (RFC 7915 §4.1).
    pub(crate) const SOURCE_ROUTE4: Self = Self::unreachable4(5);

    /// ICMPv6 Destination Unreachable.
    pub(crate) const fn unreachable6(code: u8) -> Self {
        Self { kind: v6::UNREACHABLE, code, info: 0 }
    }

    /// ICMPv4 Destination Unreachable.
    pub(crate) const fn unreachable4(code: u8) -> Self {
        Self { kind: v4::UNREACHABLE, code, info: 0 }
    }

    /// ICMPv6 Packet Too Big; `mtu` in bytes.
    pub(crate) const fn too_big6(mtu: u32) -> Self {
        Self { kind: v6::TOO_BIG, code: 0, info: mtu }
    }

    /// ICMPv4 fragmentation needed and DF set; `mtu` in bytes (RFC 1191 §4).
    pub(crate) const fn too_big4(mtu: u16) -> Self {
        Self { kind: v4::UNREACHABLE, code: 4, info: mtu as u32 }
    }

    /// Whether this ICMPv6 error is about the path: Packet Too Big or Time Exceeded.
    pub(super) const fn is_path6(self) -> bool {
        matches!(self.kind, v6::TOO_BIG | v6::TIME_EXCEEDED)
    }

    /// Whether this ICMPv4 error is about the path: fragmentation needed or Time Exceeded.
    pub(super) const fn is_path4(self) -> bool {
        matches!((self.kind, self.code), (v4::UNREACHABLE, 4) | (v4::TIME_EXCEEDED, _))
    }

    /// ICMPv6 Parameter Problem: erroneous header field, `pointer` bytes from the start of the packet.
    pub(crate) const fn parameter6(pointer: u32) -> Self {
        Self { kind: v6::PARAMETER, code: 0, info: pointer }
    }
}

/// Why a packet is not translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// Drop reason.
    pub(crate) reason: Reason,
    /// ICMP error for the sender; `None` drops the packet silently.
    pub(crate) error: Option<ErrorHeader>,
}

impl Refusal {
    /// A refusal with an ICMP error to the sender.
    pub(crate) const fn with_error(reason: Reason, error: ErrorHeader) -> Self {
        Self { reason, error: Some(error) }
    }

    /// The ICMPv6 error for the sender. A refusal by policy is "administratively prohibited" (RFC 7915 §5.4),
    /// unless such refusals are silent.
    #[inline]
    pub(super) fn error6(&self, rules: &RewriteRules) -> Option<ErrorHeader> {
        self.error.or_else(|| self.is_reported(rules).then(|| ErrorHeader::unreachable6(1)))
    }

    /// The ICMPv4 error for the sender; see [`error6`](Self::error6) (RFC 7915 §4.4).
    #[inline]
    pub(super) fn error4(&self, rules: &RewriteRules) -> Option<ErrorHeader> {
        self.error.or_else(|| self.is_reported(rules).then(|| ErrorHeader::unreachable4(13)))
    }

    /// Whether it is a refusal by policy that the sender learns of.
    const fn is_reported(&self, rules: &RewriteRules) -> bool {
        !rules.silent_refusals
            && matches!(self.reason, Reason::Denied | Reason::RuleDenied | Reason::WellKnownNotGlobal)
    }
}

impl From<Reason> for Refusal {
    /// A silent refusal.
    fn from(reason: Reason) -> Self {
        Self { reason, error: None }
    }
}
