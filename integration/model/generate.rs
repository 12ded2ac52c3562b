//! Random runs: settings, then steps. Decisions come from a seed or from a fuzzer's bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gate64::addr::Proto;
use gate64::addr::{Pref64, Transport6};

use super::address::embed;
use super::datagram::{Cut, Order};
use super::play::Step;
use crate::script::packet::{Body, Csum, Frag, FragId, Num, Packet, Quote, filler};

/// The source of decisions.
pub(crate) enum Random<'a> {
    Seed(u64),
    Bytes(&'a [u8]),
}

impl Random<'_> {
    /// A number below `bound`, at most 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        match self {
            Self::Seed(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                (*state >> 20) as usize % bound
            }
            Self::Bytes(bytes) => match bytes.split_first() {
                Some((first, rest)) => {
                    *bytes = rest;
                    usize::from(*first) % bound
                }
                None => 0,
            },
        }
    }

    pub(super) fn seed(seed: u64) -> Self {
        Self::Seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Whether the bytes are used up.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// True once in `times`, on average.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const CLIENTS: [&str; 6] =
    ["2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::80", "2001:db8:2::2", "2001:db8:2::3", "2001:db8:2:1::4"];
/// Sources that are dropped: outside every zone, under a pref64, and illegal ones.
const UNSERVED: [&str; 4] = ["2001:db8:9::9", "2001:db8:64::102:304", "fe80::1", "ff02::1"];
const SERVERS: [[u8; 4]; 5] =
    [[198, 51, 100, 7], [198, 51, 100, 8], [192, 0, 2, 77], [8, 8, 8, 8], [10, 0, 0, 1]];
const PREFIXES: [&str; 5] =
    ["2001:db8:64::/96", "2001:db8:65::/96", "2001:db8:6600::/40", "2001:db8:67:1::/64", "64:ff9b::/96"];
/// The prefix of servers for mapped hosts, the mappings, and hosts that have one.
const STATELESS: &str = "2001:db8:68::/96";
const MAPPINGS: [&str; 2] = ["203.0.113.64/30 = 2001:db8:1::40/126", "203.0.113.128/26 = 2001:db8:5::/64"];
const MAPPED: [([u8; 4], &str); 2] =
    [([203, 0, 113, 65], "2001:db8:1::41"), ([203, 0, 113, 152], "2001:db8:5:0:6000::")];
/// Addresses of the host that are also those of servers, of clients, and broadcast and anycast addresses.
const LOCAL: [&str; 6] = [
    "",
    "",
    "198.51.100.8/32",
    "198.51.100.1/29 10.0.0.1/8",
    "2001:db8:1::3/64",
    "2001:db8:1::80/128 2001:db8:2::2/127 192.0.2.77/31",
];
const CLIENT_PORTS: [u16; 13] = [0, 40000, 40001, 40002, 40003, 40256, 41000, 500, 501, 7, 80, 1024, 65535];
const SERVER_PORTS: [u16; 5] = [0, 53, 80, 5555, 40000];
const SYN: u8 = 2;
/// FIN, SYN, RST, ACK and combinations; no TCP sends the last four.
const FLAGS: [u8; 14] = [SYN, SYN, SYN, 0x12, 0x10, 0x10, 0x18, 0x11, 0x11, 0x04, 0x14, 0x03, 0x06, 0];

/// A flow that later steps reuse.
#[derive(Clone, Copy)]
struct Flow {
    proto: Proto,
    client: Transport6,
    server: Ipv4Addr,
    server_port: u16,
    pref64: Pref64,
}

/// Generates settings and steps. It remembers what it generated, never the results.
pub(crate) struct Generator<'a> {
    random: Random<'a>,
    /// The prefixes of both zones.
    prefixes: [Vec<Pref64>; 2],
    /// The latest flows.
    flows: Vec<Flow>,
    /// Whether some hosts are translated without state.
    mapped_hosts: bool,
    /// The identification of the last datagram in fragments.
    ids: u16,
}

