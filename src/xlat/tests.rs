//! A minimal stateless translator around the public functions. It maps all addresses by one pref64, as
//! fixture S1 of the requirements does.

mod errors;
mod headers;
mod icmp_types;
mod offloads;
mod properties;

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{Pref64, Transport4, Transport6};
use crate::packet_builder::{Packet4, Packet6};
use crate::reason::Reason;
use crate::wire::Transport;
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::PacketBuf;
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;

use super::originate::originate_error6;
use super::*;

pub(super) const A4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(super) const B4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 33);
pub(super) const R4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
pub(super) const OWN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
pub(super) const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

pub(super) fn pref64() -> Pref64 {
    "2001:db8:64::/96".parse().expect("literal")
}

pub(super) fn six(v4: Ipv4Addr) -> Ipv6Addr {
    pref64().embed(v4)
}

/// From the IPv4 side: A to B.
pub(super) fn a4_to_b4() -> Packet4 {
    Packet4::new(A4, B4)
}

/// From the IPv6 side: B to A.
pub(super) fn b6_to_a6() -> Packet6 {
    Packet6::new(six(B4), six(A4))
}

/// A dropped packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) reason: Reason,
    /// Type, code and second word of the error that was sent.
    pub(super) reported: Option<(u8, u8, u32)>,
}

pub(super) fn silent(reason: Reason) -> Dropped {
    Dropped { reason, reported: None }
}

pub(super) fn reported(reason: Reason, kind: u8, code: u8, info: u32) -> Dropped {
    Dropped { reason, reported: Some((kind, code, info)) }
}

fn flow6((src, dst): (Ipv4Addr, Ipv4Addr), (from, to): (u16, u16)) -> Flow6 {
    Flow6::new(Transport6::new(six(src), from), Transport6::new(six(dst), to))
}

fn flow4((src, dst): (Ipv6Addr, Ipv6Addr), (from, to): (u16, u16)) -> Flow4 {
    let four = |addr| pref64().extract(addr).unwrap_or(R4);
    Flow4::new(Transport4::new(four(src), from), Transport4::new(four(dst), to))
}

/// The translated packets in sending order: the buffer first, then the extra ones.
pub(super) fn out(mut buf: PacketBuf, extra: &mut ExtraPackets) -> Vec<PacketBuf> {
    let mut packets = vec![core::mem::replace(&mut buf, PacketBuf::new(0))];
    for slot in extra.packets() {
        packets.push(core::mem::replace(&mut slot.packet, PacketBuf::new(0)));
    }
    packets
}

pub(super) fn translate4(
    rules: &RewriteRules,
    mut buf: PacketBuf,
    pass: Pass,
) -> Result<Vec<PacketBuf>, Dropped> {
    let mut extra = ExtraPackets::new(128, 2048);
    let packet = Ipv4Packet::parse(buf.bytes(), &buf.offload).map_err(silent)?;
    let plan = match plan_v4_to_v6(rules, &packet, &mut buf, pass) {
        Ok(plan) => plan,
        Err(refusal) => {
            let reported = refusal.error.filter(|error| originate_error4(&packet, *error, OWN4, 1, &mut buf));
            return Err(Dropped {
                reason: refusal.reason,
                reported: reported.map(|a| (a.kind, a.code, a.info)),
            });
        }
    };
    let mut quoted = None;
    if let Transport::Error(IcmpError { quoted: q, .. }) = packet.transport {
        quoted = Some(flow6((q.src, q.dst), q.transport.ports()));
    }
    let to = To6 { outer: flow6((packet.src, packet.dst), packet.transport.ports()), quoted };
    plan.apply(rules, &to, &mut extra).map_err(silent)?;
    Ok(out(buf, &mut extra))
}

pub(super) fn translate6(
    rules: &RewriteRules,
    mut buf: PacketBuf,
    pass: Pass,
) -> Result<Vec<PacketBuf>, Dropped> {
    let mut extra = ExtraPackets::new(128, 2048);
    let packet = Ipv6Packet::parse(buf.bytes(), &buf.offload).map_err(silent)?;
    let plan = match plan_v6_to_v4(rules, &packet, &mut buf, pass) {
        Ok(plan) => plan,
        Err(refusal) => {
            let reported = refusal.error.filter(|error| originate_error6(&packet, *error, OWN6, &mut buf));
            return Err(Dropped {
                reason: refusal.reason,
                reported: reported.map(|a| (a.kind, a.code, a.info)),
            });
        }
    };
    let mut quoted = None;
    if let Transport::Error(IcmpError { quoted: q, .. }) = packet.transport {
        quoted = Some(flow4((q.src, q.dst), q.transport.ports()));
    }
    let to = To4 { outer: flow4((packet.src, packet.dst), packet.transport.ports()), quoted };
    plan.apply(rules, &to, &mut Ids::new(1), &mut extra).map_err(silent)?;
    Ok(out(buf, &mut extra))
}

/// One packet translated to one packet, under default rules.
pub(super) fn to_v6(packet: &[u8]) -> Result<Vec<u8>, Dropped> {
    let out = translate4(&RewriteRules::default(), PacketBuf::with_packet(packet), Pass::Direct)?;
    assert_eq!(out.len(), 1);
    Ok(out[0].bytes().to_vec())
}

/// One packet translated to one packet, under default rules.
pub(super) fn to_v4(packet: &[u8]) -> Result<Vec<u8>, Dropped> {
    let out = translate6(&RewriteRules::default(), PacketBuf::with_packet(packet), Pass::Direct)?;
    assert_eq!(out.len(), 1);
    Ok(out[0].bytes().to_vec())
}

/// Clears the identification of an IPv4 packet, which tests do not compare.
pub(super) fn without_id(mut packet: Vec<u8>) -> Vec<u8> {
    packet[4..6].fill(0);
    packet[10..12].fill(0);
    packet
}
