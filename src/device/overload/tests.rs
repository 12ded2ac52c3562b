use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use caps::{CapSet, Capability};

use super::queues::Limits;
use super::*;
use crate::addr::{HostKey, PortRange, ZoneId};
use crate::device::own_network::{own_network, run};
use crate::device::{Device, tun};
use crate::nat64;
use crate::ownership::Claims;
use crate::ownership::Owners;
use crate::siit;
use crate::wire::buf::{MAX_PACKET, PacketBuf};

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const POOLED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 65);
const SECOND: u64 = 1_000_000_000;
/// Time for a unit: so long that no test reaches the next one.
const UNIT: u64 = 1000 * SECOND;
/// Packets of 48 and of 28 bytes that a host may send at once: 64 units, and the packet that exceeds them.
const BURST6: usize = 63;
const BURST4: usize = 64;

/// What a filter knows of its hosts.
struct Known {
    owners: Owners,
    zones: Vec<nat64::Zone>,
    siit: Option<siit::Settings>,
}

impl Known {
    fn hosts(&self) -> Hosts<'_> {
        Hosts { owners: &self.owners, zones: &self.zones, siit: self.siit.as_ref() }
    }

    fn site(mut self, len: u8) -> Self {
        self.zones[0].site_len = len;
        self
    }

    fn mapped(mut self, change: impl FnOnce(&mut siit::Settings)) -> Self {
        change(self.siit.get_or_insert_default());
        self
    }
}

fn owners(clients: &str, host_len: u8) -> Known {
    let clients = clients.parse().expect("literal");
    let zone = nat64::Zone {
        id: ZoneId(0),
        clients: vec![clients],
        pref64: Vec::new(),
        pool: 0,
        host_len,
        site_len: 64,
        sharing: nat64::Sharing::default(),
        ports_per_host: 256,
        sessions_per_host: 1,
        bindings_per_second: 0,
        hosts: Vec::new(),
        new_sessions: Default::default(),
    };
    let claims = Claims {
        clients: vec![(clients, host_len)],
        pools: vec!["192.0.2.64/28".parse().expect("literal")],
        statics: Vec::new(),
    };
    Known { owners: Owners::new(&claims, 7, 1), zones: vec![zone], siit: None }
}

fn limit(filter: &OverloadFilter, deadline: u64) {
    let limits = Limits { deadline, depth: 64 * UNIT, known_cost: UNIT, unknown_cost: UNIT / 4 };
    filter.queues.set_limits(0, limits).expect("a queue");
}

fn counts(filter: &OverloadFilter) -> [u64; 2] {
    let counts = filter.queues.counts(0).expect("a queue");
    [counts.accepted, counts.refused]
}

/// A filter whose worker is behind: it allows each known host, and each unknown one, as many units as the depth has.
fn behind(known: &Known) -> OverloadFilter {
    let filter = OverloadFilter::load(&known.hosts()).expect("the verifier accepts it");
    limit(&filter, sys::monotonic() + 1000 * SECOND);
    filter
}

fn host(site: u16, number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, site, 0, 0, 0, number)
}

fn assigned(host: Ipv6Addr, len: u8, first: u16) -> Event {
    let ports = PortRange::new(first, first + 255).expect("a range");
    Event::BlockAssigned { host: HostKey::new(ZoneId(0), host, len), addr: POOLED, ports }
}

fn released(host: Ipv6Addr, len: u8, first: u16) -> Event {
    let ports = PortRange::new(first, first + 255).expect("a range");
    Event::BlockReleased { host: HostKey::new(ZoneId(0), host, len), addr: POOLED, ports }
}

fn v6(src: Ipv6Addr, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    bytes.extend(src.octets());
    bytes.extend(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc633, 0x6407).octets());
    bytes.extend([0, 1, 0, 2, 0, 8, 0, 0]);
    bytes.resize(48 + payload, 0);
    bytes
}

fn v4(src: Ipv4Addr, protocol: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 20 + rest.len() as u8, 0, 1, flags, 0, 64, protocol, 0, 0];
    bytes.extend(src.octets());
    bytes.extend(POOLED.octets());
    bytes.extend(rest);
    bytes
}