/// How many flows are remembered.
const FLOWS: usize = 12;

impl<'a> Generator<'a> {
    pub(crate) fn new(random: Random<'a>) -> Self {
        Self { random, prefixes: [Vec::new(), Vec::new()], flows: Vec::new(), mapped_hosts: false, ids: 0 }
    }

    /// Whether the source of decisions is used up.
    pub(crate) fn is_over(&self) -> bool {
        self.random.is_over()
    }

    /// The initial settings. Settings that a reload may change are drawn in the same way.
    pub(crate) fn settings(&mut self) -> Vec<String> {
        let mut lines = vec!["error_rate 1000000".to_owned(), "error_burst 1000000".to_owned()];
        if self.random.once_in(12) {
            lines[0] = "error_rate 0".to_owned();
        }
        let host = self.random.of(&[128, 128, 64]);
        lines.push(format!("seed {}", self.random.below(256)));
        lines.push(self.pool());
        lines.push("pools 203.0.113.9/32:1008-2047".to_owned());
        lines.push(self.prefixes(0));
        lines.push(format!("zone 1 clients=2001:db8:2::/48 pool={} host={host}", self.random.below(2)));
        lines.push(self.prefixes(1));
        lines.push(format!("zone 0 host={}", self.random.of(&[128, 64])));
        for _ in 0..self.random.below(6) {
            lines.push(self.changeable());
        }
        self.mapped_hosts = self.random.once_in(3);
        if self.mapped_hosts {
            lines.push(format!("siit pref64 {STATELESS}"));
            lines.extend(MAPPINGS.map(|mapping| format!("siit eam {mapping}")));
        }
        let workers = self.random.of(&[1, 1, 2, 4]);
        if workers > 1 {
            lines.push(format!("workers {workers}"));
        }
        match self.random.below(8) {
            0 => lines.push(format!("limit sessions {}", 3 + self.random.below(20))),
            1 => lines.push(format!("limit blocks {}", 1 + self.random.below(4))),
            2 => lines.push(format!("limit hosts {}", 1 + self.random.below(3))),
            3 => lines.push(format!("limit unsolicited_syns {}", 1 + self.random.below(3))),
            _ => lines.push("limit sessions 200".to_owned()),
        }
        lines
    }

    fn pool(&mut self) -> String {
        let ranges = [
            "T",
            "T",
            "T:40000-40003",
            "T:40960-41983 T:496-543",
            "203.0.113.0/31:39990-40500",
            "203.0.113.1/32:1-65535 203.0.113.2/32:40000-40003",
            "T:256-700",
        ];
        format!("pool {}", self.random.of(&ranges))
    }

    fn prefixes(&mut self, zone: usize) -> String {
        let own = &PREFIXES[zone..];
        let (a, b) = (self.random.of(own), self.random.of(own));
        let named = if a == b || self.random.once_in(2) { vec![a] } else { vec![a, b] };
        self.prefixes[zone] = named.iter().map(|text| text.parse().expect("literal")).collect();
        format!("zone {zone} pref64={}", named.join(","))
    }

