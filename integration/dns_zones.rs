//! Compares the engine and its cache with a short model of RFC 6147 over random zones. The model knows
//! neither messages nor time.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use gate64::addr::{Pref64, ZoneId};
use gate64::dns64::{Answer, Engine, QueryAction, Rules, Settings, Transmit, Transport, Zone};
use gate64::time::Instant;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use crate::dns_scenarios::errors;

const NAMES: usize = 6;
const PREF64: &str = "2001:db8:64::/96";
/// The TTL of stale data (RFC 8767 §4).
const STALE_TTL: u32 = 30;
/// The extended errors of stale data: 3 and 19 (RFC 8914).
const STALE: [u16; 2] = [3, 19];

/// The result of queries of one type for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Answers,
    Fails,
    Refuses,
    IsSilent,
}

/// The records of a name.
#[derive(Clone, Debug)]
enum Node {
    Missing,
    Alias(usize),
    Host { v4: Vec<Ipv4Addr>, v6: Vec<Ipv6Addr>, moods: [Mood; 2] },
}

#[derive(Clone, Debug)]
struct World {
    nodes: Vec<Node>,
    ttl: u32,
    with_soa: bool,
    /// Whether prefetch queries are answered.
    hears_ahead: bool,
}

/// The result of a query: a code and addresses.
type Result = (ResponseCode, BTreeSet<IpAddr>);

/// The recursive resolver's result; `None` is a timeout.
type Found = Option<(ResponseCode, Vec<Record>)>;

fn name(number: usize) -> Name {
    Name::from_ascii(format!("n{number}.example.")).expect("a name")
}

impl World {
    /// The end of the CNAME chain from a name; `None` for a loop.
    fn end(&self, mut at: usize) -> Option<(usize, Vec<Record>)> {
        let mut chain = Vec::new();
        while let Node::Alias(to) = self.nodes[at] {
            if chain.len() > NAMES {
                return None;
            }
            chain.push(Record::from_rdata(name(at), self.ttl, RData::CNAME(CNAME(name(to)))));
            at = to;
        }
        Some((at, chain))
    }

    fn find(&self, at: usize, kind: RecordType) -> Found {
        let Some((end, mut chain)) = self.end(at) else { return Some((ResponseCode::ServFail, Vec::new())) };
        let Node::Host { v4, v6, moods } = &self.nodes[end] else {
            return Some((ResponseCode::NXDomain, chain));
        };
        match moods[usize::from(kind == RecordType::AAAA)] {
            Mood::Answers => {}
            Mood::Fails => return Some((ResponseCode::ServFail, Vec::new())),
            Mood::Refuses => return Some((ResponseCode::Refused, Vec::new())),
            Mood::IsSilent => return None,
        }
        let record = |data| Record::from_rdata(name(end), self.ttl, data);
        match kind {
            RecordType::A => chain.extend(v4.iter().map(|a| record(RData::A(A(*a))))),
            _ => chain.extend(v6.iter().map(|a| record(RData::AAAA(AAAA(*a))))),
        }
        Some((ResponseCode::NoError, chain))
    }

    /// Replies to all upstream queries.
    fn serve(&self, engine: &mut Engine<()>, now: Instant) {
        while let Some(ask) = engine.poll_transmit() {
            if let Some(reply) = self.reply(&ask) {
                engine.reply(now, ask.id, &reply);
            }
        }
    }

    fn reply(&self, ask: &Transmit) -> Option<Vec<u8>> {
        let query = Message::from_vec(&ask.query).expect("our own query");
        let question = query.queries[0].clone();
        let text = question.name.to_ascii();
        // The SOA query for the zone of a name that timed out.
        let number = text[1..2].parse().unwrap_or(0);
        let (code, records) = match question.query_type {
            RecordType::SOA => (ResponseCode::NoError, Vec::new()),
            kind => self.find(number, kind)?,
        };
        let mut reply = Message::new(0, MessageType::Response, OpCode::Query);
        reply.metadata.response_code = code;
        if self.with_soa && records.iter().all(|record| matches!(record.data, RData::CNAME(_))) {
            let soa = SOA::new(name(0), name(0), 1, 2, 3, 4, self.ttl);
            let zone = Name::from_ascii("example.").expect("a name");
            reply.authorities.push(Record::from_rdata(zone, self.ttl, RData::SOA(soa)));
        }
        reply.queries.push(question);
        reply.answers = records;
        Some(reply.to_vec().expect("encodes"))
    }

