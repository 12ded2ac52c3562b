//! Validates a packet and plans its translation, without writing to it.

use super::icmp::{self, TranslatedError};
use super::refusal::{ErrorHeader, Refusal};
use super::rules::RewriteRules;
use super::segment::{self, Segments};
use crate::addr::special::{is_host_v4, is_host_v6};
use crate::reason::Reason;
use crate::wire::buf::{Checksum, PacketBuf, Segmentation};
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4::{self, Ipv4Packet};
use crate::wire::ipv6::{self, Ipv6Packet, MIN_MTU};
use crate::wire::quoted::{Quoted4, Quoted6, QuotedTransport};
use crate::wire::{ICMP4, ICMP6, IGMP, Transport};

/// Largest IPv4 packet sent with DF clear, in bytes: an IPv6 packet of the minimum MTU stays
/// fragmentable on the IPv4 side (RFC 7915 §5.1).
pub(super) const MAX_WITHOUT_DF: usize = 1260;

/// Which translation of a packet this is: a hairpinned packet is translated twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Pass {
    /// The only one: from one network to the other.
    #[default]
    Direct,
    /// First half of a hairpin, IPv6 to IPv4: decrements the hop limit, ignores the IPv4 MTU, enforces the
    /// IPv6 MTU that the second half has.
    HairpinOut,
    /// Second half of a hairpin, IPv4 to IPv6: keeps the TTL, enforces the IPv6 MTU.
    HairpinIn,
}

/// How a packet is rewritten. `Q` is the packet that an ICMP error quotes.
#[derive(Debug)]
pub(super) enum Rewrite<'p, Q> {
    /// A packet that is not an ICMP error.
    Message(Action),
    /// An ICMP error, translated with the packet that it quotes.
    Error(TranslatedError, &'p IcmpError<Q>),
}

/// How a packet that is not an ICMP error is rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// As one packet or one super-packet.
    Whole,
    /// A TCP super-packet gets this segment size, in bytes of payload.
    Resegment(u16),
    /// Cuts a super-packet into its packets, and packets longer than `max` bytes into fragments.
    Cut { max: u16 },
}

/// An IPv6 packet that may be translated to IPv4, and how.
///
/// The plan borrows the packet and its buffer: it can be applied to no other packet.
#[derive(Debug)]
#[must_use]
pub(crate) struct PlanTo4<'p> {
    pub(super) packet: &'p Ipv6Packet,
    pub(super) buf: &'p mut PacketBuf,
    pub(super) rewrite: Rewrite<'p, Quoted6>,
    /// TTL of the translated packet.
    pub(super) ttl: u8,
    pass: Pass,
}

impl PlanTo4<'_> {
    /// The parsed packet.
    #[inline]
    pub(crate) const fn packet(&self) -> &Ipv6Packet {
        self.packet
    }

    /// Which translation of the packet this is.
    #[inline]
    pub(crate) const fn pass(&self) -> Pass {
        self.pass
    }

    /// Number of packets on the wire that the buffer holds, at least 1.
    #[inline]
    pub(crate) fn packets(&self) -> usize {
        let offload = &self.buf.offload;
        if offload.segmentation == Segmentation::None {
            return 1;
        }
        segment::packets(&self.buf.bytes()[self.packet.upper_at..self.packet.len], offload)
    }

    /// Whether the translated packet is an ICMP error that may carry an RFC 4884 extension.
    pub(crate) const fn is_extensible_error(&self) -> bool {
        matches!(self.rewrite, Rewrite::Error(TranslatedError { extensible: true, .. }, _))
    }
}

/// An IPv4 packet that may be translated to IPv6, and how.
///
/// The plan borrows the packet and its buffer: it can be applied to no other packet.
#[derive(Debug)]
#[must_use]
pub(crate) struct PlanTo6<'p> {
    pub(super) packet: &'p Ipv4Packet,
    pub(super) buf: &'p mut PacketBuf,
    pub(super) rewrite: Rewrite<'p, Quoted4>,
    /// Hop limit of the translated packet.
    pub(super) hop_limit: u8,
}

impl PlanTo6<'_> {
    /// The parsed packet.
    #[inline]
    pub(crate) const fn packet(&self) -> &Ipv4Packet {
        self.packet
    }

    /// Number of packets on the wire that the buffer holds, at least 1.
    #[inline]
    pub(crate) fn packets(&self) -> usize {
        let offload = &self.buf.offload;
        if offload.segmentation == Segmentation::None {
            return 1;
        }
        segment::packets(&self.buf.bytes()[self.packet.header_len..self.packet.total_len], offload)
    }
}