    /// One setting that a reload may change.
    fn changeable(&mut self) -> String {
        let random = &mut self.random;
        match random.below(29) {
            0 => "filtering address".to_owned(),
            1 => "filtering endpoint".to_owned(),
            2 => format!("filtering {} address", random.of(&["tcp", "udp", "icmp"])),
            3 => format!("inbound_refresh {}", random.of(&["on", "off"])),
            4 => format!("parity {}", random.of(&["on", "off"])),
            5 => format!("unsolicited_syn {}", random.of(&["store", "drop"])),
            6 => {
                let timers =
                    ["udp 120s", "udp 300s", "icmp 60s", "icmp 90s", "tcp_opening 250s", "tcp_closing 260s"];
                format!("timer {}", random.of(&timers))
            }
            7 => format!("timer port_quarantine {}", random.of(&["120s", "10s", "0s"])),
            8 => format!("zone {} blocks={}", random.below(2), 1 + random.below(3)),
            9 => format!("zone {} sessions={}", random.below(2), 2 + random.below(12)),
            10 => "static tcp 2001:db8:1::80.80 T.80".to_owned(),
            11 => "static udp 2001:db8:1::80.40000 T.40001".to_owned(),
            12 => "static icmp 2001:db8:2::2.7 203.0.113.9.7".to_owned(),
            13 => "no_statics".to_owned(),
            14 => {
                let forbidden = [
                    "deny 198.51.100.8/32",
                    "deny 10.0.0.0/8",
                    "rule 0 deny to=198.51.100.8/32",
                    "rule 0 deny proto=tcp ports=80,443",
                    "rule 1 deny proto=icmp,udp",
                    "rule 1 allow to=198.51.100.0/29 ports=53",
                    "no_rules 0",
                    "no_rules 1",
                ];
                random.of(&forbidden).to_string()
            }
            15 => format!("private_under_well_known {}", random.of(&["on", "off"])),
            16 => format!("mtu4 {}", random.of(&["1500", "1200", "576"])),
            17 => format!("mtu6 {}", random.of(&["1500", "1400"])),
            18 => format!("tos {}", random.of(&["copy", "16"])),
            19 => format!("filtering {} port", random.of(&["tcp", "udp", "icmp"])),
            20 => format!("errors_under_well_known {}", random.of(&["on", "off"])),
            21 => format!("soft_pairing {}", random.of(&["on", "off"])),
            22 => "udp_port 53 30s".to_owned(),
            23 => format!("zone {} first={}", random.below(2), random.of(&[16, 32, 64, 256])),
            24 => format!("zone {} share={}", random.below(2), random.of(&[1, 40, 100])),
            25 => format!("zone {} site={}", random.below(2), random.of(&[48, 64])),
            26 => format!("silent_refusals {}", random.of(&["on", "off"])),
            27 => format!("reset_unknown_tcp {}", random.of(&["on", "off"])),
            _ => format!("traffic_class {}", random.of(&["copy", "8"])),
        }
    }

    /// A step.
    pub(crate) fn step(&mut self) -> Step {
        if self.mapped_hosts && self.random.once_in(5) {
            return self.stateless();
        }
        match self.random.below(64) {
            0..=23 => self.outward(),
            24..=43 => self.inward(),
            44..=49 => self.hairpin(),
            50..=54 => self.error(),
            55..=61 => Step::Wait(Duration::from_millis(250 * self.wait())),
            62 if self.random.once_in(3) => Step::Local(self.random.of(&LOCAL).to_owned()),
            62 => Step::Wait(Duration::from_millis(250 * self.wait())),
            _ => Step::Reload(self.reload()),
        }
    }

    /// In quarters of a second: mostly short, sometimes beyond every timeout.
    fn wait(&mut self) -> u64 {
        let random = &mut self.random;
        match random.below(16) {
            0..=9 => 1 + random.below(8) as u64,
            10..=12 => 4 * (1 + random.below(60) as u64),
            13 | 14 => 40 * (1 + random.below(30) as u64),
            _ => 4 * random.of(&[60, 120, 240, 300, 7200]),
        }
    }

    fn reload(&mut self) -> Vec<String> {
        match self.random.below(6) {
            0 => {
                let zone = self.random.below(2);
                vec![self.prefixes(zone)]
            }
            1 => vec![self.pool(), "pools 203.0.113.9/32:1008-2047".to_owned()],
            _ => (0..=self.random.below(2)).map(|_| self.changeable()).collect(),
        }
    }

