//! Any bytes as upstream responses.

use std::time::Duration;

use gate64::dns64::{Transmit, Transport};

use super::client::{Client, Upstream};
use super::message::Shape;

/// Names and types that take different paths through the engine.
const ASKED: [(&[u8], u16); 8] = [
    (b"\x03www\x07example\x00", 28),
    (b"\x03wWw\x07exAmple\x00", 28),
    (b"\x07ignored\x07example\x00", 28),
    (b"\x05never\x07example\x00", 28),
    (b"\x03www\x07example\x00", 1),
    (b"\x03www\x07example\x00", 65),
    // 198.51.100.7 under 2001:db8:64::/96.
    (
        b"\x017\x010\x014\x016\x013\x013\x016\x01c\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\
          \x014\x016\x010\x010\x018\x01b\x01d\x010\x011\x010\x010\x012\x03ip6\x04arpa\x00",
        12,
    ),
    (b"\x00", 28),
];

/// Two bytes of choices, then the responses to upstream queries in order: a byte for the kind, two for the
/// length, and the reply.
pub(crate) fn dns_answer(data: &[u8]) {
    let [choice, asked, replies @ ..] = data else { return };
    let transport = if choice & 4 == 0 { Transport::Udp } else { Transport::Tcp };
    let query = query(*choice, ASKED[usize::from(*asked) % ASKED.len()]);
    let mut client = Client::new(*choice);
    let mut replies = replies;
    let first = client.ask(transport, &query, |ask| next(&mut replies, ask)).expect("a query");
    // Queries from the cache: with a reduced TTL, and then as stale data.
    for seconds in [7, 90_000] {
        client.wait(Duration::from_secs(seconds));
        let before = client.now;
        let again = client.ask(transport, &query, |_| Upstream::Fails).expect("a query");
        if seconds == 7 && client.now == before && again.outcome == first.outcome {
            let ttl =
                |message: &[u8]| Shape::read(message).and_then(|s| s.sections[0].first().map(|r| r.ttl));
            let (was, is) = (ttl(&first.message), ttl(&again.message));
            assert!(is <= was.max(Some(30)), "a TTL that grew from {was:?} to {is:?}");
        }
    }
}

fn query(choice: u8, (name, kind): (&[u8], u16)) -> Vec<u8> {
    let (with_edns, dnssec_ok, disabled) = (choice & 8 != 0, choice & 16 != 0, choice & 32 != 0);
    let mut query = vec![0x64, 0x64, 1, u8::from(disabled) << 4, 0, 1, 0, 0, 0, 0, 0, u8::from(with_edns)];
    query.extend(name);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    if with_edns {
        query.extend([0, 0, 41, 4, 208, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
    }
    query
}

/// The upstream behaviour that the next bytes select.
fn next(replies: &mut &[u8], ask: &Transmit) -> Upstream {
    let [how, high, low, rest @ ..] = replies else { return Upstream::IsSilent };
    let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (said, following) = rest.split_at(len);
    *replies = following;
    match how % 8 {
        0 => Upstream::IsSilent,
        1 => Upstream::Fails,
        2 => Upstream::Says(said.to_vec()),
        _ => Upstream::Says(about(ask, said)),
    }
}

/// A reply to the question: flags and counts first, then records.
fn about(ask: &Transmit, said: &[u8]) -> Vec<u8> {
    let mut head = [0; 8];
    let len = said.len().min(head.len());
    head[..len].copy_from_slice(&said[..len]);
    let [flags, rcode, an0, an, ns0, ns, ar0, ar] = head;
    let mut reply = vec![0, 0, flags & 0x07 | 0x80, rcode, 0, 1, an0, an, ns0, ns, ar0, ar];
    reply.extend(Shape::read(&ask.query).expect("our own question").question);
    reply.extend(&said[len..]);
    reply
}