/// Plans the translation of a packet from the IPv6 side (RFC 7915 §5). `packet` is parsed from `buf`.
///
/// [`Transport::Other`] is accepted.
///
/// # Errors
/// A [`Refusal`] if the packet must not be translated.
#[inline(always)]
pub(crate) fn plan_v6_to_v4<'p>(
    rules: &RewriteRules,
    packet: &'p Ipv6Packet,
    buf: &'p mut PacketBuf,
    pass: Pass,
) -> Result<PlanTo4<'p>, Refusal> {
    if let Transport::Error(error) = &packet.transport {
        let (error, ttl) = decide_error_to_v4(rules, packet, error, pass)?;
        return Ok(PlanTo4 { packet, buf, rewrite: error, ttl, pass });
    }
    let (action, ttl) = decide_v6_to_v4(rules, packet, buf, pass)?;
    Ok(PlanTo4 { packet, buf, rewrite: Rewrite::Message(action), ttl, pass })
}

/// Checks the header of an IPv6 packet and returns the TTL of the translated packet.
#[inline(always)]
fn check_header6(packet: &Ipv6Packet, pass: Pass) -> Result<u8, Refusal> {
    if !is_host_v6(packet.src) {
        return Err(Reason::SourceAddress.into());
    }
    if !is_host_v6(packet.dst) {
        return Err(Reason::DestinationAddress.into());
    }
    check_extensions(packet)?;
    forwarded_hop_limit(packet.hop_limit, pass, ErrorHeader::HOP_LIMIT6)
}

/// The action for an IPv6 packet that is not an ICMP error, and the TTL of the translated packet.
#[inline(always)]
fn decide_v6_to_v4(
    rules: &RewriteRules,
    packet: &Ipv6Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<(Action, u8), Refusal> {
    let ttl = check_header6(packet, pass)?;
    let fragmented = packet.fragment.is_some_and(|f| !f.is_atomic());
    match packet.transport {
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
        Transport::Icmp | Transport::Error(_) => return Err(icmp_reason(fragmented).into()),
        Transport::Tcp { .. }
        | Transport::Udp { .. }
        | Transport::Echo { .. }
        | Transport::Fragment
        | Transport::Other => {}
    }
    let action = action_to_v4(rules, packet, buf, pass)?;
    if pass == Pass::HairpinOut && action == Action::Whole {
        check_hairpin_mtu(rules, packet, buf)?;
    }
    Ok((action, ttl))
}

/// The translated ICMPv6 error, and the TTL of the translated packet.
#[cold]
fn decide_error_to_v4<'p>(
    rules: &RewriteRules,
    packet: &Ipv6Packet,
    error: &'p IcmpError<Quoted6>,
    pass: Pass,
) -> Result<(Rewrite<'p, Quoted6>, u8), Refusal> {
    let ttl = check_header6(packet, pass)?;
    // The quoted packet is judged like an outer one; the caller judges its addresses.
    if error.quoted.transport == QuotedTransport::Error || error.quoted.protocol == ICMP4 {
        return Err(Reason::IcmpQuoted.into());
    }
    let header = icmp::to_v4(error, rules).ok_or(Reason::IcmpType)?;
    Ok((Rewrite::Error(header, error), ttl))
}

/// Refuses a hairpinned packet that exceeds the IPv6 MTU. The second half of the hairpin can't send an ICMP error:
/// it no longer has the packet that the sender sent. Fragments and resegmented super-packets pass, since the
/// second half cuts them.
///
/// # Errors
/// [`Reason::TooBig`], with Packet Too Big.
#[inline(never)]
fn check_hairpin_mtu(rules: &RewriteRules, packet: &Ipv6Packet, buf: &PacketBuf) -> Result<(), Refusal> {
    if packet.fragment.is_some() {
        return Ok(());
    }
    let segments = Segments::of(&buf.bytes()[packet.upper_at..packet.len], buf.offload.segmentation);
    let max = usize::from(rules.mtu6);
    if ipv6::HEADER + segments.longest <= max || segments.resegmented(rules, max, ipv6::HEADER).is_some() {
        return Ok(());
    }
    Err(Refusal::with_error(Reason::TooBig, ErrorHeader::too_big6(rules.mtu6.into())))
}

