//! The lines that check state: counters, sessions, events, and learnt values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gate64::addr::Proto;
use gate64::addr::{HostKey, Transport4, Transport6, ZoneId};
use gate64::counters::ZoneCounters;
use gate64::nat64::LoggedSession;
use gate64::reason::Reason;
use gate64::translator::{Cursor, Event, SessionRecord};

use super::packet::{Num, endpoint, int, num};
use super::settings;
use super::world::{World, ZONES};

/// TCP states as RFC 6146 §3.5.2 names them, by the number in a record. The last one is TRANS after a RST from
/// outside.
const STATES: [&str; 9] =
    ["CLOSED", "V4INIT", "V6INIT", "EST", "V4FIN", "V6FIN", "V4FIN+V6FIN", "TRANS", "TRANS"];

impl World {
    pub(super) fn look(&mut self, words: &[&str]) -> Result<(), String> {
        let equal = |what: &str, want: u64, got: u64| match want == got {
            true => Ok(()),
            false => Err(format!("\n  expected  {want} {what}\n  got       {got}")),
        };
        match *words {
            ["sessions", name, want] => {
                let proto = settings::proto(name)?;
                equal("sessions", int(want)?.into(), self.count(|zone| zone.sessions[proto as usize].read()))
            }
            ["bindings", name, want] => {
                let proto = settings::proto(name)?;
                equal("bindings", int(want)?.into(), self.count(|zone| zone.bindings[proto as usize].read()))
            }
            ["blocks", want] => equal("blocks", int(want)?.into(), self.count(|zone| zone.blocks.read())),
            ["handed_over", want] => equal("packets handed over", int(want)?.into(), self.handed_over.into()),
            ["counter", name, want] => {
                let reason = Reason::ALL.iter().find(|r| r.name() == name).ok_or("no such reason")?;
                let got = self.workers.iter().map(|w| w.counters().drops(*reason)).sum();
                equal("drops", int(want)?.into(), got)
            }
            ["session", name, v6, v4, remote, ref left @ ..] => self.session(name, [v6, v4, remote], left),
            ["no_events"] => match self.event() {
                None => Ok(()),
                Some(event) => Err(format!("\n  expected  no event\n  got       {}", event_text(&event))),
            },
            ["event", ref want @ ..] => self.expect_event(want),
            ["check", ref rest @ ..] => self.check(rest),
            _ => Err("this line can't be read".into()),
        }
    }

    fn count(&self, of: impl Fn(&ZoneCounters) -> u64) -> u64 {
        let zones = (0..ZONES as u16).map(ZoneId);
        zones
            .flat_map(|zone| self.workers.iter().map(move |w| (w, zone)))
            .map(|(w, zone)| of(w.counters().zone(Some(zone))))
            .sum()
    }

    /// `session udp C.40000 T.$p Z.53 remaining=300s`; for a TCP session also `state=EST`. `packets=1/2` and
    /// `bytes=58/296` are those to and from the server.
    fn session(&mut self, name: &str, ends: [&str; 3], words: &[&str]) -> Result<(), String> {
        let proto = settings::proto(name)?;
        let option = |what: &str| words.iter().find_map(|word| word.strip_prefix(what));
        let remaining = settings::duration(option("remaining=").ok_or("remaining=TIME")?)?;
        let state = option("state=");
        let mut wanted = Vec::new();
        for end in ends {
            let (addr, port) = endpoint(end)?;
            let port = match port.ok_or("a port is missing")? {
                Num::Is(port) => port,
                Num::Var(name) => *self.vars.get(&name).ok_or("nothing has shown this name")?,
            };
            wanted.push((addr, port));
        }
        let mut all = Vec::new();
        for worker in &self.workers {
            let mut cursor = Cursor::default();
            let blank = blank_record();
            let mut records = [blank; 16];
            loop {
                let count = worker.export(self.now, &mut cursor, &mut records);
                if count == 0 {
                    break;
                }
                all.extend(records[..count].iter().copied());
            }
        }
        let matches = |r: &&SessionRecord| {
            let v4 = |end: Transport4| (IpAddr::V4(end.addr), end.port);
            r.proto == proto && [(IpAddr::V6(r.v6.addr), r.v6.port), v4(r.v4), v4(r.remote)] == wanted[..]
        };
        let record = all.iter().find(matches).ok_or_else(|| {
            let list: Vec<_> =
                all.iter().map(|r| format!("{} {} {} {}", r.proto.name(), r.v6, r.v4, r.remote)).collect();
            format!("\n  expected  this session\n  got       {}", list.join("; "))
        })?;
        let is = STATES.get(usize::from(record.state)).copied();
        if let Some(state) = state.filter(|state| is != Some(state)) {
            return Err(format!("\n  expected  state {state}\n  got       {is:?}"));
        }
        let counts = [("packets=", record.packets.map(u64::from)), ("bytes=", record.bytes)]
            .map(|(word, [to, from])| (word, format!("{to}/{from}")));
        for (word, got) in counts {
            if let Some(want) = option(word).filter(|want| *want != got) {
                return Err(format!("\n  expected  {word}{want}\n  got       {got}"));
            }
        }
        match record.remaining == remaining {
            true => Ok(()),
            false => {
                Err(format!("\n  expected  {remaining:?} remaining\n  got       {:?}", record.remaining))
            }
        }
    }