fn udp4(src: Ipv4Addr, port: u16) -> Vec<u8> {
    v4(src, 17, 0, &[[0, 53], port.to_be_bytes(), [0, 8], [0, 0]].concat())
}

/// Whether the filter passes the packet on, unchanged.
fn passes(filter: &OverloadFilter, packet: &[u8]) -> bool {
    match bpf::test_run(&filter.program, packet).expect("runs") {
        0 => false,
        len => {
            assert_eq!(len as usize, packet.len(), "the whole packet");
            true
        }
    }
}

/// How many of `count` packets pass.
fn passing(filter: &OverloadFilter, count: usize, packet: impl Fn(usize) -> Vec<u8>) -> usize {
    (0..count).filter(|n| passes(filter, &packet(*n))).count()
}

#[test]
fn an_idle_filter_passes_every_packet() {
    own_network("an_idle_filter_passes_every_packet", || {
        let filter = behind(&owners("2001:db8:1::/48", 64));
        for deadline in [0, 1, sys::monotonic() - 1] {
            limit(&filter, deadline);
            assert!(!filter.monitor().is_active());
            assert_eq!(passing(&filter, 1000, |_| v6(host(0, 1), 0)), 1000);
        }
        assert_eq!(counts(&filter), [3000, 0]);
    });
}

#[test]
fn a_known_host_has_a_share_of_its_own() {
    own_network("a_known_host_has_a_share_of_its_own", || {
        let mut filter = behind(&owners("2001:db8:1::/48", 128));
        assert!(filter.monitor().is_active());
        filter.note(&assigned(host(0, 1), 128, 1024));
        filter.note(&assigned(host(0, 2), 128, 2048));
        assert_eq!(passing(&filter, 1000, |_| v6(host(0, 1), 0)), BURST6);
        assert_eq!(passing(&filter, 20, |_| v6(host(0, 2), 0)), 20, "its neighbour");
        assert_eq!(passing(&filter, 20, |_| udp4(SERVER, 1030)), 20, "the other direction");
        assert_eq!(passing(&filter, 1000, |n| udp4(SERVER, 2048 + n as u16 % 256)), BURST4, "to one host");
        assert_eq!(passing(&filter, 20, |_| v6(host(0, 3), 0)), 20, "an unknown host");
        assert_eq!(counts(&filter)[1], (2000 - BURST6 - BURST4) as u64);
        // A host is known as long as it has a block.
        filter.note(&assigned(host(0, 1), 128, 4096));
        filter.note(&released(host(0, 1), 128, 1024));
        assert_eq!(passing(&filter, 20, |_| v6(host(0, 1), 0)), 0);
        filter.note(&released(host(0, 1), 128, 4096));
        assert_eq!(passing(&filter, 20, |_| v6(host(0, 1), 0)), 20, "unknown now");
    });
}

#[test]
fn hosts_of_a_long_packet_pay_more() {
    own_network("hosts_of_a_long_packet_pay_more", || {
        let mut filter = behind(&owners("2001:db8:1::/48", 128));
        filter.note(&assigned(host(0, 1), 128, 1024));
        // Two units each.
        assert_eq!(passing(&filter, 100, |_| v6(host(0, 1), (1 << 11) - 48)), 33);
    });
}

#[test]
fn newcomers_of_a_site_compete_among_themselves() {
    own_network("newcomers_of_a_site_compete_among_themselves", || {
        let mut filter = behind(&owners("2001:db8:1::/48", 128));
        filter.note(&assigned(host(0, 1), 128, 1024));
        assert_eq!(passing(&filter, 1000, |_| v6(host(3, 9), 0)), BURST6, "one host of a site");
        assert_eq!(passing(&filter, 1000, |n| v6(host(0, 2 + n as u16), 0)), 2 * BURST6, "one site");
        assert_eq!(passing(&filter, 20, |_| v6(host(1, 1), 0)), 20, "another site");
        let all = passing(&filter, 5000, |n| v6(host(100 + n as u16, 1), 0));
        assert!((40..=50).contains(&all), "all sites: {all} of the last 251 - 209");
        assert_eq!(passing(&filter, 20, |_| v6(host(0, 1), 0)), 20, "a known host of that site");
    });
}

