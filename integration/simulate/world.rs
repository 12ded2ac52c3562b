//! A client, a gateway of one or more workers, a server, and the links between them.

use std::collections::BTreeMap;

use gate64::addr::WorkerId;
use gate64::time::Instant;
use gate64::translator::{ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::{PacketBuf, Segmentation};
use smoltcp::wire::IpAddress;

use super::host::Host;
use super::offload;
use crate::script::fixture::fixture;

/// Loss and duplication of a link in thousandths, and its delay.
#[derive(Clone, Copy)]
pub(super) struct Link {
    lose: u64,
    repeat: u64,
    micros: u64,
    /// Additional delay of up to this many microseconds, which reorders packets.
    jitter: u64,
}

impl Link {
    pub(super) const GOOD: Self = Self { lose: 0, repeat: 0, micros: 5_000, jitter: 0 };
    pub(super) const BAD: Self = Self { lose: 30, repeat: 20, micros: 5_000, jitter: 4_000 };
}

/// Where a packet arrives.
enum At {
    Gateway(PacketBuf),
    Client(Vec<u8>),
    Server(Vec<u8>),
}

pub(super) struct World {
    pub(super) client: Host,
    pub(super) server: Host,
    workers: Vec<Translator>,
    extra: ExtraPackets,
    /// Packets in flight, by time of arrival and order of sending.
    under_way: BTreeMap<(u64, u64), At>,
    sent: u64,
    now: u64,
    random: u64,
    link: Link,
    offload: bool,
    /// Packets that reached the gateway.
    pub(super) packets: u64,
    /// Super-packets translated, from the client and from the server.
    pub(super) super_packets: [u32; 2],
}

impl World {
    pub(super) fn new(seed: u64, link: Link, workers: u8, offload: bool) -> Self {
        let settings = Settings { workers, seed, ..fixture() };
        let worker = |n| Translator::new(Settings { worker: WorkerId(n), ..settings.clone() }, 1);
        Self {
            client: Host::new(IpAddress::v6(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2), seed),
            server: Host::new(IpAddress::v4(198, 51, 100, 7), seed + 1),
            workers: (0..workers).map(worker).collect(),
            extra: ExtraPackets::new(64, 65_535 + 40),
            under_way: BTreeMap::new(),
            sent: 0,
            now: 1_000_000,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            link,
            offload,
            packets: 0,
            super_packets: [0; 2],
        }
    }

    /// The current time in microseconds.
    pub(super) fn micros(&self) -> u64 {
        self.now
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % below
    }

    /// Runs until `done`, or until no event is left within ten minutes. Returns whether it is done.
    pub(super) fn run(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + 600_000_000;
        while self.now < end {
            self.deliver();
            self.hosts_work();
            if done(self) {
                return true;
            }
            self.hosts_work();
            self.expire();
            let Some(next) = self.next() else { return false };
            self.now = next.max(self.now + 1);
        }
        false
    }

    /// The time of the next event.
    fn next(&mut self) -> Option<u64> {
        let now = self.now as i64;
        let hosts = [self.client.poll_at(now), self.server.poll_at(now)];
        let hosts = hosts.into_iter().flatten().map(|at| at.max(0) as u64);
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        // Session timeouts do not count: they come long after the hosts are idle.
        hosts.chain(arrival).min()
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            match entry.remove() {
                At::Client(packet) => self.client.arrive(packet),
                At::Server(packet) => self.server.arrive(packet),
                At::Gateway(packet) => self.translate(packet),
            }
        }
    }

    fn hosts_work(&mut self) {
        let from_client = self.client.poll(self.now as i64);
        let from_server = self.server.poll(self.now as i64);
        for packets in [from_client, from_server] {
            let packets = match self.offload {
                true => offload::join(packets),
                false => packets.iter().map(|packet| PacketBuf::with_packet(packet)).collect(),
            };
            for packet in packets {
                self.send(|| At::Gateway(copy(&packet)));
            }
        }
    }

    /// Sends a packet on a link.
    fn send(&mut self, packet: impl Fn() -> At) {
        if self.random(1000) < self.link.lose {
            return;
        }
        let copies = if self.random(1000) < self.link.repeat { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.random(self.link.jitter + 1);
            self.sent += 1;
            self.under_way.insert((self.now + self.link.micros + jitter, self.sent), packet());
        }
    }

    /// Translates one packet at a random worker, as without a steering program.
    fn translate(&mut self, packet: PacketBuf) {
        self.packets += 1;
        if packet.offload.segmentation != Segmentation::None {
            self.super_packets[usize::from(packet.bytes()[0] >> 4 == 4)] += 1;
        }
        let first = self.random(self.workers.len() as u64) as u8;
        let mut work = vec![(WorkerId(first), packet)];
        let mut hops = 0;
        while let Some((worker, packet)) = work.pop() {
            hops += 1;
            assert!(hops < 20, "a packet is handed over in a loop");
            let mut batch = [packet];
            let mut verdict = [Verdict::Hold];
            self.extra.clear();
            let now = Instant::from_nanos(self.now * 1000);
            self.workers[usize::from(worker.0)].process(now, &mut batch, &mut verdict, &mut self.extra);
            let [packet] = batch;
            let more: Vec<_> =
                self.extra.packets().iter().map(|extra| (extra.to, copy(&extra.packet))).collect();
            match verdict[0] {
                Verdict::Forward | Verdict::Reject(_) => self.emit(&packet),
                Verdict::HandOver(to) => work.push((to, handed_on(packet))),
                Verdict::Hold | Verdict::Drop(_) => {}
            }
            for (to, packet) in more {
                match to {
                    Some(to) => work.push((to, handed_on(packet))),
                    None => self.emit(&packet),
                }
            }
        }
    }

    fn emit(&mut self, packet: &PacketBuf) {
        for packet in offload::cut(packet) {
            match packet[0] >> 4 {
                4 => self.send(|| At::Server(packet.clone())),
                _ => self.send(|| At::Client(packet.clone())),
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::from_nanos(self.now * 1000);
        for n in 0..self.workers.len() {
            self.extra.clear();
            while self.workers[n].expire(now, 64, &mut self.extra) {}
            let sent: Vec<_> = self.extra.packets().iter().map(|extra| copy(&extra.packet)).collect();
            sent.iter().for_each(|packet| self.emit(packet));
        }
    }
}

fn copy(packet: &PacketBuf) -> PacketBuf {
    let mut copy = PacketBuf::with_packet(packet.bytes());
    copy.offload = packet.offload;
    copy.meta = packet.meta;
    copy
}

fn handed_on(mut packet: PacketBuf) -> PacketBuf {
    packet.meta.hops = packet.meta.hops.max(1);
    packet
}
