//! Runs steps through the model and a translator and compares both.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use gate64::addr::Proto;
use gate64::addr::{Pref64, Transport4, Transport6, WorkerId, ZoneId};
use gate64::time::Instant;
use gate64::translator::{self, Batch, Change, Cursor, Record, Settings, Translator};
use gate64::wire::buf::{Checksum, Offload, PacketBuf};

use super::address::embed;
use super::nat64::{Model, Outcome, Verdict};
use super::tcp::State;
use super::write::Script;
use crate::script::build::{Blank, build, learn};
use crate::script::describe::{describe, difference};
use crate::script::fixture::fixture;
use crate::script::oracle;
use crate::script::packet::{Body, Csum, Num, Packet, Quote, Vars};
use crate::script::settings::apply;

/// One step. Its meaning does not depend on other steps, so that a run can be shortened.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A packet. If it is for a client's binding: which client, and the pref64 if it is hairpinned.
    Packet { packet: Box<Packet>, at: Option<(Proto, Transport6, Pref64)> },
    /// Advances the clock.
    Wait(Duration),
    /// `set` lines, then a reload.
    Reload(Vec<String>),
}

/// A whole run: initial settings, then steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) settings: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// Zones that counters have rows for.
const ZONES: usize = 8;
/// The translator rounds a quarantine up to eighths of a second, that of a port and that of its block.
const ROUNDING: Duration = Duration::from_millis(600);

pub(super) struct Play {
    pub(super) model: Model,
    pub(super) settings: Settings,
    translator: Translator,
    start: Instant,
    buffer: PacketBuf,
    extra: Batch,
    /// The numbers of TCP states in exports seen so far: equal numbers are equal states.
    states: HashMap<u8, State>,
    /// The steps in scenario notation, if requested.
    pub(super) script: Option<Script>,
}

/// The settings after `set` lines.
pub(super) fn settings(lines: &[String]) -> Result<Settings, String> {
    let mut settings = fixture();
    for line in lines {
        set(&mut settings, line)?;
    }
    match settings.nat64.zones.iter().all(|zone| zone.pool < settings.nat64.pools.len()) {
        true => Ok(settings),
        false => Err("a zone without a pool".to_owned()),
    }
}

fn set(settings: &mut Settings, line: &str) -> Result<(), String> {
    apply(settings, &line.split_whitespace().collect::<Vec<_>>())
}

