use super::*;
use crate::wire::put_u16;

const ALL: Offloads = Offloads { checksum: true, tcp: true, udp: true };

/// A packet that tests modify.
#[derive(Clone)]
struct Packet {
    bytes: Vec<u8>,
}

impl Packet {
    fn udp4(payload: usize) -> Self {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 63, UDP, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
        bytes.extend([0x30, 0x39, 0, 53, 0, 0, 0, 0]);
        bytes.extend((0..payload).map(|n| n as u8));
        let len = bytes.len();
        put_u16(&mut bytes, 2, len as u16);
        put_u16(&mut bytes, 24, (payload + 8) as u16);
        Self { bytes }
    }

    fn tcp6(seq: u32, payload: usize) -> Self {
        let mut bytes = vec![0x60, 1, 2, 3, 0, 0, TCP, 63];
        bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(2));
        bytes.extend([0x30, 0x39, 0, 80]);
        bytes.extend(seq.to_be_bytes());
        bytes.extend([0, 0, 0, 9, 0x80, Flags::ACK.0, 1, 0, 0, 0, 0, 0]);
        bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        bytes.extend((0..payload).map(|n| n as u8));
        let len = bytes.len();
        put_u16(&mut bytes, 4, (len - 40) as u16);
        Self { bytes }
    }

    fn with(mut self, at: usize, value: u8) -> Self {
        self.bytes[at] = value;
        self
    }

    /// The packet with a correct, unverified checksum.
    fn complete(mut self) -> PacketBuf {
        let layout = Layout::of(&self.bytes).expect("TCP or UDP");
        layout.set_checksum(&mut self.bytes, 0);
        let sum = layout.pseudo(&self.bytes, self.bytes.len());
        let sum = sum.plus(crate::wire::checksum::Sum::of(&self.bytes[layout.transport_at..]));
        layout.set_checksum(&mut self.bytes, sum.udp_checksum());
        PacketBuf::with_packet(&self.bytes)
    }

    fn with_checksum(self, checksum: u16, known: Checksum) -> PacketBuf {
        let layout = Layout::of(&self.bytes).expect("TCP or UDP");
        let mut buf = PacketBuf::with_packet(&self.bytes);
        layout.set_checksum(buf.bytes_mut(), checksum);
        buf.offload.checksum = known;
        buf
    }
}

/// The groups as lists of packet indexes.
fn groups(packets: &[PacketBuf], offloads: Offloads) -> Vec<Vec<usize>> {
    let mut joiner = Joiner::default();
    joiner.group(&packets.iter().collect::<Vec<_>>(), offloads);
    joiner.groups().iter().map(|g| joiner.members(g).collect()).collect()
}

fn joined(packets: &[PacketBuf]) -> Vec<Vec<usize>> {
    groups(packets, ALL)
}

#[test]
fn equal_datagrams_are_joined_and_a_shorter_one_ends_the_group() {
    let sizes = [100, 100, 60, 100, 100, 120];
    let packets: Vec<_> = sizes.map(|n| Packet::udp4(n).complete()).into();
    assert_eq!(joined(&packets), [vec![0, 1, 2], vec![3, 4], vec![5]]);
}

#[test]
fn packets_are_joined_only_with_the_offload() {
    let packets = [Packet::udp4(9).complete(), Packet::udp4(9).complete()];
    assert_eq!(groups(&packets, Offloads { udp: false, ..ALL }), [[0], [1]]);
    assert_eq!(groups(&packets, Offloads { checksum: false, ..ALL }), [[0], [1]]);
    let packets = [Packet::tcp6(0, 9).complete(), Packet::tcp6(9, 9).complete()];
    assert_eq!(groups(&packets, Offloads { tcp: false, ..ALL }), [[0], [1]]);
}

#[test]
fn a_bad_checksum_is_never_joined() {
    let good = || Packet::udp4(50).complete();
    let bad = || Packet::udp4(50).with_checksum(0x1234, Checksum::Unverified);
    assert_eq!(joined(&[good(), bad(), good(), good()]), [vec![0], vec![1], vec![2, 3]]);
    assert_eq!(joined(&[bad(), good(), good()]), [vec![0], vec![1, 2]]);
    let none = || Packet::udp4(50).with_checksum(0, Checksum::Unverified);
    assert_eq!(joined(&[none(), none()]), [[0], [1]], "a missing checksum is not correct");
    let verified_none = || Packet::udp4(50).with_checksum(0, Checksum::Verified);
    assert_eq!(joined(&[verified_none(), verified_none()]), [[0], [1]]);
}