    /// RFC 6147 §5.1, without messages.
    fn expected(&self, at: usize) -> Result {
        let pref64: Pref64 = PREF64.parse().expect("literal");
        let none = BTreeSet::new;
        let (a, aaaa) = (self.find(at, RecordType::A), self.find(at, RecordType::AAAA));
        let missing = match aaaa {
            Some((ResponseCode::NXDomain, _)) => return (ResponseCode::NXDomain, none()),
            Some((ResponseCode::NoError, records)) => {
                let mapped = "::ffff:0:0/96".parse::<gate64::addr::Ipv6Prefix>().expect("literal");
                let kept = records.iter().filter_map(|r| r.data.ip_addr());
                let kept: BTreeSet<_> =
                    kept.filter(|a| !matches!(a, IpAddr::V6(v6) if mapped.contains(*v6))).collect();
                if !kept.is_empty() {
                    return (ResponseCode::NoError, kept);
                }
                None
            }
            Some((code, _)) => Some(code),
            None => Some(ResponseCode::ServFail),
        };
        match a {
            None => (ResponseCode::ServFail, none()),
            Some((ResponseCode::NoError, records)) => {
                let v4: Vec<_> = records.iter().filter_map(|r| r.data.ip_addr()).collect();
                let made = v4.iter().filter_map(|a| match a {
                    IpAddr::V4(v4) if !v4.is_loopback() => Some(IpAddr::V6(pref64.embed(*v4))),
                    IpAddr::V4(_) | IpAddr::V6(_) => None,
                });
                match missing {
                    // Only the failure of AAAA is known.
                    Some(code) if v4.is_empty() => (code, none()),
                    _ => (ResponseCode::NoError, made.collect()),
                }
            }
            Some((code, _)) => (code, none()),
        }
    }
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        zones: vec![Zone {
            id: ZoneId(0),
            name: "z".to_owned(),
            clients: vec!["2001:db8:1::/64".parse().expect("literal")],
            pref64: vec![PREF64.parse::<Pref64>().expect("literal").into()],
            rules: Rules::default(),
        }],
        upstreams: vec!["192.0.2.53:53".parse().expect("literal")],
        ..Settings::default()
    })
}

/// Sends a client query and advances the clock until there is an answer.
fn ask(engine: &mut Engine<()>, world: &World, now: &mut Instant, at: usize) -> Answer {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.queries.push(Query::query(name(at), RecordType::AAAA));
    query.edns = Some(Edns::new());
    let query = query.to_vec().expect("encodes");
    let client = "2001:db8:1::5".parse().expect("literal");
    match engine.query(*now, client, Transport::Udp, &query, || Ok(())) {
        QueryAction::Answer(answer) => {
            if world.hears_ahead {
                world.serve(engine, *now);
            }
            return answer;
        }
        QueryAction::Drop(zone, outcome) => panic!("dropped: {zone:?} {outcome}"),
        QueryAction::Pending => {}
    }
    loop {
        world.serve(engine, *now);
        if let Some(((), answer)) = engine.poll_answer() {
            return answer;
        }
        *now = engine.deadline();
        engine.timeout(*now);
    }
}

fn result(answer: &Answer) -> Result {
    let message = Message::from_vec(&answer.message).expect("our own answer");
    let all = message.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
    (message.metadata.response_code, all)
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![6 => Just(Mood::Answers), 1 => Just(Mood::Fails), 1 => Just(Mood::Refuses), 1 => Just(Mood::IsSilent)]
}

