//! Offloads do not change the output: flows as super-packets and as single packets, through a gateway with
//! offloads and one without, leave as the same bytes after segmentation.

use std::path::Path;

use crate::packet_builder::{Packet4, Packet6, Tcp, super_packet};
use gate64::lab::{Gateway, LabError, Namespace};
use gate64::wire::tcp::Flags;

use super::runner::{DEVICE, Wire, quiet};
use super::{Test, lock_machine, program, wrong};
use crate::script::build::{add, fold, transport};

/// Payload of a segment: too long for one packet on either side.
const SIZE: u16 = 1300;
/// The destination port of the packet after a flow.
const FENCE: u16 = 9;
const TCP: u8 = 6;

/// Packets before each flow, which create its session.
fn opening() -> Vec<u8> {
    outward().tcp(Tcp::new(40_000, 80).flags(Flags::SYN).numbers(0xffff_0000, 0), b"")
}

fn outward() -> Packet6 {
    Packet6::new(
        "2001:db8:1::2".parse().expect("literal"),
        "2001:db8:64::c633:6407".parse().expect("literal"),
    )
}

fn inward() -> Packet4 {
    Packet4::new([198, 51, 100, 7].into(), [203, 0, 113, 1].into()).id(0xfffe)
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ at >> 8) as u8).collect()
}

/// Flows of each direction and kind, each one super-packet.
fn flows() -> Vec<(&'static str, Vec<u8>)> {
    let stamps = [1, 1, 8, 10, 0, 1, 2, 3, 4, 5, 6, 7];
    let all = Flags(Flags::ACK.0 | Flags::PSH.0 | Flags::FIN.0);
    let congested = Flags(Flags::ACK.0 | Flags::CWR.0);
    let out = Tcp::new(40_000, 80).options(&stamps).numbers(0xffff_0001, 7);
    let back = Tcp::new(80, 40_000).options(&stamps).numbers(0xffff_f000, 8);
    let (whole, rest, one) = (13_000, 40_007, 1_300);
    let ecn = outward().traffic_class(0xba);
    vec![
        ("TCP out", outward().tcp(out.clone(), &data(rest))),
        ("TCP out, equal segments", outward().tcp(out.clone(), &data(whole))),
        ("TCP out, congested", ecn.tcp(out.clone().flags(congested), &data(rest))),
        ("TCP out, one segment", outward().tcp(out.clone(), &data(one))),
        ("TCP back", inward().df().tcp(back.clone(), &data(rest))),
        ("TCP back, congested", inward().df().tos(0xbb).tcp(back.clone().flags(congested), &data(rest))),
        ("TCP back, without DF", inward().tcp(back.clone(), &data(rest))),
        ("UDP out", outward().udp(40_000, 80, &data(rest))),
        ("UDP out, equal datagrams", outward().flow_label(5).udp(40_000, 80, &data(whole))),
        ("UDP back", inward().df().udp(80, 40_000, &data(rest))),
        ("UDP back, without DF", inward().udp(80, 40_000, &data(rest))),
        ("TCP out, the end", outward().tcp(out.flags(all), &data(rest))),
        ("TCP back, the end", inward().df().tcp(back.flags(all), &data(rest))),
    ]
}

