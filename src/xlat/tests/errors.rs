//! Requirements section 15: ICMP errors that the translator originates.

use super::*;
use crate::packet_builder::{Tcp, checksums_are_right, fragments4, fragments6, super_packet};
use crate::wire::{u16_at, u32_at};

fn own6(packet: &[u8], error: ErrorHeader) -> Option<Vec<u8>> {
    let mut buf = PacketBuf::with_packet(packet);
    let parsed = Ipv6Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    let sent = originate_error6(&parsed, error, OWN6, &mut buf);
    if !sent {
        assert_eq!(buf.bytes(), packet);
    }
    sent.then(|| buf.bytes().to_vec())
}

fn own4(packet: &[u8], error: ErrorHeader) -> Option<Vec<u8>> {
    let mut buf = PacketBuf::with_packet(packet);
    let parsed = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    let sent = originate_error4(&parsed, error, OWN4, 7, &mut buf);
    if !sent {
        assert_eq!(buf.bytes(), packet);
    }
    sent.then(|| buf.bytes().to_vec())
}

#[test]
fn an_error_quotes_the_received_packet() {
    // ids 4443-2.4c, 4443-2.2, 5508-7.7, 1812-576, 7915-4.1-fn-mtu
    let packet = b6_to_a6().traffic_class(0xbb).udp(1, 2, b"x");
    let want = Packet6::new(OWN6, six(B4)).traffic_class(0xb8).icmp(2, 0, 1420, &packet);
    assert_eq!(own6(&packet, ErrorHeader::too_big6(1420)), Some(want));
    let packet = a4_to_b4().tos(0xbb).options(&[0x94, 4, 0, 0]).udp(1, 2, b"x");
    let want = Packet4::new(OWN4, A4).tos(0xb8).id(7).icmp(3, 4, 1380, &packet);
    assert_eq!(own4(&packet, ErrorHeader::too_big4(1380)), Some(want));

    let long = own6(&b6_to_a6().udp(1, 2, &[0; 1452]), ErrorHeader::HOP_LIMIT6).expect("sent");
    assert!(long.len() == 1280 && checksums_are_right(&long));
    let long = own4(&a4_to_b4().udp(1, 2, &[0; 1472]), ErrorHeader::TTL4).expect("sent");
    assert!(long.len() == 576 && checksums_are_right(&long));
}

#[test]
fn padding_after_a_packet_is_not_quoted() {
    let packet = a4_to_b4().udp(1, 2, b"x");
    let mut padded = packet.clone();
    padded.resize(60, 0xaa);
    assert_eq!(own4(&padded, ErrorHeader::TTL4), own4(&packet, ErrorHeader::TTL4));
}

#[test]
fn packets_that_get_no_icmpv6_error() {
    // ids 4443-2.4e1, 4443-2.4e3, 4443-2.4e6, 7915-5.4-default, C-17
    let error = b6_to_a6().icmp(1, 0, 0, &Packet6::new(six(A4), six(B4)).udp(1, 2, b""));
    let many: Ipv6Addr = "ff0e::1".parse().expect("literal");
    let silent = [
        error,
        b6_to_a6().icmp(100, 0, 0, b""),
        b6_to_a6().icmp(137, 0, 0, &[0; 32]),
        fragments6(&b6_to_a6().echo(1, 1, &[0; 3000]), 1, 1280)[1].clone(),
        Packet6::new(six(B4), many).udp(1, 2, b""),
        Packet6::new(Ipv6Addr::UNSPECIFIED, six(A4)).udp(1, 2, b""),
        Packet6::new(many, six(A4)).udp(1, 2, b""),
    ];
    for packet in silent {
        assert_eq!(own6(&packet, ErrorHeader::HOP_LIMIT6), None, "{packet:02x?}");
    }
    assert!(own6(&Packet6::new(six(B4), many).udp(1, 2, b""), ErrorHeader::too_big6(1280)).is_some());
    let echo = b6_to_a6().echo(1, 1, b"");
    assert!(own6(&echo, ErrorHeader::HOP_LIMIT6).is_some());
    assert!(own6(&echo, ErrorHeader::unreachable6(3)).is_some());
    assert_eq!(own6(&echo, ErrorHeader::unreachable6(1)), None);
    assert!(own6(&b6_to_a6().udp(1, 2, b""), ErrorHeader::unreachable6(1)).is_some());
}

