//! Packets handed over between workers: at most four times, and no ICMPv4 error to a zone host.

use gate64::addr::WorkerId;
use gate64::ownership::Owners;
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::PacketBuf;

use crate::script::build::{Blank, build};
use crate::script::fixture::fixture;
use crate::script::packet::{Packet, Vars};

const WORKERS: u8 = 4;

fn settings() -> Settings {
    Settings { workers: WORKERS, ..fixture() }
}

fn owners() -> Owners {
    let settings = settings();
    settings.nat64.owners(settings.owner_seed, WORKERS)
}

fn translator(worker: WorkerId, settings: &Settings) -> Translator {
    Translator::new(Settings { worker, ..settings.clone() }, 1)
}

fn bytes(text: &str) -> Vec<u8> {
    let packet = Packet::parse(text).expect("a packet");
    build(&packet, Blank { vars: &Vars::new(), hop: Some(64), actual: None, input: &[] }).expect("complete")
}

/// What a translator does to a packet that was handed over `hops` times.
fn verdict(translator: &mut Translator, text: &str, hops: u8, hairpin: bool) -> (Verdict, PacketBuf) {
    let mut batch = [PacketBuf::with_packet(&bytes(text))];
    batch[0].meta.hops = hops;
    batch[0].meta.hairpin = hairpin;
    let (mut verdicts, mut extra) = ([Verdict::Hold], ExtraPackets::new(4, 2048));
    translator.process(Instant::from_secs(1000), &mut batch, &mut verdicts, &mut extra);
    let [buf] = batch;
    (verdicts[0], buf)
}

#[test]
fn a_packet_is_handed_over_four_times_at_most() {
    // id workers
    let client = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    let owner = owners().source(client);
    let mut other = translator(WorkerId((owner.0 + 1) % WORKERS), &settings());
    let packet = "udp C.40000 > Z6.53";
    for hops in 0..4 {
        assert_eq!(verdict(&mut other, packet, hops, false).0, Verdict::HandOver(owner), "{hops}");
    }
    let (last, buf) = verdict(&mut other, packet, 4, false);
    assert_eq!(last, Verdict::Drop(Reason::HandOverLimit));
    assert_eq!(buf.bytes(), bytes(packet));
    assert_eq!(other.counters().drops(Reason::HandOverLimit), 1);
}

#[test]
fn a_hairpinned_packet_does_not_loop() {
    // ids workers, 6146-3.8-self
    let mapped = gate64::addr::Transport4::new([203, 0, 113, 1].into(), 50_000);
    let owner = owners().owner_of(gate64::addr::Proto::Udp, mapped).expect("a pool address");
    let mut other = translator(WorkerId((owner.0 + 1) % WORKERS), &settings());
    let packet = "udp T.40000 > T.50000";
    assert_eq!(verdict(&mut other, packet, 3, true).0, Verdict::HandOver(owner));
    assert_eq!(verdict(&mut other, packet, 4, true).0, Verdict::Drop(Reason::HairpinLoop));
}

/// Workers switch to new settings one by one, so that the receiver's may have a lower MTU.
#[test]
fn no_icmpv4_error_answers_a_hairpinned_packet() {
    // ids workers, 6146-3.8-hairpin
    let mut small = settings();
    small.rules.mtu6 = 1400;
    let client = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    let mut receiver = translator(owners().source(client), &small);
    let (sent, buf) = verdict(&mut receiver, "udp C.40000 > Z6.53", 0, false);
    assert_eq!(sent, Verdict::Forward);
    let port = u16::from_be_bytes([buf.bytes()[20], buf.bytes()[21]]);
    let hairpinned = format!("udp T.9 > T.{port} df data=1400");
    assert_eq!(verdict(&mut receiver, &hairpinned, 1, true).0, Verdict::Drop(Reason::TooBig));
    let from_outside = format!("udp Z.9 > T.{port} df data=1400");
    assert_eq!(verdict(&mut receiver, &from_outside, 0, false).0, Verdict::Reject(Reason::TooBig));
}
