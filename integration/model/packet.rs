//! Translation of a packet's fields (RFC 7915), in scenario notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gate64::addr::Proto;
use gate64::addr::{Transport4, Transport6};
use gate64::reason::Reason;
use gate64::xlat::{RewriteRules, TrafficClass};

use super::tcp::{self, Event};
use crate::script::packet::{Body, Csum, Frag, FragId, Num, Packet, Quote};

/// The identification of IPv4 packets that state none.
pub(super) const ID: u16 = 0x4242;

/// A packet's flow: protocol, ports, and the TCP event.
pub(super) struct Flow {
    pub(super) proto: Proto,
    pub(super) src: u16,
    pub(super) dst: u16,
    pub(super) event: Option<Event>,
    /// A RST or an echo reply, which hosts send in response to any packet.
    pub(super) automatic: bool,
}

impl Flow {
    /// The flow of a packet, if it has one (RFC 6146 §3.4).
    pub(super) fn of(packet: &Packet) -> Result<Self, Refusal> {
        let v4 = packet.src.is_ipv4();
        match &packet.body {
            Body::Udp { .. } if !v4 && packet.csum == Csum::Zero => Err(Reason::UdpZeroChecksum.into()),
            Body::Udp { src, dst } => {
                let (src, dst) = (value(src), value(dst));
                Ok(Self { proto: Proto::Udp, src, dst, event: None, automatic: false })
            }
            Body::Tcp { src, dst, flags, .. } => {
                let (src, dst) = (value(src), value(dst));
                let event = tcp::event(*flags).ok_or(Reason::TcpFlags)?;
                let automatic = event == Event::Rst;
                Ok(Self { proto: Proto::Tcp, src, dst, event: Some(event), automatic })
            }
            Body::Echo { id, reply, .. } => {
                let id = value(id);
                Ok(Self { proto: Proto::Icmp, src: id, dst: id, event: None, automatic: *reply })
            }
            Body::Proto(_) => {
                Err(Refusal::with_error(Reason::Protocol, if v4 { (3, 2, 0) } else { (1, 4, 0) }))
            }
            Body::Icmp { .. } | Body::Raw => Err(Reason::IcmpType.into()),
        }
    }

    /// The flow of a packet quoted by an error, with the quoted ports.
    pub(super) fn of_quoted(packet: &Packet) -> Option<Self> {
        let of = |proto, src, dst| Some(Self { proto, src, dst, event: None, automatic: false });
        match &packet.body {
            Body::Udp { src, dst } => of(Proto::Udp, value(src), value(dst)),
            Body::Tcp { src, dst, .. } => of(Proto::Tcp, value(src), value(dst)),
            Body::Echo { id, .. } => of(Proto::Icmp, value(id), value(id)),
            Body::Icmp { .. } | Body::Proto(_) | Body::Raw => None,
        }
    }

    /// The session's remote end: ICMP queries have no port there (RFC 6146 §3.2).
    pub(super) fn remote(&self, server: Transport4) -> Transport4 {
        Transport4::new(server.addr, if self.proto == Proto::Icmp { 0 } else { server.port })
    }
}

/// Why a packet is refused, and type, code and second word of the error.
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) answer: Option<(u8, u8, u32)>,
}

impl Refusal {
    pub(super) fn with_error(reason: Reason, answer: (u8, u8, u32)) -> Self {
        Self { reason, answer: Some(answer) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, answer: None }
    }
}

fn value(num: &Num) -> u16 {
    match num {
        Num::Is(value) => *value,
        Num::Var(name) => panic!("the model knows no ${name}"),
    }
}

/// The ports of a packet: those of UDP and TCP, twice the identifier of an echo, or zero.
pub(super) fn ports(packet: &Packet) -> (u16, u16) {
    match &packet.body {
        Body::Udp { src, dst } | Body::Tcp { src, dst, .. } => (value(src), value(dst)),
        Body::Echo { id, .. } => (value(id), value(id)),
        Body::Icmp { .. } | Body::Proto(_) | Body::Raw => (0, 0),
    }
}

pub(super) fn addresses6(packet: &Packet) -> (Ipv6Addr, Ipv6Addr) {
    match (packet.src, packet.dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => (src, dst),
        _ => panic!("an IPv6 packet"),
    }
}

pub(super) fn addresses4(packet: &Packet) -> (Ipv4Addr, Ipv4Addr) {
    match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => (src, dst),
        _ => panic!("an IPv4 packet"),
    }
}

/// A TCP segment as a plain one.
pub(super) fn without_flags(packet: &Packet) -> Option<Packet> {
    let mut plain = packet.clone();
    let Body::Tcp { flags, .. } = &mut plain.body else { return None };
    *flags = 0x10;
    Some(plain)
}

