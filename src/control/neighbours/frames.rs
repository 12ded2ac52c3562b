//! Ethernet frames of ARP and of neighbour advertisements.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// EtherType of ARP.
pub(super) const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

const BROADCAST: Mac = Mac([0xff; 6]);
/// All nodes (RFC 2464 §7).
const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mac(pub(super) [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to.0[..], &from.0, &kind.to_be_bytes()].concat()
}

fn request(own: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, own, ARP);
    // Ethernet and IPv4, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own.0);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Asks whether another host has `addr` (RFC 5227 §2.1.1).
pub(super) fn probe(own: Mac, addr: Ipv4Addr) -> Vec<u8> {
    request(own, Ipv4Addr::UNSPECIFIED, addr)
}

/// Gratuitous ARP (RFC 5227 §2.3).
pub(super) fn announcement(own: Mac, addr: Ipv4Addr) -> Vec<u8> {
    request(own, addr, addr)
}

/// Hardware and protocol address of the sender of an ARP packet.
pub(super) fn sender(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let arp = frame.get(14..42)?;
    if frame[12..14] != ARP.to_be_bytes() || arp[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let mac = Mac(*arp[8..].first_chunk()?);
    Some((mac, Ipv4Addr::from(*arp[14..].first_chunk::<4>()?)))
}

/// An unsolicited neighbour advertisement of a router, with the flag "override".
pub(super) fn advertisement(own: Mac, addr: Ipv6Addr) -> Vec<u8> {
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![136, 0, 0, 0, 0xa0, 0, 0, 0];
    message.extend(addr.octets());
    message.extend([2, 1]);
    message.extend(own.0);
    let checksum = checksum(addr, to, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = ethernet(ALL_NODES, own, IPV6);
    // Version 6; ICMPv6, hop limit 255.
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(addr.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

/// Checksum of ICMPv6, with the pseudo-header.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 0, 0, message.len() as u8, 0, 0, 0, 58]].concat();
    let words = pseudo.chunks(2).chain(message.chunks(2));
    let mut sum: u32 =
        words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 7]);

    #[test]
    fn a_probe_has_no_sender_and_an_announcement_has() {
        let addr = Ipv4Addr::new(192, 0, 2, 64);
        let frame = probe(OWN, addr);
        assert_eq!(frame.len(), 42);
        assert_eq!(sender(&frame), Some((OWN, Ipv4Addr::UNSPECIFIED)));
        assert_eq!(frame[38..], addr.octets());
        assert_eq!(sender(&announcement(OWN, addr)), Some((OWN, addr)));
        assert_eq!(sender(&frame[..41]), None);
        assert_eq!(sender(&advertisement(OWN, Ipv6Addr::LOCALHOST)), None);
    }

    #[test]
    fn an_advertisement_has_a_valid_checksum() {
        let addr: Ipv6Addr = "2001:db8:1::153".parse().expect("literal");
        let frame = advertisement(OWN, addr);
        let packet = etherparse::SlicedPacket::from_ethernet(&frame).expect("parsed");
        let Some(etherparse::TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("{packet:?}") };
        assert!(icmp.is_checksum_valid(addr.octets(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets()));
        assert_eq!(OWN.to_string(), "02:00:00:00:00:07");
    }
}