#[test]
fn packets_that_get_no_icmpv4_error() {
    // id 1812-4.3.2.7
    let udp = |src: [u8; 4], dst: [u8; 4]| Packet4::new(src.into(), dst.into()).udp(1, 2, b"");
    let silent = [
        a4_to_b4().icmp(3, 1, 0, &Packet4::new(B4, A4).udp(1, 2, b"")),
        a4_to_b4().icmp(4, 0, 0, &[0; 28]),
        a4_to_b4().icmp(5, 0, 0, &[0; 28]),
        fragments4(&a4_to_b4().udp(1, 1, &[0; 3000]), 1500)[1].clone(),
        udp([0, 1, 2, 3], [192, 0, 2, 33]),
        udp([127, 0, 0, 1], [192, 0, 2, 33]),
        udp([224, 0, 0, 1], [192, 0, 2, 33]),
        udp([255, 255, 255, 255], [192, 0, 2, 33]),
        udp([198, 51, 100, 2], [224, 0, 0, 1]),
        udp([198, 51, 100, 2], [255, 255, 255, 255]),
    ];
    for packet in silent {
        assert_eq!(own4(&packet, ErrorHeader::TTL4), None, "{packet:02x?}");
    }
    assert!(own4(&a4_to_b4().echo(1, 1, b""), ErrorHeader::TTL4).is_some());
    let first = &fragments4(&a4_to_b4().udp(1, 1, &[0; 3000]), 1500)[0];
    assert!(own4(first, ErrorHeader::TTL4).is_some());
}

#[test]
fn a_super_packet_is_quoted_as_its_first_packet() {
    let whole = b6_to_a6().tcp(Tcp::new(1, 2).numbers(9, 9), &[7; 6000]);
    let mut buf = super_packet(&whole, 1440);
    let parsed = Ipv6Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    assert!(originate_error6(&parsed, ErrorHeader::too_big6(1400), OWN6, &mut buf));
    let first = b6_to_a6().tcp(Tcp::new(1, 2).numbers(9, 9), &[7; 1440]);
    assert_eq!(buf.bytes(), Packet6::new(OWN6, six(B4)).icmp(2, 0, 1400, &first[..1232]));
    assert_eq!(buf.offload, Default::default());

    let whole = a4_to_b4().df().udp(1, 2, &[7; 6000]);
    let mut buf = super_packet(&whole, 1000);
    let parsed = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    assert!(originate_error4(&parsed, ErrorHeader::too_big4(900), OWN4, 7, &mut buf));
    let first = a4_to_b4().df().udp(1, 2, &[7; 1000]);
    assert_eq!(buf.bytes(), Packet4::new(OWN4, A4).id(7).icmp(3, 4, 900, &first[..548]));
    assert_eq!((u16_at(buf.bytes(), 30), u32_at(buf.bytes(), 24)), (1028, 900));
}

#[test]
fn a_partial_checksum_is_completed_before_it_is_quoted() {
    let packet = a4_to_b4().udp(1, 2, b"hello");
    let mut buf = super_packet(&packet, 1000);
    buf.offload.segmentation = crate::wire::buf::Segmentation::None;
    let parsed = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    assert!(originate_error4(&parsed, ErrorHeader::TTL4, OWN4, 7, &mut buf));
    assert_eq!(buf.bytes(), Packet4::new(OWN4, A4).id(7).icmp(11, 0, 0, &packet));
}