#[test]
fn partial_and_verified_checksums_count_as_correct() {
    for known in [Checksum::Partial, Checksum::Verified] {
        let packet = || Packet::udp4(50).with_checksum(0x1234, known);
        assert_eq!(joined(&[packet(), packet(), Packet::udp4(50).complete()]), [[0, 1, 2]]);
    }
}

#[test]
fn headers_must_be_equal() {
    // Name, offset in the packet, new value.
    let cases = [
        ("TOS", 1, 4),
        ("TTL", 8, 62),
        ("DF", 6, 0),
        ("source", 15, 9),
        ("destination", 19, 9),
        ("source port", 21, 9),
        ("destination port", 23, 9),
    ];
    for (name, at, value) in cases {
        let packets = [Packet::udp4(50).complete(), Packet::udp4(50).with(at, value).complete()];
        assert_eq!(joined(&packets), [[0], [1]], "{name}");
    }
    // The same in an IPv6 header and TCP: traffic class, flow label, hop limit, addresses, ports,
    // acknowledgement, flags, window, urgent pointer, options.
    for at in [1, 3, 7, 23, 39, 41, 43, 51, 53, 54, 58, 71] {
        let second = Packet::tcp6(50, 50);
        let value = if at == 53 { Flags::ACK.0 | Flags::ECE.0 } else { second.bytes[at] ^ 0x10 };
        let packets = [Packet::tcp6(0, 50).complete(), second.with(at, value).complete()];
        assert_eq!(joined(&packets), [[0], [1]], "byte {at}");
    }
}

#[test]
fn identifications_are_in_sequence_unless_df_is_set() {
    let packet = |id, df: u8| Packet::udp4(50).with(5, id).with(6, df).complete();
    assert_eq!(joined(&[packet(7, 0), packet(8, 0), packet(9, 0)]), [[0, 1, 2]]);
    assert_eq!(joined(&[packet(7, 0), packet(9, 0)]), [[0], [1]]);
    assert_eq!(joined(&[packet(7, 0x40), packet(3, 0x40)]), [[0, 1]]);
}

#[test]
fn tcp_is_joined_in_sequence_up_to_a_push() {
    let in_order = [0, 100, 200].map(|seq| Packet::tcp6(seq, 100).complete());
    assert_eq!(joined(&in_order), [[0, 1, 2]]);
    let gap = [0, 100, 300].map(|seq| Packet::tcp6(seq, 100).complete());
    assert_eq!(joined(&gap), [vec![0, 1], vec![2]]);
    let push = [
        Packet::tcp6(0, 100).complete(),
        Packet::tcp6(100, 100).with(53, Flags::ACK.0 | Flags::PSH.0).complete(),
        Packet::tcp6(200, 100).complete(),
    ];
    assert_eq!(joined(&push), [vec![0, 1], vec![2]]);
    let wraps = [Packet::tcp6(u32::MAX - 49, 50).complete(), Packet::tcp6(0, 50).complete()];
    assert_eq!(joined(&wraps), [[0, 1]]);
}

#[test]
fn tcp_control_segments_and_pure_acks_are_not_joined() {
    for flags in [0x02, Flags::ACK.0 | 0x02, Flags::ACK.0 | 0x04, Flags::ACK.0 | 0x20, Flags::ACK.0 | 0x80] {
        let packets = [0, 50].map(|seq| Packet::tcp6(seq, 50).with(53, flags).complete());
        assert_eq!(joined(&packets), [[0], [1]], "flags {flags:#x}");
    }
    let pure_acks = [Packet::tcp6(0, 0).complete(), Packet::tcp6(0, 0).complete()];
    assert_eq!(joined(&pure_acks), [[0], [1]]);
}