impl Play {
    pub(super) fn new(lines: &[String]) -> Result<Self, String> {
        let settings = settings(lines)?;
        let start = Instant::from_secs(1000);
        Ok(Self {
            model: Model::new(settings.clone(), start),
            translator: Translator::new(Settings { worker: WorkerId(0), ..settings.clone() }, ZONES),
            settings,
            start,
            buffer: PacketBuf::new(4096),
            extra: Batch::new(64, 4096),
            states: HashMap::from([(0, State::None)]),
            script: None,
        })
    }

    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Packet { packet, at } => {
                let mut packet = packet.clone();
                if let Some((proto, client, pref64)) = at
                    && let Some(binding) = self.model.of(*proto, *client)
                {
                    aim(&mut packet, self.model.bindings[binding].mapped, *pref64);
                }
                self.packet(&packet)
            }
            Step::Wait(time) => self.wait(*time),
            Step::Reload(lines) => {
                for line in lines {
                    set(&mut self.settings, line)?;
                }
                let change = Change::Settings(Box::new(self.settings.clone()));
                self.translator.reconfigure(self.model.now, change);
                self.model.reload(self.settings.clone());
                self.note(|script, _| script.reload(lines));
                Ok(())
            }
        }
    }

    fn note(&mut self, write: impl FnOnce(&mut Script, &Model)) {
        if let Some(script) = &mut self.script {
            write(script, &self.model);
        }
    }

    fn packet(&mut self, packet: &Packet) -> Result<(), String> {
        let vars = Vars::new();
        let input = build(packet, Blank { vars: &vars, hop: Some(64), actual: None, input: &[] })?;
        self.buffer.fill(&input);
        let mut verdict = [translator::Verdict::Hold];
        self.extra.clear();
        let buffer = std::slice::from_mut(&mut self.buffer);
        self.translator.process(self.model.now, buffer, &mut verdict, &mut self.extra);
        let got = match verdict[0] {
            translator::Verdict::Forward => Verdict::Forward,
            translator::Verdict::Reject(reason) => Verdict::Reject(reason),
            translator::Verdict::Drop(reason) => Verdict::Drop(reason),
            translator::Verdict::Hold => Verdict::Hold,
            translator::Verdict::HandOver(to) => return Err(format!("handed over to {}", to.0)),
        };
        let mut out = Vec::new();
        if matches!(got, Verdict::Forward | Verdict::Reject(_)) {
            out.push(self.buffer.bytes().to_vec());
        }
        out.extend(self.extra.packets().iter().map(|extra| extra.packet.bytes().to_vec()));
        let (translator, now) = (&self.translator, self.model.now);
        let chosen = |proto, client| chosen(translator, now, proto, client);
        let want = match packet.src.is_ipv6() {
            true => self.model.outward(packet, &chosen)?,
            false => self.model.inward(packet),
        };
        self.note(|script, _| script.packet(packet, &want));
        self.compare(&input, &want, got, &out)
    }

    fn compare(&self, input: &[u8], want: &Outcome, got: Verdict, out: &[Vec<u8>]) -> Result<(), String> {
        let shown = || out.iter().map(|b| describe(b, Offload::default())).collect::<Vec<_>>().join("; ");
        if want.verdict != got || want.packets.len() != out.len() {
            return Err(format!("{:?} was to be, but {got:?} {}", want.verdict, shown()));
        }
        let mut vars = Vars::new();
        for (want, out) in want.packets.iter().zip(out) {
            same(want, out, input, &mut vars)?;
        }
        Ok(())
    }

    /// Advances the clock like a worker, stopping at every deadline, and on until no quarantine is about to
    /// end.
    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let mut until = self.model.now + time;
        let mut want = self.model.advance(until);
        while self.model.rest_ended_within(ROUNDING) {
            until = until + Duration::from_millis(200);
            want.extend(self.model.advance(until));
        }
        // Sessions end at most one tick of the timer wheel late, about a millisecond.
        until = until + Duration::from_millis(2);
        want.extend(self.model.advance(until));
        let out = self.expire(until)?;
        let passed = self.model.now.since(self.start);
        self.note(|script, _| script.at(passed, &want));
        if want.len() != out.len() {
            let shown: Vec<_> = out.iter().map(|b| describe(b, Offload::default())).collect();
            return Err(format!("timers were to send {} packets, but sent {shown:?}", want.len()));
        }
        // The order of two packets due at once is unspecified.
        let mut out = out;
        for (packet, about) in &want {
            let vars = Vars::new();
            let blank = Blank { vars: &vars, hop: Some(64), actual: None, input: &[] };
            let about = about.as_ref().map_or_else(|| Ok(Vec::new()), |about| build(about, blank))?;
            let found = out.iter().position(|b| same(packet, b, &about, &mut Vars::new()).is_ok());
            match found {
                Some(at) => drop(out.remove(at)),
                None => {
                    return Err(same(packet, &out[0], &about, &mut Vars::new()).expect_err("not the same"));
                }
            }
        }
        Ok(())
    }

    fn expire(&mut self, until: Instant) -> Result<Vec<Vec<u8>>, String> {
        let mut out = Vec::new();
        for _ in 0..100_000 {
            let next = self.translator.next_deadline().filter(|next| *next <= until);
            let now = next.unwrap_or(until);
            loop {
                self.extra.clear();
                let more = self.translator.expire(now, 8, &mut self.extra);
                out.extend(self.extra.packets().iter().map(|extra| extra.packet.bytes().to_vec()));
                if !more {
                    break;
                }
            }
            if next.is_none() {
                return Ok(out);
            }
        }
        Err("a deadline stands still".to_owned())
    }

    /// Compares all state of both.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let zones: Vec<_> = (0..ZONES as u16).map(|n| Some(ZoneId(n))).chain([None]).collect();
        let counters = self.translator.counters();
        for proto in Proto::ALL {
            let sum = |of: fn(&gate64::counters::ZoneCounters) -> &[gate64::counters::Tally; 3]| -> u64 {
                zones.iter().map(|zone| of(counters.zone(*zone))[proto as usize].read()).sum()
            };
            let sessions = self.model.sessions.iter().filter(|s| s.proto == proto).count() as u64;
            let live = self.model.bindings.iter().filter(|b| b.proto == proto && b.quarantined.is_none());
            let (bindings, name) = (live.count() as u64, proto.name());
            if sum(|zone| &zone.sessions) != sessions {
                return Err(format!("{} {name} sessions, not {sessions}", sum(|zone| &zone.sessions)));
            }
            if sum(|zone| &zone.bindings) != bindings {
                return Err(format!("{} {name} bindings, not {bindings}", sum(|zone| &zone.bindings)));
            }
        }
        let blocks: u64 = zones.iter().map(|zone| counters.zone(*zone).blocks.read()).sum();
        if blocks != self.model.blocks.len() as u64 {
            return Err(format!("{blocks} blocks, not {}", self.model.blocks.len()));
        }
        self.check_sessions()
    }

    fn check_sessions(&mut self) -> Result<(), String> {
        let records = export(&self.translator, self.model.now);
        for session in &self.model.sessions {
            let binding = self.model.of(session.proto, session.client).expect("a session has a binding");
            let mapped = self.model.bindings[binding].mapped;
            let same = |r: &&Record| {
                (r.proto, r.v6, r.v4, r.remote) == (session.proto, session.client, mapped, session.remote)
            };
            let Some(record) = records.iter().find(same) else {
                return Err(format!("no session {} {} {}", session.client, mapped, session.remote));
            };
            let remaining = session.deadline.since(self.model.now);
            if record.remaining != remaining || record.pref64 != session.pref64 {
                return Err(format!("{remaining:?} remain under {}, but {record:?}", session.pref64));
            }
            let state = *self.states.entry(record.state).or_insert(session.state);
            if state != session.state {
                return Err(format!("the state is {:?}, but {state:?} in {record:?}", session.state));
            }
        }
        match records.len() == self.model.sessions.len() {
            true => Ok(()),
            false => Err(format!("{} sessions, not {}", records.len(), self.model.sessions.len())),
        }
    }
}

