//! The translators of a scenario and their clock. Compares effects with expectations, and carries packets
//! between workers like the daemon.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use gate64::addr::Proto;
use gate64::addr::{Transport4, WorkerId};
use gate64::ownership::Owners;
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{Change, ExtraPackets, Settings, Translator, Verdict};
use gate64::wire::buf::{Checksum, Offload, PacketBuf, Segmentation};

use super::build::{Blank, build, learn, transport};
use super::describe::{describe, difference};
use super::language::{Action, Expected, Side, Step, parse};
use super::packet::{Body, Csum, Packet, Vars};
use super::record::{Entry, Recording, What};
use super::{fixture, oracle, settings};

/// Zones that counters have rows for.
pub(super) const ZONES: usize = 8;

/// An observed effect of a translator.
pub(super) enum Effect {
    Out { bytes: Vec<u8>, offload: Offload, forwarded: bool },
    Drop(Reason),
    Reject(Reason),
    Hold,
}

pub(super) struct World {
    meter: Meter,
    pub(super) settings: Settings,
    pub(super) owners: Owners,
    pub(super) workers: Vec<Translator>,
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) vars: Vars,
    pub(super) extra: ExtraPackets,
    pub(super) handed_over: u32,
    /// The last input packet.
    input: Vec<u8>,
    /// All events.
    log: Vec<Entry>,
}

/// Runs a translator's work, possibly under observation.
pub(crate) type Meter = fn(&mut dyn FnMut());

/// Runs a scenario; the error names the line.
pub(crate) fn run(steps: &[Step], meter: Meter) -> Result<(), String> {
    play(steps, meter).map(drop)
}

/// Runs a file through the library and records its events; the error names file and line.
pub(crate) fn record(path: &Path) -> Result<Recording, String> {
    let run = || {
        let steps = parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)?;
        let (settings, world) = play(&steps, |act| act())?;
        Ok(Recording { steps, settings, entries: world.log, end: world.now })
    };
    run().map_err(|error: String| format!("{}: {error}", path.display()))
}

/// Returns the initial settings, and the world at the end.
fn play(steps: &[Step], meter: Meter) -> Result<(Settings, World), String> {
    let mut fixture = fixture::fixture();
    let mut steps = steps.iter().peekable();
    let at = |line: usize| move |error: String| format!("line {line}: {error}");
    while let Some(Step { line, action: Action::Set(words), .. }) = steps.peek() {
        apply(&mut fixture, words).map_err(at(*line))?;
        steps.next();
    }
    let mut world = World::new(fixture.clone(), meter);
    for step in steps {
        world.step(step).map_err(|error| {
            if error.starts_with("line ") { error } else { format!("line {}: {error}", step.line) }
        })?;
    }
    Ok((fixture, world))
}