fn word(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

fn put(packet: &mut [u8], at: usize, word: u16) {
    packet[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// A packet whose IP header with options precedes TCP or UDP.
struct Parts {
    v4: bool,
    protocol: u8,
    transport: usize,
    payload: usize,
}

impl Parts {
    /// `None` for a fragment.
    fn of(packet: &[u8]) -> Option<Self> {
        let v4 = packet[0] >> 4 == 4;
        let (protocol, transport) = transport(packet)?;
        let header = if protocol == TCP { usize::from(packet[transport + 12] >> 4) * 4 } else { 8 };
        Some(Self { v4, protocol, transport, payload: transport + header })
    }

    fn checksum_at(&self) -> usize {
        self.transport + if self.protocol == TCP { 16 } else { 6 }
    }

    /// The checksum over the pseudo-header.
    fn pseudo(&self, packet: &[u8]) -> u64 {
        let addresses = if self.v4 { &packet[12..20] } else { &packet[8..40] };
        add(u64::from(self.protocol) + (packet.len() - self.transport) as u64, addresses)
    }

    /// Sets lengths and checksums.
    fn seal(&self, packet: &mut [u8]) {
        let len = packet.len();
        if self.v4 {
            put(packet, 2, len as u16);
            put(packet, 10, 0);
            let sum = !fold(add(0, &packet[..self.transport]));
            put(packet, 10, sum);
        } else {
            put(packet, 4, (len - 40) as u16);
        }
        if self.protocol != TCP {
            put(packet, self.transport + 4, (len - self.transport) as u16);
        }
        put(packet, self.checksum_at(), 0);
        let sum = !fold(add(self.pseudo(packet), &packet[self.transport..]));
        put(packet, self.checksum_at(), if sum == 0 && self.protocol != TCP { 0xffff } else { sum });
    }
}

/// Does the offloaded work on a packet: segmentation, checksum.
fn cut(packet: &[u8]) -> Vec<Vec<u8>> {
    let Some(parts) = Parts::of(packet) else { return vec![packet.to_vec()] };
    let (header, payload) = packet.split_at(parts.payload);
    if payload.len() <= usize::from(SIZE) {
        let mut whole = packet.to_vec();
        if word(packet, parts.checksum_at()) == fold(parts.pseudo(packet)) {
            parts.seal(&mut whole);
        }
        return vec![whole];
    }
    let pieces: Vec<_> = payload.chunks(usize::from(SIZE)).collect();
    let mut segments = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let mut segment = [header, piece].concat();
        if parts.v4 {
            put(&mut segment, 4, word(header, 4).wrapping_add(number as u16));
        }
        if parts.protocol == TCP {
            let at = parts.transport;
            let seq = u32::from_be_bytes(header[at + 4..at + 8].try_into().expect("four bytes"));
            let seq = seq.wrapping_add(number as u32 * u32::from(SIZE));
            segment[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
            let (first, last) = (number == 0, number + 1 == pieces.len());
            let not_here =
                if first { 0 } else { Flags::CWR.0 } | if last { 0 } else { Flags::FIN.0 | Flags::PSH.0 };
            segment[at + 13] &= !not_here;
        }
        parts.seal(&mut segment);
        segments.push(segment);
    }
    segments
}

/// Clears fields that may differ: an IPv4 packet's identification, its header checksum, and the DF of one
/// that fits 1,260 bytes. RFC 7915 §5.1 clears DF there; a super-packet can't clear it for its last segment
/// alone.
fn compared(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        assert_eq!(fold(add(0, &packet[..20])), 0xffff, "the IPv4 header's checksum");
        put(&mut packet, 4, 0);
        put(&mut packet, 10, 0);
        if packet.len() <= 1260 {
            packet[6] &= !0x40;
        }
    }
    packet
}

/// A gateway in its own network namespace, and the packets of its device.
struct Bench {
    wire: Wire,
    /// Whether super-packets are sent.
    long: bool,
    /// The number of received super-packets.
    received_long: usize,
    _gateway: Gateway,
}

impl Bench {
    fn start(at: &Namespace, dir: &Path, offloads: bool, long: bool) -> Result<Self, LabError> {
        let path = dir.display();
        let publish = |protocol| {
            format!(
                "[[static]]\nprotocol = \"{protocol}\"\noutside = \"203.0.113.1:40000\"\n\
                 inside = \"[2001:db8:1::2]:40000\"\n"
            )
        };
        let text = format!(
            "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"203.0.113.1\"\naddress4 = \"192.0.2.254\"\n\
             address6 = \"2001:db8:ffff::1\"\n\
             [host]\ndevice = \"{DEVICE}\"\nworkers = 1\noffloads = {offloads}\nfirewall = \"ignore\"\n\
             announce = \"routed\"\nstate_dir = \"{path}/state\"\n\
             [observe]\nmetrics = \"off\"\nadmin = \"{path}/admin.sock\"\n\
             [[zone]]\nname = \"a\"\nclients = \"2001:db8:1::/64\"\n{}{}",
            publish("tcp"),
            publish("udp")
        );
        let gateway = Gateway::with_file(program(), at, dir, &text)?;
        let wire = Wire::open(at, DEVICE, long.then_some(SIZE))?;
        Ok(Self { wire, long, received_long: 0, _gateway: gateway })
    }

    /// The output of a flow after segmentation.
    fn run(&mut self, flow: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let fence = outward().udp(5000, FENCE, b"that was all");
        for packet in [&opening(), flow, &fence] {
            match self.long {
                true => self.wire.put(&[super_packet(packet, SIZE).bytes().to_vec()])?,
                false => self.wire.put(&cut(super_packet(packet, SIZE).bytes()))?,
            }
        }
        let mut received = Vec::new();
        loop {
            let packet = self.wire.take()?;
            let fenced = Parts::of(&packet)
                .is_some_and(|parts| parts.protocol != TCP && word(&packet, parts.transport + 2) == FENCE);
            if fenced {
                return Ok(received);
            }
            let pieces = cut(&packet);
            self.received_long += usize::from(pieces.len() > 1);
            received.extend(pieces.into_iter().map(compared));
        }
    }
}

#[test]
fn output_is_equal_with_and_without_offloads() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    gate64::lab::sweep();
    let at = Namespace::new(format!("g64lab-{}-cut", std::process::id()))?;
    quiet(&at)?;
    let mut wires = Vec::new();
    // Single packets through a device without offloads are the reference. Then come packets that the gateway
    // joins, that the kernel segments, and that stay whole.
    for (offloads, long) in [(false, false), (true, false), (false, true), (true, true)] {
        let dir = tempfile::tempdir().map_err(|error| wrong(error.to_string()))?;
        let mut bench = Bench::start(&at, dir.path(), offloads, long)?;
        let mut received = Vec::new();
        for (name, flow) in flows() {
            let packets = bench.run(&flow).map_err(|why| wrong(format!("{name}: {why}")))?;
            received.push((name, packets));
        }
        // All flows except the one-segment flow and those that are fragmented.
        eprintln!("offloads {offloads}, super-packets {long}: {} received whole", bench.received_long);
        assert!(!(offloads && long) || bench.received_long == flows().len() - 3);
        assert!(offloads || bench.received_long == 0);
        wires.push(((offloads, long), received));
    }
    let (plain, others) = wires.split_first().expect("four of them");
    for ((offloads, long), flows) in others {
        for ((name, plain), (_, packets)) in plain.1.iter().zip(flows) {
            let what = format!("{name}, offloads {offloads}, super-packets {long}");
            assert_eq!(packets.len(), plain.len(), "{what}");
            for (number, (one, other)) in plain.iter().zip(packets).enumerate() {
                assert_eq!(one, other, "{what}, packet {number}");
            }
        }
    }
    Ok(())
}
