//! Runs steps through the model and a translator and compares both.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gate64::addr::Proto;
use gate64::addr::{Pref64, Transport4, Transport6};
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{SessionRecord, Settings, Verdict};
use gate64::wire::buf::Offload;

use super::address::{Local, embed};
use super::datagram::{Cut, Order, joined, pieces};
use super::nat64::{Model, Outcome};
use super::packet;
use super::tcp::State;
use super::workers::{Seen, Workers};
use super::write::Script;
use crate::script::build::{Blank, build, learn};
use crate::script::describe::{describe, difference};
use crate::script::fixture::fixture;
use crate::script::oracle;
use crate::script::packet::{Body, Csum, Num, Packet, Quote, Vars};
use crate::script::settings::{apply, local};
use crate::script::world::offload;

/// One step. Its meaning does not depend on other steps, so that a run can be shortened.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A packet, possibly in fragments. If it is for a client's binding: which client, and the pref64 if it is
    /// hairpinned.
    Packet { packet: Box<Packet>, at: Option<(Proto, Transport6, Pref64)>, cut: Option<Cut> },
    /// Advances the clock.
    Wait(Duration),
    /// `set` lines, then a reload.
    Reload(Vec<String>),
    /// The addresses of the host, each with its prefix length, change.
    Local(String),
}

/// A whole run: initial settings, then steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) settings: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// The translator rounds a quarantine up to eighths of a second, that of a port and that of its block.
const ROUNDING: Duration = Duration::from_millis(600);

