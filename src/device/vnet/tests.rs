use super::*;

/// An IPv4 or IPv6 packet with a transport header of `header` bytes and `payload` bytes of payload.
fn packet(v6: bool, protocol: u8, header: usize, payload: usize) -> Vec<u8> {
    let transport = header + payload;
    let mut bytes = if v6 {
        let mut head = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        head[4..6].copy_from_slice(&(transport as u16).to_be_bytes());
        head.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(2));
        head
    } else {
        let mut head = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        head[2..4].copy_from_slice(&(transport as u16 + 20).to_be_bytes());
        head
    };
    let at = bytes.len();
    bytes.resize(at + transport, 0);
    if protocol == TCP {
        bytes[at + 12] = (header as u8 / 4) << 4;
    } else {
        bytes[at + 4..at + 6].copy_from_slice(&(transport as u16).to_be_bytes());
    }
    bytes
}

fn header(flags: u8, kind: u8, numbers: [u16; 4]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = flags;
    header[1] = kind;
    for (index, number) in numbers.iter().enumerate() {
        header[2 + 2 * index..4 + 2 * index].copy_from_slice(&number.to_ne_bytes());
    }
    header
}

#[test]
fn headers_decode_and_encode() {
    let tcp = |size, ecn| Segmentation::Tcp { size, ecn };
    let udp = |size| Segmentation::Udp { size };
    // v6, protocol, transport header, payload, kernel's header, segmentation, checksum
    let cases = [
        (false, TCP, 32, 4000, header(1, 1, [52, 1448, 20, 16]), tcp(1448, false), Checksum::Partial),
        (true, TCP, 32, 4000, header(1, 4, [72, 1428, 40, 16]), tcp(1428, false), Checksum::Partial),
        (true, TCP, 20, 4000, header(1, 0x84, [60, 1428, 40, 16]), tcp(1428, true), Checksum::Partial),
        (false, UDP, 8, 12_500, header(1, 5, [28, 1200, 20, 6]), udp(1200), Checksum::Partial),
        (true, UDP, 8, 12_500, header(1, 5, [48, 1200, 40, 6]), udp(1200), Checksum::Partial),
        (false, TCP, 20, 0, header(1, 0, [0, 0, 20, 16]), Segmentation::None, Checksum::Partial),
        (true, UDP, 8, 5, header(1, 0, [0, 0, 40, 6]), Segmentation::None, Checksum::Partial),
        (false, UDP, 8, 5, header(0, 0, [0; 4]), Segmentation::None, Checksum::Unverified),
    ];
    for (v6, protocol, head, payload, header, segmentation, checksum) in cases {
        let mut buf = PacketBuf::with_packet(&packet(v6, protocol, head, payload));
        assert_eq!(decode(&header, &mut buf), Ok(()), "{header:?}");
        assert_eq!(buf.offload, Offload { segmentation, checksum }, "{header:?}");
        assert_eq!(encode(buf.bytes(), buf.offload), Some(header));
    }
}

#[test]
fn a_wrong_header_length_is_ignored() {
    let mut buf = PacketBuf::with_packet(&packet(false, TCP, 32, 4000));
    decode(&header(1, 1, [1500, 1448, 20, 16]), &mut buf).expect("readable");
    assert_eq!(encode(buf.bytes(), buf.offload), Some(header(1, 1, [52, 1448, 20, 16])));
}

#[test]
fn a_verified_checksum_stays_verified() {
    let mut buf = PacketBuf::with_packet(&packet(false, TCP, 20, 10));
    decode(&header(2, 0, [0; 4]), &mut buf).expect("readable");
    assert_eq!(buf.offload.checksum, Checksum::Verified);
    assert_eq!(encode(buf.bytes(), buf.offload), Some([0; HEADER]));
}

#[test]
fn a_super_packet_without_partial_checksum_gets_one() {
    let mut buf = PacketBuf::with_packet(&packet(true, TCP, 20, 4000));
    decode(&header(2, 4, [60, 1000, 40, 16]), &mut buf).expect("readable");
    assert_eq!(buf.offload.checksum, Checksum::Partial);
    let layout = Layout::of(buf.bytes()).expect("TCP");
    assert_eq!(layout.checksum(buf.bytes()), layout.pseudo(buf.bytes(), buf.len()).fold());
}

#[test]
fn a_partial_checksum_of_another_protocol_is_completed() {
    let mut bytes = packet(true, 58, 8, 7);
    bytes[42..44].copy_from_slice(&0x1234u16.to_be_bytes());
    let mut buf = PacketBuf::with_packet(&bytes);
    decode(&header(1, 0, [0, 0, 40, 2]), &mut buf).expect("readable");
    assert_eq!(buf.offload, Offload { checksum: Checksum::Verified, ..Offload::default() });
    assert_eq!(Sum::of(&buf.bytes()[40..]).fold(), 0xffff - 0x1234, "the old field is part of the sum");
}

#[test]
fn headers_that_contradict_their_packet() {
    let cases = [
        ("TCP as UDP", false, TCP, header(1, 5, [28, 1200, 20, 6])),
        ("IPv4 as IPv6", false, TCP, header(1, 4, [60, 1200, 40, 16])),
        ("size zero", false, TCP, header(1, 1, [40, 0, 20, 16])),
        ("UFO", false, UDP, header(1, 3, [28, 1200, 20, 6])),
        ("ICMP as TCP", true, 58, header(1, 4, [60, 1200, 40, 16])),
        ("sum beyond the end", false, 58, header(1, 0, [0, 0, 5000, 2])),
        ("field beyond the end", false, 58, header(1, 0, [0, 0, 20, 5000])),
    ];
    for (name, v6, protocol, header) in cases {
        let mut buf = PacketBuf::with_packet(&packet(v6, protocol, 20, 3000));
        assert_eq!(decode(&header, &mut buf), Err(Unreadable), "{name}");
    }
}

#[test]
fn impossible_offloads_are_not_encoded() {
    let partial = Offload { checksum: Checksum::Partial, ..Offload::default() };
    assert_eq!(encode(&packet(true, 58, 8, 100), partial), None, "a partial ICMP checksum");
    let whole = Offload { segmentation: Segmentation::Udp { size: 10 }, checksum: Checksum::Unverified };
    assert_eq!(encode(&packet(true, UDP, 8, 100), whole), None, "a super-packet with a whole checksum");
    let mixed = Offload { segmentation: Segmentation::Udp { size: 10 }, checksum: Checksum::Partial };
    assert_eq!(encode(&packet(true, TCP, 20, 100), mixed), None, "TCP cut as UDP");
}

#[test]
fn one_segment_is_not_a_super_packet() {
    let lone = Offload { segmentation: Segmentation::Udp { size: 100 }, checksum: Checksum::Partial };
    assert_eq!(encode(&packet(true, UDP, 8, 100), lone), Some(header(1, 0, [0, 0, 40, 6])));
}
