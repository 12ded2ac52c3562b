//! A client, its engine, and the checks on every answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use gate64::addr::{Ipv6Prefix, Pref64, ZoneId};
use gate64::dns64::{
    Answer, Engine, MAPPED, Mapping, Outcome, QueryAction, Rules, Settings, Transmit, Transport, Zone,
};
use gate64::time::Instant;

use super::message::{OPT, Shape, TC};

const CLIENT: &str = "2001:db8:1::5";
/// One prefix for all addresses, the Well-Known Prefix, and one for a range.
const PREF64: [(&str, Option<&str>); 3] =
    [("2001:db8:64::/96", None), ("64:ff9b::/96", None), ("2001:db8:a::/64", Some("10.0.0.0/8"))];
/// A records that are never translated.
const NEVER: &str = "192.168.0.0/16";
/// A range whose AAAA records count as absent, besides mapped addresses.
const EXCLUDED: &str = "2001:db8:bad::/48";

/// Longest wait of a client (`Timeouts::total`).
const TOTAL: Duration = Duration::from_secs(4);
/// AAAA, A and the zone cut, each queried at most three times, and once more by prefetch.
const MOST_ASKED: usize = 12;

fn excluded() -> [Ipv6Prefix; 2] {
    [MAPPED, EXCLUDED.parse().expect("literal")]
}

fn settings(choice: u8) -> Settings {
    let mapping = |(pref64, only): &(&str, Option<&str>)| Mapping {
        pref64: pref64.parse::<Pref64>().expect("literal"),
        only: only.map(|only| only.parse().expect("literal")),
    };
    let mut rules = Rules {
        exclude_aaaa: excluded().to_vec(),
        never_translate_ipv4: vec![NEVER.parse().expect("literal")],
        ..Rules::default()
    };
    assert!(rules.ignore_aaaa_for.add("ignored.example"));
    assert!(rules.never_for.add("never.example"));
    let zone = Zone {
        id: ZoneId(0),
        name: "z".to_owned(),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: PREF64.iter().map(mapping).collect(),
        rules,
    };
    let upstreams = ["192.0.2.53:53", "192.0.2.54:53"].map(|addr| addr.parse().expect("literal"));
    let upstreams = upstreams[..1 + usize::from(choice & 1)].to_vec();
    Settings { zones: vec![zone], upstreams, trust_ad: choice & 2 != 0, ..Settings::default() }
}

/// The behaviour of an upstream.
pub(super) enum Upstream {
    Says(Vec<u8>),
    Fails,
    IsSilent,
}

pub(super) struct Client {
    engine: Engine<()>,
    pub(super) now: Instant,
}

impl Client {
    /// `choice` selects the variable settings.
    pub(super) fn new(choice: u8) -> Self {
        Self { engine: Engine::new(Arc::new(settings(choice)), 64), now: Instant::ZERO }
    }

    /// Sends a query, checks the answer and returns it; `None` if the bytes were not a query.
    pub(super) fn ask(
        &mut self,
        transport: Transport,
        query: &[u8],
        mut upstream: impl FnMut(&Transmit) -> Upstream,
    ) -> Option<Answer> {
        let started = self.now;
        let client = CLIENT.parse().expect("literal");
        let mut asked = 0;
        let answer = match self.engine.query(started, client, transport, query, || Ok(())) {
            QueryAction::Answer(answer) => answer,
            QueryAction::Drop(_, outcome) => {
                assert_eq!(outcome, Outcome::Ignored);
                assert!(query.len() < 12 || query[2] & 0x80 != 0, "a query was ignored: {query:02x?}");
                return None;
            }
            QueryAction::Pending => loop {
                while let Some(ask) = self.engine.poll_transmit() {
                    asked += 1;
                    self.hears(&ask, upstream(&ask));
                }
                if let Some(((), answer)) = self.engine.poll_answer() {
                    break answer;
                }
                self.now = self.engine.deadline();
                assert!(self.now - started <= TOTAL, "an answer that does not come: {query:02x?}");
                self.engine.timeout(self.now);
            },
        };
        // Pending prefetch and zone queries end, too.
        while let Some(ask) = self.engine.poll_transmit() {
            asked += 1;
            self.hears(&ask, upstream(&ask));
        }
        assert!(asked <= MOST_ASKED, "{asked} questions for one: {query:02x?}");
        assert_eq!((self.engine.pending(), self.engine.poll_answer()), (0, None), "answered twice");
        check(transport, query, &answer);
        Some(answer)
    }