    /// A flow: a remembered one, or a new and mostly valid one.
    fn flow(&mut self) -> Flow {
        if !self.flows.is_empty() && !self.random.once_in(3) {
            let at = self.random.below(self.flows.len());
            return self.flows[at];
        }
        let random = &mut self.random;
        let number = random.below(CLIENTS.len());
        let mut client = addr6(CLIENTS[number]);
        let own = &self.prefixes[number / 3];
        let mut pref64 = own[random.below(own.len())];
        let mut server: Ipv4Addr = random.of(&SERVERS).into();
        match random.below(60) {
            0 => client = addr6(random.of(&UNSERVED)),
            1 => pref64 = random.of(&PREFIXES).parse().expect("literal"),
            2 => server = random.of(&[[127, 0, 0, 1], [169, 254, 0, 1]]).into(),
            _ => {}
        }
        let client = Transport6::new(client, random.of(&CLIENT_PORTS));
        let (proto, server_port) = (random.of(&Proto::ALL), random.of(&SERVER_PORTS));
        let flow = Flow { proto, client, server, server_port, pref64 };
        match self.flows.len() {
            FLOWS => self.flows[random.below(FLOWS)] = flow,
            _ => self.flows.push(flow),
        }
        flow
    }

    fn body(&mut self, proto: Proto, src: u16, dst: u16) -> Body {
        let (src, dst) = (Num::Is(src), Num::Is(dst));
        match proto {
            Proto::Udp => Body::Udp { src, dst },
            Proto::Tcp => {
                let flags = self.random.of(&FLAGS);
                Body::Tcp { src, dst, flags, seq: 1000, ack: 0, win: 0x2000, mss: None }
            }
            Proto::Icmp => Body::Echo { id: src, seq: 1, reply: self.random.once_in(2) },
        }
    }

    /// Header fields other than addresses and ports.
    fn packet(&mut self, src: IpAddr, dst: IpAddr, body: Body) -> Packet {
        let random = &mut self.random;
        let len = match random.below(20) {
            0 => 1232 + random.below(30),
            1 => 1400 + random.below(80),
            2 => 500 + random.below(200),
            _ => random.below(20),
        };
        let mut packet = Packet::new(src, dst, body, filler(len));
        match random.below(40) {
            0 => packet.hop = Some(random.below(3) as u8),
            1 => packet.tos = random.below(256) as u8,
            2 => packet.csum = Csum::Bad,
            3 if matches!(packet.body, Body::Udp { .. }) => packet.csum = Csum::Zero,
            4 => packet.id = Some(random.below(256) as u16).filter(|_| src.is_ipv4()),
            5 => packet.body = Body::Proto(132),
            6 if src.is_ipv6() => {
                let id = FragId::Is(random.below(256) as u32 | 0x1_0000);
                packet.frag = Some(Frag { id, offset: 0, len: None });
            }
            7 if src.is_ipv6() => packet.ext = vec![(60, vec![0, 1, 4, 0, 0, 0, 0])],
            _ => {}
        }
        packet.df = src.is_ipv4() && random.once_in(2);
        packet
    }

    /// Turns some packets into datagrams in fragments, or into super-packets of an offload.
    fn long(&mut self, packet: &mut Packet, is_to_server: bool) -> Option<Cut> {
        let random = &mut self.random;
        let flags = match packet.body {
            Body::Tcp { flags, .. } => flags,
            Body::Udp { .. } | Body::Echo { .. } | Body::Icmp { .. } | Body::Proto(_) | Body::Raw => 0x10,
        };
        let is_plain = flags & 7 == 0 && flags != 0;
        // The model stores whole packets only: no unsolicited SYN in fragments.
        let may_be_stored = flags & SYN != 0 && !is_to_server;
        let kind = random.below(24);
        if !is_plain && kind == 0 || may_be_stored || kind > 1 || matches!(packet.body, Body::Proto(_)) {
            return None;
        }
        packet.data = filler(600 + random.below(2400));
        if kind == 0 && !matches!(packet.body, Body::Echo { .. }) && packet.csum == Csum::Good {
            // Fits every MTU of these runs.
            packet.gso = Some(300 + random.below(200) as u16);
            packet.csum = Csum::Partial;
            (packet.frag, packet.ext) = (None, Vec::new());
            return None;
        }
        (packet.frag, packet.id, packet.df, packet.ext) = (None, None, false, Vec::new());
        self.ids += 1;
        let order = random.of(&[Order::Forward, Order::Backward, Order::Halves, Order::Twice]);
        Some(Cut { size: random.of(&[256, 512, 1232]), id: self.ids, order })
    }