/// Refuses extension headers that must not be translated (RFC 7915 §5.1). Call it for each fragment before
/// holding it.
///
/// # Errors
/// A [`Refusal`] with an ICMP error.
#[inline]
pub(crate) fn check_extensions(packet: &Ipv6Packet) -> Result<(), Refusal> {
    if let Some(at) = packet.segments_left_at {
        return Err(Refusal::with_error(Reason::RoutingHeader, ErrorHeader::parameter6(u32::from(at))));
    }
    if packet.has_extension_after_fragment() {
        return Err(Refusal::with_error(Reason::ExtensionAfterFragment, ErrorHeader::unreachable6(1)));
    }
    Ok(())
}

/// Plans the translation of a packet from the IPv4 side (RFC 7915 §4). `packet` is parsed from `buf`.
///
/// [`Transport::Other`] is accepted.
///
/// # Errors
/// A [`Refusal`] if the packet must not be translated.
#[inline(always)]
pub(crate) fn plan_v4_to_v6<'p>(
    rules: &RewriteRules,
    packet: &'p Ipv4Packet,
    buf: &'p mut PacketBuf,
    pass: Pass,
) -> Result<PlanTo6<'p>, Refusal> {
    if let Transport::Error(error) = &packet.transport {
        let (error, hop_limit) = decide_error_to_v6(rules, packet, error, pass)?;
        return Ok(PlanTo6 { packet, buf, rewrite: error, hop_limit });
    }
    let (action, hop_limit) = decide_v4_to_v6(rules, packet, buf, pass)?;
    Ok(PlanTo6 { packet, buf, rewrite: Rewrite::Message(action), hop_limit })
}

/// Checks the header of an IPv4 packet, except its source, and returns the hop limit of the translated packet.
#[inline(always)]
fn check_header4(packet: &Ipv4Packet, pass: Pass) -> Result<u8, Refusal> {
    if !is_host_v4(packet.dst) {
        return Err(Reason::DestinationAddress.into());
    }
    if packet.source_route {
        return Err(Refusal::with_error(Reason::SourceRoute, ErrorHeader::SOURCE_ROUTE4));
    }
    forwarded_hop_limit(packet.ttl, pass, ErrorHeader::TTL4)
}

/// The action for an IPv4 packet that is not an ICMP error, and the hop limit of the translated packet.
#[inline(always)]
fn decide_v4_to_v6(
    rules: &RewriteRules,
    packet: &Ipv4Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<(Action, u8), Refusal> {
    if !is_host_v4(packet.src) {
        return Err(Reason::SourceAddress.into());
    }
    let hop_limit = check_header4(packet, pass)?;
    let fragmented = packet.fragment.is_some();
    match packet.transport {
        Transport::Udp { checksum: 0, .. } if fragmented => return Err(Reason::UdpZeroChecksum.into()),
        Transport::Echo { .. } if fragmented => return Err(Reason::IcmpFragment.into()),
        Transport::Fragment | Transport::Other if packet.protocol == ICMP4 => {
            return Err(Reason::IcmpFragment.into());
        }
        Transport::Fragment | Transport::Other if !has_meaning_in_v6(packet.protocol) => {
            return Err(Reason::Protocol.into());
        }
        Transport::Icmp | Transport::Error(_) => return Err(icmp_reason(fragmented).into()),
        Transport::Tcp { .. }
        | Transport::Udp { .. }
        | Transport::Echo { .. }
        | Transport::Fragment
        | Transport::Other => {}
    }
    Ok((action_to_v6(rules, packet, buf)?, hop_limit))
}

/// The translated ICMPv4 error, and the hop limit of the translated packet. An ICMP error is useful even
/// from a source that is not a host address (RFC 7915 §4.1).
#[cold]
fn decide_error_to_v6<'p>(
    rules: &RewriteRules,
    packet: &Ipv4Packet,
    error: &'p IcmpError<Quoted4>,
    pass: Pass,
) -> Result<(Rewrite<'p, Quoted4>, u8), Refusal> {
    let hop_limit = check_header4(packet, pass)?;
    let Quoted4 { src, dst, protocol, transport, .. } = error.quoted;
    // The quoted packet is judged like an outer one.
    let translatable = has_meaning_in_v6(protocol) && is_host_v4(src) && is_host_v4(dst);
    if transport == QuotedTransport::Error || !translatable {
        return Err(Reason::IcmpQuoted.into());
    }
    let header = icmp::to_v6(error, rules).ok_or(Reason::IcmpType)?;
    Ok((Rewrite::Error(header, error), hop_limit))
}

/// The hop limit or TTL of the translated packet; `error` is for a packet whose hop limit is exhausted.
fn forwarded_hop_limit(received: u8, pass: Pass, error: ErrorHeader) -> Result<u8, Refusal> {
    match pass {
        Pass::HairpinIn => Ok(received),
        Pass::Direct | Pass::HairpinOut if received > 1 => Ok(received - 1),
        Pass::Direct | Pass::HairpinOut => Err(Refusal::with_error(Reason::HopLimit, error)),
    }
}