/// Whether no error may be sent about the packet.
pub(super) fn is_error(packet: &Packet) -> bool {
    matches!(packet.body, Body::Icmp { .. })
}

/// Length of everything after the IP header.
pub(super) fn message_len(packet: &Packet) -> usize {
    let header = match &packet.body {
        Body::Tcp { .. } => 20,
        Body::Udp { .. } | Body::Echo { .. } | Body::Icmp { .. } => 8,
        Body::Proto(_) | Body::Raw => 0,
    };
    // Of a super-packet: that of its segments.
    header + packet.gso.map_or(packet.data.len(), |size| packet.data.len().min(size.into()))
}

/// Length of the IPv6 header with its extensions.
pub(super) fn header_len6(packet: &Packet) -> usize {
    let extensions: usize = packet.ext.iter().map(|(_, rest)| rest.len() + 1).sum();
    40 + extensions + if packet.frag.is_some() { 8 } else { 0 }
}

/// The packet with translated addresses and ports; an echo has the identifier of the client's side.
fn between(packet: &Packet, src: (IpAddr, u16), dst: (IpAddr, u16), id: u16) -> Packet {
    let mut out = packet.clone();
    (out.src, out.dst) = (src.0, dst.0);
    match &mut out.body {
        Body::Udp { src: s, dst: d } | Body::Tcp { src: s, dst: d, .. } => {
            (*s, *d) = (Num::Is(src.1), Num::Is(dst.1));
        }
        Body::Echo { id: i, .. } => *i = Num::Is(id),
        Body::Icmp { .. } | Body::Proto(_) | Body::Raw => {}
    }
    // Fields that the other header lacks or generates.
    (out.flow, out.id, out.queue) = (0, None, None);
    out.ext.clear();
    out.opts.clear();
    if out.csum == Csum::Zero {
        out.csum = Csum::Good;
    }
    out
}

fn class(rule: TrafficClass, was: u8) -> u8 {
    match rule {
        TrafficClass::Copy => was,
        TrafficClass::Set(value) => value,
    }
}

/// A packet to IPv4, fragmented to the MTU.
pub(super) fn to_v4(
    packet: &Packet,
    from: Transport4,
    to: Transport4,
    tos: TrafficClass,
    mtu: u16,
) -> Vec<Packet> {
    let mut out = between(packet, (from.addr.into(), from.port), (to.addr.into(), to.port), from.port);
    out.hop = Some(packet.hop.unwrap_or(64) - 1);
    out.tos = class(tos, packet.tos);
    let len = 20 + message_len(packet);
    out.df = len > 1260;
    if let Some(Frag { id: FragId::Is(id), offset: 0, len: None }) = &packet.frag {
        // Whole after a Fragment header: its sender allows fragmentation (RFC 7915 §5.1.1).
        (out.frag, out.id, out.df) = (None, Some(*id as u16), false);
    }
    if len <= usize::from(mtu) { vec![out] } else { cut(out, usize::from(mtu) - 20, None) }
}

/// A packet to IPv6, fragmented to the lowest MTU.
pub(super) fn to_v6(
    packet: &Packet,
    from: Transport6,
    to: Transport6,
    rules: &RewriteRules,
    hairpinned: bool,
) -> Vec<Packet> {
    let mut out = between(packet, (from.addr.into(), from.port), (to.addr.into(), to.port), to.port);
    out.hop = Some(packet.hop.unwrap_or(64) - u8::from(!hairpinned));
    out.tos = class(rules.traffic_class, packet.tos);
    out.df = false;
    let max = if packet.df { rules.mtu6 } else { rules.lowest_ipv6_mtu };
    if 40 + message_len(packet) <= usize::from(max) {
        return vec![out];
    }
    cut(out, usize::from(max) - 48, Some(packet.id.unwrap_or(ID)))
}

/// Fragments of at most `room` bytes. Any identification matches if none is stated.
fn cut(packet: Packet, room: usize, id: Option<u16>) -> Vec<Packet> {
    let (len, room) = (message_len(&packet), room / 8 * 8);
    let piece = |offset: usize| {
        let mut piece = packet.clone();
        let id = id.map_or_else(|| FragId::Var("id".to_owned()), |id| FragId::Is(id.into()));
        let left = len - offset;
        piece.frag = Some(Frag { id, offset, len: (left > room).then_some(room) });
        piece
    };
    (0..len).step_by(room).map(piece).collect()
}

