//! Rewrites ICMP errors, the packets they quote (RFC 7915 §4.3, §5.3) and their RFC 4884 extensions.

use super::flow::{Flow4, Flow6, To4, To6};
use super::header::{Header4, Header6, IpHeader};
use super::icmp::TranslatedError;
use super::originate::MAX_ERROR4;
use super::originate::put_message;
use super::plan::MAX_WITHOUT_DF;
use super::rules::RewriteRules;
use super::transport::{Addresses, put_echo, put_ports};
use crate::addr::{Transport4, Transport6};
use crate::wire::buf::PacketBuf;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::icmp::{self, IcmpError};
use crate::wire::ipv6::MIN_MTU;
use crate::wire::quoted::{Quoted4, Quoted6, QuotedTransport};
use crate::wire::{Fragment, ICMP4, ICMP6, TCP, UDP, ipv4, ipv6, put_u16, tcp, u16_at, udp};

/// Minimum length of a quoted packet that an extension follows, in bytes (RFC 4884 §3).
pub(super) const MIN_QUOTED: usize = 128;

/// Rewrites an ICMPv4 error to ICMPv6, without the outer IP header. Computes a new checksum: parsing has
/// already verified the old one.
pub(super) fn error_to_v6(
    message: TranslatedError,
    error: &IcmpError<Quoted4>,
    to: &To6,
    buf: &mut PacketBuf,
) {
    let quoted = error.quoted;
    let ports = quoted.transport.ports();
    let flow = to.quoted.unwrap_or_else(|| Flow6 {
        src: Transport6::new(to.outer.dst.addr, ports.0),
        dst: Transport6::new(to.outer.src.addr, ports.1),
    });
    let upper = quoted.total_len - quoted.header_len;
    let header = Header6 {
        src: flow.src.addr,
        dst: flow.dst.addr,
        traffic_class: quoted.tos,
        hop_limit: quoted.ttl,
        protocol: if quoted.protocol == ICMP4 { ICMP6 } else { quoted.protocol },
        fragment: quoted.fragment.map(|f| Fragment { id: u32::from(quoted.id), ..f }),
        id: 0,
    };
    let upper_at = quoted.at + quoted.header_len;
    let inner = Inner { protocol: quoted.protocol, transport: quoted.transport, upper };
    let old = Sum::of_v4(quoted.src).plus(Sum::of_v4(quoted.dst));
    let new = Sum::of_v6(flow.src.addr).plus(Sum::of_v6(flow.dst.addr));
    let ports = (flow.src.port, flow.dst.port);
    inner.rewrite(&mut buf.bytes_mut()[upper_at..quoted.at + quoted.len], ports, old, new, Family::V6);
    let captured = quoted.len - quoted.header_len;
    let extension = if message.extensible { error.extension_len } else { 0 };
    let mut tail = Tail::fit(captured, extension, header.len(), MIN_MTU - ipv6::HEADER, 8);
    tail.place(error.extension_at, upper_at, buf);
    buf.shrink_front(upper_at);
    buf.grow_front(header.len());
    header.write(buf.bytes_mut(), upper);
    let attribute = tail.attribute(header.len(), 8) << 24;
    let (src, dst) = (to.outer.src.addr, to.outer.dst.addr);
    put_message(buf, message.header(attribute), |len| Sum::pseudo6(src, dst, ICMP6, len));
}

/// Rewrites an ICMPv6 error to ICMPv4, without the outer IP header; see [`error_to_v6`].
pub(super) fn error_to_v4(
    rules: &RewriteRules,
    message: TranslatedError,
    error: &IcmpError<Quoted6>,
    to: &To4,
    buf: &mut PacketBuf,
) {
    let quoted = error.quoted;
    let ports = quoted.transport.ports();
    let flow = to.quoted.unwrap_or_else(|| Flow4 {
        src: Transport4::new(to.outer.dst.addr, ports.0),
        dst: Transport4::new(to.outer.src.addr, ports.1),
    });
    let upper = quoted.total_len - quoted.header_len;
    let header = Header4 {
        src: flow.src.addr,
        dst: flow.dst.addr,
        tos: quoted.traffic_class,
        ttl: quoted.hop_limit,
        protocol: if quoted.protocol == ICMP6 { ICMP4 } else { quoted.protocol },
        // The identification that the translator chose for an unfragmented packet is not stored.
        id: quoted.fragment.map_or(0, |f| f.id as u16),
        df: quoted.fragment.is_none() && ipv4::HEADER + upper > MAX_WITHOUT_DF,
        offset: quoted.fragment.map_or(0, |f| f.offset),
        more: quoted.fragment.is_some_and(|f| f.more),
    };
    let upper_at = quoted.at + quoted.header_len;
    let inner = Inner { protocol: quoted.protocol, transport: quoted.transport, upper };
    let old = Sum::of_v6(quoted.src).plus(Sum::of_v6(quoted.dst));
    let new = Sum::of_v4(flow.src.addr).plus(Sum::of_v4(flow.dst.addr));
    let ports = (flow.src.port, flow.dst.port);
    inner.rewrite(&mut buf.bytes_mut()[upper_at..quoted.at + quoted.len], ports, old, new, Family::V4);
    let max = MAX_ERROR4.min(usize::from(rules.mtu4)).max(ipv4::MIN_MTU);
    let captured = quoted.len - quoted.header_len;
    let extension = if message.extensible { error.extension_len } else { 0 };
    let mut tail = Tail::fit(captured, extension, ipv4::HEADER, max - ipv4::HEADER, 4);
    tail.place(error.extension_at, upper_at, buf);
    buf.shrink_front(upper_at);
    buf.grow_front(ipv4::HEADER);
    header.write(buf.bytes_mut(), upper);
    let attribute = tail.attribute(ipv4::HEADER, 4) << 16;
    put_message(buf, message.header(attribute), |_| Sum::ZERO);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    V4,
    V6,
}

