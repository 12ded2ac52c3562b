//! etherparse parses the built packets and verifies every checksum.

use core::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::packet_builder::{Packet4, Packet6, Tcp, checksums_are_right, fragments4, fragments6};

const A4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const B4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 33);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc000, 0x221);

#[test]
fn etherparse_agrees_on_ipv4() {
    let to = Packet4::new(A4, B4).ttl(9).tos(0xb8).id(77).df();
    for packet in [
        to.udp(1234, 53, b"hello"),
        to.tcp(Tcp::new(40_000, 80).mss(1460).numbers(7, 9), b"x"),
        to.options(&[0x94, 4, 0, 0]).echo(0x77, 1, &[3; 33]),
    ] {
        assert!(checksums_are_right(&packet));
        let sliced = SlicedPacket::from_ip(&packet).expect("etherparse reads it");
        let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!("not IPv4") };
        let header = ip.header().to_header();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
        assert_eq!((header.time_to_live, header.dont_fragment, header.identification), (9, true, 77));
        match sliced.transport.expect("a transport") {
            TransportSlice::Udp(udp) => {
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
                assert_eq!(sum.ok(), Some(udp.checksum()));
            }
            TransportSlice::Tcp(tcp) => {
                let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload());
                assert_eq!(sum.ok(), Some(tcp.checksum()));
            }
            TransportSlice::Icmpv4(icmp) => {
                assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
            }
            TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => panic!("another protocol"),
        }
    }
}

#[test]
fn etherparse_agrees_on_ipv6() {
    let to = Packet6::new(A6, B6).hop_limit(9).traffic_class(0xb8).flow_label(0xabcde);
    for packet in [
        to.udp(1234, 53, b"hello"),
        to.clone().hop_by_hop().destination_options().routing(0).tcp(Tcp::new(40_000, 80), b"xy"),
        to.fragment(9, 0, false).echo_reply(0x77, 1, &[3; 33]),
    ] {
        assert!(checksums_are_right(&packet));
        let sliced = SlicedPacket::from_ip(&packet).expect("etherparse reads it");
        let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("not IPv6") };
        let header = ip.header().to_header();
        assert_eq!((header.hop_limit, header.flow_label.value()), (9, 0xabcde));
        match sliced.transport.expect("a transport") {
            TransportSlice::Udp(udp) => {
                let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
                assert_eq!(sum.ok(), Some(udp.checksum()));
            }
            TransportSlice::Tcp(tcp) => {
                let sum = tcp.to_header().calc_checksum_ipv6(&header, tcp.payload());
                assert_eq!(sum.ok(), Some(tcp.checksum()));
            }
            TransportSlice::Icmpv6(icmp) => {
                let sum = icmp.icmp_type().calc_checksum(header.source, header.destination, icmp.payload());
                assert_eq!(sum.ok(), Some(icmp.checksum()));
            }
            TransportSlice::Icmpv4(_) | TransportSlice::Igmp(_) => panic!("another protocol"),
        }
    }
}

#[test]
fn fragments_add_up() {
    let whole = Packet4::new(A4, B4).id(5).udp(1, 2, &[7; 3000]);
    let cut = fragments4(&whole, 1280);
    assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [1276, 1276, 516]);
    assert_eq!(
        cut.iter().map(|f| u16::from_be_bytes([f[6], f[7]])).collect::<Vec<_>>(),
        [0x2000, 0x2000 | 157, 314]
    );
    let whole = Packet6::new(A6, B6).udp(1, 2, &[7; 3000]);
    let cut = fragments6(&whole, 5, 1280);
    assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [1280, 1280, 592]);
}
