//! Thousands of damaged packets (`STORM=5000` for more) through translators with state: the packets of all
//! scenarios with bytes changed, truncated, joined, and wrong offload metadata. Nothing may panic. A dropped
//! packet is unchanged, a held packet leaves its buffer, and every output is a valid packet.

use gate64::addr::WorkerId;
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};

use crate::script::build::{Blank, build};
use crate::script::files;
use crate::script::fixture::fixture;
use crate::script::language::{Action, parse};
use crate::script::packet::Vars;
use crate::script::settings::apply;

/// A small random number generator: the seed alone reproduces a failure.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound.max(1)
    }
}

/// The input packets of the scenarios that depend on no earlier output.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let (vars, mut found) = (Vars::new(), Vec::new());
    for file in files() {
        let text = std::fs::read_to_string(file).expect("readable");
        for step in parse(&text).expect("another test parses all scenarios") {
            let Action::Input { packets, .. } = step.action else { continue };
            let blank = Blank { vars: &vars, hop: Some(64), actual: None, input: &[] };
            found.extend(packets.iter().filter_map(|(_, packet)| build(packet, blank).ok()));
        }
    }
    found
}

pub(crate) fn damage(packet: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    match random.below(8) {
        0..=2 => {}
        3 | 4 => {
            for _ in 0..=random.below(4) {
                let at = random.below(packet.len().min(120));
                if let Some(byte) = packet.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0xff, random.below(256) as u8][random.below(5)];
                }
            }
        }
        5 => packet.truncate(random.below(packet.len() + 1)),
        6 => {
            let other = &others[random.below(others.len())];
            let at = random.below(packet.len().min(other.len()) + 1);
            packet.truncate(at);
            packet.extend_from_slice(&other[at.min(other.len())..]);
        }
        _ => packet.resize(packet.len() + random.below(64), 0x5a),
    }
    packet.truncate(65_535);
    if packet.first().is_some_and(|b| b >> 4 == 4) && packet.len() >= 20 && random.below(4) > 0 {
        // Otherwise the header checksum stops most packets early.
        let header = (usize::from(packet[0] & 15) * 4).clamp(20, packet.len());
        packet[10..12].fill(0);
        let sum = !crate::script::build::fold(crate::script::build::add(0, &packet[..header]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

fn offload(random: &mut Random) -> Offload {
    let size = [0, 1, 7, 536, 1428, 1460, 65_535][random.below(7)];
    let segmentation = match random.below(12) {
        0 => Segmentation::Tcp { size, ecn: random.below(2) == 0 },
        1 => Segmentation::Udp { size },
        _ => Segmentation::None,
    };
    let checksum = [Checksum::Unverified, Checksum::Verified, Checksum::Partial][random.below(8).min(2)];
    Offload { segmentation, checksum }
}

/// Whether an output has a version and length that match its bytes, and is not an obsolete ICMPv4 message
/// such as source quench.
fn is_packet(bytes: &[u8]) -> bool {
    let word = |at: usize| bytes.get(at..at + 2).map_or(0, |w| usize::from(u16::from_be_bytes([w[0], w[1]])));
    match bytes.first().map(|b| b >> 4) {
        Some(4)
            if bytes.get(9) == Some(&1) && bytes.get(20).is_some_and(|kind| matches!(kind, 4 | 15..=18)) =>
        {
            word(6) & 0x1fff != 0
        }
        Some(4) => bytes.len() >= 20 && word(2) == bytes.len(),
        Some(6) => bytes.len() >= 40 && word(4) + 40 == bytes.len(),
        _ => false,
    }
}

fn storm(seed: u64, settings: &Settings, corpus: &[Vec<u8>]) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let worker = |n| Translator::new(Settings { worker: WorkerId(n), ..settings.clone() }, 4);
    let mut workers: Vec<_> = (0..settings.workers).map(worker).collect();
    let mut extra = ExtraPackets::new(32, 65_535 + 40);
    let mut now = Instant::from_secs(5);
    for _ in 0..400 {
        now = Instant::from_nanos(now.as_nanos() + (1 << random.below(38)));
        let translator = &mut workers[random.below(usize::from(settings.workers))];
        extra.clear();
        translator.expire(now, 16, &mut extra);
        assert!(extra.packets().iter().all(|extra| is_packet(extra.packet.bytes())), "seed {seed}");
        let mut batch = Vec::new();
        for _ in 0..=random.below(8) {
            let mut packet = corpus[random.below(corpus.len())].clone();
            damage(&mut packet, corpus, &mut random);
            let mut buf = PacketBuf::with_packet(&packet);
            buf.offload = offload(&mut random);
            buf.meta.hops = (random.below(20) == 0).into();
            batch.push(buf);
        }
        let before: Vec<_> = batch.iter().map(|buf| buf.bytes().to_vec()).collect();
        let mut verdicts = vec![Verdict::Hold; batch.len()];
        extra.clear();
        translator.process(now, &mut batch, &mut verdicts, &mut extra);
        for ((buf, verdict), before) in batch.iter().zip(&verdicts).zip(&before) {
            let kept = match verdict {
                Verdict::Forward | Verdict::Reject(_) => is_packet(buf.bytes()),
                Verdict::Hold => buf.is_empty(),
                Verdict::Drop(_) => buf.bytes() == before || buf.meta.reassembled || buf.meta.hairpin,
                Verdict::HandOver(to) => to.0 < settings.workers,
            };
            assert!(kept, "seed {seed}: {verdict:?} of {before:02x?} gave {:02x?}", buf.bytes());
        }
        for extra in extra.packets() {
            assert!(is_packet(extra.packet.bytes()), "seed {seed}: {:02x?}", extra.packet.bytes());
            assert!(usize::from(extra.follows) < batch.len(), "seed {seed}");
        }
    }
}

#[test]
fn damaged_packets_violate_no_invariant() {
    // id 5508-10c
    let corpus = corpus();
    assert!(corpus.len() > 200, "{} packets", corpus.len());
    let one = fixture();
    let mut three = Settings { workers: 3, ..fixture() };
    three.nat64.limits.sessions = 16;
    three.nat64.limits.bindings = 16;
    three.nat64.limits.fragment_bytes = 8 << 10;
    three.rules.mtu4 = 600;
    three.rules.tcp_resegment = true;
    three.rules.mss_clamp = true;
    let mut mapped = three.clone();
    for words in
        [["siit", "eam", "198.51.100.0/24 = 2001:db8:1::/120"], ["siit", "eam", "8.8.8.8 = 64:ff9b::1"]]
    {
        apply(&mut mapped, &words).expect("a mapping");
    }
    let stateless = ["s1", "s2", "clat"].map(|name| {
        let mut settings = fixture();
        apply(&mut settings, &["fixture", name]).expect("a fixture");
        settings
    });
    let all: Vec<_> = [one, three, mapped].into_iter().chain(stateless).collect();
    let seeds = std::env::var("STORM").ok().and_then(|n| n.parse().ok()).unwrap_or(36);
    for seed in 0..seeds {
        storm(seed, &all[seed as usize % all.len()], &corpus);
    }
}
