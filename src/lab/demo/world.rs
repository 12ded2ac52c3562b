//! Simulation of two hosts and the gateway between them, with one virtual clock.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use smoltcp::wire::IpAddress;

use super::capture::Capture;
use super::describe;
use super::host::Host;
use super::tally::Tally;
use crate::addr::{PortRange, Pref64, WorkerId, ZoneId};
use crate::lab::LabError;
use crate::nat64;
use crate::output::outln;
use crate::time::Instant;
use crate::translator::{Settings, Translator, Verdict};
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::PacketBuf;
use crate::xlat;

/// The host that has only IPv6.
pub(super) const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// The gateway's name server.
pub(super) const DNS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53);
/// The server that has only IPv4.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);

/// Packets per batch, and the size of a packet buffer in bytes.
const BATCH: usize = 64;
const LONGEST: usize = 2048;
/// Step of the virtual clock, in microseconds.
const STEP_MICROS: u64 = 50;
/// Maximum number of poll rounds of a step; more means a deadlock.
const MAX_ROUNDS: u32 = 200_000;

/// The simulation: hosts, gateway, clock.
pub(super) struct World {
    pub(super) client: Host,
    pub(super) server: Host,
    /// The gateway's own IP stack, for its name server.
    pub(super) gateway: Host,
    pub(super) tally: Tally,
    /// Whether to print each packet.
    pub(super) verbose: bool,
    translator: Translator,
    buffers: Vec<PacketBuf>,
    verdicts: Vec<Verdict>,
    extra: ExtraPackets,
    micros: u64,
    capture: Option<Capture>,
}

/// The NAT64 prefix.
pub(super) fn pref64() -> Pref64 {
    Pref64::new(crate::addr::Ipv6Prefix::containing(Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0), 96))
        .expect("a documentation prefix of length 96")
}

/// The client's zone.
pub(super) fn clients() -> crate::addr::Ipv6Prefix {
    crate::addr::Ipv6Prefix::containing(CLIENT, 64)
}

fn settings() -> Settings {
    let pool = crate::addr::Ipv4Prefix::containing(Ipv4Addr::new(192, 0, 2, 64), 28);
    let limits = nat64::Limits {
        sessions: 1_000,
        bindings: 1_000,
        blocks: 64,
        hosts: 16,
        fragment_bytes: 64 << 10,
        ..nat64::Limits::default()
    };
    Settings {
        worker: WorkerId(0),
        workers: 1,
        seed: 64,
        owner_seed: 46,
        local: Default::default(),
        rules: xlat::RewriteRules::default(),
        siit: None,
        nat64: nat64::Settings {
            zones: vec![nat64::Zone {
                id: ZoneId(0),
                clients: vec![clients()],
                pref64: vec![pref64()],
                pool: 0,
                host_len: 128,
                site_len: 64,
                sharing: Default::default(),
                hosts: Vec::new(),
                new_sessions: Default::default(),
                ports_per_host: 2048,
                sessions_per_host: 1_000,
                bindings_per_second: 0,
            }],
            pools: vec![nat64::Pool { ranges: vec![(pool, PortRange::ALL)] }],
            limits,
            address6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            address4: Ipv4Addr::new(192, 0, 2, 2),
            ..nat64::Settings::default()
        },
    }
}

impl World {
    pub(super) fn new(capture: Option<Capture>) -> Result<Self, LabError> {
        Ok(Self {
            client: Host::new(IpAddress::Ipv6(CLIENT), 6)?,
            server: Host::new(IpAddress::Ipv4(SERVER), 4)?,
            gateway: Host::new(IpAddress::Ipv6(DNS), 53)?,
            tally: Tally::default(),
            verbose: true,
            translator: Translator::new(settings(), 1),
            buffers: (0..BATCH).map(|_| PacketBuf::new(LONGEST)).collect(),
            verdicts: vec![Verdict::Hold; BATCH],
            extra: ExtraPackets::new(2 * BATCH, LONGEST),
            micros: 1_000_000,
            capture,
        })
    }

