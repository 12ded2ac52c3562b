//! A translator with the buffers of a worker.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant as Clock};

use gate64::addr::{PortRange, Transport4, Transport6, WorkerId, ZoneId};
use gate64::nat64;
use gate64::time::Instant;
use gate64::translator::{Settings, Translator, Verdict};
use gate64::wire::batch::ExtraPackets;
use gate64::wire::buf::{MAX_PACKET, PacketBuf};
use gate64::xlat::RewriteRules;

use crate::packets::{self, Packet, Shape, Tcp};

/// Maximum number of flows.
pub const FLOWS: u16 = 16_384;

pub struct Rig {
    translator: Translator,
    buffers: Vec<PacketBuf>,
    verdicts: Vec<Verdict>,
    extra: ExtraPackets,
    now: Instant,
}

/// The IPv6 form of an IPv4 transport address.
pub fn embedded(v4: Transport4) -> Transport6 {
    Transport6::new(packets::pref64().embed(v4.addr), v4.port)
}

/// A source outside every zone.
pub fn outside_zones(n: u16) -> Transport6 {
    Transport6::new(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, n), 20_000)
}

/// An unused port of a pool address.
pub fn unused(n: u16) -> Transport4 {
    Transport4::new(Ipv4Addr::new(192, 0, 2, 200), 50_000 + n)
}

fn settings() -> Settings {
    let zone = nat64::Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: vec![packets::pref64()],
        pool: 0,
        host_len: 128,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 2048,
        sessions_per_host: u32::MAX,
        bindings_per_second: 0,
    };
    let flows = u32::from(FLOWS) * 2;
    // Hosts that nobody answered use three quarters of a table.
    let limit = flows * 2;
    let limits = nat64::Limits { sessions: limit, bindings: limit, ..nat64::Limits::default() };
    Settings {
        worker: WorkerId(0),
        workers: 1,
        seed: 1,
        owner_seed: 1,
        local: Default::default(),
        rules: RewriteRules::default(),
        siit: None,
        nat64: nat64::Settings {
            zones: vec![zone],
            pools: vec![nat64::Pool {
                ranges: vec![("192.0.2.0/24".parse().expect("literal"), PortRange::ALL)],
            }],
            limits,
            address6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            address4: Ipv4Addr::new(192, 0, 2, 1),
            ..nat64::Settings::default()
        },
    }
}

impl Rig {
    pub fn new() -> Self {
        Self {
            translator: Translator::new(settings(), 1),
            buffers: (0..64).map(|_| PacketBuf::new(MAX_PACKET)).collect(),
            verdicts: vec![Verdict::Hold; 64],
            extra: ExtraPackets::new(256, 2048),
            now: Instant::from_secs(1),
        }
    }

    /// Translates one packet and returns the result.
    fn one(&mut self, packet: &Packet) -> Vec<u8> {
        self.timed(std::slice::from_ref(packet), |verdict| verdict == Verdict::Forward);
        self.buffers[0].bytes().to_vec()
    }

    /// Opens a session for flow `n`, for TCP by a complete handshake. Returns the mapped address.
    pub fn open(&mut self, shape: Shape, n: u16) -> Transport4 {
        let (client, server) = (packets::client(n), packets::server(n));
        let there = embedded(server);
        let out = if shape.is_tcp() {
            self.one(&packets::tcp6(client, there, Tcp::Syn, 0))
        } else {
            self.one(&packets::udp6(client, there))
        };
        let mapped = Transport4::new(
            Ipv4Addr::new(out[12], out[13], out[14], out[15]),
            u16::from_be_bytes([out[20], out[21]]),
        );
        if shape.is_tcp() {
            self.one(&packets::tcp4(server, mapped, Tcp::SynAck, 0));
            self.one(&packets::tcp6(client, there, Tcp::Ack, 0));
        }
        mapped
    }

    /// Translates a batch of at most 64 packets and returns the time of `process`.
    ///
    /// # Panics
    /// If a verdict is not as expected, since the figure would be wrong.
    pub fn timed(&mut self, packets: &[Packet], expected: fn(Verdict) -> bool) -> Duration {
        for (buffer, packet) in self.buffers.iter_mut().zip(packets) {
            buffer.fill(&packet.bytes);
            buffer.offload = packet.offload;
        }
        self.extra.clear();
        let count = packets.len();
        let start = Clock::now();
        self.translator.process(
            self.now,
            &mut self.buffers[..count],
            &mut self.verdicts[..count],
            &mut self.extra,
        );
        let time = start.elapsed();
        for verdict in &self.verdicts[..count] {
            assert!(expected(*verdict), "{verdict:?}");
        }
        time
    }
}