    fn outward(&mut self) -> Step {
        let flow = self.flow();
        let body = self.body(flow.proto, flow.client.port, flow.server_port);
        let dst = embed(flow.pref64, flow.server);
        let mut packet = self.packet(flow.client.addr.into(), dst.into(), body);
        let cut = self.long(&mut packet, true);
        Step::Packet { packet: Box::new(packet), at: None, cut }
    }

    /// To a binding that may exist, or to any port of the pool.
    fn inward(&mut self) -> Step {
        let mut flow = self.flow();
        match self.random.below(24) {
            0 => flow.server = [203, 0, 113, 1].into(),
            1..=4 => flow.server = self.random.of(&SERVERS).into(),
            5 | 6 => flow.server_port = self.random.of(&SERVER_PORTS),
            7 => flow.client.port = self.random.of(&CLIENT_PORTS),
            _ => {}
        }
        let dst = if self.random.once_in(30) { [203, 0, 113, 77] } else { [203, 0, 113, 1] };
        let body = self.body(flow.proto, flow.server_port, flow.client.port);
        let mut packet = self.packet(flow.server.into(), IpAddr::from(dst), body);
        let cut = self.long(&mut packet, false);
        let aimed = !self.random.once_in(20) && !matches!(packet.body, Body::Proto(_));
        let at = aimed.then_some((flow.proto, flow.client, flow.pref64));
        Step::Packet { packet: Box::new(packet), at, cut }
    }

    /// Between a mapped host and a server, or another mapped host by its IPv4 address.
    fn stateless(&mut self) -> Step {
        let (four, six) = self.random.of(&MAPPED);
        let (host, pref64) = (addr6(six), STATELESS.parse().expect("literal"));
        let mut server: Ipv4Addr = self.random.of(&SERVERS).into();
        let outward = self.random.once_in(2);
        if self.random.once_in(6) {
            server = if outward { MAPPED[0].0.into() } else { [127, 0, 0, 1].into() };
        }
        let (host_port, server_port) = (self.random.of(&CLIENT_PORTS), self.random.of(&SERVER_PORTS));
        let (src_port, dst_port) = if outward { (host_port, server_port) } else { (server_port, host_port) };
        let proto = self.random.of(&Proto::ALL);
        let body = self.body(proto, src_port, dst_port);
        if self.random.once_in(6) {
            // About a packet that the host sent, as the server sees it, or that it received.
            let (kinds, remote): (_, IpAddr) = match outward {
                true => ([(3, 3, 0), (3, 4, 1300), (3, 14, 0)], server.into()),
                false => ([(1, 4, 0), (2, 0, 1400), (1, 5, 0)], embed(pref64, server).into()),
            };
            let own: IpAddr = if outward { Ipv4Addr::from(four).into() } else { host.into() };
            let ends = if outward { (own, remote) } else { (remote, own) };
            let quoted = Packet::new(ends.0, ends.1, body, filler(self.random.below(20)));
            let (kind, code, word) = self.random.of(&kinds);
            let outer = Body::Icmp { kind, code, word, quote: Some(Quote::Packet(Box::new(quoted))) };
            let (from, to) = if outward { (remote, own) } else { (own, remote) };
            return Step::Packet {
                packet: Box::new(Packet::new(from, to, outer, Vec::new())),
                at: None,
                cut: None,
            };
        }
        let mut packet = match outward {
            true => self.packet(host.into(), embed(pref64, server).into(), body),
            false => self.packet(server.into(), Ipv4Addr::from(four).into(), body),
        };
        // Fragments of ICMP are not translated without state, nor are those of UDP without checksum.
        let whole = proto == Proto::Icmp || packet.csum == Csum::Zero;
        let cut = if whole { None } else { self.long(&mut packet, true) };
        Step::Packet { packet: Box::new(packet), at: None, cut }
    }

