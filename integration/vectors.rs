//! The golden packets of `vectors.json` that fixture S1 covers: addresses go by one pref64.

use gate64::addr::{Pref64, Transport4, Transport6};
use gate64::wire::Transport;
use gate64::wire::batch::Batch;
use gate64::wire::buf::PacketBuf;
use gate64::wire::build::checksums_are_right;
use gate64::wire::icmp::IcmpError;
use gate64::wire::ipv4::Ipv4Packet;
use gate64::wire::ipv6::Ipv6Packet;
use gate64::wire::quoted::QuotedTransport;
use gate64::xlat::{self, Flow4, Flow6, Ids, Leg, Rules, To4, To6};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    config: String,
    input: String,
    expected: Vec<String>,
    /// Offsets of bytes that are free: identifications, and the checksums over them.
    mask: Vec<usize>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn ports<Q>(transport: &Transport<Q>) -> (u16, u16) {
    match *transport {
        Transport::Tcp { src, dst, .. } | Transport::Udp { src, dst, .. } => (src, dst),
        Transport::Echo { id, .. } => (id, id),
        Transport::Error(_) | Transport::Icmp | Transport::Fragment | Transport::Other => (0, 0),
    }
}

fn quoted_ports(transport: QuotedTransport) -> (u16, u16) {
    match transport {
        QuotedTransport::Ports { src, dst } => (src, dst),
        QuotedTransport::Echo { id, .. } => (id, id),
        QuotedTransport::Error | QuotedTransport::Unknown => (0, 0),
    }
}

fn to_v6(pref64: Pref64, buf: &mut PacketBuf, extra: &mut Batch) {
    let packet = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    let flow = |src, dst, (from, to)| {
        Flow6::new(Transport6::new(pref64.embed(src), from), Transport6::new(pref64.embed(dst), to))
    };
    let mut to = To6 { outer: flow(packet.src, packet.dst, ports(&packet.transport)), quoted: None };
    if let Transport::Error(IcmpError { quoted: q, .. }) = packet.transport {
        to.quoted = Some(flow(q.src, q.dst, quoted_ports(q.transport)));
    }
    let rules = Rules::default();
    let plan = xlat::judge_v4_to_v6(&rules, &packet, buf, Leg::Wire).expect("it may pass");
    xlat::v4_to_v6(&rules, plan, &packet, &to, buf, extra).expect("there is room");
}

fn to_v4(pref64: Pref64, buf: &mut PacketBuf, extra: &mut Batch) {
    let packet = Ipv6Packet::parse(buf.bytes(), &buf.offload).expect("a good packet");
    let flow = |src, dst, (from, to)| {
        let four = |addr, port| Transport4::new(pref64.extract(addr).expect("under the pref64"), port);
        Flow4::new(four(src, from), four(dst, to))
    };
    let mut to = To4 { outer: flow(packet.src, packet.dst, ports(&packet.transport)), quoted: None };
    if let Transport::Error(IcmpError { quoted: q, .. }) = packet.transport {
        to.quoted = Some(flow(q.src, q.dst, quoted_ports(q.transport)));
    }
    let rules = Rules::default();
    let plan = xlat::judge_v6_to_v4(&rules, &packet, buf, Leg::Wire).expect("it may pass");
    xlat::v6_to_v4(&rules, plan, &packet, &to, &mut Ids::new(1), buf, extra).expect("there is room");
}

/// Without the bytes that are free.
fn masked(mut packet: Vec<u8>, mask: &[usize]) -> Vec<u8> {
    for &at in mask {
        packet[at] = 0;
    }
    packet
}

#[test]
fn fixture_s1_byte_for_byte() {
    let file: File = serde_json::from_str(include_str!("vectors.json")).expect("valid JSON");
    let pref64: Pref64 = "2001:db8:64::/96".parse().expect("literal");
    let mut tried = 0;
    for vector in file.vectors.iter().filter(|v| v.config.starts_with("SIIT S1")) {
        let (mut buf, mut extra) = (PacketBuf::holding(&bytes(&vector.input)), Batch::new(8, 2048));
        match buf.bytes()[0] >> 4 {
            4 => to_v6(pref64, &mut buf, &mut extra),
            _ => to_v4(pref64, &mut buf, &mut extra),
        }
        let mut got = vec![buf.bytes().to_vec()];
        got.extend(extra.packets().iter().map(|slot| slot.packet.bytes().to_vec()));
        if got.len() == 1 && !vector.name.contains("frag") {
            assert!(checksums_are_right(&got[0]), "{}", vector.name);
        }
        let got: Vec<_> = got.into_iter().map(|packet| masked(packet, &vector.mask)).collect();
        let want: Vec<_> = vector.expected.iter().map(|hex| masked(bytes(hex), &vector.mask)).collect();
        assert_eq!(got, want, "{}", vector.name);
        tried += 1;
    }
    assert_eq!(tried, 20);
}
