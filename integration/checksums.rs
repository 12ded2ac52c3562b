//! A UDP checksum that comes out as 0 is sent as 0xffff, also where super-packets are cut in software.

use gate64::translator::ExtraPackets;
use gate64::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};
use gate64::xlat;

use crate::script::build::{Blank, build};
use crate::script::packet::{Packet, Vars};

/// With these two bytes as data the sum of the datagram is 0xffff in either family.
const CASES: [(&str, &str, usize); 2] =
    [("udp T.40000 > Z.53", "fd27", 26), ("udp Z6.53 > C.40000", "dd50", 46)];

fn partial(ends: &str, data: &str, segmentation: Segmentation) -> PacketBuf {
    let packet = Packet::parse(&format!("{ends} data=0x{data} csum=partial")).expect("a packet");
    let blank = Blank { vars: &Vars::new(), hop: Some(64), actual: None, input: &[] };
    let mut buf = PacketBuf::with_packet(&build(&packet, blank).expect("complete"));
    buf.offload = Offload { segmentation, checksum: Checksum::Partial };
    buf
}

#[test]
fn a_completed_checksum_is_never_zero() {
    // id 7915-4.5-udp-zero-result
    for (ends, data, at) in CASES {
        let mut buf = partial(ends, data, Segmentation::None);
        xlat::cut(&mut buf, &mut ExtraPackets::new(4, 2048)).expect("room");
        assert_eq!(buf.bytes()[at..at + 2], [0xff, 0xff], "{ends}");
    }
}

#[test]
fn a_segments_checksum_is_never_zero() {
    // id 7915-4.5-udp-zero-result
    for (ends, data, at) in CASES {
        let mut buf = partial(ends, &data.repeat(3), Segmentation::Udp { size: 2 });
        let mut extra = ExtraPackets::new(4, 2048);
        xlat::cut(&mut buf, &mut extra).expect("room");
        let others = extra.packets().iter().map(|extra| extra.packet.bytes());
        let checksums: Vec<_> =
            core::iter::once(buf.bytes()).chain(others).map(|packet| packet[at..at + 2].to_vec()).collect();
        assert_eq!(checksums, [[0xff, 0xff]; 3], "{ends}");
    }
}