pub(super) struct Play {
    pub(super) model: Model,
    pub(super) settings: Settings,
    workers: Workers,
    start: Instant,
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
        let workers = Workers::new(&settings);
        Ok(Self {
            model: Model::new(settings.clone(), workers.owners().clone(), start),
            workers,
            settings,
            start,
            states: HashMap::from([(0, State::None)]),
            script: None,
        })
    }

    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Packet { packet, at, cut } => {
                let mut packet = packet.clone();
                if let Some((proto, client, pref64)) = at
                    && let Some(binding) = self.model.of(*proto, *client)
                {
                    aim(&mut packet, self.model.bindings[binding].mapped, *pref64);
                }
                match cut {
                    None => self.packet(&packet),
                    Some(cut) => self.datagram(&packet, *cut),
                }
            }
            Step::Wait(time) => self.wait(*time),
            Step::Reload(lines) => {
                for line in lines {
                    set(&mut self.settings, line)?;
                }
                self.workers.reconfigure(self.model.now, &self.settings);
                self.model.reload(self.settings.clone(), self.workers.owners().clone());
                self.note(|script, _| script.reload(lines));
                Ok(())
            }
            Step::Local(addresses) => {
                self.settings.local = Arc::new(local(addresses)?);
                self.workers.set_local(self.model.now, &self.settings.local);
                self.model.local = Local::new(addresses)?;
                self.note(|script, _| script.local(addresses));
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
        let seen = self.workers.send(self.model.now, &input, offload(packet))?;
        let want = self.judge(packet)?;
        self.note(|script, _| script.packet(packet, &want));
        // An error quotes a super-packet as its first segment.
        let quotes_a_segment = packet.gso.is_some() && matches!(want.verdict, Verdict::Reject(_));
        if want.verdict != seen.only() || want.packets.len() != seen.packets.len() {
            return Err(format!("{:?} was to be, but {seen:?}", want.verdict));
        }
        let mut vars = Vars::new();
        for (want, (out, work)) in want.packets.iter().zip(&seen.packets).filter(|_| !quotes_a_segment) {
            same(want, out, &input, &mut vars)?;
            if offload(want) != *work {
                return Err(format!("{:?} was to be, but {work:?}", offload(want)));
            }
        }
        Ok(())
    }

    /// What the model says of a packet.
    fn judge(&mut self, packet: &Packet) -> Result<Outcome, String> {
        self.model.reclaimed = self.workers.reclaimed();
        let (workers, now) = (&self.workers, self.model.now);
        let outcome = match packet.src.is_ipv6() {
            true => self.model.outward(packet, &|proto, client| workers.chosen(now, proto, client)),
            false => Ok(self.model.inward(packet)),
        };
        match outcome.is_ok() && !self.model.reclaimed.is_empty() {
            true => Err(format!("{:?} were reclaimed", self.model.reclaimed)),
            false => outcome,
        }
    }

    /// A datagram in fragments. Whatever becomes of them on the way, they are one datagram at the end, and it
    /// is the translation of the whole.
    fn datagram(&mut self, packet: &Packet, cut: Cut) -> Result<(), String> {
        let vars = Vars::new();
        let mut all = Seen::default();
        for piece in pieces(packet, cut) {
            let input = build(&piece, Blank { vars: &vars, hop: Some(64), actual: None, input: &[] })?;
            let seen = self.workers.send(self.model.now, &input, Offload::default())?;
            all.verdicts.extend(seen.verdicts);
            all.packets.extend(seen.packets);
        }
        // The sizes that matter are those of the fragments, which fit everywhere or are cut again.
        let rules = self.model.settings.rules;
        let of = &mut self.model.settings.rules;
        (of.mtu4, of.mtu6, of.lowest_ipv6_mtu) = (u16::MAX, u16::MAX, u16::MAX);
        let want = self.judge(packet);
        if matches!(&want, Ok(want) if want.verdict == Verdict::Forward)
            && let Some(plain) = packet::without_flags(packet)
            && packet::message_len(packet) > cut.size
        {
            // Later fragments show no flags: they are plain segments.
            self.judge(&plain)?;
        }
        self.model.settings.rules = rules;
        let mut want = want?;
        let is_cut = packet::message_len(packet) > cut.size;
        if want.verdict == Verdict::Drop(Reason::LocalDestination) && packet.csum == Csum::Zero && is_cut {
            // The checksum of a first fragment is judged before its destination.
            want.verdict = Verdict::Drop(Reason::UdpZeroChecksum);
        }
        if want.verdict == Verdict::Reject(Reason::NoSession) && is_cut {
            // A fragment gets no RST.
            want = Outcome { verdict: Verdict::Drop(Reason::NoSession), packets: Vec::new() };
        }
        self.note(|script, _| script.datagram(packet, cut, &want));
        let wrong = |what: &str| Err(format!("{what}: {:?} was to be, but {all:?}", want.verdict));
        let parts: Vec<_> = all.packets.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        if want.verdict != Verdict::Forward {
            // An error for the first fragment; the others are dropped. Judged one by one are fragments from outside for
            // another worker, destinations that are refused whatever the ports, hop limits in stateless translation, and
            // a whole datagram that comes twice.
            let errors = parts.iter().filter(|part| is_to(part, packet.src)).count();
            let of_other_worker = packet.src.is_ipv4() && self.settings.workers > 1;
            let by_address = matches!(
                want.verdict,
                Verdict::Reject(Reason::WellKnownNotGlobal | Reason::Denied | Reason::RuleDenied)
                    | Verdict::Drop(Reason::WellKnownNotGlobal | Reason::Denied | Reason::RuleDenied)
            );
            let by_hop_limit =
                self.settings.siit.is_some() && want.verdict == Verdict::Reject(Reason::HopLimit);
            let one_by_one =
                of_other_worker || by_address || by_hop_limit || matches!(cut.order, Order::Twice);
            let few = errors <= want.packets.len() || one_by_one;
            let refused = few && errors == parts.len() && all.verdicts.contains(&want.verdict);
            return if refused { Ok(()) } else { wrong("refused") };
        }
        let mtus = [self.settings.rules.mtu4, self.settings.rules.mtu6];
        if parts.iter().any(|part| part.len() > usize::from(mtus[usize::from(part[0] >> 4 == 6)])) {
            return wrong("too long");
        }
        let whole = match joined(&parts) {
            Ok(whole) => whole,
            Err(error) => return wrong(&error),
        };
        let mut want = want.packets[0].clone();
        want.df = whole[0] >> 4 == 4 && whole[6] & 0x40 != 0;
        same(&want, &whole, &[], &mut Vars::new())
    }

    /// Advances the clock like a worker, stopping at every deadline, and on until no quarantine is about to
    /// end.
    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let mut until = self.model.now + time;
        let mut want = self.model.advance(until);
        while self.model.quarantine_ended_within(ROUNDING) {
            until = until + Duration::from_millis(200);
            want.extend(self.model.advance(until));
        }
        // Sessions end at most one tick of the timer wheel late, about a millisecond.
        until = until + Duration::from_millis(2);
        want.extend(self.model.advance(until));
        let out = self.workers.expire(until)?;
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

    /// Compares all state of both.
    pub(super) fn check(&mut self) -> Result<(), String> {
        for proto in Proto::ALL {
            let sessions = self.model.sessions.iter().filter(|s| s.proto == proto).count() as u64;
            let live = self.model.bindings.iter().filter(|b| b.proto == proto && b.quarantined.is_none());
            let (bindings, name) = (live.count() as u64, proto.name());
            let of_translator = self.workers.sum(|zone| &zone.sessions[proto as usize]);
            if of_translator != sessions {
                return Err(format!("{of_translator} {name} sessions, not {sessions}"));
            }
            let of_translator = self.workers.sum(|zone| &zone.bindings[proto as usize]);
            if of_translator != bindings {
                return Err(format!("{of_translator} {name} bindings, not {bindings}"));
            }
        }
        let blocks = self.workers.sum(|zone| &zone.blocks);
        if blocks != self.model.blocks.len() as u64 {
            return Err(format!("{blocks} blocks, not {}", self.model.blocks.len()));
        }
        self.check_sessions()
    }

    fn check_sessions(&mut self) -> Result<(), String> {
        let records = self.workers.export(self.model.now);
        for session in &self.model.sessions {
            let binding = self.model.of(session.proto, session.client).expect("a session has a binding");
            let mapped = self.model.bindings[binding].mapped;
            let same = |r: &&SessionRecord| {
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

/// Whether a packet is for this address.
fn is_to(bytes: &[u8], addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => bytes[0] >> 4 == 4 && bytes[16..20] == addr.octets(),
        IpAddr::V6(addr) => bytes[0] >> 4 == 6 && bytes[24..40] == addr.octets(),
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
    oracle::judge(out, offload(want).checksum, want.csum == Csum::Good)
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
