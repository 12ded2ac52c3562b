//! Scenarios of the DNS64 engine under a virtual clock. `dns_scenarios/README.md` describes the language.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gate64::addr::{HostKey, ZoneId};
use gate64::dns64::{
    Answer, Domains, Engine, Forward, QueryAction, Rules, ServerName, Settings, Synthesize, Tls, Transmit,
    Transport, WhenDown, WithDo, Zone,
};
use gate64::time::Instant;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::DNSClass;

mod text;

pub(crate) use text::errors;
use text::{
    add_error, code_of, edns, key, mapping, name, number, parse_record, prefix4, prefix6, question, text_of,
    upstream,
};

const CLIENT: &str = "2001:db8:1::5";

#[test]
fn dns_scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/dns_scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    let mut count = 0;
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text file");
        for (line, scenario) in scenarios(&text) {
            count += 1;
            if let Err((at, why)) = run_scenario(&scenario) {
                let file = file.file_name().expect("a file").to_string_lossy();
                let _ = writeln!(failures, "{file}:{}: {}\n    {why}", line + at, scenario[0]);
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count >= 140, "only {count} scenarios were found");
}

/// Splits a file at its `==` lines; each scenario with the number of its first line.
fn scenarios(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut all: Vec<(usize, Vec<&str>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("== ") {
            all.push((number + 1, Vec::new()));
        }
        if let Some((_, lines)) = all.last_mut() {
            lines.push(line);
        }
    }
    all
}

/// Runs one scenario. On failure, returns the offset of the line and the error.
fn run_scenario(lines: &[&str]) -> Result<(), (usize, String)> {
    let mut session = Session::new();
    let mut at = 1;
    while at < lines.len() {
        let line = lines[at].split('#').next().unwrap_or_default();
        let mut records = Vec::new();
        let mut next = at + 1;
        while let Some(record) = lines.get(next).and_then(|l| l.strip_prefix("  ")) {
            records.push(record.split('#').next().unwrap_or_default().trim());
            next += 1;
        }
        if !line.trim().is_empty() {
            session.step(line.trim(), &records).map_err(|why| (at, why))?;
        }
        at = next;
    }
    session.end().map_err(|why| (lines.len() - 1, why))
}

struct Session {
    settings: Settings,
    now: Instant,
    engine: Engine<Query>,
    /// Answers that no step has matched yet, with their questions.
    answers: VecDeque<(Query, Answer)>,
    dropped: Option<String>,
    /// Pending upstream queries, by `TYPE NAME to=N` as in the scenario.
    pending: BTreeMap<String, Transmit>,
}

type Step = Result<(), String>;

impl Session {
    fn new() -> Self {
        let zone = Zone {
            id: ZoneId(7),
            name: "test".to_owned(),
            clients: vec![prefix6("2001:db8:1::/64")],
            pref64: vec![mapping("2001:db8:64::/96")],
            rules: Rules::default(),
        };
        let settings = Settings { zones: vec![zone], upstreams: vec![upstream(1)], ..Settings::default() };
        Self {
            engine: Engine::new(Arc::new(settings.clone()), 64),
            settings,
            now: Instant::ZERO,
            answers: VecDeque::new(),
            dropped: None,
            pending: BTreeMap::new(),
        }
    }

    fn step(&mut self, line: &str, records: &[&str]) -> Step {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        if !matches!(verb, "?" | "<" | "<-" | "@") {
            self.expect_no_output()?;
        }
        match verb {
            "set" => {
                words.iter().try_for_each(|word| self.set(word))?;
                self.engine.reconfigure(Arc::new(self.settings.clone()));
                Ok(())
            }
            ">" => self.client_query(&words),
            "?" => self.expect_upstream_query(&words),
            "!" => self.upstream_reply(&words, records),
            "x" => self.upstream_failure(&words),
            "." => self.advance_to(rest),
            "<" => self.expect_answer(&words, records),
            "@" => self.expect_ledger(&words),
            "<-" => match self.dropped.take() {
                Some(outcome) if outcome == rest => Ok(()),
                other => Err(format!("dropped as {other:?}, {} answers", self.answers.len())),
            },
            _ => Err(format!("no such step: {line}")),
        }
    }

