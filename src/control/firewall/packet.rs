//! Sample packets, of which some properties are known only in part.

use std::net::IpAddr;

use crate::addr::{Ipv4Prefix, Ipv6Prefix};

/// A hook of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hook {
    /// Before routing.
    Prerouting,
    /// Packets to another host.
    Forward,
    /// Packets to this host.
    Input,
}

impl Hook {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Forward => "forward",
            Self::Input => "input",
        }
    }
}

/// The addresses that a sample may have: a prefix, as the leading `len` bits of `bits`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    is_v6: bool,
    bits: u128,
    len: u8,
}

impl Range {
    pub(super) fn v6(prefix: Ipv6Prefix) -> Self {
        Self { is_v6: true, bits: prefix.addr().to_bits(), len: prefix.len() }
    }

    pub(super) fn v4(prefix: Ipv4Prefix) -> Self {
        Self { is_v6: false, bits: u128::from(prefix.addr().to_bits()) << 96, len: prefix.len() }
    }

    pub(super) fn host(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::v4(Ipv4Prefix::host(addr)),
            IpAddr::V6(addr) => Self::v6(Ipv6Prefix::host(addr)),
        }
    }

    pub(super) const fn any4() -> Self {
        Self { is_v6: false, bits: 0, len: 0 }
    }

    pub(super) const fn any6() -> Self {
        Self { is_v6: true, bits: 0, len: 0 }
    }

    /// Parses an address with a prefix length.
    pub(super) fn parse(addr: &str, len: Option<u64>) -> Option<Self> {
        let host = Self::host(addr.parse().ok()?);
        let len = len.map_or(Some(host.len), |len| u8::try_from(len).ok().filter(|len| *len <= host.len))?;
        Some(Self { bits: host.bits & mask(len), len, ..host })
    }

    const fn first(self) -> u128 {
        self.bits
    }

    const fn last(self) -> u128 {
        self.bits | !mask(self.len)
    }

    /// Whether the address is between the first of `from` and the last of `to`; `None` if that is open.
    pub(super) fn is_between(self, from: Self, to: Self) -> Option<bool> {
        if self.is_v6 != from.is_v6 || from.is_v6 != to.is_v6 {
            return Some(false);
        }
        let (first, last) = (from.first(), to.last());
        if self.last() < first || self.first() > last {
            Some(false)
        } else if first <= self.first() && self.last() <= last {
            Some(true)
        } else {
            None
        }
    }
}

const fn mask(len: u8) -> u128 {
    if len == 0 { 0 } else { u128::MAX << (128 - len) }
}

/// A sample packet. An interface that is `None` is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) is_v6: bool,
    pub(super) iif: Option<&'a str>,
    pub(super) oif: Option<&'a str>,
    pub(super) saddr: Range,
    pub(super) daddr: Range,
    /// `tcp`, `udp`, `icmp` or `icmpv6`.
    pub(super) protocol: &'static str,
    pub(super) sport: u16,
    pub(super) dport: u16,
    /// State of conntrack.
    pub(super) state: &'static str,
    /// ICMP type.
    pub(super) icmp: &'static str,
    /// The source is an address of this host, which no route to the interface covers.
    pub(super) has_own_source: bool,
}

/// Packets to a server: web, QUIC and ping. With `is_reply`, packets of the server.
pub(super) fn samples<'a>(
    iif: Option<&'a str>,
    oif: Option<&'a str>,
    saddr: Range,
    daddr: Range,
    is_reply: bool,
) -> Vec<Packet<'a>> {
    let is_v6 = saddr.is_v6;
    let ping = if is_v6 { "icmpv6" } else { "icmp" };
    let each = [("tcp", 443), ("tcp", 80), ("udp", 443), (ping, 0)].into_iter();
    let packets = each.map(|(protocol, server)| {
        let client = if server == 0 { 0 } else { 50_000 };
        let (sport, dport) = if is_reply { (server, client) } else { (client, server) };
        let state = if is_reply { "established" } else { "new" };
        let icmp = if is_reply { "echo-reply" } else { "echo-request" };
        Packet { is_v6, iif, oif, saddr, daddr, protocol, sport, dport, state, icmp, has_own_source: false }
    });
    packets.collect()
}

impl<'a> Packet<'a> {
    /// DNS queries, over UDP and TCP.
    pub(super) fn queries(iif: Option<&'a str>, saddr: Range, daddr: Range) -> Vec<Self> {
        let first = samples(iif, None, saddr, daddr, false);
        let query = |protocol| Self { protocol, dport: 53, ..first[0] };
        vec![query("udp"), query("tcp")]
    }

    /// An ICMP error "packet too big" of gate64.
    pub(super) fn error(iif: Option<&'a str>, saddr: Range, daddr: Range) -> Self {
        let is_v6 = saddr.is_v6;
        Self {
            is_v6,
            iif,
            oif: None,
            saddr,
            daddr,
            protocol: if is_v6 { "icmpv6" } else { "icmp" },
            sport: 0,
            dport: 0,
            state: "related",
            icmp: if is_v6 { "packet-too-big" } else { "destination-unreachable" },
            has_own_source: true,
        }
    }

    /// Whether the packet passes tables of this family.
    pub(super) fn is_in(&self, family: &str) -> bool {
        match family {
            "inet" => true,
            "ip" => !self.is_v6,
            "ip6" => self.is_v6,
            _ => false,
        }
    }
}