    /// Runs the simulation until `done` returns true.
    ///
    /// # Errors
    /// If it does not within the maximum number of rounds, or the capture can't be written.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Result<bool, LabError>,
    ) -> Result<(), LabError> {
        for _ in 0..MAX_ROUNDS {
            if done(self)? {
                return Ok(());
            }
            self.round()?;
        }
        Err(LabError::DemoFailed(format!("the demonstration is stuck waiting for {what}")))
    }

    /// The virtual time.
    pub(super) fn now(&self) -> Instant {
        Instant::from_nanos(self.micros * 1_000)
    }

    /// Polls each host once and delivers the packets they sent.
    fn round(&mut self) -> Result<(), LabError> {
        let now = smoltcp::time::Instant::from_micros(i64::try_from(self.micros).unwrap_or(i64::MAX));
        for host in [&mut self.client, &mut self.server, &mut self.gateway] {
            host.poll(now);
        }
        let mut moved = false;
        let mut upward = Vec::new();
        while let Some(packet) = self.client.sent() {
            moved = true;
            if packet.get(24..40) == Some(&DNS.octets()) {
                self.observe(&packet)?;
                self.print("", &packet);
                self.gateway.arrive(packet);
            } else {
                upward.push(packet);
            }
        }
        while let Some(packet) = self.gateway.sent() {
            moved = true;
            self.observe(&packet)?;
            self.print("", &packet);
            self.client.arrive(packet);
        }
        let downward: Vec<_> = std::iter::from_fn(|| self.server.sent()).collect();
        moved |= !upward.is_empty() || !downward.is_empty();
        for packets in [upward, downward] {
            for batch in packets.chunks(BATCH) {
                self.translate(batch)?;
            }
        }
        self.micros = if moved { self.micros + STEP_MICROS } else { self.next_event(now) };
        Ok(())
    }

    /// The time of the next timer of a host, when no packet is in flight.
    fn next_event(&mut self, now: smoltcp::time::Instant) -> u64 {
        let hosts = [&mut self.client, &mut self.server, &mut self.gateway];
        let next = hosts.into_iter().filter_map(|host| host.poll_at(now)).min();
        let next = next.and_then(|at| u64::try_from(at.total_micros()).ok());
        next.unwrap_or(0).max(self.micros + STEP_MICROS)
    }

    /// Translates one batch and delivers the results.
    fn translate(&mut self, packets: &[Vec<u8>]) -> Result<(), LabError> {
        let count = packets.len();
        for (buffer, packet) in self.buffers.iter_mut().zip(packets) {
            buffer.fill(packet);
        }
        self.extra.clear();
        let now = self.now();
        let spent = timed(|| {
            let buffers = &mut self.buffers[..count];
            self.translator.process(now, buffers, &mut self.verdicts[..count], &mut self.extra);
        });
        let each = spent / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        for (at, before) in packets.iter().enumerate() {
            self.observe(before)?;
            self.print("  ", before);
            let after = match self.verdicts[at] {
                Verdict::Forward | Verdict::Reject(_) => Some(self.buffers[at].bytes().to_vec()),
                Verdict::Hold | Verdict::HandOver(_) | Verdict::Drop(_) => None,
            };
            if let Some(after) = after {
                self.tally.count(before, each);
                self.deliver(after)?;
            } else if self.verbose {
                outln!("       {:?}", self.verdicts[at]);
            }
        }
        let more: Vec<_> = self.extra.packets().iter().map(|extra| extra.packet.bytes().to_vec()).collect();
        more.into_iter().try_for_each(|packet| self.deliver(packet))
    }

    fn deliver(&mut self, packet: Vec<u8>) -> Result<(), LabError> {
        self.observe(&packet)?;
        self.print("=>", &packet);
        let four = packet.first().is_some_and(|byte| byte >> 4 == 4);
        let receiver = if four { &mut self.server } else { &mut self.client };
        receiver.arrive(packet);
        Ok(())
    }

    fn print(&self, mark: &str, packet: &[u8]) {
        if self.verbose {
            outln!("    {mark:<2} {}", describe::line(packet));
        }
    }

    fn observe(&mut self, packet: &[u8]) -> Result<(), LabError> {
        let micros = self.micros;
        self.capture.as_mut().map_or(Ok(()), |capture| capture.packet(micros, packet))
    }

    /// Closes the capture.
    pub(super) fn finish(self) -> Result<(), LabError> {
        self.capture.map_or(Ok(()), Capture::finish)
    }
}

/// The duration of `work`.
#[expect(clippy::disallowed_methods, reason = "the demonstration measures the translator")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}
