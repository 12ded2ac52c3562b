//! Any bytes as a client's query.

use std::time::Duration;

use gate64::dns64::Transport;

use super::client::{Client, Upstream, plain_reply};

/// A byte of choices, then the query.
pub(crate) fn dns_query(data: &[u8]) {
    let Some((choice, query)) = data.split_first() else { return };
    let transport = if choice & 4 == 0 { Transport::Udp } else { Transport::Tcp };
    let mut client = Client::new(*choice);
    let upstream = |ask: &_| match choice >> 3 & 3 {
        0 => Upstream::IsSilent,
        1 => Upstream::Fails,
        _ => plain_reply(ask),
    };
    let Some(first) = client.ask(transport, query, upstream) else { return };
    // Queries for cached and for expired data.
    for seconds in [1, 100, 1_000] {
        client.wait(Duration::from_secs(seconds));
        let again = client.ask(transport, query, upstream).expect("it was a query before");
        assert_eq!(again.message[..2], first.message[..2]);
    }
}