    fn event(&mut self) -> Option<Event> {
        let mut out = [Event::PoolExhausted { host: HostKey::new(ZoneId(0), Ipv6Addr::UNSPECIFIED, 128) }];
        self.workers.iter_mut().find_map(|worker| (worker.events(&mut out) == 1).then_some(out[0]))
    }

    /// The words of the next event; `*` matches any.
    fn expect_event(&mut self, want: &[&str]) -> Result<(), String> {
        let got = self.event().map_or_else(|| "nothing".to_owned(), |event| event_text(&event));
        let words: Vec<_> = got.split(' ').collect();
        let same = words.len() == want.len() && words.iter().zip(want).all(|(a, b)| a == b || *b == "*");
        if same { Ok(()) } else { Err(format!("\n  expected  {}\n  got       {got}", want.join(" "))) }
    }

    /// `check $p is 5`, `not $q`, `below 1024`, `odd`, `even`
    fn check(&self, words: &[&str]) -> Result<(), String> {
        let value = |text: &str| match num(text)? {
            Num::Is(value) => Ok(value),
            Num::Var(name) => {
                self.vars.get(&name).copied().ok_or_else(|| format!("nothing has shown ${name}"))
            }
        };
        let (left, right) =
            (value(words.first().ok_or("check what?")?)?, words.get(2).map(|w| value(w)).transpose()?);
        let right = right.unwrap_or(0);
        let holds = match words.get(1) {
            Some(&"is") => left == right,
            Some(&"not") => left != right,
            Some(&"below") => left < right,
            Some(&"from") => left >= right,
            Some(&"odd") => left % 2 == 1,
            Some(&"even") => left % 2 == 0,
            _ => return Err("is, not, below, from, odd or even".into()),
        };
        if holds { Ok(()) } else { Err(format!("{} is {left}", words[0])) }
    }
}

fn blank_record() -> SessionRecord {
    let v4 = Transport4::new(Ipv4Addr::UNSPECIFIED, 0);
    SessionRecord {
        proto: Proto::Udp,
        v6: Transport6::new(Ipv6Addr::UNSPECIFIED, 0),
        v4,
        remote: v4,
        pref64: "64:ff9b::/96".parse().expect("literal"),
        state: 0,
        remaining: Duration::ZERO,
        silent: Duration::ZERO,
        inbound: false,
        answered: false,
        packets: [0; 2],
        bytes: [0; 2],
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::BlockAssigned { host, addr, ports } => {
            format!("block_assigned {} {addr} {ports}", host.prefix)
        }
        Event::BlockReclaimed { host, addr, ports } => {
            format!("block_reclaimed {} {addr} {ports}", host.prefix)
        }
        Event::BlockReleased { host, addr, ports } => {
            format!("block_released {} {addr} {ports}", host.prefix)
        }
        Event::SessionStarted { session } => format!("session_started {}", session_text(session)),
        Event::SessionEnded { session, age } => {
            format!("session_ended {} {}s", session_text(session), age.as_secs())
        }
        Event::QuotaReached { host, reason } => format!("quota_reached {} {reason}", host.prefix),
        Event::WithoutChecksum { src, dst } => format!("without_checksum {src} {dst}"),
        Event::PoolExhausted { host } => format!("pool_exhausted {}", host.prefix),
    }
}

fn session_text(session: &LoggedSession) -> String {
    let LoggedSession { proto, zone, client, mapped, remote, server, is_static } = session;
    let binding = if *is_static { "static" } else { "dynamic" };
    format!("{} {} {client} {mapped} {remote} {server} {binding}", proto.name(), zone.0)
}