    fn hears(&mut self, ask: &Transmit, said: Upstream) {
        let asked = Shape::read(&ask.query).expect("our own question");
        assert_eq!((asked.id, asked.opts().count()), (0, 1));
        match said {
            Upstream::Says(reply) => {
                let taken = self.engine.reply(self.now, ask.id, &reply);
                assert!(taken || !ask.is_answered_by(&reply), "a reply that was not taken");
            }
            Upstream::Fails => self.engine.failed(self.now, ask.id),
            Upstream::IsSilent => {}
        }
    }

    /// Advances the clock; upstream queries sent meanwhile stay unanswered.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.engine.deadline() <= until {
            let due = self.engine.deadline();
            self.engine.timeout(due);
            while let Some(ask) = self.engine.poll_transmit() {
                self.engine.failed(due, ask.id);
            }
        }
        self.now = until;
    }
}

/// The checks on every answer.
fn check(transport: Transport, query: &[u8], answer: &Answer) {
    let message = &answer.message;
    let shape = Shape::read(message).unwrap_or_else(|| panic!("{}: {message:02x?}", answer.outcome));
    let flags = u16::from(query[2]) << 8 | u16::from(query[3]);
    assert_eq!(shape.id.to_be_bytes(), query[..2], "another id");
    let kept = 0x7800 | 0x0100 | 0x0010;
    assert_eq!(shape.flags & 0x8000, 0x8000, "no answer");
    assert_eq!(shape.flags & kept, flags & kept, "another operation, RD or CD");
    assert_eq!(shape.flags & TC != 0, answer.truncated);
    if answer.truncated {
        assert!(shape.records().all(|record| record.kind == OPT), "half an answer");
    }
    let opts = shape.opts().count();
    assert!(opts == 0 || opts == 1 && shape.opts().all(|opt| opt.at_root));
    let room = match Shape::read(query) {
        Some(asked) => {
            if !asked.question.is_empty() && !shape.question.is_empty() {
                assert_eq!(shape.question, asked.question, "another question");
            }
            assert!(opts <= asked.opts().count(), "EDNS to a client without");
            asked.opts().map(|opt| usize::from(opt.class).clamp(512, 1232)).next().unwrap_or(512)
        }
        None => 1232,
    };
    assert!(transport == Transport::Tcp || message.len() <= room, "{} bytes over UDP", message.len());
    if answer.outcome.is_synthesized() && !answer.truncated {
        synthesized(&shape);
    } else if shape.kind() == Some(28) && matches!(answer.outcome, Outcome::Native | Outcome::NativeFiltered)
    {
        native(&shape);
    }
}

fn addresses(shape: &Shape) -> impl Iterator<Item = Ipv6Addr> {
    let aaaa = shape.sections[0].iter().filter(|record| record.kind == 28);
    aaaa.map(|record| Ipv6Addr::from(<[u8; 16]>::try_from(&record.data[..]).expect("AAAA has 16 bytes")))
}

/// Only addresses under a pref64, of addresses that may be translated.
fn synthesized(shape: &Shape) {
    assert_eq!(shape.rcode(), 0);
    assert!(shape.sections[0].iter().all(|record| record.kind != 1), "A records in an answer for AAAA");
    assert!(addresses(shape).next().is_some(), "synthesized nothing");
    for v6 in addresses(shape) {
        let found = PREF64.iter().find_map(|(pref64, only)| {
            Some((*pref64, *only, pref64.parse::<Pref64>().expect("literal").extract(v6)?))
        });
        let (pref64, only, v4) = found.unwrap_or_else(|| panic!("{v6} is under no pref64"));
        let within = |prefix: &str| prefix.parse::<gate64::addr::Ipv4Prefix>().expect("literal").contains(v4);
        assert!(!within(NEVER), "{v6} stands for an address that is never translated");
        assert_eq!(within("10.0.0.0/8"), only.is_some(), "{v6} is under the prefix of another range");
        assert!(!v4.is_loopback() && !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast());
        assert!(pref64 != "64:ff9b::/96" || is_public(v4), "{v6}: RFC 6052 §3.1");
    }
}

/// As classified by the standard library.
fn is_public(v4: Ipv4Addr) -> bool {
    !v4.is_private() && !v4.is_link_local() && !v4.is_documentation()
}

/// Native addresses, none of which counts as absent.
fn native(shape: &Shape) {
    for v6 in addresses(shape) {
        assert!(!excluded().iter().any(|prefix| prefix.contains(v6)), "{v6} is excluded");
    }
}

/// An ordinary reply to `ask`: an A record, a denial of everything else.
pub(super) fn plain_reply(ask: &Transmit) -> Upstream {
    let v4: IpAddr = Ipv4Addr::new(198, 51, 100, 7).into();
    match gate64::dns64::address_reply(&ask.query, &[v4], 300) {
        Some(reply) => Upstream::Says(reply),
        None => Upstream::IsSilent,
    }
}