/// A generated error about a packet, which it quotes as `{ ^ }`.
pub(super) fn own_error(own: IpAddr, about: &Packet, (kind, code, word): (u8, u8, u32)) -> Packet {
    let body = Body::Icmp { kind, code, word, quote: Some(Quote::Input) };
    let mut error = Packet::new(own, about.src, body, Vec::new());
    // The packet's DSCP (RFC 5508 REQ-9), without its ECN bits.
    error.tos = about.tos & 0xfc;
    error
}

/// The segment that probes an idle connection.
pub(super) fn probe(server: Transport6, client: Transport6) -> Packet {
    let (src, dst) = (Num::Is(server.port), Num::Is(client.port));
    let body = Body::Tcp { src, dst, flags: 0x10, seq: 0, ack: 0, win: 0, mss: None };
    Packet::new(server.addr.into(), client.addr.into(), body, Vec::new())
}

/// The RST of a host that does not know the connection (RFC 9293 §3.10.7.1).
pub(super) fn reset(about: &Packet) -> Option<Packet> {
    let Body::Tcp { src, dst, flags, seq, ack, .. } = &about.body else { return None };
    let (fin, acknowledges) = (u32::from(flags & 1), flags & 0x10 != 0);
    let (flags, seq, ack) = match acknowledges {
        true => (0x04, *ack, 0),
        false => (0x14, 0, seq.wrapping_add(about.data.len() as u32 + fin)),
    };
    let body = Body::Tcp { src: dst.clone(), dst: src.clone(), flags, seq, ack, win: 0, mss: None };
    Some(Packet::new(about.dst, about.src, body, Vec::new()))
}

/// An error to IPv4; `inner` has the quoted addresses and ports. `None` if IPv4 has no such error.
pub(super) fn error_to_v4(
    packet: &Packet,
    (from, to): (Transport4, Ipv4Addr),
    inner: (Transport4, Transport4),
    rules: &RewriteRules,
) -> Option<Packet> {
    let Body::Icmp { kind, code, word, quote: Some(Quote::Packet(quoted)) } = &packet.body else {
        return None;
    };
    let (kind, code, word) = match (kind, code) {
        (1, 0 | 2 | 3) => (3, 1, 0),
        (1, 1) => (3, 10, 0),
        (1, 4) => (3, 3, 0),
        (2, 0) => {
            let mtu = (word.saturating_sub(20)).min(rules.mtu4.into()).min(u32::from(rules.mtu6) - 20);
            (3, 4, mtu)
        }
        (3, 0 | 1) => (11, *code, 0),
        (4, 1) => (3, 2, 0),
        _ => return None,
    };
    let (server, client) = inner;
    let (server_end, client_end) = ((server.addr.into(), server.port), (client.addr.into(), client.port));
    let mut inner = between(quoted, server_end, client_end, client.port);
    inner.df = 20 + message_len(&inner) > 1260;
    let mut out = packet.clone();
    (out.src, out.dst) = (from.addr.into(), to.into());
    (out.hop, out.tos) = (Some(packet.hop.unwrap_or(64) - 1), class(rules.tos, packet.tos));
    out.body = Body::Icmp { kind, code, word, quote: Some(Quote::Packet(Box::new(inner))) };
    (out.flow, out.queue) = (0, None);
    Some(out)
}

/// An error to IPv6, likewise.
pub(super) fn error_to_v6(
    packet: &Packet,
    (from, client): (Ipv6Addr, Transport6),
    server: Transport6,
    rules: &RewriteRules,
    hairpinned: bool,
) -> Option<Packet> {
    let Body::Icmp { kind, code, word, quote: Some(Quote::Packet(quoted)) } = &packet.body else {
        return None;
    };
    let (kind, code, word) = match (kind, code) {
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0, 0),
        (3, 2) => (4, 1, 6),
        (3, 3) => (1, 4, 0),
        (3, 4) => {
            let most = u32::from(rules.mtu6).min(u32::from(rules.mtu4) + 20);
            (2, 0, (*word + 20).min(most).max(1280))
        }
        (3, 9 | 10 | 13 | 15) => (1, 1, 0),
        (11, 0 | 1) => (3, *code, 0),
        _ => return None,
    };
    let client_end = (client.addr.into(), client.port);
    let mut inner = between(quoted, client_end, (server.addr.into(), server.port), client.port);
    inner.df = false;
    let mut out = packet.clone();
    (out.src, out.dst) = (from.into(), client.addr.into());
    out.hop = Some(packet.hop.unwrap_or(64) - u8::from(!hairpinned));
    out.tos = class(rules.traffic_class, packet.tos);
    out.body = Body::Icmp { kind, code, word, quote: Some(Quote::Packet(Box::new(inner))) };
    (out.id, out.df) = (None, false);
    Some(out)
}
