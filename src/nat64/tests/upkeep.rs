//! Static bindings, fragments, workers, reload and transfer.

use super::super::{Proto, StaticBinding};
use super::*;
use crate::addr::Transport6;
use crate::packet_builder::{fragments4, fragments6};
use crate::translator::{Change, Cursor, SessionRecord};

fn web() -> StaticBinding {
    let v6 = Transport6::new(v6(C), 8080);
    StaticBinding { proto: Proto::Tcp, v6, v4: Transport4::new(v4(T), 80) }
}

#[test]
fn a_static_binding_serves_and_stays() {
    // ids 6146-3.1-static, 6146-3.1-static-persist
    let mut settings = n1();
    settings.nat64.statics = vec![web()];
    let mut n1 = Bench::new(settings);
    let (out, bytes) = n1.to6(&tcp4(Z, web().v4, Flags::SYN));
    assert_eq!((out.src, out.dst), (under(Z), v6(C)));
    assert_eq!(bytes[42..44], 8080u16.to_be_bytes());
    let (out, bytes) = n1.to4(&tcp6(C, 8080, Z, Flags::SYN.with(Flags::ACK)));
    assert_eq!((out.src, &bytes[20..22]), (v4(T), &80u16.to_be_bytes()[..]));
    n1.secs(8000);
    assert_eq!((n1.sessions(), n1.bindings(), n1.blocks()), (0, 1, 0));
    n1.to6(&tcp4(Z, web().v4, Flags::SYN));
    // Other clients do not get its port.
    let (_, bytes) = n1.to4(&tcp6(C2, 80, Z, Flags::SYN));
    assert_ne!(bytes[20..22], 80u16.to_be_bytes());
}

#[test]
fn fragments_in_any_order() {
    // ids 6146-3.4-frag-ooo, 6146-3.4-frag-4to6, 6146-3.4-udp0, 6146-3.4-icmp-frag
    let mut n1 = Bench::new(n1());
    let pieces = fragments6(&Packet6::new(v6(C), under(Z)).udp(40_000, 53, &[7; 2000]), 5, 1280);
    assert_eq!(n1.send(&pieces[1]).0, Verdict::Hold);
    let (verdict, out) = n1.send(&pieces[0]);
    assert_eq!((verdict, &out[20..24]), (Verdict::Forward, &[0x9c, 0x40, 0, 53][..]));
    assert_eq!(n1.extra.packets().len(), 1);
    assert_eq!(n1.extra.packets()[0].packet.bytes()[12..16], v4(T).octets());

    let mapped = Transport4::new(v4(T), 40_000);
    let pieces = fragments4(&Packet4::new(v4(Z), v4(T)).id(9).udp(53, 40_000, &[7; 2000]), 1500);
    assert_eq!(n1.send(&pieces[1]).0, Verdict::Hold);
    assert_eq!(n1.send(&pieces[0]).0, Verdict::Forward);
    assert_eq!(n1.extra.packets()[0].packet.bytes()[24..40], v6(C).octets());

    let bare = Packet4::new(v4(Z), v4(T)).id(10).udp_without_checksum(53, mapped.port, &[7; 2000]);
    let pieces = fragments4(&bare, 1500);
    assert_eq!(n1.send(&pieces[0]).0, Verdict::Hold);
    assert_eq!(n1.send(&pieces[1]).0, Verdict::Forward);

    let pieces = fragments6(&Packet6::new(v6(C), under(Z)).echo(9, 1, &[7; 3000]), 6, 1280);
    assert_eq!(n1.send(&pieces[2]).0, Verdict::Hold);
    assert_eq!(n1.send(&pieces[0]).0, Verdict::Hold);
    assert_eq!(n1.send(&pieces[1]).0, Verdict::Forward);
}

/// Two workers that hand packets over to each other.
struct Pair([Bench; 2]);

impl Pair {
    fn new(base: &translator::Settings) -> Self {
        let of = |n| Bench::new(translator::Settings { worker: WorkerId(n), workers: 2, ..base.clone() });
        Self([of(0), of(1)])
    }

    /// Passes a packet to a worker. Returns the output and the number of handovers.
    fn send(&mut self, at: usize, packet: &[u8]) -> (Vec<Vec<u8>>, u8) {
        let mut queue = std::collections::VecDeque::from([(at, PacketBuf::with_packet(packet))]);
        let (mut sent, mut hops) = (Vec::new(), 0);
        while let Some((at, mut buf)) = queue.pop_front() {
            let bench = &mut self.0[at];
            bench.extra.clear();
            match bench.buffer(&mut buf) {
                Verdict::Forward | Verdict::Reject(_) => sent.push(buf.bytes().to_vec()),
                Verdict::HandOver(to) => {
                    hops += 1;
                    buf.meta.hops += 1;
                    queue.push_back((usize::from(to.0), buf));
                }
                Verdict::Hold | Verdict::Drop(_) => {}
            }
            for extra in bench.extra.packets() {
                let mut copy = PacketBuf::with_packet(extra.packet.bytes());
                copy.meta = extra.packet.meta;
                match extra.to {
                    Some(to) => queue.push_back((usize::from(to.0), copy)),
                    None => sent.push(copy.bytes().to_vec()),
                }
            }
        }
        (sent, hops)
    }
}

