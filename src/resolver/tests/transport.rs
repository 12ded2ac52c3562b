//! Transports and limits: TLS, cookies, rates, the answer cache, threads, addresses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::*;
use crate::dns64::{Network, Tls, Via};
use crate::resolver::{clock, tls};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/resolver/tests").join(name)
}

/// Settings with a TLS listener.
fn with_tls(mut settings: Settings) -> Settings {
    settings.network.tls = Some(Tls {
        listen: vec!["[::1]:0".parse().expect("literal")],
        name: None,
        certificate: file("dns.crt.pem"),
        key: file("dns.key.pem"),
    });
    settings
}

fn with_network(upstream: SocketAddr, change: impl FnOnce(&mut Network)) -> Settings {
    let mut settings = settings(&[upstream]);
    change(&mut settings.network);
    settings
}

/// Sends a query from a connected socket and returns the answer's bytes.
async fn attempt(socket: &UdpSocket, query: &[u8]) -> Vec<u8> {
    socket.send(query).await.expect("loopback");
    let mut buffer = vec![0; 4096];
    let len = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("some");
    buffer.truncate(len);
    buffer
}

async fn client(resolver: &Resolver) -> UdpSocket {
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    socket.connect(resolver.addresses()[0]).await.expect("loopback");
    socket
}

