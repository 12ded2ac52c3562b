//! Runs a whole exchange in memory, with simulated time.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use crate::addr::{Pref64, ZoneId};
use crate::dns64::{
    AddressKind, Answer, Engine, Outcome, QueryAction, Rules, Settings, Transmit, Transport, Zone,
    address_query, address_question, address_reply, addresses,
};
use crate::time::Instant;

/// A finished exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Simulation {
    /// The answer to the client.
    pub(super) answer: Answer,
    /// The upstream queries, in order.
    pub(super) upstream_queries: Vec<Transmit>,
}

/// Runs a query of `client`. `upstream` replies to each upstream query immediately, or not at all (`None`).
///
/// `None` if the query gets no answer: the client is in no zone, or the message is not a query.
pub(super) fn simulate(
    settings: &Arc<Settings>,
    client: IpAddr,
    query: &[u8],
    mut upstream: impl FnMut(&Transmit) -> Option<Vec<u8>>,
) -> Option<Simulation> {
    let mut upstream_queries = Vec::new();
    let mut now = Instant::ZERO;
    let mut engine = Engine::new(Arc::clone(settings), 0);
    match engine.query(now, client, Transport::Udp, query, || Ok(())) {
        QueryAction::Answer(answer) => return Some(Simulation { answer, upstream_queries }),
        QueryAction::Drop(..) => return None,
        QueryAction::Pending => {}
    }
    loop {
        // Sends all pending queries before any reply: A and AAAA leave together.
        let first = upstream_queries.len();
        upstream_queries.extend(core::iter::from_fn(|| engine.poll_transmit()));
        for transmit in &upstream_queries[first..] {
            if let Some(reply) = upstream(transmit) {
                engine.reply(now, transmit.id, &reply);
            }
        }
        if let Some(((), answer)) = engine.poll_answer() {
            return Some(Simulation { answer, upstream_queries });
        }
        if upstream_queries.len() == first {
            now = engine.deadline();
            engine.timeout(now);
        }
    }
}

#[test]
fn an_ipv4_only_name_is_looked_up() {
    let settings = Arc::new(Settings {
        zones: vec![Zone {
            id: ZoneId(0),
            name: "demo".to_owned(),
            clients: vec!["2001:db8:1::/64".parse().expect("literal")],
            pref64: vec![Pref64::WELL_KNOWN.into()],
            rules: Rules::default(),
        }],
        upstreams: vec!["192.0.2.53:53".parse().expect("literal")],
        ..Settings::default()
    });
    let client = "2001:db8:1::5".parse().expect("literal");
    let query = address_query(1, "www.v4only.example.", AddressKind::Aaaa).expect("a name");
    let server =
        |transmit: &Transmit| address_reply(&transmit.query, &["8.8.8.8".parse().expect("literal")], 300);
    let simulation = simulate(&settings, client, &query, server).expect("answered");
    assert_eq!(simulation.upstream_queries.len(), 2);
    assert_eq!(simulation.answer.outcome, Outcome::SynthesizedNodata);
    let want = ("64:ff9b::808:808".parse().expect("literal"), 300);
    assert_eq!(addresses(&simulation.answer.message), [want]);

    let silent = |transmit: &Transmit| match address_question(&transmit.query)? {
        (_, AddressKind::Aaaa) => None,
        (_, AddressKind::A) => server(transmit),
    };
    let simulation = simulate(&settings, client, &query, silent).expect("answered");
    assert_eq!(simulation.answer.elapsed, Duration::from_millis(800));
    assert_eq!(simulation.answer.outcome, Outcome::SynthesizedTimeout);

    let dead = simulate(&settings, client, &query, |_| None).expect("answered");
    assert_eq!(dead.answer.elapsed, Duration::from_secs(4));
    assert_eq!(dead.answer.outcome, Outcome::UpstreamTimeout);
    assert_eq!(simulate(&settings, IpAddr::from([192, 0, 2, 1]), &query, server), None);
}
