//! Translates ICMP types, codes, pointers and MTUs between the families (RFC 7915 §4.2, §5.2).

use super::refusal::ErrorHeader;
use super::rules::RewriteRules;
use crate::wire::icmp::{IcmpError, v4, v6};
use crate::wire::quoted::{Quoted4, Quoted6};
use crate::wire::{ipv4, ipv6};

/// Header of a translated ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TranslatedError {
    /// Type.
    pub(crate) kind: u8,
    /// Code.
    pub(crate) code: u8,
    /// Second word, without the length attribute of RFC 4884.
    pub(crate) info: u32,
    /// Whether the error may carry an extension (RFC 4884 §4.6).
    pub(crate) extensible: bool,
}

impl TranslatedError {
    const fn plain(kind: u8, code: u8, info: u32) -> Self {
        Self { kind, code, info, extensible: false }
    }

    const fn extensible(kind: u8, code: u8) -> Self {
        Self { kind, code, info: 0, extensible: true }
    }

    /// The header, with the length attribute of RFC 4884 in its second word.
    pub(super) const fn header(self, attribute: u32) -> ErrorHeader {
        ErrorHeader { kind: self.kind, code: self.code, info: self.info | attribute }
    }
}

/// Offset of the Next Header field in bytes: the pointer for "protocol unreachable" (RFC 7915 §4.2).
const NEXT_HEADER: u32 = 6;

/// Minimum MTUs. Smaller values of an ICMPv4 error report no MTU.
const MIN_MTU4: u32 = ipv4::MIN_MTU as u32;
const MIN_MTU6: u32 = ipv6::MIN_MTU as u32;

/// Translates the header of an ICMPv4 error; `None` if ICMPv6 has no counterpart.
pub(super) fn to_v6(error: &IcmpError<Quoted4>, rules: &RewriteRules) -> Option<TranslatedError> {
    match (error.kind, error.code) {
        (v4::UNREACHABLE, 2) => Some(TranslatedError::plain(v6::PARAMETER, 1, NEXT_HEADER)),
        (v4::UNREACHABLE, 4) => {
            let mtu = mtu_to_v6(error.info & 0xffff, error.quoted.total_len, rules);
            Some(TranslatedError::plain(v6::TOO_BIG, 0, mtu))
        }
        (v4::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => Some(TranslatedError::extensible(v6::UNREACHABLE, 0)),
        (v4::UNREACHABLE, 3) => Some(TranslatedError::extensible(v6::UNREACHABLE, 4)),
        (v4::UNREACHABLE, 9 | 10 | 13 | 15) => Some(TranslatedError::extensible(v6::UNREACHABLE, 1)),
        (v4::TIME_EXCEEDED, 0 | 1) => Some(TranslatedError::extensible(v6::TIME_EXCEEDED, error.code)),
        (v4::PARAMETER, 0 | 2) => {
            pointer_to_v6(error.info >> 24).map(|p| TranslatedError::plain(v6::PARAMETER, 0, p))
        }
        _ => None,
    }
}

/// Translates the header of an ICMPv6 error; `None` if ICMPv4 has no counterpart.
pub(super) fn to_v4(error: &IcmpError<Quoted6>, rules: &RewriteRules) -> Option<TranslatedError> {
    match (error.kind, error.code) {
        (v6::UNREACHABLE, 0 | 2 | 3) => Some(TranslatedError::extensible(v4::UNREACHABLE, 1)),
        (v6::UNREACHABLE, 1) => Some(TranslatedError::extensible(v4::UNREACHABLE, 10)),
        (v6::UNREACHABLE, 4) => Some(TranslatedError::extensible(v4::UNREACHABLE, 3)),
        // Receivers ignore the code (RFC 4443 §3.2).
        (v6::TOO_BIG, _) => {
            let mtu = mtu_to_v4(error.info, error.quoted.fragment.is_some(), rules);
            Some(TranslatedError::plain(v4::UNREACHABLE, 4, mtu))
        }
        (v6::TIME_EXCEEDED, 0 | 1) => Some(TranslatedError::extensible(v4::TIME_EXCEEDED, error.code)),
        (v6::PARAMETER, 0) => {
            pointer_to_v4(error.info).map(|p| TranslatedError::plain(v4::PARAMETER, 0, u32::from(p) << 24))
        }
        (v6::PARAMETER, 1) => Some(TranslatedError::plain(v4::UNREACHABLE, 2, 0)),
        _ => None,
    }
}

/// The MTU reported to the IPv6 side, at least 1,280 bytes. `mtu` is the router's value; if it is not a
/// valid MTU, the plateau below the quoted packet's length replaces it.
fn mtu_to_v6(mtu: u32, quoted_len: usize, rules: &RewriteRules) -> u32 {
    let mtu = if mtu < MIN_MTU4 { u32::from(rules.plateaus.below(quoted_len)) } else { mtu };
    (mtu + 20).min(u32::from(rules.mtu6)).min(u32::from(rules.mtu4) + 20).max(MIN_MTU6)
}

/// The MTU reported to the IPv4 side. Translation shortens a packet by 20 bytes, or by 28 if it has a
/// Fragment header. Values below 1,280, the IPv6 minimum, count as 1,280.
fn mtu_to_v4(mtu: u32, fragment_header: bool, rules: &RewriteRules) -> u32 {
    let removed = if fragment_header { 28 } else { 20 };
    let own = u32::from(rules.mtu6).saturating_sub(removed);
    (mtu.max(MIN_MTU6) - removed).min(u32::from(rules.mtu4)).min(own)
}

/// Maps a pointer into an IPv4 header to the IPv6 header (RFC 7915 figure 3).
const fn pointer_to_v6(pointer: u32) -> Option<u32> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        2 | 3 => 4,
        8 => 7,
        9 => 6,
        12..=15 => 8,
        16..=19 => 24,
        _ => return None,
    })
}

/// Maps a pointer into an IPv6 header to the IPv4 header (RFC 7915 figure 6).
const fn pointer_to_v4(pointer: u32) -> Option<u8> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        4 | 5 => 2,
        6 => 9,
        7 => 8,
        8..=23 => 12,
        24..=39 => 16,
        _ => return None,
    })
}
