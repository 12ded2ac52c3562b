//! Prefetch and fast path change no result: a batch gives the same packets as single packets on the slow
//! path.

use std::sync::Arc;

use super::*;
use crate::addr::Proto;
use crate::addr::Transport6;
use crate::counters::{Counters, Tally};
use crate::nat64::tables::hash::Rng;
use crate::nat64::{Candidate, Context, Filtering, Nat64, WorkerIdentity};
use crate::packet_builder::super_packet;
use crate::translator::Change;
use crate::xlat::ErrorLimits;

/// Enough bindings for batches to be prefetched.
const HOSTS: u16 = 40;
const PORTS: u16 = 150;

fn settings() -> translator::Settings {
    let mut settings = n1();
    settings.nat64.pools[0].ranges = vec![("203.0.113.0/28".parse().expect("a prefix"), PortRange::ALL)];
    // One prefix contains the other: the longest match decides.
    settings.nat64.zones[0].pref64.push("2001:db8:64::/48".parse().expect("a pref64"));
    settings.nat64.timers.udp = Duration::from_secs(2000);
    settings.nat64.zones[0].sharing.first_block = 256;
    settings.nat64.limits.sessions = 20_000;
    settings.nat64.limits.bindings = 10_000;
    settings
}

/// The settings after `reloads` reloads.
fn changed(reloads: u32) -> translator::Settings {
    let mut settings = settings();
    match reloads % 4 {
        1 => settings.nat64.deny = vec!["198.51.100.8/32".parse().expect("a prefix")],
        2 => settings.nat64.inbound_refresh = false,
        3 => settings.nat64.filtering = [Filtering::AddressDependent; 3],
        _ => {}
    }
    settings
}

fn client(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, host)
}

/// Generates packets of all kinds, with and without a session.
struct Source {
    rng: Rng,
    mapped: Vec<Transport4>,
}

impl Source {
    fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len() as u32) as usize]
    }

    fn payload(&mut self) -> Vec<u8> {
        let len = self.one_of(&[0, 4, 4, 4, 40, 1200, 1213, 1233, 1440, 1453, 1473, 3000]);
        vec![7; len]
    }

    fn outward(&mut self) -> Vec<u8> {
        let host = self.rng.below(u32::from(HOSTS) + 1) as u16;
        let port = 2000 + self.rng.below(u32::from(PORTS)) as u16;
        let mut server = under(self.one_of(&[Z, Z, Z, W, "203.0.113.3", "127.0.0.1"]));
        if self.rng.below(16) == 0 {
            // A suffix, and an address under the outer prefix alone.
            server = self.one_of(&[v6("2001:db8:64:c633:64:700:5:0"), v6("2001:db8:64:c633:64:700::")]);
        }
        let mut packet = Packet6::new(client(host), server)
            .traffic_class(self.one_of(&[0, 3, 0xb8]))
            .hop_limit(self.one_of(&[64, 64, 64, 2, 1]));
        if self.rng.below(16) == 0 {
            packet = packet.destination_options();
        }
        let payload = self.payload();
        match self.rng.below(8) {
            0..3 => packet.tcp(Tcp::new(port, 80).flags(self.flags()), &payload),
            3 => packet.udp_without_checksum(port, 53, &payload),
            _ => packet.udp(port, 53, &payload),
        }
    }

    fn inward(&mut self) -> Vec<u8> {
        let mapped = self.rng.below(self.mapped.len() as u32 + 1) as usize;
        let mapped = self.mapped.get(mapped).copied();
        let mapped = mapped.unwrap_or_else(|| Transport4::new(v4("203.0.113.3"), 2000));
        let mut packet = Packet4::new(v4(self.one_of(&[Z, Z, Z, W, "203.0.113.3"])), mapped.addr)
            .tos(self.one_of(&[0, 3, 0xb8]))
            .ttl(self.one_of(&[64, 64, 64, 2, 1]));
        if self.rng.below(2) == 0 {
            packet = packet.df();
        }
        if self.rng.below(16) == 0 {
            packet = packet.options(&[1, 1, 1, 1]);
        }
        let payload = self.payload();
        match self.rng.below(8) {
            0..3 => packet.tcp(Tcp::new(80, mapped.port).flags(self.flags()), &payload),
            3 => packet.udp_without_checksum(53, mapped.port, &payload),
            _ => packet.udp(53, mapped.port, &payload),
        }
    }

    fn flags(&mut self) -> Flags {
        let (syn, ack) = (Flags::SYN, Flags::ACK);
        self.one_of(&[syn, syn.with(ack), ack, ack, ack, Flags::FIN.with(ack), Flags::RST, Flags(0)])
    }

    fn packet(&mut self) -> PacketBuf {
        let mut packet = if self.rng.below(2) == 0 { self.outward() } else { self.inward() };
        match self.rng.below(16) {
            0 => packet.truncate(self.rng.below(80) as usize),
            1 => {
                let at = self.rng.below(packet.len() as u32) as usize;
                packet[at] ^= 1 << self.rng.below(8);
            }
            2..4 if packet.len() < 1500 => packet.extend([0; 9]),
            4..7 if packet[0] == 0x45 || matches!(packet[6], 6 | 17) => {
                return super_packet(&packet, self.one_of(&[100, 1400, 1460]));
            }
            _ => {}
        }
        PacketBuf::with_packet(&packet)
    }
}

