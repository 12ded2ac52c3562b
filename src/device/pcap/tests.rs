use super::*;

const V4: [u8; 21] = [0x45, 0, 0, 21, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 9];

fn read_all(file: &[u8]) -> Result<Vec<(Duration, Vec<u8>)>, PcapError> {
    let mut reader = Reader::new(file)?;
    let mut all = Vec::new();
    while let Some(packet) = reader.next_packet()? {
        all.push((packet.at, packet.bytes.to_vec()));
    }
    Ok(all)
}

/// A pcap of one frame.
fn pcap(big: bool, magic: u32, link: u32, fraction: u32, frame: &[u8]) -> Vec<u8> {
    let len = frame.len() as u32;
    let numbers = [magic, 2 << 16 | 4, 0, 0, 65_535, link, 7, fraction, len, len];
    let bytes = numbers.map(|n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() });
    [bytes.as_flattened(), frame].concat()
}

/// A block of a pcapng.
fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let bytes = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let padded = body.len().next_multiple_of(4);
    let len = bytes(padded as u32 + 12);
    [&bytes(kind), &len, body, &vec![0; padded - body.len()], &len].concat()
}

fn numbers(big: bool, list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|n| if big { n.to_be_bytes() } else { n.to_le_bytes() }).collect()
}

#[test]
fn written_packets_are_read_back() {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file).expect("memory");
    let at = Duration::new(1_700_000_000, 123_456_789);
    writer.write(at, &V4).expect("memory");
    writer.write(at, &V4).expect("memory");
    assert_eq!(read_all(&file).expect("reads"), vec![(at, V4.to_vec()); 2]);
}

#[test]
fn both_byte_orders_and_both_resolutions() {
    for big in [false, true] {
        for (magic, fraction) in [(0xa1b2_c3d4, 5), (0xa1b2_3c4d, 5000)] {
            let got = read_all(&pcap(big, magic, 101, fraction, &V4)).expect("reads");
            assert_eq!(got, [(Duration::new(7, 5000), V4.to_vec())], "{big} {magic:x}");
        }
    }
}

#[test]
fn link_headers_and_padding_are_removed() {
    let padded = [V4.as_slice(), &[0; 20]].concat();
    let framed = |head: &[u8]| [head, &padded].concat();
    let cases = [
        ("Ethernet", 1, framed(&[[2; 12].as_slice(), &[8, 0]].concat())),
        ("one tag", 1, framed(&[[2; 12].as_slice(), &[0x81, 0, 0, 5, 8, 0]].concat())),
        ("two tags", 1, framed(&[[2; 12].as_slice(), &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat())),
        ("cooked", 113, framed(&[[0; 14].as_slice(), &[8, 0]].concat())),
        ("cooked, version 2", 276, framed(&[[8, 0].as_slice(), &[0; 18]].concat())),
        ("loopback", 0, framed(&[2, 0, 0, 0])),
        ("loopback of OpenBSD", 108, framed(&[0, 0, 0, 2])),
    ];
    for (name, link, frame) in cases {
        let got = read_all(&pcap(false, 0xa1b2_c3d4, link, 0, &frame)).expect("reads");
        assert_eq!(got, [(Duration::from_secs(7), V4.to_vec())], "{name}");
    }
    let arp = [[2; 12].as_slice(), &[8, 6], &[0; 28]].concat();
    assert_eq!(read_all(&pcap(false, 0xa1b2_c3d4, 1, 0, &arp)).expect("reads"), []);
}

#[test]
fn pcapng_with_interfaces_and_resolutions() {
    for big in [false, true] {
        let option = if big { [0, 9, 0, 1, 9, 0, 0, 0] } else { [9, 0, 1, 0, 9, 0, 0, 0] };
        let link = |n: u32| if big { n << 16 } else { n };
        let nanos = [numbers(big, &[link(101), 0]), option.to_vec()].concat();
        let len = V4.len() as u32;
        let enhanced =
            |interface, units| [numbers(big, &[interface, 0, units, len, len]), V4.to_vec()].concat();
        let file = [
            block(big, 0x0a0d_0d0a, &numbers(big, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX])),
            block(big, 1, &numbers(big, &[link(228), 0])),
            block(big, 1, &nanos),
            block(big, 1, &numbers(big, &[link(147), 0])),
            block(big, 5, &[0; 12]),
            block(big, 6, &enhanced(0, 2_000_003)),
            block(big, 6, &enhanced(1, 2_000_000_004)),
            block(big, 6, &enhanced(2, 5)),
            block(big, 2, &enhanced(link(1), 5)),
            block(big, 3, &[numbers(big, &[len]), V4.to_vec()].concat()),
        ];
        let got = read_all(&file.concat()).expect("reads");
        let times: Vec<_> = got.iter().map(|(at, _)| *at).collect();
        let want = [Duration::new(2, 3000), Duration::new(2, 4), Duration::from_nanos(5), Duration::ZERO];
        assert_eq!(times, want, "{big}: frames of an unsupported link type are skipped");
        assert!(got.iter().all(|(_, bytes)| *bytes == V4));
    }
}