fn host() -> impl Strategy<Value = Node> {
    let v4 = prop_oneof![
        any::<u8>().prop_map(|n| Ipv4Addr::new(198, 51, 100, n)),
        any::<u8>().prop_map(|n| Ipv4Addr::new(10, 0, 0, n)),
        Just(Ipv4Addr::new(127, 0, 0, 1)),
    ];
    let v6 = prop_oneof![
        any::<u16>().prop_map(|n| Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, n)),
        any::<u8>().prop_map(|n| Ipv4Addr::new(198, 51, 100, n).to_ipv6_mapped()),
    ];
    let addresses = (prop::collection::vec(v4, 0..4), prop::collection::vec(v6, 0..3));
    (addresses, [mood(), mood()]).prop_map(|((v4, v6), moods)| Node::Host { v4, v6, moods })
}

fn world() -> impl Strategy<Value = World> {
    let node = prop_oneof![1 => Just(Node::Missing), 2 => (0..NAMES).prop_map(Node::Alias), 5 => host()];
    (prop::collection::vec(node, NAMES), 1_u32..400, any::<[bool; 2]>())
        .prop_map(|(nodes, ttl, [with_soa, hears_ahead])| World { nodes, ttl, with_soa, hears_ahead })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// For every zone, order and time of queries, cached or not: the answer is that of the RFC, it arrives
    /// in time, and no TTL grows, except that of stale data, which are marked as stale.
    #[test]
    fn answers_follow_rfc_6147(
        world in world(),
        asked in prop::collection::vec((0..NAMES, 0_u64..200_000), 1..24),
    ) {
        // ids 6147-5.1.1-nosynth, 6147-5.1.2-rcode, 6147-5.1.4-mixed, 6147-5.1.5-cname, 6147-cache
        let mut engine = Engine::new(settings(), 7);
        let mut now = Instant::ZERO;
        for (at, gap) in asked {
            now = now + Duration::from_millis(gap);
            engine.timeout(now);
            let asked_at = now;
            let answer = ask(&mut engine, &world, &mut now, at);
            let (code, addresses) = result(&answer);
            let (want_code, want) = world.expected(at);
            prop_assert_eq!((u16::from(code), addresses), (u16::from(want_code), want), "{:?}", answer.outcome);
            let message = Message::from_vec(&answer.message).expect("read before");
            let most = if errors(&message).any(|code| STALE.contains(&code)) { STALE_TTL } else { world.ttl };
            for record in message.answers.iter().chain(&message.authorities) {
                prop_assert!(record.ttl <= most, "{record}");
            }
            prop_assert!(now - asked_at <= Duration::from_secs(4));
        }
    }

    /// With concurrent clients, each receives the answer it would receive alone.
    #[test]
    fn concurrent_clients_receive_the_answer_of_a_single_one(world in world(), at in 0..NAMES, crowd in 1_usize..20) {
        let mut engine = Engine::new(settings(), 7);
        let mut asked = Vec::new();
        let mut waits = 0;
        for _ in 0..crowd {
            let mut query = Message::new(7, MessageType::Query, OpCode::Query);
            query.queries.push(Query::query(name(at), RecordType::AAAA));
            query.metadata.recursion_desired = true;
            let query = query.to_vec().expect("encodes");
            let client = "2001:db8:1::5".parse().expect("literal");
            let taken = engine.query(Instant::ZERO, client, Transport::Udp, &query, || Ok(()));
            waits += usize::from(matches!(taken, QueryAction::Pending));
            asked.extend(std::iter::from_fn(|| engine.poll_transmit()));
        }
        prop_assert_eq!((waits, asked.len()), (crowd, 2), "one question of each type");
        let mut now = Instant::ZERO;
        let mut answers = Vec::new();
        loop {
            for ask in asked.drain(..) {
                if let Some(reply) = world.reply(&ask) {
                    engine.reply(now, ask.id, &reply);
                }
            }
            answers.extend(std::iter::from_fn(|| engine.poll_answer()));
            asked.extend(std::iter::from_fn(|| engine.poll_transmit()));
            if answers.len() == crowd {
                break;
            }
            if asked.is_empty() {
                now = engine.deadline();
                engine.timeout(now);
            }
        }
        let (want_code, want) = world.expected(at);
        for ((), answer) in answers {
            let (code, addresses) = result(&answer);
            prop_assert_eq!((u16::from(code), addresses), (u16::from(want_code), want.clone()));
        }
    }
}