/// A copy of a packet that takes the slow path, as all packets handed over do.
fn with_slow_path(packet: &PacketBuf) -> PacketBuf {
    let mut buf = PacketBuf::with_packet(packet.bytes());
    buf.offload = packet.offload;
    buf.meta.hops = 1;
    buf
}

fn tallies(gate: &Translator) -> Vec<u64> {
    let row = gate.counters().zone(Some(ZoneId(0)));
    let both = [&row.packets_v6_to_v4, &row.packets_v4_to_v6, &row.bytes_v6_to_v4, &row.bytes_v4_to_v6];
    let all = both.into_iter().chain(&row.sessions).chain(&row.bindings).map(Tally::read);
    all.chain(Reason::ALL.iter().map(|reason| gate.counters().drops(*reason))).collect()
}

/// The exported records of all sessions.
fn records(bench: &Bench) -> Vec<translator::SessionRecord> {
    let mut records = Vec::new();
    let mut cursor = translator::Cursor::default();
    let blank = translator::SessionRecord {
        proto: Proto::Udp,
        v6: Transport6::new(v6("::"), 0),
        v4: Transport4::new(v4("0.0.0.0"), 0),
        remote: Transport4::new(v4("0.0.0.0"), 0),
        pref64: crate::addr::Pref64::WELL_KNOWN,
        state: 0,
        remaining: Duration::ZERO,
        silent: Duration::ZERO,
        inbound: false,
        answered: false,
        packets: [0; 2],
        bytes: [0; 2],
    };
    let mut some = [blank; 256];
    loop {
        match bench.gate.export(bench.now, &mut cursor, &mut some) {
            0 => return records,
            n => records.extend(&some[..n]),
        }
    }
}

fn compare(batches: &mut Bench, singles: &mut Bench, mut together: Vec<PacketBuf>, round: u32) {
    let alone: Vec<_> = together.iter().map(with_slow_path).collect();
    let mut verdicts = vec![Verdict::Hold; together.len()];
    batches.extra.clear();
    batches.gate.process(batches.now, &mut together, &mut verdicts, &mut batches.extra);
    let mut more = batches.extra.packets().iter();
    for (at, mut alone) in alone.into_iter().enumerate() {
        singles.extra.clear();
        let verdict = singles.buffer(&mut alone);
        assert_eq!(verdict, verdicts[at], "round {round}, packet {at}");
        assert_eq!(alone.bytes(), together[at].bytes(), "round {round}, packet {at}");
        assert_eq!(alone.offload, together[at].offload, "round {round}, packet {at}");
        for extra in singles.extra.packets() {
            let same = more.next().expect("as many");
            assert_eq!(extra.packet.bytes(), same.packet.bytes(), "round {round}, after packet {at}");
        }
    }
    assert!(more.next().is_none(), "round {round}");
}

