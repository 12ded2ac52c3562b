//! What is only there for speed changes nothing: batches looked at ahead come out as packets that come
//! alone, and packets that take the short way as those that don't.

use super::*;
use crate::counters::Tally;
use crate::nat64::hash::Chance;

/// Enough bindings for batches to be looked at ahead.
const HOSTS: u16 = 40;
const PORTS: u16 = 150;

fn settings() -> translator::Settings {
    let mut settings = n1();
    settings.nat64.pools[0].ranges = vec![("203.0.113.0/28".parse().expect("a prefix"), PortRange::ALL)];
    settings.nat64.limits.sessions = 20_000;
    settings.nat64.limits.bindings = 10_000;
    settings
}

fn client(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, host)
}

/// A packet of any kind that may or may not belong to something. `mapped` are places seen so far.
fn any_packet(chance: &mut Chance, mapped: &[Transport4]) -> Vec<u8> {
    let flags =
        [Flags::SYN, Flags::ACK, Flags::SYN.with(Flags::ACK), Flags::FIN.with(Flags::ACK), Flags::RST];
    let flags = flags[chance.below(5) as usize];
    let server = if chance.below(3) == 0 { W } else { Z };
    let (host, port) =
        (chance.below(u32::from(HOSTS) + 1) as u16, 2000 + chance.below(u32::from(PORTS)) as u16);
    let place = mapped.get(chance.below(mapped.len() as u32 + 1) as usize);
    let place = place.copied().unwrap_or(Transport4::new(v4("203.0.113.3"), port));
    let out = Packet6::new(client(host), under(server));
    let back = Packet4::new(v4(server), place.addr);
    match chance.below(12) {
        0..4 => out.udp(port, 53, b"question"),
        4..6 => out.tcp(Tcp::new(port, 80).flags(flags), b"data"),
        6..9 => back.udp(53, place.port, b"answer"),
        9..11 => back.tcp(Tcp::new(80, place.port).flags(flags), b"data"),
        _ => vec![0x60; chance.below(60) as usize],
    }
}

fn tallies(gate: &Translator) -> Vec<u64> {
    let row = gate.counters().zone(Some(ZoneId(0)));
    let both = [&row.packets_v6_to_v4, &row.packets_v4_to_v6, &row.bytes_v6_to_v4, &row.bytes_v4_to_v6];
    let all = both.into_iter().chain(&row.sessions).chain(&row.bindings).map(Tally::read);
    all.chain(Reason::ALL.iter().map(|reason| gate.counters().drops(*reason))).collect()
}

/// A packet that was handed over takes the long way.
fn the_long_way(packet: &[u8]) -> PacketBuf {
    let mut buf = PacketBuf::holding(packet);
    buf.handed.hops = 1;
    buf
}

#[test]
fn batches_come_out_as_single_packets_the_long_way() {
    let (mut batches, mut singles) = (Bench::new(settings()), Bench::new(settings()));
    let mut mapped = Vec::new();
    for (host, port) in (0..HOSTS).flat_map(|host| (0..PORTS).map(move |port| (host, 2000 + port))) {
        let packet = Packet6::new(client(host), under(Z)).udp(port, 53, b"question");
        let (out, bytes) = batches.to4(&packet);
        singles.to4(&packet);
        mapped.push(Transport4::new(out.src, u16::from_be_bytes([bytes[20], bytes[21]])));
    }
    let mut chance = Chance::new(11);
    for round in 0..400 {
        let count = 2 + chance.below(80) as usize;
        let packets: Vec<_> = (0..count).map(|_| any_packet(&mut chance, &mapped)).collect();
        let mut together: Vec<_> = packets.iter().map(|p| PacketBuf::holding(p)).collect();
        let mut verdicts = vec![Verdict::Hold; count];
        batches.extra.clear();
        batches.gate.process(batches.now, &mut together, &mut verdicts, &mut batches.extra);
        for (at, packet) in packets.iter().enumerate() {
            let mut alone = the_long_way(packet);
            singles.extra.clear();
            let verdict = singles.buffer(&mut alone);
            assert_eq!(verdict, verdicts[at], "round {round}, packet {at}");
            assert_eq!(alone.bytes(), together[at].bytes(), "round {round}, packet {at}");
            assert_eq!(alone.offload, together[at].offload, "round {round}, packet {at}");
        }
        // Now and then sessions and rests end.
        let pause = Duration::from_secs(if chance.below(20) == 0 { 130 } else { 1 });
        assert_eq!(batches.wait(pause), singles.wait(pause));
        assert_eq!(tallies(&batches.gate), tallies(&singles.gate), "round {round}");
    }
}
