//! The DNS64 engine and its simulated upstream resolver.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::world::{CLIENT, SERVER, clients, pref64};
use crate::addr::ZoneId;
use crate::dns64::{
    AddressKind, Engine, Outcome, QueryAction, Rules, Settings, Transport, Zone, address_query,
    address_question, address_reply, addresses,
};
use crate::lab::LabError;
use crate::time::Instant;

/// TTL of the upstream's records in seconds.
const TTL: u32 = 300;

/// The engine's settings, and the only name in its upstream.
pub(super) struct Names {
    settings: Arc<Settings>,
    name: String,
}

/// The engine's answer to a query.
pub(super) struct Answered {
    /// The message for the client.
    pub(super) message: Vec<u8>,
    /// How the engine answered.
    pub(super) outcome: Outcome,
    /// The upstream queries with their answers, a line each.
    pub(super) upstream: Vec<String>,
}

fn failed(what: impl std::fmt::Display) -> LabError {
    LabError::DemoFailed(format!("DNS: {what}"))
}

impl Names {
    /// An engine for the client's zone, whose upstream has an A record of `name`.
    pub(super) fn new(name: &str) -> Self {
        let zone = Zone {
            id: ZoneId(0),
            name: "demo".to_owned(),
            clients: vec![clients()],
            pref64: vec![pref64().into()],
            rules: Rules::default(),
        };
        let upstream = (IpAddr::V4(SERVER), 53).into();
        let settings = Settings { zones: vec![zone], upstreams: vec![upstream], ..Settings::default() };
        Self { settings: Arc::new(settings), name: format!("{}.", name.trim_end_matches('.')) }
    }

    /// The client's query.
    pub(super) fn query(&self) -> Result<Vec<u8>, LabError> {
        address_query(0x6464, &self.name, AddressKind::Aaaa).ok_or_else(|| failed("no name"))
    }

    /// Answers a query; the upstream responds immediately.
    pub(super) fn answer(&self, now: Instant, query: &[u8]) -> Result<Answered, LabError> {
        let mut upstream = Vec::new();
        let mut engine = Engine::new(Arc::clone(&self.settings), 0);
        let answer = match engine.query(now, CLIENT.into(), Transport::Udp, query, || Ok(())) {
            QueryAction::Answer(answer) => answer,
            QueryAction::Drop(_, outcome) => return Err(failed(outcome)),
            QueryAction::Pending => {
                while let Some(transmit) = engine.poll_transmit() {
                    let (reply, line) = self.upstream(&transmit.query)?;
                    upstream.push(line);
                    engine.reply(now, transmit.id, &reply);
                }
                let answer = engine.poll_answer().ok_or_else(|| failed("the engine has no answer"))?;
                answer.1
            }
        };
        Ok(Answered { message: answer.message, outcome: answer.outcome, upstream })
    }

    /// The upstream's response to `query`, and a line that shows both.
    fn upstream(&self, query: &[u8]) -> Result<(Vec<u8>, String), LabError> {
        let (name, kind) = address_question(query).ok_or_else(|| failed("no question"))?;
        let exists = name == self.name && kind == AddressKind::A;
        let records: &[IpAddr] = if exists { &[IpAddr::V4(SERVER)] } else { &[] };
        let reply = address_reply(query, records, TTL).ok_or_else(|| failed("no reply"))?;
        let shown = if exists { SERVER.to_string() } else { "no such record".to_owned() };
        let kind = if kind == AddressKind::A { "A" } else { "AAAA" };
        Ok((reply, format!("{name} {kind}? {shown}")))
    }
}

/// The first IPv6 address in an answer, and its TTL.
pub(super) fn address(message: &[u8]) -> Result<(Ipv6Addr, u32), LabError> {
    let found = addresses(message).into_iter().find_map(|(addr, ttl)| match addr {
        IpAddr::V6(v6) => Some((v6, ttl)),
        IpAddr::V4(_) => None,
    });
    found.ok_or_else(|| failed("no AAAA record in the answer"))
}
