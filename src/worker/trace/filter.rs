//! Which packets a trace follows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::{Ipv4Prefix, Ipv6Prefix, Proto};
use crate::wire::ipv6;

/// Which packets a trace follows. A packet matches if it satisfies each condition before or after translation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TraceFilter {
    /// Prefixes, one of which contains an IPv6 address of the packet; none if empty.
    pub hosts: Vec<Ipv6Prefix>,
    /// Prefix that contains an IPv4 address of the packet.
    pub address: Option<Ipv4Prefix>,
    /// Source or destination port, or ICMP identifier.
    pub port: Option<u16>,
    /// Protocol.
    pub proto: Option<Proto>,
    /// Only dropped and refused packets.
    pub only_dropped: bool,
}

/// Conditions that the packets examined so far satisfy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Matched {
    hosts: bool,
    address: bool,
    port: bool,
    proto: bool,
}

impl TraceFilter {
    /// Adds the conditions that a packet satisfies. An ICMP error also has those of the packet that it quotes.
    pub(super) fn examine(&self, packet: &[u8], matched: &mut Matched) {
        let Some(headers) = Headers::of(packet) else { return };
        for addr in headers.addrs {
            match addr {
                IpAddr::V6(addr) => matched.hosts |= self.hosts.iter().any(|prefix| prefix.contains(addr)),
                IpAddr::V4(addr) => matched.address |= self.address.is_some_and(|p| p.contains(addr)),
            }
        }
        matched.proto |= headers.proto.is_some() && headers.proto == self.proto;
        matched.port |= self.port.is_some_and(|port| headers.ports.contains(&Some(port)));
        if let Some(quoted) = headers.quoted {
            self.examine(quoted, matched);
        }
    }

    /// Whether packets with these properties match.
    pub(super) fn is_satisfied(&self, matched: Matched) -> bool {
        (matched.hosts || self.hosts.is_empty())
            && (matched.address || self.address.is_none())
            && (matched.port || self.port.is_none())
            && (matched.proto || self.proto.is_none())
    }
}

/// Addresses and ports of a packet that may be damaged or cut off.
struct Headers<'a> {
    addrs: [IpAddr; 2],
    proto: Option<Proto>,
    ports: [Option<u16>; 2],
    /// The packet that an ICMP error quotes.
    quoted: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    fn of(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let (src, dst) = (array::<4>(packet, 12)?, array::<4>(packet, 16)?);
                let addrs = [Ipv4Addr::from(src).into(), Ipv4Addr::from(dst).into()];
                let is_first = u16_at(packet, 6)? & 0x1fff == 0;
                let payload = packet.get(usize::from(packet[0] & 15) * 4..).filter(|_| is_first);
                Some(Self::with_payload(addrs, *packet.get(9)?, payload))
            }
            6 => {
                let (src, dst) = (array::<16>(packet, 8)?, array::<16>(packet, 24)?);
                let addrs = [Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into()];
                let (proto, payload) = match *packet.get(6)? {
                    ipv6::FRAGMENT => {
                        let is_first = u16_at(packet, 42)? >> 3 == 0;
                        (*packet.get(40)?, packet.get(48..).filter(|_| is_first))
                    }
                    proto => (proto, packet.get(40..)),
                };
                Some(Self::with_payload(addrs, proto, payload))
            }
            _ => None,
        }
    }

    fn with_payload(addrs: [IpAddr; 2], number: u8, payload: Option<&'a [u8]>) -> Self {
        let mut headers = Self { addrs, proto: None, ports: [None; 2], quoted: None };
        let payload = payload.unwrap_or_default();
        headers.proto = match number {
            6 => Some(Proto::Tcp),
            17 => Some(Proto::Udp),
            1 | 58 => Some(Proto::Icmp),
            _ => None,
        };
        match headers.proto {
            Some(Proto::Tcp | Proto::Udp) => headers.ports = [u16_at(payload, 0), u16_at(payload, 2)],
            Some(Proto::Icmp) if is_error(number, payload) => headers.quoted = payload.get(8..),
            Some(Proto::Icmp) => headers.ports[0] = u16_at(payload, 4),
            None => {}
        }
        headers
    }
}

/// Whether an ICMP message of this protocol quotes a packet.
fn is_error(number: u8, message: &[u8]) -> bool {
    let Some(&kind) = message.first() else { return false };
    match number {
        58 => kind < 128,
        _ => matches!(kind, 3 | 4 | 5 | 11 | 12),
    }
}

fn array<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    array(packet, at).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_builder::{Packet4, Packet6, fragments6};

    fn passes(filter: &TraceFilter, packets: &[&[u8]]) -> bool {
        let mut matched = Matched::default();
        packets.iter().for_each(|packet| filter.examine(packet, &mut matched));
        filter.is_satisfied(matched)
    }

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn conditions_hold_before_or_after_translation() {
        let before = Packet6::new(v6("2001:db8:1::2"), v6("64:ff9b::c633:6407")).udp(5000, 53, b"q");
        let after =
            Packet4::new(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7)).udp(40_000, 53, b"q");
        let any = TraceFilter::default();
        let host = |text: &str| TraceFilter { hosts: vec![text.parse().expect("a prefix")], ..any.clone() };
        let address =
            |text: &str| TraceFilter { address: Some(text.parse().expect("a prefix")), ..any.clone() };
        let port = |port| TraceFilter { port: Some(port), ..any.clone() };
        let proto = |proto| TraceFilter { proto: Some(proto), ..any.clone() };
        for (filter, want) in [
            (any.clone(), true),
            (host("2001:db8:1::/64"), true),
            (host("2001:db8:2::/64"), false),
            (address("198.51.100.0/24"), true),
            (address("203.0.113.0/24"), false),
            (port(5000), true),
            (port(40_000), true),
            (port(40_001), false),
            (proto(Proto::Udp), true),
            (proto(Proto::Tcp), false),
            (TraceFilter { port: Some(53), ..host("2001:db8:1::2") }, true),
            (TraceFilter { port: Some(54), ..host("2001:db8:1::2") }, false),
        ] {
            assert_eq!(passes(&filter, &[&before, &after]), want, "{filter:?}");
        }
        assert!(
            !passes(&host("2001:db8:1::2"), &[&after]),
            "dropped from the IPv4 side: the host is unknown"
        );
        for len in 0..before.len() {
            // A damaged packet is no panic.
            passes(&port(5000), &[&before[..len]]);
        }
        assert!(passes(&any, &[&[0xff]]), "without conditions every packet matches");
    }

    #[test]
    fn fragments_and_errors() {
        let datagram = Packet6::new(v6("2001:db8:1::2"), v6("64:ff9b::c633:6407")).udp(5000, 53, &[7; 2000]);
        let pieces = fragments6(&datagram, 5, 1280);
        let port = TraceFilter { port: Some(5000), ..TraceFilter::default() };
        assert!(passes(&port, &[&pieces[0]]));
        assert!(!passes(&port, &[&pieces[1]]));
        let echo = Packet6::new(v6("2001:db8:1::2"), v6("64:ff9b::c633:6407")).echo(9, 1, b"");
        assert!(passes(&TraceFilter { port: Some(9), ..TraceFilter::default() }, &[&echo]));
        // Destination unreachable about the datagram.
        let mut error = Packet6::new(v6("2001:db8::1"), v6("2001:db8:1::2")).echo(0, 0, &datagram);
        error[40] = 1;
        assert!(passes(&port, &[&error]));
    }
}
