//! The translators of a run: one for each worker, and packets that they hand over to each other.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use gate64::addr::{HostKey, LocalAddresses, Pref64};
use gate64::addr::{Proto, Transport4, Transport6, WorkerId, ZoneId};
use gate64::counters::{Tally, ZoneCounters};
use gate64::ownership::Owners;
use gate64::time::Instant;
use gate64::translator::{Change, Cursor, Event, ExtraPackets, SessionRecord, Settings, Translator, Verdict};
use gate64::wire::buf::{Offload, PacketBuf};

use super::ports::Place;
use crate::script::describe::describe;
use crate::script::world::steer;

/// Zones that counters have rows for.
const ZONES: usize = 8;
/// Long enough for a reassembled datagram and a super-packet.
const ROOM: usize = 9000;

/// What came out for one packet.
#[derive(Default)]
pub(super) struct Seen {
    /// The verdicts of the workers that kept it.
    pub(super) verdicts: Vec<Verdict>,
    pub(super) packets: Vec<(Vec<u8>, Offload)>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packets: Vec<_> = self.packets.iter().map(|(bytes, work)| describe(bytes, *work)).collect();
        write!(f, "{:?}: {}", self.verdicts, packets.join("; "))
    }
}

impl Seen {
    /// The verdict, if there is one.
    pub(super) fn only(&self) -> Verdict {
        match self.verdicts[..] {
            [only] => only,
            _ => Verdict::Hold,
        }
    }
}

pub(super) struct Workers {
    translators: Vec<Translator>,
    owners: Owners,
    buffer: PacketBuf,
    extra: ExtraPackets,
}

impl Workers {
    pub(super) fn new(settings: &Settings) -> Self {
        let worker = |n| Translator::new(Settings { worker: WorkerId(n), ..settings.clone() }, ZONES);
        Self {
            translators: (0..settings.workers).map(worker).collect(),
            owners: settings.nat64.owners(settings.owner_seed, settings.workers),
            buffer: PacketBuf::new(ROOM),
            extra: ExtraPackets::new(64, ROOM),
        }
    }

    pub(super) fn reconfigure(&mut self, now: Instant, settings: &Settings) {
        for (n, translator) in self.translators.iter_mut().enumerate() {
            let own = Settings { worker: WorkerId(n as u8), ..settings.clone() };
            translator.reconfigure(now, Change::Settings(Box::new(own)));
        }
        self.owners = settings.nat64.owners(settings.owner_seed, settings.workers);
    }

    pub(super) fn set_local(&mut self, now: Instant, local: &Arc<LocalAddresses>) {
        for translator in &mut self.translators {
            translator.reconfigure(now, Change::LocalAddresses(Arc::clone(local)));
        }
    }

    pub(super) fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Sends a packet to the worker that its queue belongs to.
    pub(super) fn send(&mut self, now: Instant, input: &[u8], offload: Offload) -> Result<Seen, String> {
        self.buffer.fill(input);
        self.buffer.offload = offload;
        let first = steer(&self.owners, input);
        self.process(now, first)
    }

    /// Processes the packet in the buffer, at first by this worker.
    fn process(&mut self, now: Instant, mut at: WorkerId) -> Result<Seen, String> {
        let mut seen = Seen::default();
        // Packets for other workers, and how often they were handed over.
        let mut waiting: Vec<(WorkerId, PacketBuf)> = Vec::new();
        for _ in 0..64 {
            let mut verdict = [Verdict::Hold];
            self.extra.clear();
            let buffer = std::slice::from_mut(&mut self.buffer);
            self.translators[usize::from(at.0)].process(now, buffer, &mut verdict, &mut self.extra);
            let out = |buf: &PacketBuf| (buf.bytes().to_vec(), buf.offload);
            match verdict[0] {
                Verdict::HandOver(to) => waiting.push((to, handed(&mut self.buffer))),
                Verdict::Forward => {
                    seen.verdicts.push(Verdict::Forward);
                    seen.packets.push(out(&self.buffer));
                }
                Verdict::Reject(reason) => {
                    seen.verdicts.push(Verdict::Reject(reason));
                    seen.packets.push(out(&self.buffer));
                }
                Verdict::Drop(reason) => seen.verdicts.push(Verdict::Drop(reason)),
                Verdict::Hold => seen.verdicts.push(Verdict::Hold),
            }
            for extra in self.extra.packets() {
                match extra.to {
                    Some(to) => waiting.push((to, handed(&mut extra.packet))),
                    None => seen.packets.push(out(&extra.packet)),
                }
            }
            if waiting.is_empty() {
                return Ok(seen);
            }
            (at, self.buffer) = waiting.remove(0);
        }
        Err("handed over for ever".to_owned())
    }