#[test]
fn the_zone_says_how_long_a_site_is() {
    own_network("the_zone_says_how_long_a_site_is", || {
        for (len, want) in [(48, 2 * BURST6), (64, 4 * BURST6)] {
            let mut filter = behind(&owners("2001:db8::/32", 128).site(64));
            filter.update(&owners("2001:db8::/32", 128).site(len).hosts()).expect("fits");
            let passed = passing(&filter, 1000, |n| v6(host(n as u16 % 8, n as u16), 0));
            assert!((want - 8..=want + 8).contains(&passed), "sites of /{len}: {passed}");
        }
        // A host that is its own site is not charged twice.
        let filter = behind(&owners("2001:db8::/32", 64).site(64));
        assert_eq!(passing(&filter, 200, |n| v6(host(1, n as u16), 0)), BURST6);
    });
}

#[test]
fn mapped_hosts_are_known() {
    own_network("mapped_hosts_are_known", || {
        let relay = |inside| {
            owners("2001:db8:1::/48", 128).mapped(|siit| {
                siit.inside = inside;
                siit.eams.push("203.0.113.0/31 = 2001:db8:7::/63".parse().expect("literal"));
                siit.hosts.push("198.18.0.0/24".parse().expect("literal"));
                siit.pref64 = Some("2001:db8:64::/96".parse().expect("literal"));
            })
        };
        let client = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, n);
        let embedded = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc612, n);
        let to = |src: Ipv6Addr, dst: Ipv6Addr| {
            let mut packet = v6(src, 0);
            packet[24..40].copy_from_slice(&dst.octets());
            packet
        };
        let to4 = |dst: Ipv4Addr, src: Ipv4Addr| {
            let mut packet = udp4(src, 1030);
            packet[16..20].copy_from_slice(&dst.octets());
            packet
        };
        let mut filter = behind(&relay(siit::Inside::V6));
        // Unknown hosts of many sites use up the share of all of them.
        assert!(passing(&filter, 5000, |n| v6(host(100 + n as u16, 1), 0)) < 5 * BURST6);
        assert_eq!(passing(&filter, 20, |_| v6(host(9, 1), 0)), 0, "an unknown host");
        // The mapping gives a /64 to each host.
        assert_eq!(passing(&filter, 200, |n| v6(client(n as u16), 0)), BURST6, "by an explicit mapping");
        assert_eq!(passing(&filter, 200, |_| v6(embedded(7), 0)), BURST6, "by RFC 6052");
        assert_eq!(passing(&filter, 20, |_| v6(embedded(8), 0)), 20, "its neighbour");
        assert_eq!(passing(&filter, 200, |_| to4([203, 0, 113, 1].into(), SERVER)), BURST4, "from IPv4");
        assert_eq!(passing(&filter, 20, |_| to4([203, 0, 113, 2].into(), SERVER)), 0, "no mapping");
        assert_eq!(passing(&filter, 20, |_| to4([198, 18, 0, 9].into(), SERVER)), 20);
        // A CLAT has its hosts on the other side.
        filter.update(&relay(siit::Inside::V4).hosts()).expect("fits");
        assert_eq!(passing(&filter, 20, |_| v6(embedded(10), 0)), 0, "a server");
        assert_eq!(passing(&filter, 200, |_| to(host(9, 1), embedded(11))), BURST6, "to a mapped host");
        assert_eq!(
            passing(&filter, 200, |_| to4(SERVER, [198, 18, 0, 12].into())),
            BURST4,
            "from a mapped host"
        );
        filter.update(&owners("2001:db8:1::/48", 128).hosts()).expect("fits");
        assert_eq!(passing(&filter, 20, |_| v6(embedded(13), 0)), 0, "no mappings any more");
    });
}

