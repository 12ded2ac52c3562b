//! Measures how workers scale, and whether overload reduces throughput, on memory devices. The figure is the
//! CPU time of the workers' threads per packet, so that it is valid on a busy machine too.
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gate64::addr::{PortRange, Pref64, WorkerId, ZoneId};
use gate64::device::memory::{self, Frame, MemoryPeer};
use gate64::nat64;
use gate64::translator::Settings;
use gate64::worker::{self, Assignment, Started};
use gate64::xlat::RewriteRules;

#[path = "tables/targets.rs"]
#[expect(dead_code, reason = "every figure here has a lower bound")]
mod targets;

use targets::Bound;

const ROUNDS: usize = 10;
/// Packets delivered by each worker per round.
const PACKETS: usize = 200_000;
/// Queue length of a device in packets.
const QUEUE: usize = 4096;
/// Packets injected at once.
const OFFER: usize = 1024;

fn settings(worker: u8, workers: u8) -> Settings {
    let zone = nat64::Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: vec![Pref64::WELL_KNOWN],
        pool: 0,
        host_len: 128,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 1024,
        sessions_per_host: 1000,
        bindings_per_second: 0,
    };
    let pool = nat64::Pool { ranges: vec![("192.0.2.0/28".parse().expect("literal"), PortRange::ALL)] };
    Settings {
        worker: WorkerId(worker),
        workers,
        seed: u64::from(worker),
        owner_seed: 1,
        local: Default::default(),
        rules: RewriteRules::default(),
        siit: None,
        nat64: nat64::Settings { zones: vec![zone], pools: vec![pool], ..nat64::Settings::default() },
    }
}

fn packet(host: u16) -> Frame {
    let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host);
    let server = Pref64::WELL_KNOWN.embed(Ipv4Addr::new(8, 8, 8, 8));
    let mut bytes = Vec::new();
    let builder = etherparse::PacketBuilder::ipv6(client.octets(), server.octets(), 64).udp(5000, 53);
    builder.write(&mut bytes, &[7; 36]).expect("fits");
    Frame::plain(bytes)
}

/// The network of one worker.
struct Network {
    peer: MemoryPeer,
    /// A packet of each host of this worker.
    hosts: Vec<Frame>,
    next: usize,
    delivered: usize,
}

impl Network {
    /// Injects packets and takes the delivered ones. Packets beyond the queue's length are lost.
    fn round(&mut self, offer: usize) {
        let mut frames: VecDeque<_> =
            (0..offer).map(|n| self.hosts[(self.next + n) % self.hosts.len()].clone()).collect();
        self.next += offer;
        self.peer.inject_all(&mut frames);
        frames.clear();
        self.delivered += self.peer.take_all(&mut frames);
    }
}

/// Running workers and their networks.
struct Gateway {
    started: Started,
    networks: Vec<Network>,
}

impl Gateway {
    fn new(workers: u8, hosts: u16) -> Self {
        let owners = settings(0, workers).nat64.owners(1, workers);
        let (mut assignments, mut networks) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let (device, peer) = memory::pair(QUEUE).expect("eventfd");
            let is_owned = |host: &u16| {
                owners.source(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, *host)) == WorkerId(worker)
            };
            let hosts = (1..).filter(is_owned).take(usize::from(hosts)).map(packet).collect();
            networks.push(Network { peer, hosts, next: 0, delivered: 0 });
            assignments.push(Assignment {
                settings: settings(worker, workers),
                device: Box::new(device),
                saved: worker::Saved::default(),
            });
        }
        let started = worker::start(assignments, 1, 1024).expect("starts");
        let mut gateway = Self { started, networks };
        gateway.deliver(QUEUE, OFFER);
        gateway
    }

    /// Runs until every worker has delivered `packets`. Returns the CPU time per packet in nanoseconds.
    fn deliver(&mut self, packets: usize, offer: usize) -> f64 {
        let before = cpu_time();
        self.networks.iter_mut().for_each(|network| network.delivered = 0);
        while self.networks.iter().any(|network| network.delivered < packets) {
            for network in &mut self.networks {
                network.round(offer);
            }
            std::thread::yield_now();
        }
        let delivered: usize = self.networks.iter().map(|network| network.delivered).sum();
        (cpu_time() - before) as f64 / delivered as f64
    }

    fn stop(self) {
        self.started.workers.stop(Duration::from_secs(5));
    }
}

/// CPU time of the workers' threads in nanoseconds.
fn cpu_time() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok);
    let of_worker = tasks.map(|task| task.path()).filter(|task| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("worker-"))
    });
    of_worker
        .filter_map(|task| std::fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Compares two workers with one; each has 64 hosts.
fn scaling() {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let each = [1u8, 2].map(|workers| {
            let mut gateway = Gateway::new(workers, 64);
            let nanos = gateway.deliver(PACKETS, OFFER);
            gateway.stop();
            nanos
        });
        let ratio = 2.0 * each[0] / each[1];
        println!("one worker {:>6.0} ns a packet, two {:>6.0} ns: {ratio:.2} times", each[0], each[1]);
        ratios.push(ratio);
    }
    let ratio = Some(median(ratios));
    targets::report("two workers / one, by CPU time, median of ten", ratio, "", Bound::Least(1.7));
}

/// Injects twice the queue length at once, of one flow.
fn overload() {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let mut gateway = Gateway::new(1, 1);
        let peak = gateway.deliver(PACKETS, OFFER);
        let over = gateway.deliver(PACKETS, 2 * QUEUE);
        gateway.stop();
        println!("at peak {peak:>6.0} ns a packet, with too much offered {over:>6.0} ns: {:.2}", peak / over);
        ratios.push(peak / over);
    }
    let ratio = Some(median(ratios));
    targets::report("delivered with too much offered / peak, one flow", ratio, "", Bound::Least(0.9));
}

fn main() {
    scaling();
    overload();
}
