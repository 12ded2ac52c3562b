//! Truncated and corrupt packets of each kind, one error at a time: every length, every bit of the
//! headers. `storm` combines errors randomly.

use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::{Checksum, PacketBuf};

use crate::script::build::{Blank, add, build, fold, transport};
use crate::script::fixture::fixture;
use crate::script::oracle;
use crate::script::packet::{Packet, Vars};
use crate::script::settings::apply;

/// A packet of each kind that is translated, and how many of its bytes the headers take.
const KINDS: &[(&str, usize)] = &[
    ("udp C.40000 > Z6.53 data=24", 48),
    ("tcp C.40000 > Z6.80 S mss=1400", 64),
    ("tcp C.40000 > Z6.80 A data=9", 60),
    ("echo C > Z6 id=7 data=24", 48),
    ("icmp6 1/4 C > Z6 { udp Z6.53 > C.40000 data=9 }", 96),
    ("icmp6 2/0 C > Z6 mtu=1400 { tcp Z6.80 > C.40000 A data=9 }", 96),
    ("udp C.40000 > Z6.53 ext=hbh+dst+rh0 data=9", 72),
    ("udp C.40000 > Z6.53 frag=7:0+80 data=200", 56),
    ("udp C.40000 > Z6.53 frag=7 data=9", 56),
    ("udp Z.53 > T.40000 data=24", 28),
    ("tcp Z.80 > T.40000 S mss=1400", 44),
    ("tcp Z.80 > T.40000 A data=9", 40),
    ("echo Z > T id=7 data=24", 28),
    ("icmp4 3/3 Z > T { udp T.40000 > Z.53 data=9 }", 56),
    ("icmp4 3/4 Z > T mtu=1400 { tcp T.40000 > Z.80 A data=9 }", 56),
    ("udp Z.53 > T.40000 opts=94040000 data=9", 32),
    ("udp Z.53 > T.40000 frag=7:0+80 data=200", 28),
];

/// Bindings for packets from IPv4.
const STATICS: [&str; 3] = ["udp C.40000 T.40000", "tcp C.40000 T.40000", "icmp C.7 T.7"];

fn settings() -> Settings {
    let mut settings = fixture();
    for line in STATICS {
        let words: Vec<_> = std::iter::once("static").chain(line.split(' ')).collect();
        apply(&mut settings, &words).expect("a static binding");
    }
    let limits = &mut settings.nat64.limits;
    (limits.sessions, limits.bindings, limits.blocks, limits.hosts) = (8, 8, 4, 4);
    settings.nat64.limits.fragment_bytes = 8 << 10;
    settings
}

fn bytes(line: &str) -> Vec<u8> {
    let blank = Blank { vars: &Vars::new(), hop: Some(64), actual: None, input: &[] };
    build(&Packet::parse(line).expect("a packet"), blank).expect("complete")
}

/// The verdict of a translator without state.
fn outcome(settings: &Settings, packet: &[u8]) -> (Verdict, Vec<u8>) {
    let mut translator = Translator::new(settings.clone(), 4);
    let (mut bufs, mut verdicts) = ([PacketBuf::with_packet(packet)], [Verdict::Hold]);
    let mut extra = ExtraPackets::new(4, 2048);
    translator.process(Instant::from_secs(1), &mut bufs, &mut verdicts, &mut extra);
    let [buf] = bufs;
    match verdicts[0] {
        Verdict::Drop(_) => assert_eq!(buf.bytes(), packet, "a dropped packet is as it was"),
        Verdict::Forward | Verdict::Reject(_) | Verdict::Hold | Verdict::HandOver(_) => {}
    }
    (verdicts[0], buf.bytes().to_vec())
}

/// The offset of a packet's transport header.
fn upper(packet: &[u8]) -> usize {
    transport(packet).expect("a whole packet or a first fragment").1
}

fn is_v4(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4
}

/// Adapts the length fields to a truncated packet.
fn set_lengths(packet: &mut [u8]) {
    let len = packet.len();
    if is_v4(packet) {
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let header = usize::from(packet[0] & 15) * 4;
        packet[10..12].fill(0);
        let sum = !fold(add(0, &packet[..header]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    }
}

#[test]
fn every_undamaged_kind_passes() {
    for (line, _) in KINDS {
        let (verdict, out) = outcome(&settings(), &bytes(line));
        assert_eq!(verdict, Verdict::Forward, "{line}");
        oracle::judge(&out, Checksum::Unverified, true).unwrap_or_else(|why| panic!("{line}: {why}"));
    }
}

#[test]
fn truncated_packets_are_dropped() {
    // ids 7915-4.1-ihl, 7915-5-len
    for (line, _) in KINDS {
        let whole = bytes(line);
        for len in 0..whole.len() {
            let (verdict, _) = outcome(&settings(), &whole[..len]);
            let fits = match verdict {
                Verdict::Drop(Reason::NotIp) => len == 0,
                Verdict::Drop(Reason::Ipv4Header) => is_v4(&whole),
                Verdict::Drop(Reason::Ipv6Header) => !is_v4(&whole),
                _ => false,
            };
            assert!(fits, "{len} bytes of {line}: {verdict:?}");
        }
    }
}

#[test]
fn truncated_headers_are_dropped() {
    // ids 7915-4.5-trunc-l4, 7915-5.1-ext-trunc, 6146-3.5.2-tcphdr, 6146-3.4-icmperr-short
    for (line, needed) in KINDS {
        let whole = bytes(line);
        let header = if is_v4(&whole) { usize::from(whole[0] & 15) * 4 } else { 40 };
        for len in header..*needed {
            let mut packet = whole[..len].to_vec();
            set_lengths(&mut packet);
            let (verdict, _) = outcome(&settings(), &packet);
            assert!(
                matches!(
                    verdict,
                    Verdict::Drop(
                        Reason::TransportHeader
                            | Reason::ExtensionHeader
                            | Reason::FragmentHeader
                            | Reason::FragmentSize
                            | Reason::IcmpQuoted
                            | Reason::IcmpChecksum
                            | Reason::Ipv6Header
                    )
                ),
                "{len} bytes of {line}: {verdict:?}"
            );
        }
        // Missing data at the end pass; the receiver finds the wrong checksum.
        for len in *needed..whole.len() {
            let mut packet = whole[..len].to_vec();
            set_lengths(&mut packet);
            let (verdict, out) = outcome(&settings(), &packet);
            if verdict == Verdict::Forward {
                oracle::judge(&out, Checksum::Unverified, false)
                    .unwrap_or_else(|why| panic!("{len} bytes of {line}: {why}"));
            }
        }
    }
}

#[test]
fn flipped_bits_are_never_repaired() {
    // ids 7915-4.5-badcsum, 7915-4.1-ihl, 5508-3, 5508-3a
    for (line, _) in KINDS {
        let whole = bytes(line);
        let upper = upper(&whole);
        for bit in 0..whole.len() * 8 {
            let mut packet = whole.clone();
            packet[bit / 8] ^= 0x80 >> (bit % 8);
            let (verdict, out) = outcome(&settings(), &packet);
            let context = format!("bit {bit} of {line}: {verdict:?}");
            if is_v4(&whole) && bit / 8 < upper {
                assert!(matches!(verdict, Verdict::Drop(_)), "{context}");
            }
            // IPv6 headers have no checksum. A flipped bit there makes another valid packet, or one whose
            // transport checksum covers the change.
            if verdict == Verdict::Forward && bit / 8 >= upper {
                let read = oracle::judge(&out, Checksum::Unverified, false);
                read.unwrap_or_else(|why| panic!("{context}: {why}"));
            }
        }
    }
}
