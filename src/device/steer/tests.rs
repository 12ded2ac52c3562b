use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use caps::{CapSet, Capability};

use super::*;
use crate::addr::Proto;
use crate::addr::{PortRange, Transport4, Transport6, ZoneId};
use crate::device::own_network::{own_network, run};
use crate::device::{Device, Waker, tun};
use crate::nat64::{self, StaticBinding, Zone};
use crate::wire::buf::{MAX_PACKET, PacketBuf};

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn owners(workers: u8, clients: &[(&str, u8)], pools: &[&str], statics: &[(Proto, &str, u16)]) -> Owners {
    let zone = |(n, (clients, host_len)): (usize, &(&str, u8))| Zone {
        id: ZoneId(n as u16),
        clients: vec![clients.parse().expect("literal")],
        pref64: Vec::new(),
        pool: 0,
        host_len: *host_len,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 2048,
        sessions_per_host: 8,
        bindings_per_second: 0,
    };
    let ranges = pools.iter().map(|net| (net.parse().expect("literal"), PortRange::ALL)).collect();
    let binding = |&(proto, addr, port): &(Proto, &str, u16)| StaticBinding {
        proto,
        v6: Transport6::new(Ipv6Addr::new(0x2001, 0xdb8, 1, port, 0, 0, 0, 9), port),
        v4: Transport4::new(addr.parse().expect("literal"), port),
    };
    let settings = nat64::Settings {
        zones: clients.iter().enumerate().map(zone).collect(),
        pools: vec![nat64::Pool { ranges }],
        statics: statics.iter().map(binding).collect(),
        unsolicited_syn: nat64::UnsolicitedSyn::Drop,
        address6: Ipv6Addr::LOCALHOST,
        address4: Ipv4Addr::LOCALHOST,
        ..nat64::Settings::default()
    };
    settings.owners(0x1234_5678, workers)
}

fn some_owners(workers: u8) -> Owners {
    owners(
        workers,
        &[("2001:db8:1::/48", 64), ("2001:db8:1:7::/64", 128), ("2001:db8:2::/64", 120)],
        &["192.0.2.64/28", "203.0.113.5/32", "198.18.0.0/24"],
        &[(Proto::Tcp, "192.0.2.70", 443), (Proto::Udp, "192.0.2.70", 5000), (Proto::Icmp, "203.0.113.5", 7)],
    )
}

/// A hash of `n`, to vary packets.
fn scatter(n: u32) -> u32 {
    (n.wrapping_mul(0x9e37_79b1) ^ n.rotate_left(15)).wrapping_mul(0x85eb_ca6b)
}

/// An IPv4 packet with `words` 32-bit words of options.
fn v4(protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, words: usize, rest: &[u8]) -> Vec<u8> {
    let header = 20 + 4 * words;
    let len = (header + rest.len()) as u16;
    let mut bytes = vec![0x40 | (header / 4) as u8, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.resize(header, 1);
    bytes.extend(rest);
    bytes
}

fn v6(src: Ipv6Addr) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    bytes.extend(src.octets());
    bytes.extend(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc633, 0x6407).octets());
    bytes.extend([0, 1, 0, 2, 0, 8, 0, 0]);
    bytes
}

fn ports(src: u16, dst: u16) -> Vec<u8> {
    [src.to_be_bytes(), dst.to_be_bytes(), [0, 8], [0, 0]].concat()
}

/// The IP protocol number.
const fn number(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Icmp => 1,
    }
}

/// Packets to the mapped address, one of each kind: direct, and quoted by an ICMP error.
fn packets_to(proto: Proto, mapped: Transport4, words: usize) -> Vec<Vec<u8>> {
    let id = mapped.port.to_be_bytes();
    let direct: Vec<Vec<u8>> = match proto {
        Proto::Icmp => [0u8, 8].map(|kind| vec![kind, 0, 0, 0, id[0], id[1], 0, 1]).into(),
        Proto::Tcp | Proto::Udp => vec![ports(53, mapped.port)],
    };
    let quoted = match proto {
        Proto::Icmp => vec![8, 0, 0, 0, id[0], id[1], 0, 1],
        Proto::Tcp | Proto::Udp => ports(mapped.port, 53),
    };
    let inner = v4(number(proto), mapped.addr, SERVER, words, &quoted);
    let error = [vec![3, 4, 0, 0, 0, 0, 5, 0], inner].concat();
    let direct = direct.into_iter().map(|rest| v4(number(proto), SERVER, mapped.addr, words, &rest));
    direct.chain([v4(1, Ipv4Addr::new(10, 0, 0, 1), mapped.addr, words, &error)]).collect()
}

fn assert_worker(steering: &Steering, packet: &[u8], worker: u8, what: &str) {
    let got = bpf::test_run(&steering.program, packet).expect("runs");
    assert_eq!(got, u32::from(worker), "{what}: {packet:02x?}");
}

fn assert_agreement(steering: &Steering, owners: &Owners) {
    for n in 0..400 {
        let bits = scatter(n);
        let host =
            Ipv6Addr::new(0x2001, 0xdb8, (n % 4) as u16, (bits % 9) as u16, 0, 0, 0, (bits >> 16) as u16);
        assert_worker(steering, &v6(host), owners.source(host).0, "IPv6 source");

        let addr =
            [[192, 0, 2, 64 + (n % 16) as u8], [203, 0, 113, 5], [198, 18, 0, bits as u8]][n as usize % 3];
        let port = if n % 5 == 0 { bits >> 22 } else { bits >> 16 } as u16;
        let mapped = Transport4::new(Ipv4Addr::from(addr), port);
        let proto = Proto::ALL[(bits >> 3) as usize % 3];
        let owner = owners.owner_of(proto, mapped).expect("a pool address");
        for packet in packets_to(proto, mapped, n as usize % 11) {
            assert_worker(steering, &packet, owner.0, &format!("{proto:?} to {mapped}"));
        }

        let mut fragment = v4(17, SERVER, mapped.addr, n as usize % 3, &ports(53, port));
        fragment[4..8].copy_from_slice(&[
            (bits >> 8) as u8,
            bits as u8,
            0x20 * (n % 2) as u8,
            1 + (n % 7) as u8,
        ]);
        let id = bits as u16;
        assert_worker(steering, &fragment, owners.datagram(SERVER, mapped.addr, 17, id).0, "fragment");
    }
}