    /// The blocks that were reclaimed since the last call.
    pub(super) fn reclaimed(&mut self) -> Vec<Place> {
        let blank = Event::PoolExhausted { host: HostKey::new(ZoneId(0), Ipv6Addr::UNSPECIFIED, 0) };
        let (mut events, mut found) = ([blank; 64], Vec::new());
        for translator in &mut self.translators {
            loop {
                let count = translator.events(&mut events);
                for event in &events[..count] {
                    if let Event::BlockReclaimed { addr, ports, .. } = event {
                        found.push((*addr, *ports));
                    }
                }
                if count == 0 {
                    break;
                }
            }
        }
        found
    }

    /// Everything that is due until then, stopping at every deadline.
    pub(super) fn expire(&mut self, until: Instant) -> Result<Vec<Vec<u8>>, String> {
        let mut out = Vec::new();
        for _ in 0..100_000 {
            let due = self.translators.iter().filter_map(Translator::next_deadline);
            let next = due.filter(|next| *next <= until).min();
            let now = next.unwrap_or(until);
            let mut waiting = Vec::new();
            for translator in &mut self.translators {
                let mut more = true;
                while more {
                    self.extra.clear();
                    more = translator.expire(now, 8, &mut self.extra);
                    for extra in self.extra.packets() {
                        match extra.to {
                            Some(to) => waiting.push((to, handed(&mut extra.packet))),
                            None => out.push(extra.packet.bytes().to_vec()),
                        }
                    }
                }
            }
            for (to, packet) in waiting {
                self.buffer = packet;
                out.extend(self.process(now, to)?.packets.into_iter().map(|(bytes, _)| bytes));
            }
            if next.is_none() {
                return Ok(out);
            }
        }
        Err("a deadline stands still".to_owned())
    }

    /// A gauge summed over zones and workers.
    pub(super) fn sum(&self, of: impl Fn(&ZoneCounters) -> &Tally) -> u64 {
        let zones: Vec<_> = (0..ZONES as u16).map(|n| Some(ZoneId(n))).chain([None]).collect();
        let of_worker = |translator: &Translator| -> u64 {
            let counters = translator.counters();
            zones.iter().map(|zone| of(counters.zone(*zone)).read()).sum()
        };
        self.translators.iter().map(of_worker).sum()
    }

    /// All sessions.
    pub(super) fn export(&self, now: Instant) -> Vec<SessionRecord> {
        let none = Transport4::new([0; 4].into(), 0);
        let blank = SessionRecord {
            proto: Proto::Udp,
            v6: Transport6::new(Ipv6Addr::UNSPECIFIED, 0),
            v4: none,
            remote: none,
            pref64: Pref64::WELL_KNOWN,
            state: 0,
            remaining: Duration::ZERO,
            silent: Duration::ZERO,
            inbound: false,
            answered: false,
            packets: [0; 2],
            bytes: [0; 2],
        };
        let mut all = Vec::new();
        for translator in &self.translators {
            let (mut cursor, mut out) = (Cursor::default(), [blank; 64]);
            loop {
                let count = translator.export(now, &mut cursor, &mut out);
                if count == 0 {
                    break;
                }
                all.extend_from_slice(&out[..count]);
            }
        }
        all
    }

    /// The mapped address that a client was assigned.
    pub(super) fn chosen(&self, now: Instant, proto: Proto, client: Transport6) -> Option<Transport4> {
        self.export(now).iter().find(|r| r.proto == proto && r.v6 == client).map(|record| record.v4)
    }
}

/// Takes a packet for another worker out of its buffer.
fn handed(buffer: &mut PacketBuf) -> PacketBuf {
    let mut packet = std::mem::replace(buffer, PacketBuf::new(ROOM));
    packet.meta.hops += 1;
    packet
}
