//! Size limits of answers on the wire: cookies, the answer cache, UDP and TCP.

use super::*;
use crate::resolver::cookie;

/// Bytes of a response to `x.example.` with one TXT record, without its text.
const AROUND: usize = 12 + 11 + 4 + 12 + 1;
/// An OPT record without options.
const OPT: usize = 11;
/// Bytes that the server's cookie adds to an answer.
const COOKIE: usize = cookie::OPTION_LEN;

/// A TXT record that makes an answer of `len` bytes, including OPT record and cookie if `overhead`.
fn text(len: usize, overhead: usize) -> RData {
    // Each string of 255 bytes has a length of one byte.
    let mut rest = len - overhead - (AROUND - 1);
    let mut strings = Vec::new();
    while rest > 0 {
        let string = (rest - 1).min(255);
        strings.push("x".repeat(string));
        rest -= 1 + string;
    }
    RData::TXT(TXT::new(strings))
}

/// A resolver whose upstream sends this record over TCP only.
async fn resolver_with(record: RData) -> (Upstream, Resolver) {
    let upstream = Upstream::start().await;
    upstream.on("x.example.", RecordType::TXT, Does::Truncate(vec![record]));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    (upstream, resolver)
}

/// A query with this UDP payload size, if any, and a client cookie if `cookie`.
fn asking(size: Option<u16>, cookie: bool) -> Vec<u8> {
    let mut bytes = query("x.example.", RecordType::TXT).to_vec().expect("encodes");
    if let Some(size) = size {
        let opt = bytes.len();
        bytes[11] = 1;
        bytes.extend_from_slice(&[0, 0, 41]);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&[0; 6]);
        if cookie {
            message_edit::push_option(&mut bytes, opt, query_key::COOKIE, b"cookies!");
        }
    }
    bytes
}

async fn over_udp(resolver: &Resolver, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    socket.connect(resolver.addresses()[0]).await.expect("loopback");
    socket.send(query).await.expect("loopback");
    let mut buffer = vec![0; 70_000];
    let len = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("some");
    buffer.truncate(len);
    buffer
}

async fn over_tcp(resolver: &Resolver, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    write_framed(&mut stream, query).await;
    tokio::time::timeout(PATIENCE, read_framed(&mut stream)).await.expect("in time")
}

#[track_caller]
fn assert_whole(answer: &[u8], len: usize) {
    assert_eq!(answer.len(), len);
    assert_eq!(answer[2] & 0x02, 0, "TC");
    assert_eq!(answer[6..8], [0, 1], "one record");
}

#[track_caller]
fn assert_truncated(answer: &[u8], limit: usize) {
    assert!(answer.len() <= limit, "{} bytes", answer.len());
    assert_eq!(answer[2] & 0x02, 0x02, "TC");
    assert_eq!(answer[6..8], [0, 0], "no record");
}

#[tokio::test]
async fn a_cached_tcp_answer_is_truncated_over_udp() {
    // ids 6147-5.4-trunc, 3901bis-udp
    for (len, edns, limit) in [(513, None, 512), (901, Some(900), 900), (1_233, Some(4_096), 1_232)] {
        let overhead = if edns.is_some() { OPT } else { 0 };
        let (_upstream, resolver) = resolver_with(text(len, overhead)).await;
        let query = asking(edns, false);
        for _ in 0..3 {
            assert_whole(&over_tcp(&resolver, &query).await, len);
        }
        let ready = resolver.counters().zone(Some(ZoneId(3))).cached_answers();
        assert_eq!(ready, 1, "the third answer");
        assert_truncated(&over_udp(&resolver, &query).await, limit);
        // An answer truncated over UDP is complete over TCP.
        for _ in 0..3 {
            assert_truncated(&over_udp(&resolver, &query).await, limit);
        }
        assert_whole(&over_tcp(&resolver, &query).await, len);
        resolver.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_cached_answer_of_the_limit_serves_udp_and_tcp() {
    for (len, edns) in [(512, None), (900, Some(900)), (1_232, Some(4_096))] {
        let overhead = if edns.is_some() { OPT } else { 0 };
        let (_upstream, resolver) = resolver_with(text(len, overhead)).await;
        let query = asking(edns, false);
        for _ in 0..3 {
            assert_whole(&over_udp(&resolver, &query).await, len);
        }
        assert_whole(&over_tcp(&resolver, &query).await, len);
        assert_eq!(resolver.counters().zone(Some(ZoneId(3))).cached_answers(), 2);
        resolver.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_cookie_counts_towards_the_limit() {
    for (edns, limit) in [(Some(600), 600), (Some(4_096), 1_232)] {
        // One byte too long with a cookie; fits without.
        let (_upstream, resolver) = resolver_with(text(limit + 1, OPT + COOKIE)).await;
        let (plain, with_cookie) = (asking(edns, false), asking(edns, true));
        for _ in 0..3 {
            // From the engine, then from the answer cache.
            let answer = over_udp(&resolver, &with_cookie).await;
            assert_truncated(&answer, limit);
            assert!(message_edit::option(&answer, query_key::COOKIE).is_some(), "a cookie nevertheless");
        }
        for _ in 0..3 {
            assert_whole(&over_udp(&resolver, &plain).await, limit + 1 - COOKIE);
            assert_truncated(&over_udp(&resolver, &with_cookie).await, limit);
        }
        assert_whole(&over_tcp(&resolver, &with_cookie).await, limit + 1);
        resolver.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn an_answer_of_the_limit_with_its_cookie_is_whole() {
    for (edns, limit) in [(Some(600), 600), (Some(4_096), 1_232)] {
        let (_upstream, resolver) = resolver_with(text(limit, OPT + COOKIE)).await;
        let query = asking(edns, true);
        for _ in 0..4 {
            assert_whole(&over_udp(&resolver, &query).await, limit);
        }
        assert_eq!(resolver.counters().zone(Some(ZoneId(3))).cached_answers(), 2);
        resolver.stop(PATIENCE).await;
    }
}
