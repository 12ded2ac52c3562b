//! The DNS64 engine, and the name server it asks.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr as _;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::world::{CLIENT, SERVER, clients, pref64};
use crate::addr::ZoneId;
use crate::dns64::{Engine, Outcome, Rules, Settings, Taken, Transport, Zone};
use crate::lab::LabError;
use crate::time::Instant;

/// Seconds for which the name server's records hold.
const TTL: u32 = 300;

/// The engine with its settings, and the one name its upstream knows.
pub(super) struct Names {
    settings: Arc<Settings>,
    name: Name,
}

/// What the engine did with a query.
pub(super) struct Answered {
    /// For the client.
    pub(super) message: Vec<u8>,
    /// Why it says what it says.
    pub(super) outcome: Outcome,
    /// What the upstream was asked and what it said, a line each.
    pub(super) asked: Vec<String>,
}

fn failed(what: impl std::fmt::Display) -> LabError {
    LabError::Story(format!("DNS: {what}"))
}

impl Names {
    /// An engine for the client's zone, whose upstream knows `name`.
    pub(super) fn new(name: &str) -> Result<Self, LabError> {
        let zone = Zone {
            id: ZoneId(0),
            name: "demo".to_owned(),
            clients: vec![clients()],
            pref64: vec![pref64().into()],
            rules: Rules::default(),
        };
        let upstream = (IpAddr::V4(SERVER), 53).into();
        let settings = Settings { zones: vec![zone], upstreams: vec![upstream], ..Settings::default() };
        let mut name = Name::from_str(name).map_err(failed)?;
        name.set_fqdn(true);
        Ok(Self { settings: Arc::new(settings), name })
    }

    /// The client's query.
    pub(super) fn query(&self) -> Result<Vec<u8>, LabError> {
        let mut message = Message::new(0x6464, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), RecordType::AAAA));
        message.to_vec().map_err(failed)
    }

    /// Takes a query through the engine; the upstream answers at once.
    pub(super) fn answer(&self, now: Instant, query: &[u8]) -> Result<Answered, LabError> {
        let mut asked = Vec::new();
        let mut engine = Engine::new(Arc::clone(&self.settings), 0);
        let answer = match engine.query(now, CLIENT.into(), Transport::Udp, query, || Ok(())) {
            Taken::Answer(answer) => answer,
            Taken::Drop(_, outcome) => return Err(failed(outcome)),
            Taken::Waits => {
                while let Some(ask) = engine.poll_ask() {
                    let (reply, line) = self.upstream(&ask.query)?;
                    asked.push(line);
                    engine.reply(now, ask.id, &reply);
                }
                let answer = engine.poll_answer().ok_or_else(|| failed("the engine has no answer"))?;
                answer.1
            }
        };
        Ok(Answered { message: answer.message, outcome: answer.outcome, asked })
    }

    /// A name server that knows one A record.
    fn upstream(&self, query: &[u8]) -> Result<(Vec<u8>, String), LabError> {
        let query = Message::from_vec(query).map_err(failed)?;
        let question = query.queries.first().ok_or_else(|| failed("no question"))?;
        let (name, kind) = (question.name().clone(), question.query_type());
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        let said = if name == self.name && kind == RecordType::A {
            reply.add_answer(Record::from_rdata(name.clone(), TTL, RData::A(A(SERVER))));
            format!("{SERVER}")
        } else {
            let root = Name::root();
            let soa = SOA::new(root.clone(), root.clone(), 1, 3600, 600, 86_400, 60);
            reply.add_authority(Record::from_rdata(root, TTL, RData::SOA(soa)));
            "no such record".to_owned()
        };
        Ok((reply.to_vec().map_err(failed)?, format!("{name} {kind}? {said}")))
    }
}

/// The address in an answer.
pub(super) fn address(message: &[u8]) -> Result<(Ipv6Addr, u32), LabError> {
    let message = Message::from_vec(message).map_err(failed)?;
    let found = message.answers.iter().find_map(|record| match &record.data {
        RData::AAAA(found) => Some((found.0, record.ttl)),
        _ => None,
    });
    found.ok_or_else(|| failed("no AAAA record in the answer"))
}