#[test]
fn workers_hand_over_packets_of_other_owners() {
    let mut pair = Pair::new(&n1());
    let mut hops = [0; 2];
    let mut ports = std::collections::HashSet::new();
    for n in 2..40u16 {
        let client = format!("2001:db8:1::{n:x}");
        let (sent, over) = pair.send(0, &Packet6::new(v6(&client), under(Z)).udp(40_000, 53, b"x"));
        let port = u16::from_be_bytes([sent[0][20], sent[0][21]]);
        assert!(ports.insert(port) && over <= 1);
        hops[0] += over;
        let mapped = Transport4::new(v4(T), port);
        let (sent, over) = pair.send(1, &udp4(Z, 53, mapped));
        assert_eq!(sent[0][24..40], v6(&client).octets());
        hops[1] += over;
        // The client receives a fragmented answer whichever worker receives it first.
        let whole = Packet4::new(v4(Z), v4(T)).id(n).udp(53, port, &[7; 2000]);
        let sent: usize =
            fragments4(&whole, 1500).iter().rev().map(|piece| pair.send(0, piece).0.len()).sum();
        assert!(sent >= 2, "{sent}");
    }
    assert!(hops[0] > 0 && hops[1] > 0);
}

#[test]
fn hairpin_across_workers() {
    let mut pair = Pair::new(&n1());
    let clients: Vec<_> = (2..20u16).map(|n| format!("2001:db8:1::{n:x}")).collect();
    let ports: Vec<_> = clients
        .iter()
        .map(|client| {
            let (sent, _) = pair.send(0, &Packet6::new(v6(client), under(Z)).udp(40_000, 53, b"x"));
            u16::from_be_bytes([sent[0][20], sent[0][21]])
        })
        .collect();
    for (from, source) in clients.iter().zip(&ports) {
        for (to, port) in clients.iter().zip(&ports) {
            let packet = Packet6::new(v6(from), under(T)).hop_limit(7).udp(40_000, *port, b"x");
            let (sent, _) = pair.send(0, &packet);
            assert_eq!(sent.len(), 1, "{from} to {to}");
            assert_eq!((sent[0][7], &sent[0][24..40]), (6, &v6(to).octets()[..]));
            assert_eq!(sent[0][40..42], source.to_be_bytes());
            assert!(checksums_are_right(&sent[0]));
        }
    }
}

#[test]
fn a_reload_ends_only_what_the_settings_no_longer_allow() {
    let settings = n1();
    let mut bench = Bench::new(settings.clone());
    let kept = bench.udp_mapping(C, 40_000);
    let change = |settings: &translator::Settings| Change::Settings(Box::new(settings.clone()));
    bench.gate.reconfigure(bench.now, change(&settings));
    bench.to6(&udp4(Z, 53, kept));

    let mut more = settings;
    more.nat64.pools[0].ranges.insert(0, ("192.0.2.0/28".parse().expect("a prefix"), PortRange::ALL));
    more.nat64.zones[0].pref64.insert(0, crate::addr::Pref64::WELL_KNOWN);
    bench.gate.reconfigure(bench.now, change(&more));
    bench.to6(&udp4(Z, 53, kept));
    assert_eq!(bench.udp_mapping(C, 41_000).addr, kept.addr);

    let mut less = more.clone();
    less.nat64.pools[0].ranges.truncate(1);
    bench.gate.reconfigure(bench.now, change(&less));
    assert_eq!(bench.drop_of(&udp4(Z, 53, kept)), Reason::NotPool4);
    assert_eq!((bench.sessions(), bench.bindings()), (0, 0));
    assert_ne!(bench.udp_mapping(C, 40_000).addr, kept.addr);
    bench.secs(1000);
    assert_eq!(bench.blocks(), 0);

    let mut bench = Bench::new(more.clone());
    let mapped = bench.udp_mapping(C, 40_000);
    let mut removed = more;
    removed.nat64.zones[0].pref64.truncate(1);
    bench.gate.reconfigure(bench.now, change(&removed));
    assert_eq!(bench.drop_of(&udp4(Z, 53, mapped)), Reason::NoBinding);
}

#[test]
fn another_translator_takes_sessions_over() {
    let mut old = Bench::new(n1());
    let udp = old.udp_mapping(C, 40_000);
    old.to4(&tcp6(C2, 40_000, Z, Flags::SYN));
    old.secs(100);
    let blank = SessionRecord {
        proto: Proto::Udp,
        v6: Transport6::new(v6(C), 0),
        v4: udp,
        remote: udp,
        pref64: crate::addr::Pref64::WELL_KNOWN,
        state: 0,
        remaining: Duration::ZERO,
        silent: Duration::ZERO,
        inbound: false,
        answered: false,
        packets: [0; 2],
        bytes: [0; 2],
    };
    let mut records = [blank; 10];
    let mut cursor = Cursor::default();
    assert_eq!(old.gate.export(old.now, &mut cursor, &mut records), 2);
    assert_eq!(old.gate.export(old.now, &mut cursor, &mut records[2..]), 0);
    let mut new = Bench::new(n1());
    new.now = Instant::from_secs(5);
    for record in &records[..2] {
        new.gate.import(new.now, record).expect("room");
    }
    new.to6(&udp4(Z, 53, udp));
    new.secs(139);
    assert_eq!(new.sessions(), 2);
    new.secs(2);
    assert_eq!(new.sessions(), 1);
    assert_eq!(new.gate.import(new.now, &blank), Err(Reason::NotPref64));
}