    /// From client to client by mapped addresses.
    fn hairpin(&mut self) -> Step {
        let (from, to) = (self.flow(), self.flow());
        let body = self.body(to.proto, from.client.port, to.client.port);
        let dst = embed(from.pref64, [203, 0, 113, 1].into());
        let mut packet = self.packet(from.client.addr.into(), dst.into(), body);
        if matches!(packet.body, Body::Tcp { flags, .. } if flags & SYN != 0) {
            // The model quotes whole packets only.
            packet.data.truncate(20);
        }
        let cut = self.long(&mut packet, false);
        Step::Packet { packet: Box::new(packet), at: Some((to.proto, to.client, from.pref64)), cut }
    }

    /// An ICMP error about a packet that a client received or sent.
    fn error(&mut self) -> Step {
        let flow = self.flow();
        if self.random.once_in(2) { self.error_from_v4(&flow) } else { self.error_from_v6(&flow) }
    }

    fn error_from_v4(&mut self, flow: &Flow) -> Step {
        let pool = IpAddr::from([203, 0, 113, 1]);
        let body = self.body(flow.proto, flow.client.port, flow.server_port);
        let mut inner = Packet::new(pool, flow.server.into(), body, filler(self.random.below(20)));
        inner.hop = self.random.once_in(3).then_some(1);
        let kinds = [(3, 3, 0), (3, 1, 0), (3, 4, 1300), (11, 0, 0), (3, 13, 0), (3, 14, 0)];
        let (kind, code, word) = self.random.of(&kinds);
        let outer = Body::Icmp { kind, code, word, quote: Some(Quote::Packet(Box::new(inner))) };
        let router = if self.random.once_in(2) { flow.server } else { [192, 0, 2, 77].into() };
        let packet = Packet::new(router.into(), pool, outer, Vec::new());
        Step::Packet { packet: Box::new(packet), at: Some((flow.proto, flow.client, flow.pref64)), cut: None }
    }

    fn error_from_v6(&mut self, flow: &Flow) -> Step {
        let remote: IpAddr = embed(flow.pref64, flow.server).into();
        let id = if flow.proto == Proto::Icmp { flow.client.port } else { flow.server_port };
        let body = self.body(flow.proto, id, flow.client.port);
        let inner = Packet::new(remote, flow.client.addr.into(), body, filler(self.random.below(20)));
        let kinds = [(1, 4, 0), (1, 0, 0), (2, 0, 1400), (3, 0, 0), (1, 5, 0), (4, 1, 6)];
        let (kind, code, word) = self.random.of(&kinds);
        let outer = Body::Icmp { kind, code, word, quote: Some(Quote::Packet(Box::new(inner))) };
        let router = if self.random.once_in(2) { flow.client.addr } else { addr6("2001:db8:1::ffff") };
        let mut packet = Packet::new(router.into(), remote, outer, Vec::new());
        packet.hop = self.random.once_in(8).then_some(1);
        // Sometimes about another client's packet, by its mapped address.
        let about = self.random.once_in(3).then(|| self.flow());
        Step::Packet {
            packet: Box::new(packet),
            at: about.map(|other| (flow.proto, other.client, flow.pref64)),
            cut: None,
        }
    }
}

fn addr6(text: &str) -> Ipv6Addr {
    text.parse().expect("literal")
}