    /// Fails on any output that the scenario does not list.
    fn expect_no_output(&mut self) -> Step {
        if let Some((_, answer)) = self.answers.front() {
            return Err(format!("unexpected answer: {}", text_of(answer)));
        }
        if let Some(outcome) = &self.dropped {
            return Err(format!("not answered: {outcome}"));
        }
        match self.engine.poll_transmit() {
            Some(ask) => Err(format!("unexpected upstream query: {}", key(&ask))),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Step {
        self.expect_no_output()?;
        if self.engine.pending() > 0 { Err("a client query is still pending".to_owned()) } else { Ok(()) }
    }

    fn set(&mut self, word: &str) -> Step {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let zone = &mut self.settings.zones[0];
        match key {
            "trust_ad" => self.settings.trust_ad = true,
            "off" => zone.rules.enabled = false,
            "synthesize" => {
                zone.rules.synthesize = match value {
                    "missing" => Synthesize::Missing,
                    "always" => Synthesize::Always,
                    "never" => Synthesize::Never,
                    _ => return Err(format!("no such value: {word}")),
                };
            }
            "ignore_for" => assert!(zone.rules.ignore_aaaa_for.add(value), "{word}"),
            "never_for" => assert!(zone.rules.never_for.add(value), "{word}"),
            "native_when_down" => zone.rules.when_down = WhenDown::Native,
            "down" => self.engine.set_translating(zone.id, false),
            "up" => self.engine.set_translating(zone.id, true),
            "forward" => {
                let mut domains = Domains::default();
                let (name, server) = value.split_once('@').ok_or("forward=NAME@SERVER")?;
                assert!(domains.add(name), "{word}");
                let upstreams = vec![upstream(number(server))];
                self.settings.forwards.push(Forward { domains, upstreams });
            }
            "record" => {
                let (name, addr) = value.split_once('@').ok_or("record=NAME@ADDRESS")?;
                assert!(self.settings.local.add(name, text::address(addr)), "{word}");
            }
            "tls" => {
                let listen = value.split(',').map(|addr| addr.parse().expect("an address")).collect();
                let (certificate, key) = (PathBuf::new(), PathBuf::new());
                self.settings.network.tls = Some(Tls { listen, name: None, certificate, key });
            }
            "tls_name" => {
                let tls = self.settings.network.tls.as_mut().ok_or("tls comes first")?;
                tls.name = ServerName::new(value);
            }
            "discovery_ttl" => self.settings.discovery_ttl = number(value),
            "cache" => self.settings.cache_limits.bytes = number(value),
            "ledger" => self.settings.ledger.names = number(value),
            "stale" => self.settings.cache_limits.stale = number(value),
            "wkp_private" => zone.rules.private_under_well_known = true,
            "with_do" => {
                zone.rules.with_do = Some(match value {
                    "never" => WithDo::Never,
                    "unsigned" => WithDo::UnsignedOnly,
                    "validated" => WithDo::Validated,
                    _ => return Err(format!("no such value: {word}")),
                });
            }
            "exclude" => zone.rules.exclude_aaaa.push(prefix6(value)),
            "never" => zone.rules.never_translate_ipv4.push(prefix4(value)),
            "pref64" => zone.pref64 = value.split(',').map(mapping).collect(),
            "upstreams" => self.settings.upstreams = (1..=number(value)).map(upstream).collect(),
            _ => return Err(format!("no such setting: {word}")),
        }
        Ok(())
    }

    fn client_query(&mut self, words: &[&str]) -> Step {
        let mut message = question(words)?;
        let mut from = text::address(CLIENT);
        let mut transport = Transport::Udp;
        message.metadata.id = 0x6464;
        message.metadata.recursion_desired = true;
        for flag in &words[2..] {
            let (flag, value) = flag.split_once('=').unwrap_or((flag, ""));
            match flag {
                "do" => _ = edns(&mut message).set_dnssec_ok(true),
                "edns" if value.is_empty() => _ = edns(&mut message),
                "edns" => _ = edns(&mut message).set_max_payload(number(value)),
                "version" => _ = edns(&mut message).set_version(number(value)),
                "cd" => message.metadata.checking_disabled = true,
                "ad" => message.metadata.authentic_data = true,
                "norec" => message.metadata.recursion_desired = false,
                "class" if value == "CH" => message.queries[0].query_class = DNSClass::CH,
                "opcode" => message.metadata.op_code = OpCode::from_u8(number(value)),
                "twice" => message.queries.push(message.queries[0].clone()),
                "response" => message.metadata.message_type = MessageType::Response,
                "from" => from = text::address(value),
                "tcp" => transport = Transport::Tcp,
                _ => return Err(format!("no such flag: {flag}")),
            }
        }
        let question = message.queries[0].clone();
        let bytes = message.to_vec().map_err(|e| e.to_string())?;
        match self.engine.query(self.now, from, transport, &bytes, || Ok(question.clone())) {
            QueryAction::Answer(answer) => self.answers.push_back((question, answer)),
            QueryAction::Drop(_, outcome) => self.dropped = Some(outcome.to_string()),
            QueryAction::Pending => {}
        }
        self.fetch();
        Ok(())
    }

    fn expect_upstream_query(&mut self, words: &[&str]) -> Step {
        let ask = self.engine.poll_transmit().ok_or("no upstream query")?;
        let (got, want) = (key(&ask), words.join(" "));
        let got = match (want.contains(" to="), got.rsplit_once(" to=")) {
            (false, Some((short, "1"))) => short.to_owned(),
            _ => got,
        };
        if got != want {
            return Err(format!("upstream query: {got}"));
        }
        let short: Vec<_> =
            words.iter().take(2).chain(words.iter().filter(|w| w.starts_with("to="))).copied().collect();
        self.pending.insert(short.join(" "), ask);
        Ok(())
    }

    fn upstream_reply(&mut self, words: &[&str], records: &[&str]) -> Step {
        let asked: Vec<_> = words.iter().take_while(|w| code_of(w).is_none()).copied().collect();
        let ask = self.take_pending(&asked)?;
        let query = Message::from_vec(&ask.query).map_err(|e| e.to_string())?;
        let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        reply.queries.clone_from(&query.queries);
        reply.metadata.recursion_available = true;
        for word in &words[asked.len()..] {
            let (flag, value) = word.split_once('=').unwrap_or((word, ""));
            match flag {
                "ad" => reply.metadata.authentic_data = true,
                "tc" => reply.metadata.truncation = true,
                "ede" => add_error(&mut reply, number(value)),
                "about" => reply.queries[0].name = name(value),
                "noquestion" => reply.queries.clear(),
                _ => {
                    reply.metadata.response_code =
                        code_of(flag).ok_or_else(|| format!("no such flag: {flag}"))?;
                }
            }
        }
        for line in records {
            let (section, record) = line.split_once(' ').ok_or("a record needs a section")?;
            let record = parse_record(record)?;
            match section {
                "an" => reply.answers.push(record),
                "au" => reply.authorities.push(record),
                "ad" => reply.additionals.push(record),
                _ => return Err(format!("no such section: {section}")),
            }
        }
        let bytes = reply.to_vec().map_err(|e| e.to_string())?;
        if !self.engine.reply(self.now, ask.id, &bytes) {
            // The engine rejected the answer; the query is still pending.
            self.pending.insert(asked.join(" "), ask);
        }
        self.fetch();
        Ok(())
    }

    fn upstream_failure(&mut self, words: &[&str]) -> Step {
        let ask = self.take_pending(words)?;
        self.engine.failed(self.now, ask.id);
        self.fetch();
        Ok(())
    }

    fn take_pending(&mut self, words: &[&str]) -> Result<Transmit, String> {
        self.pending
            .remove(&words.join(" "))
            .ok_or_else(|| format!("no pending upstream query {}", words.join(" ")))
    }

    fn advance_to(&mut self, until: &str) -> Step {
        let millis = until.strip_suffix("ms").and_then(|m| m.parse().ok()).ok_or("time is given in ms")?;
        let until = Instant::from_millis(millis);
        loop {
            let deadline = self.engine.deadline();
            if deadline > until {
                break;
            }
            self.now = deadline;
            self.engine.timeout(deadline);
            self.fetch();
            if deadline < until {
                self.expect_no_output()?;
            } else {
                break;
            }
        }
        self.now = until;
        Ok(())
    }

    /// Checks the ledger entry of a name, or of an address synthesized for the client.
    fn expect_ledger(&mut self, words: &[&str]) -> Step {
        let host = HostKey::new(ZoneId(7), CLIENT.parse().expect("literal"), 128);
        if let Ok(v4) = words[0].parse() {
            let linked = self.engine.name_of(host, v4).map_or_else(
                || "nothing".to_owned(),
                |linked| {
                    format!("{}{}", linked.name, if linked.is_synthesized { " synthesized" } else { "" })
                },
            );
            return if words[1..].join(" ") == linked { Ok(()) } else { Err(format!("linked to {linked}")) };
        }
        let found = self.engine.names(ZoneId(7)).find(|(name, _)| name == words[0]);
        let noted = found.map_or_else(
            || "nothing".to_owned(),
            |(_, asked)| {
                let alias = asked.alias.map_or(String::new(), |alias| format!(" alias={alias}"));
                format!("{} {}{alias}", asked.ipv6_support.name(), asked.times)
            },
        );
        if words[1..].join(" ") == noted { Ok(()) } else { Err(format!("in the ledger: {noted}")) }
    }

    fn fetch(&mut self) {
        self.answers.extend(std::iter::from_fn(|| self.engine.poll_answer()));
    }

    fn expect_answer(&mut self, words: &[&str], records: &[&str]) -> Step {
        let (asked, answer) = self.answers.pop_front().ok_or("no answer")?;
        let repeated = Message::from_vec(&answer.message).map_err(|e| e.to_string())?.queries;
        let case = |q: &Query| (q.name.to_ascii(), q.query_type, q.query_class);
        if repeated.iter().any(|q| case(q) != case(&asked)) {
            return Err(format!("the question changed to {repeated:?}"));
        }
        let got = text_of(&answer);
        let mut want = words.join(" ");
        for record in records {
            let _ = write!(want, "\n  {record}");
        }
        if got == want { Ok(()) } else { Err(format!("answered:\n{got}")) }
    }
}

#[test]
fn wrong_steps_fail() {
    for wrong in [
        "== t\n> AAAA x.example.\n? A x.example.",
        "== t\n> AAAA x.example.\n? AAAA x.example.",
        "== t\n> A x.example.\n? A x.example.\n! A x.example. noerror\n< nxdomain passed_type",
        "== t\n> A x.example.\n? A x.example.",
        "== t\n> A x.example.\n. 10ms",
    ] {
        let (_, lines) = scenarios(wrong).remove(0);
        assert!(run_scenario(&lines).is_err(), "{wrong}");
    }
    assert_eq!(Duration::from_millis(800), Settings::default().timeouts.aaaa_wait);
}