#[test]
fn batches_give_the_same_result_as_single_packets_on_the_slow_path() {
    let (mut batches, mut singles) = (Bench::new(settings()), Bench::new(settings()));
    for bench in [&mut batches, &mut singles] {
        bench.extra = ExtraPackets::new(1000, 2000);
    }
    let mut source = Source { rng: Rng::new(11), mapped: Vec::new() };
    for (host, port) in (0..HOSTS).flat_map(|host| (0..PORTS).map(move |port| (host, 2000 + port))) {
        let packet = Packet6::new(client(host), under(Z)).udp(port, 53, b"question");
        let (out, bytes) = batches.to4(&packet);
        singles.to4(&packet);
        source.mapped.push(Transport4::new(out.src, u16::from_be_bytes([bytes[20], bytes[21]])));
    }
    for round in 0..300 {
        let count = 2 + source.rng.below(80);
        let packets = (0..count).map(|_| source.packet()).collect();
        compare(&mut batches, &mut singles, packets, round);
        // Sometimes sessions and quarantines end, or the settings change.
        let pause = Duration::from_secs(if source.rng.below(20) == 0 { 130 } else { 1 });
        assert_eq!(batches.wait(pause), singles.wait(pause));
        if round % 25 == 24 {
            for bench in [&mut batches, &mut singles] {
                bench.gate.reconfigure(bench.now, Change::Settings(Box::new(changed(round / 25))));
            }
        }
        assert_eq!(tallies(&batches.gate), tallies(&singles.gate), "round {round}");
        if round % 50 == 0 {
            assert_eq!(records(&batches), records(&singles), "round {round}");
        }
    }
    let forwarded = &tallies(&batches.gate)[..2];
    assert!(forwarded.iter().all(|packets| *packets > 2000), "{forwarded:?} packets are few");
}

/// The prefetched slot does not change which binding is found, from either side.
#[test]
fn a_candidate_slot_decides_nothing() {
    let identity = WorkerIdentity { worker: WorkerId(0), workers: 1, seed: 42, owner_seed: 7 };
    let mut nat64 =
        Nat64::new(identity, RewriteRules::default(), &settings().nat64, Arc::new(Counters::new(1)));
    let (mut scratch, mut extra) = (PacketBuf::new(2000), ExtraPackets::new(10, 2000));
    let mut limits = ErrorLimits::new(&RewriteRules::default(), 1, 7);
    let (mut clients, mut addrs, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for host in 0..HOSTS {
        let packets = [
            Packet6::new(client(host), under(Z)).udp(2000, 53, b"question"),
            Packet6::new(client(host), under(Z)).tcp(Tcp::new(2001, 80).flags(Flags::SYN), b""),
        ];
        for packet in packets {
            let mut buf = PacketBuf::with_packet(&packet);
            let mut context = Context::new(Instant::from_secs(1), &mut scratch, &mut extra, &mut limits);
            let verdict = nat64.process_v6(&mut context, &mut buf);
            assert_eq!(verdict, Verdict::Forward);
            let out = Ipv4Packet::parse(buf.bytes(), &buf.offload).expect("translated");
            addrs.push(out.src);
            ports.push(u16::from_be_bytes([buf.bytes()[20], buf.bytes()[21]]));
        }
        clients.push(Transport6::new(client(host), 2000));
    }
    let mut found = 0;
    for proto in [Proto::Udp, Proto::Tcp] {
        for (addr, port) in addrs.iter().flat_map(|addr| ports.iter().map(move |port| (addr, port))) {
            let mapped = Transport4::new(*addr, *port);
            let binding = nat64.binding_at(Candidate::NONE, proto, mapped);
            found += u32::from(binding.is_some());
            for slot in 0..2 * u32::from(HOSTS) + 1 {
                assert_eq!(
                    nat64.binding_at(Candidate(slot), proto, mapped),
                    binding,
                    "{mapped}, slot {slot}"
                );
            }
        }
        for client in &clients {
            let binding = nat64.binding_of(Candidate::NONE, proto, *client);
            for slot in 0..2 * u32::from(HOSTS) + 1 {
                assert_eq!(
                    nat64.binding_of(Candidate(slot), proto, *client),
                    binding,
                    "{client}, slot {slot}"
                );
            }
        }
    }
    assert!(found >= 2 * u32::from(HOSTS));
}