/// The transport header of a quoted packet.
struct Inner {
    protocol: u8,
    transport: QuotedTransport,
    /// Length of the message before the quote was truncated, in bytes.
    upper: usize,
}

impl Inner {
    /// Rewrites the quoted part of the message to `family`. `old` and `new` are the address sums.
    fn rewrite(&self, message: &mut [u8], (src, dst): (u16, u16), old: Sum, new: Sum, family: Family) {
        match self.transport {
            QuotedTransport::Ports { .. } => {
                let change = put_ports(message, (src, dst), Addresses { old, new });
                self.apply(message, change);
            }
            QuotedTransport::Echo { reply, .. } => {
                // Only ICMPv6 has a pseudo-header.
                let pseudo = |sum: Sum| sum.word(u16::from(ICMP6)).pair(self.upper as u32);
                let (old, new, kinds) = match family {
                    Family::V4 => (pseudo(old), Sum::ZERO, [icmp::v4::ECHO, icmp::v4::ECHO_REPLY]),
                    Family::V6 => (Sum::ZERO, pseudo(new), [icmp::v6::ECHO, icmp::v6::ECHO_REPLY]),
                };
                put_echo(message, kinds[usize::from(reply)], src, old, new);
            }
            QuotedTransport::Error | QuotedTransport::Unknown => {}
        }
    }

    /// Adjusts the checksum if it is quoted. A UDP datagram without a checksum keeps none: it can't be
    /// computed over a truncated datagram.
    fn apply(&self, message: &mut [u8], change: Delta) {
        match self.protocol {
            TCP if message.len() >= tcp::CHECKSUM + 2 => {
                let field = u16_at(message, tcp::CHECKSUM);
                put_u16(message, tcp::CHECKSUM, change.apply(field));
            }
            UDP if u16_at(message, udp::CHECKSUM) != 0 => {
                let field = u16_at(message, udp::CHECKSUM);
                put_u16(message, udp::CHECKSUM, change.apply_udp(field));
            }
            _ => {}
        }
    }
}

/// Lengths of what follows the quoted packet's header, in bytes: message, padding, RFC 4884 extension.
#[derive(Clone, Copy, Debug)]
struct Tail {
    message: usize,
    padding: usize,
    extension: usize,
}

impl Tail {
    /// Fits the tail into an ICMP message of `max` bytes. Priorities: headers and 128 bytes of quoted
    /// packet, then the extension (whole or none), then the rest of the quoted packet. `unit` is the unit
    /// of the length attribute, in bytes.
    fn fit(captured: usize, extension: usize, header: usize, max: usize, unit: usize) -> Self {
        let room = max - icmp::HEADER;
        let plain = Self { message: captured.min(room - header), padding: 0, extension: 0 };
        if extension == 0 {
            return plain;
        }
        let padded = (header + captured).max(MIN_QUOTED).next_multiple_of(unit);
        let max_padded = room.saturating_sub(extension) / unit * unit;
        if max_padded < MIN_QUOTED {
            return plain;
        }
        let padded = padded.min(max_padded);
        let message = captured.min(padded - header);
        Self { message, padding: padded - header - message, extension }
    }

    const fn len(&self) -> usize {
        self.message + self.padding + self.extension
    }

    /// Moves the extension to its new offset and truncates the buffer. Drops the extension if the buffer
    /// has no room for the padding.
    fn place(&mut self, extension_from: usize, upper_at: usize, buf: &mut PacketBuf) {
        if self.len() > buf.len() - upper_at + buf.room() {
            *self = Self { padding: 0, extension: 0, ..*self };
        }
        let padding_at = upper_at + self.message;
        let extension_at = padding_at + self.padding;
        let end = extension_at + self.extension;
        if end > buf.len() {
            buf.append(end - buf.len());
        }
        let bytes = buf.bytes_mut();
        bytes.copy_within(extension_from..extension_from + self.extension, extension_at);
        bytes[padding_at..extension_at].fill(0);
        buf.set_len(end);
    }

    /// The length attribute: length of the padded quoted packet in units of `unit` bytes; zero without an
    /// extension.
    fn attribute(&self, header: usize, unit: usize) -> u32 {
        if self.extension == 0 { 0 } else { ((header + self.message + self.padding) / unit) as u32 }
    }
}
