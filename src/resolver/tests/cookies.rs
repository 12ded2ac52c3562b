//! Cookies between the resolver and its upstreams, and answers with little room for them.

use super::*;

/// A response to `query` with one A record and, in its OPT record, these options.
fn reply(query: &[u8], v4: [u8; 4], options: &[(u16, &[u8])]) -> Vec<u8> {
    let query = Message::from_vec(query).expect("a query");
    let mut bytes = response(&query, &[RData::A(A(v4.into()))]).to_vec().expect("encodes");
    let opt = bytes.len();
    bytes[11] = 1;
    bytes.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    for (number, content) in options {
        message_edit::push_option(&mut bytes, opt, *number, content);
    }
    bytes
}

const FORGED: [u8; 4] = [203, 0, 113, 66];
const GENUINE: [u8; 4] = [198, 51, 100, 7];

fn cookie_of(query: &[u8]) -> Vec<u8> {
    message_edit::option(query, query_key::COOKIE).expect("a cookie to every upstream").to_vec()
}

/// A reply with the right id, port, question and case, but another client cookie.
fn forged_first(query: &[u8]) -> Vec<Vec<u8>> {
    let cookie = cookie_of(query);
    let mut other = cookie.clone();
    other[0] ^= 1;
    let mut last = cookie.clone();
    last[7] ^= 1;
    let server = b"serverck";
    let whole = |client: &[u8]| [&client[..8], server].concat();
    let numbered = |content: &[u8], v4| reply(query, v4, &[(query_key::COOKIE, content)]);
    vec![
        numbered(&whole(&other), FORGED),
        numbered(&whole(&last), FORGED),
        // Too short and too long for a cookie (RFC 7873 §5.2).
        numbered(&cookie[..7], FORGED),
        numbered(&[&cookie[..8], &[7; 33]].concat(), FORGED),
        numbered(&whole(&cookie), GENUINE),
    ]
}

#[tokio::test]
async fn an_answer_with_a_client_cookie_that_was_not_sent_is_forged() {
    // id dns-cookie-mismatch
    let upstream = Upstream::start().await;
    for n in 0..4 {
        let name = format!("n{n}.example.");
        upstream.on(&name, RecordType::A, Does::Datagrams(forged_first));
    }
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    for n in 0..4 {
        let answer = over_udp(&resolver, &query(&format!("n{n}.example."), RecordType::A)).await;
        assert_eq!(data(&answer), [RData::A(A(GENUINE.into()))]);
    }
    let row = resolver.counters().upstream(upstream.addr);
    let unmatched = row.all().into_iter().find(|(name, ..)| *name == "unmatched").map(|(.., count)| count);
    assert_eq!(unmatched, Some(16), "four for each name");
    resolver.stop(PATIENCE).await;
}

/// An answer whose extended error has a text of 460 bytes.
fn with_a_long_text(query: &[u8]) -> Vec<Vec<u8>> {
    let text = [&[0, 15][..], &[b'x'; 460]].concat();
    vec![reply(query, GENUINE, &[(15, &text)])]
}

#[tokio::test]
async fn an_extended_error_makes_room_for_the_cookie() {
    let upstream = Upstream::start().await;
    upstream.on("x.example.", RecordType::A, Does::Datagrams(with_a_long_text));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    socket.connect(resolver.addresses()[0]).await.expect("loopback");
    let mut bytes = query("x.example.", RecordType::A).to_vec().expect("encodes");
    let opt = bytes.len();
    bytes[11] = 1;
    // 512 bytes.
    bytes.extend_from_slice(&[0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
    message_edit::push_option(&mut bytes, opt, query_key::COOKIE, b"cookies!");
    socket.send(&bytes).await.expect("loopback");
    let mut buffer = vec![0; 4_096];
    let len = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("some");
    let answer = &buffer[..len];
    assert!(len <= 512, "{len} bytes");
    assert_eq!(answer[2] & 0x02, 0x02, "TC");
    assert_eq!(message_edit::option(answer, query_key::COOKIE).map(<[u8]>::len), Some(24));
    assert_eq!(message_edit::option(answer, 15), None);
    resolver.stop(PATIENCE).await;
}

/// The genuine data, with a client cookie of earlier if the query has a cookie.
fn with_an_old_cookie(query: &[u8]) -> Vec<Vec<u8>> {
    let cookie =
        message_edit::option(query, query_key::COOKIE).map(|_| (query_key::COOKIE, &b"oldclient-server"[..]));
    vec![reply(query, GENUINE, cookie.as_slice())]
}

#[tokio::test]
async fn an_upstream_with_old_client_cookies_answers_all_names() {
    // id dns-cookie-mismatch
    let upstream = Upstream::start().await;
    for n in 0..6 {
        let name = format!("n{n}.example.");
        upstream.on(&name, RecordType::A, Does::Datagrams(with_an_old_cookie));
    }
    let mut settings = settings(&[upstream.addr]);
    settings.timeouts.attempt = Duration::from_millis(50);
    // The upstream closes TCP connections for these names, so the last attempt is one without a cookie.
    settings.limits.attempts = 4;
    let resolver = start(settings).expect("starts");
    for n in 0..6 {
        let answer = over_udp(&resolver, &query(&format!("n{n}.example."), RecordType::A)).await;
        assert_eq!(data(&answer), [RData::A(A(GENUINE.into()))]);
    }
    resolver.stop(PATIENCE).await;
}