#[test]
fn pcapng_timestamps_with_offset_and_binary_resolution() {
    for big in [false, true] {
        let half = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let ten = if big { 10u64.to_be_bytes() } else { 10u64.to_le_bytes() };
        let options =
            [half(9), half(1), [0x8a, 0], [0, 0], half(14), half(8)].concat().into_iter().chain(ten);
        let link = if big { 101 << 16 } else { 101 };
        let interface = [numbers(big, &[link, 0]), options.collect()].concat();
        let len = V4.len() as u32;
        let file = [
            block(big, 0x0a0d_0d0a, &numbers(big, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX])),
            block(big, 1, &interface),
            block(big, 6, &[numbers(big, &[0, 0, 3 * 1024 + 512, len, len + 100]), V4.to_vec()].concat()),
        ]
        .concat();
        let mut reader = Reader::new(file.as_slice()).expect("a capture");
        let frame = reader.next_frame().expect("reads").expect("a frame");
        assert_eq!((frame.number, frame.at, frame.missing), (1, Duration::from_millis(13_500), 100));
        assert_eq!(frame.content, Content::Packet(&V4));
    }
}

#[test]
fn frames_of_other_protocols_are_numbered() {
    let arp = [[2; 12].as_slice(), &[8, 6], &[0; 28]].concat();
    let ip = [[2; 12].as_slice(), &[8, 0], &V4].concat();
    let one = pcap(false, 0xa1b2_c3d4, 1, 0, &arp);
    let file = [&one, &pcap(false, 0xa1b2_c3d4, 1, 0, &ip)[24..]].concat();
    let mut reader = Reader::new(file.as_slice()).expect("a capture");
    let first = reader.next_frame().expect("reads").expect("a frame");
    assert_eq!((first.number, first.content), (1, Content::NotIp));
    let second = reader.next_frame().expect("reads").expect("a frame");
    assert_eq!((second.number, second.content), (2, Content::Packet(&V4)));
    assert_eq!(reader.next_frame().expect("reads"), None);
}

#[test]
fn raw_ip_is_returned_unchanged() {
    let padded = [V4.as_slice(), &[0; 9]].concat();
    let got = read_all(&pcap(false, 0xa1b2_c3d4, 101, 0, &padded)).expect("reads");
    assert_eq!(got[0].1, padded, "the translator checks the length");
}

#[test]
fn damage_is_an_error_never_a_panic() {
    let good = pcap(false, 0xa1b2_c3d4, 101, 0, &V4);
    assert!(matches!(read_all(&[]), Err(PcapError::Magic)));
    assert!(matches!(read_all(&[7; 40]), Err(PcapError::Magic)));
    assert!(matches!(read_all(&pcap(false, 0xa1b2_c3d4, 147, 0, &V4)), Err(PcapError::LinkType(147))));
    for len in 24..good.len() {
        let got = read_all(&good[..len]);
        assert!(
            len == 24 || matches!(got, Err(PcapError::CutOff(Position { frame: 1, offset: 24 }))),
            "{len}"
        );
    }
    let cut = read_all(&good[..good.len() - 1]).expect_err("truncated").to_string();
    assert_eq!(cut, "packet 1, at byte 24 of the file: the file ends in the middle of it");
    let mut section = block(false, 0x0a0d_0d0a, &numbers(false, &[0x1a2b_3c4d, 1, 0, 0]));
    section.extend(block(false, 6, &numbers(false, &[0, 0, 0, 0, 0])));
    assert!(matches!(read_all(&section), Err(PcapError::Length(..))), "an unknown interface");
    let last = section.len() - 1;
    section[last] = 1;
    assert!(matches!(read_all(&section), Err(PcapError::Length(..))), "two different lengths");
    let mut long = good;
    long[35] = 1;
    assert!(matches!(read_all(&long), Err(PcapError::Length(Position { frame: 1, offset: 24 }, _))));
}
