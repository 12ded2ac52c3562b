//! May this packet pass, and how? Nothing is written here.

use super::icmp;
use super::plan::{Action, ErrorHeader, Pass, Plan, Refusal};
use super::rules::Rules;
use super::segment::Unit;
use crate::addr::special::{is_host_v4, is_host_v6};
use crate::reason::Reason;
use crate::wire::buf::{Checksum, PacketBuf, Segmentation};
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::{self, Ipv6Packet, MIN_MTU};
use crate::wire::quoted::QuotedTransport;
use crate::wire::{ICMP4, ICMP6, Transport};

/// Largest IPv4 packet that is sent without DF, so that what was an IPv6 packet of the minimum MTU
/// can be fragmented on its way (RFC 7915 §5.1).
pub(super) const MAX_WITHOUT_DF: usize = 1260;

/// Internet Group Management Protocol: never translated (RFC 7915 §4.2).
const IGMP: u8 = 2;

/// Judges a packet from the IPv6 side (RFC 7915 §5).
///
/// # Errors
/// A [`Refusal`], with the answer for the sender if there is to be one. [`Transport::Other`] passes.
#[inline]
pub fn judge_v6_to_v4(
    rules: &Rules,
    packet: &Ipv6Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<Plan, Refusal> {
    if !is_host_v6(packet.src) {
        return Err(Reason::SourceAddress.into());
    }
    if !is_host_v6(packet.dst) {
        return Err(Reason::DestinationAddress.into());
    }
    check_extensions(packet)?;
    let hop_limit = hop_limit(packet.hop_limit, pass, ErrorHeader::HOP_LIMIT6)?;
    let fragmented = packet.fragment.is_some_and(|f| !f.is_atomic());
    let action = match packet.transport {
        Transport::Udp { checksum: 0, .. } if buf.offload.checksum != Checksum::Partial => {
            return Err(Reason::UdpZeroChecksum.into());
        }
        Transport::Echo { .. } if fragmented => return Err(Reason::IcmpFragment.into()),
        Transport::Fragment | Transport::Other if packet.protocol == ICMP6 => {
            return Err(Reason::IcmpFragment.into());
        }
        Transport::Fragment | Transport::Other if packet.protocol == ICMP4 => {
            return Err(Reason::Protocol.into());
        }
        Transport::Icmp => return Err(icmp_reason(fragmented).into()),
        Transport::Error(error) => {
            if error.quoted.transport == QuotedTransport::Error {
                return Err(Reason::IcmpQuoted.into());
            }
            Action::Error(icmp::to_v4(&error, rules).ok_or(Reason::IcmpType)?)
        }
        Transport::Tcp { .. }
        | Transport::Udp { .. }
        | Transport::Echo { .. }
        | Transport::Fragment
        | Transport::Other => action_to_v4(rules, packet, buf, pass)?,
    };
    Ok(Plan { action, hop_limit })
}

/// Whether the extension headers let an IPv6 packet pass; also to be asked of fragments before any of them
/// waits for others.
///
/// # Errors
/// A [`Refusal`] that the sender is told of.
#[inline]
pub fn check_extensions(packet: &Ipv6Packet) -> Result<(), Refusal> {
    if let Some(at) = packet.segments_left_at {
        return Err(Refusal::with_error(Reason::RoutingHeader, ErrorHeader::parameter6(u32::from(at))));
    }
    if packet.is_veiled() {
        return Err(Refusal::with_error(Reason::ExtensionAfterFragment, ErrorHeader::unreachable6(1)));
    }
    Ok(())
}

/// Judges a packet from the IPv4 side (RFC 7915 §4).
///
/// # Errors
/// A [`Refusal`], with the answer for the sender if there is to be one. [`Transport::Other`] passes.
#[inline]
pub fn judge_v4_to_v6(
    rules: &Rules,
    packet: &Ipv4Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<Plan, Refusal> {
    // An error from an address that is no host's still tells where a path ends (RFC 7915 §4.1).
    if !is_host_v4(packet.src) && !matches!(packet.transport, Transport::Error(_)) {
        return Err(Reason::SourceAddress.into());
    }
    if !is_host_v4(packet.dst) {
        return Err(Reason::DestinationAddress.into());
    }
    if packet.source_route {
        return Err(Refusal::with_error(Reason::SourceRoute, ErrorHeader::SOURCE_ROUTE4));
    }
    let hop_limit = hop_limit(packet.ttl, pass, ErrorHeader::TTL4)?;
    let fragmented = packet.fragment.is_some();
    let action = match packet.transport {
        Transport::Udp { checksum: 0, .. } if fragmented => return Err(Reason::UdpZeroChecksum.into()),
        Transport::Echo { .. } if fragmented => return Err(Reason::IcmpFragment.into()),
        Transport::Fragment | Transport::Other if packet.protocol == ICMP4 => {
            return Err(Reason::IcmpFragment.into());
        }
        Transport::Fragment | Transport::Other if !has_meaning_in_v6(packet.protocol) => {
            return Err(Reason::Protocol.into());
        }
        Transport::Icmp => return Err(icmp_reason(fragmented).into()),
        Transport::Error(error) => {
            if error.quoted.transport == QuotedTransport::Error {
                return Err(Reason::IcmpQuoted.into());
            }
            Action::Error(icmp::to_v6(&error, rules).ok_or(Reason::IcmpType)?)
        }
        Transport::Tcp { .. }
        | Transport::Udp { .. }
        | Transport::Echo { .. }
        | Transport::Fragment
        | Transport::Other => action_to_v6(rules, packet, buf)?,
    };
    Ok(Plan { action, hop_limit })
}

fn hop_limit(received: u8, pass: Pass, error: ErrorHeader) -> Result<u8, Refusal> {
    match pass {
        Pass::HairpinIn => Ok(received),
        Pass::Direct | Pass::HairpinOut if received > 1 => Ok(received - 1),
        Pass::Direct | Pass::HairpinOut => Err(Refusal::with_error(Reason::HopLimit, error)),
    }
}

const fn icmp_reason(fragmented: bool) -> Reason {
    if fragmented { Reason::IcmpFragment } else { Reason::IcmpType }
}

/// Whether an IPv4 protocol number means the same in a Next Header field. The numbers of extension
/// headers and of ICMPv6 would let the IPv4 side write headers that nobody checked.
const fn has_meaning_in_v6(protocol: u8) -> bool {
    !matches!(protocol, IGMP | ICMP6 | ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::FRAGMENT | ipv6::DESTINATION)
}

#[inline(always)]
fn action_to_v4(rules: &Rules, packet: &Ipv6Packet, buf: &PacketBuf, pass: Pass) -> Result<Action, Refusal> {
    let len = ipv4::HEADER + packet.len - packet.upper_at;
    if buf.offload.segmentation == Segmentation::None && len <= usize::from(rules.mtu4) {
        return Ok(Action::Whole);
    }
    oversized_to_v4(rules, packet, buf, pass)
}

#[inline(never)]
fn oversized_to_v4(
    rules: &Rules,
    packet: &Ipv6Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<Action, Refusal> {
    let unit = Unit::of(&buf.bytes()[packet.upper_at..packet.len], buf.offload.segmentation);
    // On its way back to IPv6 a packet has no link to fit, only the length field.
    let mtu = if pass == Pass::HairpinOut { u16::MAX } else { rules.mtu4 };
    let (len, max) = (ipv4::HEADER + unit.len, usize::from(mtu));
    if len <= max {
        // An IPv6 super-packet may be longer than IPv4 can say.
        let sayable = ipv4::HEADER + packet.len - packet.upper_at <= usize::from(u16::MAX);
        return Ok(if sayable { Action::Whole } else { Action::Cut { max: mtu } });
    }
    if let Some(size) = unit.resegmented(rules, max, ipv4::HEADER) {
        return Ok(Action::Resegment(size));
    }
    // A sender that was told 1,280 and obeyed can't do more (RFC 8200 §5).
    if packet.upper_at + unit.len <= MIN_MTU || buf.handed.gathered {
        return Ok(Action::Cut { max: mtu });
    }
    let told = (u32::from(mtu) + 20).max(MIN_MTU as u32);
    Err(Refusal::with_error(Reason::TooBig, ErrorHeader::too_big6(told)))
}

#[inline(always)]
fn action_to_v6(rules: &Rules, packet: &Ipv4Packet, buf: &PacketBuf) -> Result<Action, Refusal> {
    let extension = if packet.fragment.is_some() { ipv6::FRAGMENT_HEADER } else { 0 };
    let header = ipv6::HEADER + extension;
    let max = if packet.df { rules.mtu6 } else { rules.lowest_ipv6_mtu };
    let len = header + packet.total_len - packet.header_len;
    if buf.offload.segmentation == Segmentation::None && len <= usize::from(max) {
        return Ok(Action::Whole);
    }
    oversized_to_v6(rules, packet, buf, header, max)
}

#[inline(never)]
fn oversized_to_v6(
    rules: &Rules,
    packet: &Ipv4Packet,
    buf: &PacketBuf,
    header: usize,
    max: u16,
) -> Result<Action, Refusal> {
    let message = &buf.bytes()[packet.header_len..packet.total_len];
    let unit = Unit::of(message, buf.offload.segmentation);
    if header + unit.len <= usize::from(max) {
        return Ok(Action::Whole);
    }
    if let Some(size) = unit.resegmented(rules, usize::from(max), header) {
        return Ok(Action::Resegment(size));
    }
    if !packet.df {
        return Ok(Action::Cut { max });
    }
    let told = rules.mtu6.saturating_sub((header - ipv4::HEADER) as u16);
    Err(Refusal::with_error(Reason::TooBig, ErrorHeader::too_big4(told)))
}