/// The drop reason for ICMP that is neither echo nor error.
const fn icmp_reason(fragmented: bool) -> Reason {
    if fragmented { Reason::IcmpFragment } else { Reason::IcmpType }
}

/// Whether an IPv4 protocol number means the same in a Next Header field. ICMPv6 and extension headers are
/// excluded: they would let the IPv4 side inject headers that no parser has checked.
const fn has_meaning_in_v6(protocol: u8) -> bool {
    !matches!(protocol, IGMP | ICMP6 | ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::FRAGMENT | ipv6::DESTINATION)
}

/// The action for an IPv6 packet that is not an ICMP error.
#[inline(always)]
fn action_to_v4(
    rules: &RewriteRules,
    packet: &Ipv6Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<Action, Refusal> {
    let len = ipv4::HEADER + packet.len - packet.upper_at;
    if buf.offload.segmentation == Segmentation::None && len <= usize::from(rules.mtu4) {
        return Ok(Action::Whole);
    }
    oversized_to_v4(rules, packet, buf, pass)
}

/// The action for a super-packet or a packet that exceeds the IPv4 MTU.
#[inline(never)]
fn oversized_to_v4(
    rules: &RewriteRules,
    packet: &Ipv6Packet,
    buf: &PacketBuf,
    pass: Pass,
) -> Result<Action, Refusal> {
    let segments = Segments::of(&buf.bytes()[packet.upper_at..packet.len], buf.offload.segmentation);
    // A hairpinned packet crosses no IPv4 link: only the IPv4 length field limits it.
    let mtu = if pass == Pass::HairpinOut { u16::MAX } else { rules.mtu4 };
    let (len, max) = (ipv4::HEADER + segments.longest, usize::from(mtu));
    if len <= max {
        // An IPv6 super-packet can exceed the IPv4 Total Length field.
        let fits_length_field = ipv4::HEADER + packet.len - packet.upper_at <= usize::from(u16::MAX);
        return Ok(if fits_length_field { Action::Whole } else { Action::Cut { max: mtu } });
    }
    if let Some(size) = segments.resegmented(rules, max, ipv4::HEADER) {
        return Ok(Action::Resegment(size));
    }
    // The sender can't go below the IPv6 minimum MTU of 1,280 bytes (RFC 8200 §5).
    if packet.upper_at + segments.longest <= MIN_MTU || buf.meta.reassembled {
        return Ok(Action::Cut { max: mtu });
    }
    let mtu = (u32::from(mtu) + 20).max(MIN_MTU as u32);
    Err(Refusal::with_error(Reason::TooBig, ErrorHeader::too_big6(mtu)))
}

/// The action for an IPv4 packet that is not an ICMP error.
#[inline(always)]
fn action_to_v6(rules: &RewriteRules, packet: &Ipv4Packet, buf: &PacketBuf) -> Result<Action, Refusal> {
    let extension = if packet.fragment.is_some() { ipv6::FRAGMENT_HEADER } else { 0 };
    let header = ipv6::HEADER + extension;
    let max = if packet.df { rules.mtu6 } else { rules.lowest_ipv6_mtu };
    let len = header + packet.total_len - packet.header_len;
    if buf.offload.segmentation == Segmentation::None && len <= usize::from(max) {
        return Ok(Action::Whole);
    }
    oversized_to_v6(rules, packet, buf, header, max)
}

/// The action for a super-packet or a packet that exceeds `max`, the MTU of the IPv6 side in bytes.
#[inline(never)]
fn oversized_to_v6(
    rules: &RewriteRules,
    packet: &Ipv4Packet,
    buf: &PacketBuf,
    header: usize,
    max: u16,
) -> Result<Action, Refusal> {
    let message = &buf.bytes()[packet.header_len..packet.total_len];
    let segments = Segments::of(message, buf.offload.segmentation);
    if header + segments.longest <= usize::from(max) {
        return Ok(Action::Whole);
    }
    if let Some(size) = segments.resegmented(rules, usize::from(max), header) {
        return Ok(Action::Resegment(size));
    }
    if !packet.df {
        return Ok(Action::Cut { max });
    }
    let mtu = rules.mtu6.saturating_sub((header - ipv4::HEADER) as u16);
    Err(Refusal::with_error(Reason::TooBig, ErrorHeader::too_big4(mtu)))
}
