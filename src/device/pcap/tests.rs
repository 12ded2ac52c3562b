use super::*;
use crate::device::Device;
use crate::wire::buf::PacketBuf;

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
fn pcap(big: bool, magic: u32, link: u32, part: u32, frame: &[u8]) -> Vec<u8> {
    let len = frame.len() as u32;
    let numbers = [magic, 2 << 16 | 4, 0, 0, 65_535, link, 7, part, len, len];
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
fn what_is_written_can_be_read() {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file).expect("memory");
    let at = Duration::new(1_700_000_000, 123_456_789);
    writer.write(at, &V4).expect("memory");
    writer.write(at, &V4).expect("memory");
    assert_eq!(read_all(&file).expect("reads"), vec![(at, V4.to_vec()); 2]);
}

#[test]
fn both_orders_and_both_resolutions() {
    for big in [false, true] {
        for (magic, part) in [(0xa1b2_c3d4, 5), (0xa1b2_3c4d, 5000)] {
            let got = read_all(&pcap(big, magic, 101, part, &V4)).expect("reads");
            assert_eq!(got, [(Duration::new(7, 5000), V4.to_vec())], "{big} {magic:x}");
        }
    }
}

#[test]
fn links_and_their_padding_are_taken_off() {
    let padded = [V4.as_slice(), &[0; 20]].concat();
    let behind = |head: &[u8]| [head, &padded].concat();
    let cases = [
        ("Ethernet", 1, behind(&[[2; 12].as_slice(), &[8, 0]].concat())),
        ("one tag", 1, behind(&[[2; 12].as_slice(), &[0x81, 0, 0, 5, 8, 0]].concat())),
        ("two tags", 1, behind(&[[2; 12].as_slice(), &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat())),
        ("cooked", 113, behind(&[0; 16])),
        ("cooked, second form", 276, behind(&[0; 20])),
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
            block(big, 5, &[0; 12]),
            block(big, 6, &enhanced(0, 2_000_003)),
            block(big, 6, &enhanced(1, 2_000_000_004)),
            block(big, 3, &[numbers(big, &[len]), V4.to_vec()].concat()),
        ];
        let got = read_all(&file.concat()).expect("reads");
        let times: Vec<_> = got.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [Duration::new(2, 3000), Duration::new(2, 4), Duration::ZERO], "{big}");
        assert!(got.iter().all(|(_, bytes)| *bytes == V4));
    }
}

#[test]
fn damage_is_an_error_never_a_panic() {
    let good = pcap(false, 0xa1b2_c3d4, 101, 0, &V4);
    assert!(matches!(read_all(&[]), Err(PcapError::Magic)));
    assert!(matches!(read_all(&[7; 40]), Err(PcapError::Magic)));
    assert!(matches!(read_all(&pcap(false, 0xa1b2_c3d4, 147, 0, &V4)), Err(PcapError::LinkType(147))));
    for len in 24..good.len() {
        let got = read_all(&good[..len]);
        assert!(len == 24 || matches!(got, Err(PcapError::CutOff(1))), "{len}");
    }
    let mut long = good;
    long[35] = 1;
    assert!(matches!(read_all(&long), Err(PcapError::Length(1, _))));
}

#[test]
fn a_capture_is_a_device() {
    let file = [pcap(false, 0xa1b2_c3d4, 101, 0, &V4), vec![1, 2, 3]].concat();
    let mut out = Vec::new();
    let reader = Reader::new(file.as_slice()).expect("a capture");
    let mut device = PcapDevice::new(reader, Writer::new(&mut out).expect("memory"));
    let mut packets = [PacketBuf::new(100), PacketBuf::new(100)];
    assert_eq!(device.recv(&mut packets).expect("one is whole"), 1);
    assert!(device.ended(), "then it is damaged");
    assert_eq!(device.recv(&mut packets).expect("the end"), 0);
    assert_eq!(device.send(&[&packets[0]]), 0);
    drop(device);
    assert_eq!(read_all(&out).expect("reads"), [(Duration::from_secs(7), V4.to_vec())]);
}
