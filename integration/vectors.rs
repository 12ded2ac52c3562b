//! The expected packets of `vectors.json`, byte for byte, through `Translator::process`.

use crate::packet_builder::checksums_are_right;
use gate64::addr::WorkerId;
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::PacketBuf;
use serde::Deserialize;

use crate::script::fixture::fixture;
use crate::script::settings::apply;

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
    /// Offsets of bytes that may differ: identifications, and the checksums over them.
    mask: Vec<usize>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// The bytes without those that may differ.
fn masked(mut packet: Vec<u8>, mask: &[usize]) -> Vec<u8> {
    for &at in mask {
        packet[at] = 0;
    }
    packet
}

/// The settings that a vector names.
fn settings(config: &str) -> Settings {
    let mut settings = Settings { worker: WorkerId(0), ..fixture() };
    let mut set = |words: &[&str]| apply(&mut settings, words).expect("a setting");
    match config.split(':').next().expect("a first word") {
        "SIIT S1" => set(&["fixture", "s1"]),
        "SIIT S2" => set(&["fixture", "s2"]),
        _ => {}
    }
    if config.contains("zero-checksum=compute") {
        set(&["siit", "udp_zero_checksum", "compute"]);
    }
    settings
}

/// The translator's output for a packet.
fn translated(translator: &mut Translator, packet: &[u8]) -> Vec<Vec<u8>> {
    let (mut buf, mut extra) = ([PacketBuf::with_packet(packet)], ExtraPackets::new(8, 2048));
    let mut verdicts = [Verdict::Hold];
    translator.process(Instant::from_secs(1000), &mut buf, &mut verdicts, &mut extra);
    assert_eq!(verdicts[0], Verdict::Forward);
    let more = extra.packets().iter().map(|slot| slot.packet.bytes().to_vec());
    std::iter::once(buf[0].bytes().to_vec()).chain(more).collect()
}

#[test]
fn every_vector_byte_for_byte() {
    let file: File = serde_json::from_str(include_str!("vectors.json")).expect("valid JSON");
    assert_eq!(file.vectors.len(), 24);
    // Stateful vectors run in order: the first creates the mapping that the others use.
    let mut stateful = Translator::new(fixture(), 1);
    for vector in &file.vectors {
        let mut stateless;
        let translator = if vector.config.starts_with("NAT64 N1") {
            &mut stateful
        } else {
            stateless = Translator::new(settings(&vector.config), 1);
            &mut stateless
        };
        let got = translated(translator, &bytes(&vector.input));
        if got.len() == 1 && !vector.name.contains("frag") {
            assert!(checksums_are_right(&got[0]), "{}", vector.name);
        }
        let got: Vec<_> = got.into_iter().map(|packet| masked(packet, &vector.mask)).collect();
        let want: Vec<_> = vector.expected.iter().map(|hex| masked(bytes(hex), &vector.mask)).collect();
        assert_eq!(got, want, "{}", vector.name);
    }
}