#[test]
fn packets_without_a_port_count_for_their_sender() {
    own_network("packets_without_a_port_count_for_their_sender", || {
        let mut filter = behind(&owners("2001:db8:1::/48", 64));
        filter.note(&assigned(host(0, 1), 64, 0x4400));
        let sender = |n: u8| Ipv4Addr::new(203, 0, n, 5);
        let error = [3, 4, 0, 0, 0, 0, 5, 0, 0x45, 0];
        assert_eq!(passing(&filter, 200, |_| v4(sender(1), 1, 0, &error)), BURST4, "errors");
        assert_eq!(passing(&filter, 200, |_| v4(sender(2), 17, 0x20, &[0, 53, 0x44, 0, 0, 8, 0, 0])), BURST4);
        assert_eq!(passing(&filter, 200, |_| udp4(sender(3), 0x5500)), BURST4, "no block");
        let reply = [0, 0, 0, 0, 0x44, 1, 0, 1];
        assert_eq!(passing(&filter, 200, |_| v4(sender(4), 1, 0, &reply)), BURST4, "a known host");
        assert_eq!(passing(&filter, 20, |_| udp4(sender(5), 0x4480)), 0, "that host");
    });
}

#[test]
fn a_reload_changes_hosts() {
    own_network("a_reload_changes_hosts", || {
        let mut filter = behind(&owners("2001:db8:1::/48", 64));
        filter.note(&assigned(host(0, 1), 64, 1024));
        assert_eq!(passing(&filter, 200, |n| v6(host(0, n as u16), 0)), BURST6, "a host is a /64");
        filter.update(&owners("2001:db8:1::/48", 128).hosts()).expect("fits");
        assert_eq!(passing(&filter, 20, |n| v6(host(0, 1 + n as u16), 0)), 20, "unknown hosts of /128");
    });
}

#[test]
fn the_capabilities_of_the_unit_suffice() {
    own_network("the_capabilities_of_the_unit_suffice", || {
        let unit = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN];
        caps::set(None, CapSet::Effective, &unit.into()).expect("fewer capabilities");
        let mut filter = behind(&owners("2001:db8:1::/48", 64));
        caps::set(None, CapSet::Effective, &[Capability::CAP_NET_ADMIN].into()).expect("fewer capabilities");
        filter.note(&assigned(host(0, 1), 64, 1024));
        assert_eq!(passing(&filter, 200, |_| v6(host(0, 1), 0)), BURST6);
        assert_eq!(passing(&filter, 20, |_| v6(host(1, 1), 0)), 20);
    });
}

#[test]
fn the_kernel_runs_it_in_front_of_the_queue() {
    own_network("the_kernel_runs_it_in_front_of_the_queue", || {
        let settings = tun::Settings { name: "gate%d".into(), queues: 1, mtu: 1500, offloads: true };
        let (interface, mut queues) = tun::open(&settings, Vec::new()).expect("opens");
        let owners = owners("2001:db8:1::/48", 64);
        let filter = OverloadFilter::begin(&owners.hosts(), &queues[0]).expect("attaches");
        queues[0].set_overload(filter.control(0));
        run(&format!("ip addr add 192.0.2.65/28 dev {}", interface.name()));
        let socket = UdpSocket::bind((POOLED, 0)).expect("own address");
        let mut packets: Vec<_> = (0..64).map(|_| PacketBuf::new(MAX_PACKET)).collect();
        let mut arriving = |queue: &mut tun::Queue| {
            (0..500).for_each(|_| drop(socket.send_to(&[7], "192.0.2.66:5000")));
            let mut arrived = 0;
            loop {
                let count = queue.recv(&mut packets).expect("readable");
                arrived += packets[..count].iter().filter(|p| p.bytes()[0] == 0x45).count();
                if count == 0 {
                    return arrived;
                }
            }
        };
        assert_eq!(arriving(&mut queues[0]), 500);
        limit(&filter, sys::monotonic() + 1000 * SECOND);
        assert_eq!(arriving(&mut queues[0]), BURST4);
        assert_eq!([queues[0].filtered(), queues[0].filtered()], [500 - BURST4 as u64, 0]);
    });
}