fn apply(target: &mut Settings, words: &[String]) -> Result<(), String> {
    settings::apply(target, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

impl World {
    fn new(settings: Settings, meter: Meter) -> Self {
        let worker = |n| Translator::new(Settings { worker: WorkerId(n), ..settings.clone() }, ZONES);
        let start = Instant::from_secs(1000);
        Self {
            meter,
            owners: settings.nat64.owners(settings.owner_seed, settings.workers),
            workers: (0..settings.workers).map(worker).collect(),
            settings,
            now: start,
            start,
            vars: Vars::new(),
            extra: ExtraPackets::new(64, 65_535 + 40),
            handed_over: 0,
            input: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Adds an observed effect and records it.
    fn record_effect(&mut self, effects: &mut Vec<Effect>, what: Effect) {
        self.note(match &what {
            Effect::Out { bytes, offload, .. } => What::Out { bytes: bytes.clone(), offload: *offload },
            Effect::Drop(reason) => What::Drop(*reason),
            Effect::Reject(reason) => What::Reject(*reason),
            Effect::Hold => What::Hold,
        });
        effects.push(what);
    }

    fn note(&mut self, what: What) {
        self.log.push(Entry { at: self.now, what });
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Set(words) => apply(&mut self.settings, words),
            Action::Input { packets, each: None } => {
                let effects = self.input(packets)?;
                self.compare(effects, &step.expected)
            }
            Action::Input { packets, each: Some((name, first, last)) } => {
                for value in *first..=*last {
                    self.vars.insert(name.clone(), value);
                    let effects = self.input(packets)?;
                    self.compare(effects, &step.expected)
                        .map_err(|e| format!("{e}\n  with ${name} = {value}"))?;
                }
                Ok(())
            }
            Action::At(since) => {
                let effects = self.advance(self.start + *since)?;
                self.compare(effects, &step.expected)
            }
            Action::Wait(by) => {
                let effects = self.advance(self.now + *by)?;
                self.compare(effects, &step.expected)
            }
            Action::Reload => {
                for (n, worker) in self.workers.iter_mut().enumerate() {
                    let settings = Settings { worker: WorkerId(n as u8), ..self.settings.clone() };
                    worker.reconfigure(self.now, Change::Settings(Box::new(settings)));
                }
                Ok(())
            }
            Action::Local(local) => {
                self.settings.local = Arc::new(local.clone());
                for worker in &mut self.workers {
                    let local = Arc::clone(&self.settings.local);
                    worker.reconfigure(self.now, Change::LocalAddresses(local));
                }
                Ok(())
            }
            Action::Look(words) => self.look(&words.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }

    /// Sends packets, each to the worker that owns it; packets of one worker form one batch.
    fn input(&mut self, packets: &[(Side, Packet)]) -> Result<Vec<Effect>, String> {
        let blank = Blank { vars: &self.vars, hop: Some(64), actual: None, input: &self.input };
        let bytes: Vec<_> = packets.iter().map(|(_, p)| build(p, blank)).collect::<Result<_, _>>()?;
        let mut bufs: Vec<_> = bytes.iter().map(|b| PacketBuf::with_packet(b)).collect();
        for (buf, (side, packet)) in bufs.iter_mut().zip(packets) {
            buf.offload = offload(packet);
            let family = if packet.src.is_ipv4() { Side::V4 } else { Side::V6 };
            if family != *side && !matches!(packet.body, Body::Raw) {
                return Err("the packet is not of this side's family".into());
            }
        }
        let owner = packets[0].1.queue.map_or_else(|| steer(&self.owners, &bytes[0]), WorkerId);
        self.input = bytes[0].clone();
        for buf in &bufs {
            self.note(What::In { bytes: buf.bytes().to_vec(), offload: buf.offload });
        }
        self.process(owner, bufs, 0)
    }

    /// Processes one batch at one worker, then what it hands over to others.
    fn process(&mut self, at: WorkerId, mut bufs: Vec<PacketBuf>, hops: u32) -> Result<Vec<Effect>, String> {
        if hops > 4 {
            return Err("handed over for ever".into());
        }
        let before: Vec<_> = bufs.iter().map(|buf| buf.bytes().to_vec()).collect();
        let mut verdicts = vec![Verdict::Hold; bufs.len()];
        self.extra.clear();
        let now = self.now;
        let worker =
            self.workers.get_mut(usize::from(at.0)).ok_or("handed over to a worker that does not exist")?;
        let extra = &mut self.extra;
        (self.meter)(&mut || worker.process(now, &mut bufs, &mut verdicts, extra));
        let mut extras = Vec::new();
        for extra in self.extra.packets() {
            let packet = core::mem::replace(&mut extra.packet, PacketBuf::new(65_535 + 40));
            extras.push((extra.follows, packet, extra.to));
        }
        let mut effects = Vec::new();
        let mut follow = extras.into_iter().peekable();
        for (n, (buf, verdict)) in bufs.into_iter().zip(verdicts).enumerate() {
            self.verdict(&mut effects, buf, verdict, &before[n], hops)?;
            while let Some((_, packet, to)) = follow.next_if(|(follows, ..)| usize::from(*follows) <= n) {
                self.emit(&mut effects, packet, to, hops)?;
            }
        }
        if follow.peek().is_some() {
            return Err("a packet follows an input that was not there".into());
        }
        Ok(effects)
    }

    fn verdict(
        &mut self,
        effects: &mut Vec<Effect>,
        buf: PacketBuf,
        verdict: Verdict,
        before: &[u8],
        hops: u32,
    ) -> Result<(), String> {
        match verdict {
            Verdict::Forward => {
                self.note(What::Forward);
                self.record_effect(effects, out(&buf, true));
            }
            Verdict::Reject(reason) => {
                self.record_effect(effects, Effect::Reject(reason));
                self.record_effect(effects, out(&buf, false));
            }
            Verdict::Hold if !buf.is_empty() => return Err("held, but the buffer is not empty".into()),
            Verdict::Hold => self.record_effect(effects, Effect::Hold),
            Verdict::HandOver(to) => self.emit(effects, buf, Some(to), hops)?,
            Verdict::Drop(_) if buf.bytes() != before => return Err("dropped, but the buffer changed".into()),
            Verdict::Drop(reason) => self.record_effect(effects, Effect::Drop(reason)),
        }
        Ok(())
    }

    /// A packet for the device, or for another worker.
    fn emit(
        &mut self,
        effects: &mut Vec<Effect>,
        mut buf: PacketBuf,
        to: Option<WorkerId>,
        hops: u32,
    ) -> Result<(), String> {
        let Some(to) = to else {
            self.record_effect(effects, out(&buf, true));
            return Ok(());
        };
        self.handed_over += 1;
        buf.meta.hops = buf.meta.hops.max(hops as u8 + 1);
        effects.extend(self.process(to, vec![buf], hops + 1)?);
        Ok(())
    }

    /// Advances the clock, stopping at every deadline.
    fn advance(&mut self, until: Instant) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        for _ in 0..100_000 {
            let next = self.workers.iter().filter_map(Translator::next_deadline).min();
            let last = next.is_none_or(|next| next > until);
            self.now = self.now.max(next.unwrap_or(until).min(until));
            for n in 0..self.workers.len() {
                self.expire(n, &mut effects)?;
            }
            if last {
                return Ok(effects);
            }
        }
        Err(format!("a deadline stands still at {:?}", self.now.since(self.start)))
    }

    fn expire(&mut self, worker: usize, effects: &mut Vec<Effect>) -> Result<(), String> {
        for _ in 0..10_000 {
            self.extra.clear();
            let (now, extra, expiring) = (self.now, &mut self.extra, &mut self.workers[worker]);
            let mut more = false;
            (self.meter)(&mut || more = expiring.expire(now, 8, extra));
            let mut packets = Vec::new();
            for extra in self.extra.packets() {
                packets.push((core::mem::replace(&mut extra.packet, PacketBuf::new(65_535 + 40)), extra.to));
            }
            for (packet, to) in packets {
                match to {
                    Some(_) => self.emit(effects, packet, to, 0)?,
                    None => self.record_effect(effects, out(&packet, false)),
                }
            }
            if !more {
                return Ok(());
            }
        }
        Err("expire never ends".into())
    }

    fn compare(&mut self, effects: Vec<Effect>, expected: &[(usize, Expected)]) -> Result<(), String> {
        compare(&mut self.vars, &self.input, effects, expected)
    }
}

/// Compares the effects of an input with the expected ones, and learns names from them.
pub(super) fn compare(
    vars: &mut Vars,
    input: &[u8],
    effects: Vec<Effect>,
    expected: &[(usize, Expected)],
) -> Result<(), String> {
    let mut effects = effects.into_iter();
    for (line, expected) in expected {
        let got = effects.next();
        compare_one(vars, input, got, expected).map_err(|error| format!("line {line}: {error}"))?;
    }
    match effects.next() {
        None => Ok(()),
        Some(more) => Err(format!("nothing more was expected\n  got       {}", more.text())),
    }
}

fn compare_one(
    vars: &mut Vars,
    input: &[u8],
    got: Option<Effect>,
    expected: &Expected,
) -> Result<(), String> {
    let text = got.as_ref().map_or_else(|| "nothing".to_owned(), Effect::text);
    let differs = |what: &str| Err(format!("\n  expected  {what}\n  got       {text}"));
    match (expected, got) {
        (Expected::Drop(want), Some(Effect::Drop(got))) if *want == got => Ok(()),
        (Expected::Reject(want), Some(Effect::Reject(got))) if *want == got => Ok(()),
        (Expected::Hold, Some(Effect::Hold)) => Ok(()),
        (Expected::Drop(want), _) => differs(&format!("drop {want}")),
        (Expected::Reject(want), _) => differs(&format!("reject {want}")),
        (Expected::Hold, _) => differs("hold"),
        (Expected::Out(packet), Some(Effect::Out { bytes, offload: work, forwarded })) => {
            let good = matches!(packet.csum, Csum::Good | Csum::Verified);
            learn(packet, &bytes, vars);
            let hop = forwarded.then_some(63);
            let blank = Blank { vars, hop, actual: Some(&bytes), input };
            let want = build(packet, blank)?;
            let shape = offload(packet);
            if want != bytes || shape.segmentation != work.segmentation {
                let bytes = difference(&want, &bytes);
                return differs(&describe(&want, shape)).map_err(|e: String| format!("{e}\n  {bytes}"));
            }
            if (shape.checksum == Checksum::Partial) != (work.checksum == Checksum::Partial) {
                return differs(&format!("checksum {:?}", shape.checksum));
            }
            oracle::judge(&bytes, work.checksum, good).or_else(|error| differs(&error))
        }
        (Expected::Out(packet), _) => {
            let blank = Blank { vars, hop: Some(63), actual: None, input };
            let want = build(packet, blank).map_or_else(|e| e, |want| describe(&want, offload(packet)));
            differs(&want)
        }
    }
}

impl Effect {
    fn text(&self) -> String {
        match self {
            Self::Out { bytes, offload, .. } => describe(bytes, *offload),
            Self::Drop(reason) => format!("drop {reason}"),
            Self::Reject(reason) => format!("reject {reason}"),
            Self::Hold => "hold".to_owned(),
        }
    }
}

fn out(buf: &PacketBuf, forwarded: bool) -> Effect {
    Effect::Out { bytes: buf.bytes().to_vec(), offload: buf.offload, forwarded }
}

pub(crate) fn offload(packet: &Packet) -> Offload {
    let segmentation = match (packet.gso, &packet.body) {
        (Some(size), Body::Tcp { flags, .. }) => Segmentation::Tcp { size, ecn: flags & 0x80 != 0 },
        (Some(size), _) => Segmentation::Udp { size },
        (None, _) => Segmentation::None,
    };
    let checksum = match packet.csum {
        Csum::Partial => Checksum::Partial,
        Csum::Verified => Checksum::Verified,
        Csum::Good | Csum::Bad | Csum::Zero => Checksum::Unverified,
    };
    Offload { segmentation, checksum }
}

/// The queue that the steering program would select. An ICMP error arrives on the first: the program does
/// not parse quoted ports.
pub(crate) fn steer(owners: &Owners, bytes: &[u8]) -> WorkerId {
    let word = |at: usize| bytes.get(at..at + 2).map_or(0, |w| u16::from_be_bytes([w[0], w[1]]));
    match bytes.first().map(|b| b >> 4) {
        Some(6) if bytes.len() >= 40 => {
            let src: [u8; 16] = bytes[8..24].try_into().unwrap_or_default();
            owners.source(src.into())
        }
        Some(4) if bytes.len() >= 20 => {
            let addr = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
            if word(6) & 0x3fff != 0 {
                return owners.datagram(addr(12), addr(16), bytes[9], word(4));
            }
            let Some((protocol, at)) = transport(bytes) else { return WorkerId(0) };
            let (proto, port) = match protocol {
                6 => (Proto::Tcp, word(at + 2)),
                17 => (Proto::Udp, word(at + 2)),
                _ => (Proto::Icmp, word(at + 4)),
            };
            let mapped = Transport4::new(addr(16), port);
            owners.owner_of(proto, mapped).unwrap_or_else(|| owners.unowned(addr(12), addr(16)))
        }
        _ => WorkerId(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::fold;
    use super::*;

    #[test]
    fn a_built_packet_has_right_checksums() {
        let vars = Vars::new();
        for line in [
            "udp C.1 > Z6.2 data=9",
            "tcp Z.1 > T.2 SA mss=1460 data=3",
            "echo C > Z6 id=7 data=1",
            "icmp4 3/3 Z > T { udp T.1 > Z.2 }",
        ] {
            let packet = Packet::parse(line).expect("a packet");
            let bytes = build(&packet, Blank { vars: &vars, hop: Some(64), actual: None, input: &[] })
                .expect("complete");
            oracle::judge(&bytes, Checksum::Unverified, true).expect(line);
            assert_eq!(fold(0x1_fffe), 0xffff);
        }
    }
}