#[test]
fn program_and_owners_agree() {
    own_network("program_and_owners_agree", || {
        for workers in [1, 2, 3, 8] {
            let owners = some_owners(workers);
            let steering = Steering::load(&owners).expect("the verifier accepts it");
            assert_agreement(&steering, &owners);
            for (proto, mapped, worker) in owners.statics() {
                for packet in packets_to(proto, mapped, 0) {
                    assert_worker(&steering, &packet, worker.0, "static binding");
                }
            }
        }
    });
}

#[test]
fn program_and_owners_agree_after_a_reload() {
    own_network("program_and_owners_agree_after_a_reload", || {
        let mut steering = Steering::load(&some_owners(4)).expect("loads");
        let new = owners(
            4,
            &[("2001:db8:1::/48", 56), ("2001:db8:3::/64", 64)],
            &["192.0.2.64/28", "203.0.113.4/31", "198.18.0.0/24"],
            &[(Proto::Tcp, "192.0.2.71", 443)],
        );
        steering.update(&new).expect("fits");
        assert_agreement(&steering, &new);
        let freed = Transport4::new(Ipv4Addr::new(192, 0, 2, 70), 443);
        let owner = new.owner_of(Proto::Tcp, freed).expect("a pool address");
        assert_worker(&steering, &packets_to(Proto::Tcp, freed, 0)[0], owner.0, "a removed binding");
    });
}

#[test]
fn packets_without_owner_are_distributed() {
    own_network("packets_without_owner_are_distributed", || {
        let owners = some_owners(4);
        let steering = Steering::load(&owners).expect("loads");
        let pooled = Ipv4Addr::new(192, 0, 2, 65);
        let to = |protocol, rest: &[u8]| v4(protocol, SERVER, pooled, 0, rest);
        let cases = [
            ("another protocol", to(47, &[0; 8])),
            ("truncated", to(6, &[0; 3])),
            ("no header", to(17, &[])),
        ];
        for (name, packet) in cases {
            assert_worker(&steering, &packet, owners.unowned(SERVER, pooled).0, name);
        }
        for n in 0..100 {
            let elsewhere = Transport4::new(Ipv4Addr::from(0x0a00_0000 | scatter(n) >> 8), 999);
            let owner = owners.unowned(SERVER, elsewhere.addr);
            assert_worker(&steering, &packets_to(Proto::Udp, elsewhere, 0)[0], owner.0, "no pool address");
            // An ICMP error is selected by the packet that it quotes, which was sent from there.
            let owner = owners.unowned(elsewhere.addr, elsewhere.addr);
            assert_worker(&steering, &packets_to(Proto::Udp, elsewhere, 0)[1], owner.0, "an error");
        }
        assert_worker(&steering, &[0x50; 40], 0, "not IP");
        let cut = to(1, &[3, 4, 0, 0, 0, 0, 5, 0, 0x45, 0]);
        assert!(bpf::test_run(&steering.program, &cut).expect("runs") < 4, "a truncated quoted packet");
    });
}

#[test]
fn the_capabilities_of_the_unit_suffice() {
    own_network("the_capabilities_of_the_unit_suffice", || {
        let unit = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN];
        caps::set(None, CapSet::Effective, &unit.into()).expect("fewer capabilities");
        let owners = some_owners(4);
        let steering = Steering::load(&owners).expect("the verifier accepts it");
        assert_agreement(&steering, &owners);
    });
}

#[test]
fn packets_arrive_at_the_queue_of_their_owner() {
    own_network("packets_arrive_at_the_queue_of_their_owner", || {
        let settings = tun::Settings { name: "gate%d".into(), queues: 3, mtu: 1500, offloads: true };
        let (interface, mut queues) = tun::open(&settings, Vec::new()).expect("opens");
        let owners = owners(3, &[("2001:db8:1::/48", 64)], &["10.9.0.0/24"], &[]);
        Steering::load(&owners).and_then(|s| s.attach(&queues[0])).expect("attaches");
        run(&format!("ip addr add 10.9.0.1/24 dev {}", interface.name()));
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).expect("own address");
        let waker = Waker::new().expect("eventfd");
        let mut packets = [PacketBuf::new(MAX_PACKET)];
        for n in 0..60 {
            let to = Transport4::new(Ipv4Addr::new(10, 9, 0, 2 + (n % 7) as u8), scatter(n) as u16 | 1);
            socket.send_to(&[7], (to.addr, to.port)).expect("sent");
            let queue = &mut queues[usize::from(owners.owner_of(Proto::Udp, to).expect("a pool address").0)];
            loop {
                queue.wait(&waker, Some(Duration::from_secs(20))).expect("waits");
                assert_eq!(queue.recv(&mut packets).expect("readable"), 1, "{to} arrived");
                if packets[0].bytes()[0] == 0x45 {
                    break;
                }
            }
            assert_eq!(packets[0].bytes()[22..24], to.port.to_be_bytes());
        }
    });
}
