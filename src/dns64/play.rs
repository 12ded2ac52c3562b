//! A whole conversation in memory, for demonstrations and tests: time is made up, nothing is sent.

use core::net::IpAddr;
use std::sync::Arc;

use super::{AddressKind, Answer, Ask, Engine, Settings, Taken, Transport};
use crate::message;
use crate::time::Instant;

/// A conversation that has been played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Played {
    /// What the client got.
    pub answer: Answer,
    /// What the upstreams were asked, in order.
    pub asked: Vec<Ask>,
}

/// Plays a query of `client`. `upstream` answers each question at once, or never (`None`).
///
/// `None` if the query is not answered: the client is in no zone, or it was no query.
pub fn play(
    settings: &Arc<Settings>,
    client: IpAddr,
    query: &[u8],
    mut upstream: impl FnMut(&Ask) -> Option<Vec<u8>>,
) -> Option<Played> {
    let mut asked = Vec::new();
    let mut now = Instant::ZERO;
    let mut engine = Engine::new(Arc::clone(settings), 0);
    match engine.query(now, client, Transport::Udp, query, || Ok(())) {
        Taken::Answer(answer) => return Some(Played { answer, asked }),
        Taken::Drop(..) => return None,
        Taken::Waits => {}
    }
    loop {
        // All that is due is asked before anything is answered: A and AAAA leave together.
        let first = asked.len();
        asked.extend(core::iter::from_fn(|| engine.poll_ask()));
        for ask in &asked[first..] {
            if let Some(reply) = upstream(ask) {
                engine.reply(now, ask.id, &reply);
            }
        }
        if let Some(((), answer)) = engine.poll_answer() {
            return Some(Played { answer, asked });
        }
        if asked.len() == first {
            now = engine.deadline();
            engine.timeout(now);
        }
    }
}

/// A query for the addresses of `name`, such as `www.example.`; `None` if that is no name.
pub fn address_query(id: u16, name: &str, kind: AddressKind) -> Option<Vec<u8>> {
    message::address_query(id, name, kind)
}

/// What is asked for, if it is addresses.
pub fn asked_for(query: &[u8]) -> Option<(String, AddressKind)> {
    message::asked_for(query)
}

/// The reply to `query` of a server that knows `addresses`, of which it gives those of the family
/// asked for, with a TTL of `ttl` seconds. `None` if `query` is no query for addresses.
pub fn address_reply(query: &[u8], addresses: &[IpAddr], ttl: u32) -> Option<Vec<u8>> {
    message::address_reply(query, addresses, ttl)
}

/// The addresses in an answer, and their TTL in seconds.
pub fn addresses(answer: &[u8]) -> Vec<(IpAddr, u32)> {
    message::addresses(answer)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::addr::{Pref64, ZoneId};
    use crate::dns64::{Outcome, Rules, Zone};

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
        let server = |ask: &Ask| address_reply(&ask.query, &["8.8.8.8".parse().expect("literal")], 300);
        let played = play(&settings, client, &query, server).expect("answered");
        assert_eq!(played.asked.len(), 2);
        assert_eq!(played.answer.outcome, Outcome::SynthesisedNodata);
        let want = ("64:ff9b::808:808".parse().expect("literal"), 300);
        assert_eq!(addresses(&played.answer.message), [want]);

        let silent = |ask: &Ask| match asked_for(&ask.query)? {
            (_, AddressKind::Aaaa) => None,
            (_, AddressKind::A) => server(ask),
        };
        let played = play(&settings, client, &query, silent).expect("answered");
        assert_eq!(played.answer.took, Duration::from_millis(800));
        assert_eq!(played.answer.outcome, Outcome::SynthesisedTimeout);

        let dead = play(&settings, client, &query, |_| None).expect("answered");
        assert_eq!(dead.answer.took, Duration::from_secs(4));
        assert_eq!(dead.answer.outcome, Outcome::UpstreamTimeout);
        assert_eq!(play(&settings, IpAddr::from([192, 0, 2, 1]), &query, server), None);
    }
}