#[test]
fn order_within_a_flow_is_kept_while_flows_are_interleaved() {
    let flow = |port, size| Packet::udp4(size).with(21, port).complete();
    let packets = [flow(1, 50), flow(2, 50), flow(1, 50), flow(2, 50), flow(1, 90), flow(1, 50), flow(2, 10)];
    assert_eq!(joined(&packets), [vec![0, 2], vec![1, 3, 6], vec![4, 5]]);
}

#[test]
fn no_packet_is_reordered_across_a_fragment() {
    let mut fragment = Packet::udp4(50);
    fragment.bytes[6] = 0x20;
    let fragment = PacketBuf::with_packet(&fragment.bytes);
    let packets = [Packet::udp4(50).complete(), fragment, Packet::udp4(50).complete()];
    assert_eq!(joined(&packets), [[0], [1], [2]]);
}

#[test]
fn super_packets_are_joined_up_to_the_maximum_length() {
    let large = |seq, segments: u32| {
        let mut buf = Packet::tcp6(seq, 1000 * segments as usize).with_checksum(0, Checksum::Partial);
        buf.offload.segmentation = Segmentation::Tcp { size: 1000, ecn: false };
        buf
    };
    let packets = [large(0, 30), large(30_000, 30), Packet::tcp6(60_000, 1000).complete()];
    assert_eq!(joined(&packets), [[0, 1, 2]]);
    assert_eq!(joined(&[large(0, 40), large(40_000, 40)]), [[0], [1]]);
    let other_size = {
        let mut buf = large(30_000, 1);
        buf.offload.segmentation = Segmentation::Tcp { size: 500, ecn: false };
        buf
    };
    assert_eq!(joined(&[large(0, 30), other_size]), [[0], [1]]);
}

#[test]
fn a_super_packet_has_65535_bytes_at_most() {
    let partial = |packet: Packet, segmentation| {
        let mut buf = packet.with_checksum(0, Checksum::Partial);
        buf.offload.segmentation = segmentation;
        buf
    };
    // 72 bytes of headers, or 28, and 65,000 bytes of payload: the rest must be 463 bytes, or 507, at most.
    for (more, want) in [(0, vec![vec![0, 1]]), (1, vec![vec![0], vec![1]])] {
        let first = partial(Packet::tcp6(0, 65_000), Segmentation::Tcp { size: 1000, ecn: false });
        let last = partial(Packet::tcp6(65_000, 463 + more), Segmentation::None);
        assert_eq!(joined(&[first, last]), want, "TCP, {more} more");
        let first = partial(Packet::udp4(65_000), Segmentation::Udp { size: 1000 });
        let last = partial(Packet::udp4(507 + more), Segmentation::None);
        assert_eq!(joined(&[first, last]), want, "UDP, {more} more");
    }
}

#[test]
fn the_headers_of_a_super_packet_match_its_segments() {
    let last = Packet::tcp6(100, 60).with(53, Flags::ACK.0 | Flags::PSH.0).complete();
    let packets = [Packet::tcp6(0, 100).complete(), last];
    let refs: Vec<_> = packets.iter().collect();
    let mut joiner = Joiner::default();
    joiner.group(&refs, ALL);
    let [group] = joiner.groups() else { panic!("one group") };
    let layout = group.layout.expect("TCP");
    let mut whole = packets[0].bytes()[..layout.payload_at].to_vec();
    let offload = group.write_head(layout, &mut whole);
    whole.extend(&packets[0].bytes()[layout.payload_at..]);
    whole.extend(&packets[1].bytes()[layout.payload_at..]);
    assert_eq!(offload.segmentation, Segmentation::Tcp { size: 100, ecn: false });
    assert_eq!(Layout::of(&whole), Some(layout), "consistent lengths");
    assert_eq!(whole[53], Flags::ACK.0 | Flags::PSH.0);
    assert_eq!(layout.checksum(&whole), layout.pseudo(&whole, whole.len()).fold());
    let rest = [whole[..44].to_vec(), whole[48..53].to_vec(), whole[54..56].to_vec()].concat();
    let first = packets[0].bytes();
    let want = [
        first[..4].to_vec(),
        vec![0, 192],
        first[6..44].to_vec(),
        first[48..53].to_vec(),
        first[54..56].to_vec(),
    ];
    assert_eq!(rest, want.concat());
}