#[tokio::test]
async fn tls_on_both_sides() {
    // id dns-pad
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let dns64 = start(with_tls(settings(&[upstream.addr]))).expect("starts");
    let over_tls = dns64.addresses()[1];

    // The second resolver queries the first one over TLS, and so does the test.
    let mut settings = with_network(over_tls, |network| {
        network.via = BTreeMap::from([(over_tls, Via::Tls("dns.example".to_owned()))]);
        network.authorities = file("dns.crt.pem");
    });
    settings.zones[0].rules.enabled = false;
    let tls_config = tls::upstream_config(&settings).expect("read").expect("wanted");
    let front = start(settings).expect("starts");
    let query = query("v4.example.", RecordType::AAAA);
    assert_eq!(data(&over_udp(&front, &query).await), [aaaa("2001:db8:64::c633:6407")]);

    let stream = TcpStream::connect(over_tls).await.expect("loopback");
    let name = ServerName::try_from("dns.example").expect("literal");
    let mut stream = TlsConnector::from(tls_config).connect(name, stream).await.expect("a handshake");
    let bytes = query.to_vec().expect("encodes");
    // Two at once on one connection (RFC 7766 §6.2.1.1).
    let framed = [&(bytes.len() as u16).to_be_bytes(), &*bytes].concat();
    stream.write_all(&framed.repeat(2)).await.expect("written");
    for _ in 0..2 {
        let mut answer = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
        stream.read_exact(&mut answer).await.expect("a message");
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!(data(&answer), [aaaa("2001:db8:64::c633:6407")]);
    }
    // A padded query gets a padded answer (RFC 8467 §4.1).
    let mut padded = bytes;
    padded[11] = 1;
    padded.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x0c\x00\x00");
    write_framed(&mut stream, &padded).await;
    assert_eq!(read_framed(&mut stream).await.len(), 468);
    // Also from the answer cache, which stores the second answer, and with a cookie.
    let cached = || dns64.counters().zone(Some(ZoneId(3))).cached_answers();
    let stored = async {
        while cached() == 0 {
            write_framed(&mut stream, &padded).await;
            assert_eq!(read_framed(&mut stream).await.len(), 468);
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("cached");
    let before = cached();
    let opt = padded.len() - 6;
    padded[opt..opt + 2].copy_from_slice(&[0, 16]);
    padded.extend_from_slice(b"\x00\x0a\x00\x08cookies!");
    write_framed(&mut stream, &padded).await;
    let answer = read_framed(&mut stream).await;
    assert_eq!((answer.len(), cached()), (468, before + 1));
    assert!(answer.windows(8).any(|bytes| bytes == b"cookies!"));
    front.stop(PATIENCE).await;
    dns64.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_rejected() {
    let upstream = Upstream::start().await;
    let dns64 = start(with_tls(settings(&[upstream.addr]))).expect("starts");
    let over_tls = dns64.addresses()[1];
    let mut settings = with_network(over_tls, |network| {
        network.via = BTreeMap::from([(over_tls, Via::Tls("other.example".to_owned()))]);
        network.authorities = file("dns.crt.pem");
    });
    settings.timeouts.total = Duration::from_millis(300);
    let front = start(settings).expect("starts");
    let answer = over_udp(&front, &query("v4.example.", RecordType::AAAA)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_missing_key_fails_start_and_reload() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let mut broken = with_tls(settings(&[upstream.addr]));
    if let Some(tls) = &mut broken.network.tls {
        tls.key = file("no-such.pem");
    }
    let error = start(broken.clone()).err().expect("no key").to_string();
    assert!(error.contains("no-such.pem"), "{error}");
    let mut resolver = start(settings(&[upstream.addr])).expect("starts");
    broken.listen = vec![resolver.addresses()[0]];
    assert!(resolver.reconfigure(broken).is_err());
    let answer = over_udp(&resolver, &query("v4.example.", RecordType::AAAA)).await;
    assert_eq!(data(&answer), [aaaa("2001:db8:64::c633:6407")]);
}

#[tokio::test]
async fn cookies_are_issued_and_verified() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let resolver =
        start(with_network(upstream.addr, |network| network.responses_per_second = 2)).expect("starts");
    let socket = client(&resolver).await;
    let mut bytes = query("v4.example.", RecordType::AAAA).to_vec().expect("encodes");
    let plain = bytes.clone();
    bytes[11] = 1;
    bytes.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x08cookies!");
    let answer = attempt(&socket, &bytes).await;
    let whole = message_edit::option(&answer, query_key::COOKIE).expect("a cookie").to_vec();
    assert_eq!(whole.len(), 24);
    assert_eq!(whole[..8], *b"cookies!");

    // A client with a valid cookie is not limited.
    let opt = plain.len();
    let mut known = plain.clone();
    known[11] = 1;
    known.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    message_edit::push_option(&mut known, opt, query_key::COOKIE, &whole);
    for _ in 0..20 {
        let answer = attempt(&socket, &known).await;
        assert_eq!(answer[2] & 0x02, 0, "not truncated");
        assert!(message_edit::option(&answer, query_key::COOKIE).is_some());
    }
    // A client without one is: after two whole answers, all others have TC, and none is missing.
    let cut = async {
        loop {
            let answer = attempt(&socket, &plain).await;
            if answer[2] & 0x02 != 0 {
                return answer;
            }
        }
    };
    let cut = tokio::time::timeout(PATIENCE, cut).await.expect("limited");
    assert_eq!(cut[6..8], [0, 0], "no records");
    assert!(resolver.counters().outcome(Outcome::ResponseLimited) > 0);
    // A malformed cookie gets FORMERR.
    let mut malformed = plain.clone();
    malformed[11] = 1;
    malformed.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x07\x00\x0a\x00\x03bad");
    assert_eq!(attempt(&socket, &malformed).await[3] & 0x0f, 1);
}

#[tokio::test]
async fn queries_per_client_are_rate_limited() {
    let upstream = Upstream::start().await;
    let resolver =
        start(with_network(upstream.addr, |network| network.queries_per_second = 5)).expect("starts");
    let socket = client(&resolver).await;
    let bytes = query("ipv4only.arpa.", RecordType::AAAA).to_vec().expect("encodes");
    for _ in 0..50 {
        socket.send(&bytes).await.expect("loopback");
    }
    let counters = resolver.counters();
    let limited = async {
        while counters.outcome(Outcome::RateLimited) + counters.outcome(Outcome::Ipv4only) < 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, limited).await.expect("all are counted");
    assert!(counters.outcome(Outcome::RateLimited) >= 20);
    assert!(counters.outcome(Outcome::Ipv4only) >= 5);
    assert_eq!(
        over_tcp(&resolver, &query("ipv4only.arpa.", RecordType::AAAA)).await.metadata.response_code,
        ResponseCode::Refused
    );
}

#[tokio::test]
async fn cached_answers_have_the_id_and_case_of_the_query() {
    let upstream = Upstream::start().await;
    let text = RData::TXT(TXT::new(vec!["hello".to_owned()]));
    upstream.on("x.example.", RecordType::TXT, Does::Answer(vec![text.clone()]));
    let mut changed = settings(&[upstream.addr]);
    let mut resolver = start(changed.clone()).expect("starts");
    changed.listen = vec![resolver.listeners[0].configured.0];
    let row = resolver.counters().zone(Some(ZoneId(3)));
    let socket = client(&resolver).await;
    for (id, name) in ["x.example.", "X.Example.", "x.EXAMPLE.", "X.EXAMPLE."].into_iter().enumerate() {
        let mut query = query(name, RecordType::TXT);
        query.metadata.id = id as u16;
        let bytes = attempt(&socket, &query.to_vec().expect("encodes")).await;
        let answer = Message::from_vec(&bytes).expect("a message");
        assert_eq!(answer.metadata.id, query.metadata.id);
        assert_eq!(answer.queries[0].name.to_ascii(), name);
        assert_eq!(data(&answer), std::slice::from_ref(&text));
    }
    assert_eq!(row.cached_answers(), 2, "the third and the fourth");
    assert_eq!(row.outcome(Outcome::PassedType), 4);
    // Also over TCP, and no longer after a reload.
    over_tcp(&resolver, &query("x.example.", RecordType::TXT)).await;
    assert_eq!(row.cached_answers(), 3);
    resolver.reconfigure(changed).expect("reloads");
    over_udp(&resolver, &query("x.example.", RecordType::TXT)).await;
    assert_eq!(row.cached_answers(), 3);
}

#[tokio::test]
async fn every_thread_answers_for_every_name() {
    let upstream = Upstream::start().await;
    for n in 0..20 {
        let name = format!("n{n}.example.");
        upstream.on(&name, RecordType::A, Does::Answer(vec![a(&format!("198.51.100.{n}"))]));
    }
    let resolver = start(with_network(upstream.addr, |network| network.threads = 3)).expect("starts");
    for n in 0..20 {
        let query = query(&format!("n{n}.example."), RecordType::AAAA);
        for _ in 0..5 {
            // Each query has its own port, by which the kernel chooses the thread.
            let want = aaaa(&format!("2001:db8:64::c633:64{n:02x}"));
            assert_eq!(data(&over_udp(&resolver, &query).await), [want]);
        }
        assert_eq!(over_tcp(&resolver, &query).await.answers.len(), 1);
    }
    assert_eq!(resolver.counters().outcome(Outcome::SynthesizedNodata), 120);
    resolver.stop(PATIENCE).await;
}

#[tokio::test]
async fn all_threads_share_the_response_limit() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let limits = |network: &mut Network| {
        network.threads = 4;
        network.responses_per_second = 1;
    };
    let resolver = start(with_network(upstream.addr, limits)).expect("starts");
    let query = query("v4.example.", RecordType::AAAA).to_vec().expect("encodes");
    let clock = clock::Clock::start();
    let mut whole = 0;
    for _ in 0..40 {
        // Each socket has its own port, by which the kernel chooses the thread.
        let answer = attempt(&client(&resolver).await, &query).await;
        whole += u64::from(answer[2] & 0x02 == 0);
    }
    let most = 1 + clock.elapsed().as_secs() + 1;
    assert!((1..=most).contains(&whole), "{whole} whole answers");
    resolver.stop(PATIENCE).await;
}

#[tokio::test]
async fn answers_leave_from_the_queried_address() {
    let mut settings = settings(&[]);
    settings.listen = vec!["[::]:0".parse().expect("literal")];
    let resolver = start(settings).expect("starts");
    let to = SocketAddr::new("::1".parse().expect("literal"), resolver.addresses()[0].port());
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    // A connected socket accepts answers from the queried address only.
    socket.connect(to).await.expect("loopback");
    let bytes = query("ipv4only.arpa.", RecordType::AAAA).to_vec().expect("encodes");
    assert_eq!(Message::from_vec(&attempt(&socket, &bytes).await).expect("a message").answers.len(), 2);
}

#[tokio::test]
async fn connections_are_bounded() {
    let settings = with_network("127.0.0.1:9".parse().expect("literal"), |network| {
        network.connections_per_client = 2;
    });
    let resolver = start(settings).expect("starts");
    let query = query("ipv4only.arpa.", RecordType::AAAA).to_vec().expect("encodes");
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
        write_framed(&mut stream, &query).await;
        read_framed(&mut stream).await;
        open.push(stream);
    }
    // The idlest one makes room.
    let mut third = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    write_framed(&mut third, &query).await;
    read_framed(&mut third).await;
    let end = tokio::time::timeout(PATIENCE, open[0].read(&mut [0; 1])).await.expect("in time");
    assert!(matches!(end, Ok(0) | Err(_)), "closed at once");
    write_framed(&mut open[1], &query).await;
    read_framed(&mut open[1]).await;
    assert_eq!(
        (resolver.counters().evicted_connections(), resolver.counters().refused_connections()),
        (1, 0)
    );
}

#[tokio::test]
async fn connections_with_pending_queries_are_not_closed_for_new_ones() {
    let upstream = Upstream::start().await;
    upstream.on("slow.example.", RecordType::TXT, Does::Drop);
    let settings = with_network(upstream.addr, |network| network.connections_per_client = 1);
    let resolver = start(settings).expect("starts");
    let mut first = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    write_framed(&mut first, &query("slow.example.", RecordType::TXT).to_vec().expect("encodes")).await;
    let admitted = async {
        while resolver.shared.queries.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, admitted).await.expect("it is taken");
    let mut second = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    let end = tokio::time::timeout(PATIENCE, second.read(&mut [0; 1])).await.expect("in time");
    assert!(matches!(end, Ok(0) | Err(_)), "closed at once");
    assert_eq!(
        (resolver.counters().evicted_connections(), resolver.counters().refused_connections()),
        (0, 1)
    );
}

#[tokio::test]
async fn an_upstream_that_changes_case_is_queried_over_tcp() {
    let upstream = Upstream::start().await;
    upstream.on("case_mismatches.example.", RecordType::A, Does::Careless(vec![a("198.51.100.7")]));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let answer = over_udp(&resolver, &query("case_mismatches.example.", RecordType::A)).await;
    assert_eq!(data(&answer), [a("198.51.100.7")]);
}

#[tokio::test]
async fn an_upstream_over_tcp_only() {
    let upstream = Upstream::start().await;
    upstream.on("many.example.", RecordType::A, Does::Truncate(vec![a("198.51.100.7")]));
    let settings = with_network(upstream.addr, |network| {
        network.via = BTreeMap::from([(upstream.addr, Via::Tcp)]);
    });
    let resolver = start(settings).expect("starts");
    let answer = over_udp(&resolver, &query("many.example.", RecordType::A)).await;
    assert_eq!(data(&answer), [a("198.51.100.7")]);
}

#[tokio::test]
async fn an_edns_option_does_not_lift_the_response_limit() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let resolver =
        start(with_network(upstream.addr, |network| network.responses_per_second = 2)).expect("starts");
    let socket = client(&resolver).await;
    let mut nsid = query("v4.example.", RecordType::AAAA).to_vec().expect("encodes");
    nsid[11] = 1;
    // An OPT record with an empty NSID option (RFC 5001), which takes the slow path.
    nsid.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x03\x00\x00");
    let limited = async { while attempt(&socket, &nsid).await[2] & 0x02 == 0 {} };
    tokio::time::timeout(PATIENCE, limited).await.expect("limited");
    assert!(resolver.counters().outcome(Outcome::ResponseLimited) > 0);
}
