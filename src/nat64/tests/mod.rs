//! RFC 6146 through `Translator::process`, with fixture N1 of the requirements and its variants.

mod basic;
mod fast_path;
mod flows;
mod overload;
mod ports;
mod session_shares;
mod sharing;
mod survey;
mod upkeep;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::{Filtering, Limits, Pool, Settings, UnsolicitedSyn, Zone};
use crate::addr::{PortRange, Transport4, WorkerId, ZoneId};
use crate::packet_builder::{Packet4, Packet6, Tcp, checksums_are_right};
use crate::reason::Reason;
use crate::time::Instant;
use crate::translator::{self, ExtraPackets, Translator, Verdict};
use crate::wire::buf::PacketBuf;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::tcp::Flags;
use crate::xlat::RewriteRules;

pub(super) const C: &str = "2001:db8:1::2";
pub(super) const C2: &str = "2001:db8:1::3";
pub(super) const Z: &str = "198.51.100.7";
pub(super) const W: &str = "198.51.100.8";
pub(super) const T: &str = "203.0.113.1";

pub(super) fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

pub(super) fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("an IPv4 address")
}

/// The address under the pref64 of N1.
pub(super) fn under(addr: &str) -> Ipv6Addr {
    "2001:db8:64::/96".parse::<crate::addr::Pref64>().expect("a pref64").embed(v4(addr))
}

/// Fixture N1, one worker.
pub(super) fn n1() -> translator::Settings {
    let zone = Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/48".parse().expect("a prefix")],
        pref64: vec!["2001:db8:64::/96".parse().expect("a pref64")],
        pool: 0,
        host_len: 128,
        site_len: 64,
        sharing: Default::default(),
        hosts: Vec::new(),
        new_sessions: Default::default(),
        ports_per_host: 2048,
        sessions_per_host: 1000,
        bindings_per_second: 0,
    };
    translator::Settings {
        worker: WorkerId(0),
        workers: 1,
        seed: 42,
        owner_seed: 7,
        local: Default::default(),
        rules: RewriteRules::default(),
        siit: None,
        nat64: Settings {
            zones: vec![zone],
            pools: vec![Pool { ranges: vec![("203.0.113.1".parse().expect("a prefix"), PortRange::ALL)] }],
            deny: vec!["127.0.0.0/8".parse().expect("a prefix")],
            limits: Limits {
                sessions: 2000,
                bindings: 1000,
                blocks: 100,
                hosts: 100,
                fragment_bytes: 1 << 20,
                unsolicited_syns: 20,
                unsolicited_syns_per_source: 5,
                events: 100,
            },
            address6: v6("2001:db8:ffff::1"),
            address4: v4("192.0.2.1"),
            ..Settings::default()
        },
    }
}

/// Whether a packet is a fragment, whose checksum is that of its datagram.
fn is_fragment(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        4 => packet[6] & 0x3f != 0 || packet[7] != 0,
        _ => packet[6] == crate::wire::ipv6::FRAGMENT,
    }
}

/// A translator and its clock.
pub(super) struct Bench {
    pub(super) gate: Translator,
    pub(super) now: Instant,
    pub(super) extra: ExtraPackets,
}

impl Bench {
    pub(super) fn new(settings: translator::Settings) -> Self {
        let gate = Translator::new(settings, 4);
        Self { gate, now: Instant::from_secs(1000), extra: ExtraPackets::new(64, 65_575) }
    }

    pub(super) fn buffer(&mut self, buf: &mut PacketBuf) -> Verdict {
        let mut verdicts = [Verdict::Hold];
        self.gate.process(self.now, core::slice::from_mut(buf), &mut verdicts, &mut self.extra);
        verdicts[0]
    }

    /// Processes a packet. Returns the verdict and the buffer.
    pub(super) fn send(&mut self, packet: &[u8]) -> (Verdict, Vec<u8>) {
        self.extra.clear();
        let mut buf = PacketBuf::with_packet(packet);
        let verdict = self.buffer(&mut buf);
        let out = buf.bytes().to_vec();
        match verdict {
            Verdict::Drop(_) => assert_eq!(out, packet, "a dropped packet is unchanged"),
            Verdict::Forward | Verdict::Reject(_) => {
                assert!(is_fragment(&out) || checksums_are_right(&out), "checksums of {out:02x?}");
            }
            Verdict::Hold => assert!(out.is_empty()),
            Verdict::HandOver(_) => {}
        }
        (verdict, out)
    }

    pub(super) fn drop_of(&mut self, packet: &[u8]) -> Reason {
        match self.send(packet).0 {
            Verdict::Drop(reason) | Verdict::Reject(reason) => reason,
            other => panic!("not dropped: {other:?}"),
        }
    }

    /// Translates a packet to IPv4.
    pub(super) fn to4(&mut self, packet: &[u8]) -> (Ipv4Packet, Vec<u8>) {
        let (verdict, out) = self.send(packet);
        assert_eq!(verdict, Verdict::Forward);
        (Ipv4Packet::parse(&out, &crate::wire::buf::Offload::default()).expect("IPv4"), out)
    }

    /// Translates a packet to IPv6.
    pub(super) fn to6(&mut self, packet: &[u8]) -> (Ipv6Packet, Vec<u8>) {
        let (verdict, out) = self.send(packet);
        assert_eq!(verdict, Verdict::Forward);
        (Ipv6Packet::parse(&out, &crate::wire::buf::Offload::default()).expect("IPv6"), out)
    }

    /// Advances the clock and runs timers. Returns the packets that they sent.
    pub(super) fn wait(&mut self, by: Duration) -> Vec<Vec<u8>> {
        let end = self.now + by;
        let mut sent = Vec::new();
        while let Some(next) = self.gate.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.extra.clear();
            self.gate.expire(self.now, 1000, &mut self.extra);
            sent.extend(self.extra.packets().iter().map(|extra| extra.packet.bytes().to_vec()));
        }
        self.now = end;
        sent
    }

    pub(super) fn secs(&mut self, secs: u64) -> Vec<Vec<u8>> {
        self.wait(Duration::from_secs(secs))
    }

    /// The mapped transport address of a client's UDP port.
    pub(super) fn udp_mapping(&mut self, client: &str, port: u16) -> Transport4 {
        let (packet, out) = self.to4(&Packet6::new(v6(client), under(Z)).udp(port, 53, b"q"));
        Transport4::new(packet.src, u16::from_be_bytes([out[20], out[21]]))
    }

    pub(super) fn sessions(&self) -> u64 {
        let row = self.gate.counters().zone(Some(ZoneId(0)));
        row.sessions.iter().map(crate::counters::Tally::read).sum()
    }

    pub(super) fn bindings(&self) -> u64 {
        let row = self.gate.counters().zone(Some(ZoneId(0)));
        row.bindings.iter().map(crate::counters::Tally::read).sum()
    }

    pub(super) fn blocks(&self) -> u64 {
        self.gate.counters().zone(Some(ZoneId(0))).blocks.read()
    }
}

pub(super) fn tcp6(client: &str, port: u16, server: &str, flags: Flags) -> Vec<u8> {
    Packet6::new(v6(client), under(server)).tcp(Tcp::new(port, 80).flags(flags), b"")
}

pub(super) fn tcp4(server: &str, to: Transport4, flags: Flags) -> Vec<u8> {
    Packet4::new(v4(server), to.addr).tcp(Tcp::new(80, to.port).flags(flags), b"")
}

pub(super) fn udp4(server: &str, port: u16, to: Transport4) -> Vec<u8> {
    Packet4::new(v4(server), to.addr).udp(port, to.port, b"answer")
}