/// Whether a packet is the expected one.
fn same(want: &Packet, out: &[u8], input: &[u8], vars: &mut Vars) -> Result<(), String> {
    learn(want, out, vars);
    let bytes = build(want, Blank { vars, hop: None, actual: Some(out), input })?;
    if bytes != out {
        let work = Offload::default();
        return Err(format!(
            "\n  expected  {}\n  got       {}\n  {}",
            describe(&bytes, work),
            describe(out, work),
            difference(&bytes, out)
        ));
    }
    oracle::judge(out, Checksum::Unverified, want.csum == Csum::Good)
}

/// Sets a packet's destination to a binding's mapped address, and the source of a quoted packet.
fn aim(packet: &mut Packet, mapped: Transport4, pref64: Pref64) {
    let hairpins = packet.src.is_ipv6();
    packet.dst = if hairpins { embed(pref64, mapped.addr).into() } else { mapped.addr.into() };
    let goal = packet.dst;
    match &mut packet.body {
        Body::Udp { dst, .. } | Body::Tcp { dst, .. } => *dst = Num::Is(mapped.port),
        Body::Echo { id, .. } if !hairpins => *id = Num::Is(mapped.port),
        Body::Icmp { quote: Some(Quote::Packet(inner)), .. } => {
            inner.src = goal;
            match &mut inner.body {
                Body::Udp { src, .. } | Body::Tcp { src, .. } => *src = Num::Is(mapped.port),
                Body::Echo { id, .. } if !hairpins => *id = Num::Is(mapped.port),
                Body::Echo { .. } | Body::Icmp { .. } | Body::Proto(_) | Body::Raw => {}
            }
        }
        Body::Echo { .. } | Body::Icmp { .. } | Body::Proto(_) | Body::Raw => {}
    }
}

fn export(translator: &Translator, now: Instant) -> Vec<Record> {
    let none = Transport4::new([0; 4].into(), 0);
    let blank = Record {
        proto: Proto::Udp,
        v6: Transport6::new(Ipv6Addr::UNSPECIFIED, 0),
        v4: none,
        remote: none,
        pref64: Pref64::WELL_KNOWN,
        state: 0,
        remaining: Duration::ZERO,
    };
    let (mut all, mut cursor, mut out) = (Vec::new(), Cursor::default(), [blank; 64]);
    loop {
        let count = translator.export(now, &mut cursor, &mut out);
        if count == 0 {
            return all;
        }
        all.extend_from_slice(&out[..count]);
    }
}

fn chosen(translator: &Translator, now: Instant, proto: Proto, client: Transport6) -> Option<Transport4> {
    export(translator, now).iter().find(|r| r.proto == proto && r.v6 == client).map(|record| record.v4)
}
