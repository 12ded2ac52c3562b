//! The resolver on loopback with a scripted upstream.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

mod cookies;
mod sizes;
mod transport;

use super::{Resolver, message_edit, query_key, start};
use crate::addr::{HostKey, Pref64, ZoneId};
use crate::dns64::{Limits, Outcome, Rules, Settings, Timeouts, Zone};

/// Timeout of each step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reaction of the upstream to a question.
#[derive(Clone)]
enum Does {
    Answer(Vec<RData>),
    Drop,
    Fail(ResponseCode),
    /// Truncates the reply over UDP, and sends it over TCP.
    Truncate(Vec<RData>),
    /// Replies with the question in lowercase over UDP, and correctly over TCP.
    Careless(Vec<RData>),
    /// First sends a reply with a wrong id, one to another question and one from another port; then this.
    LieFirst(Vec<RData>),
    /// Sends these datagrams over UDP, derived from the received query.
    Datagrams(fn(&[u8]) -> Vec<Vec<u8>>),
}

type Script = Arc<Mutex<HashMap<(String, RecordType), Does>>>;

struct Upstream {
    addr: SocketAddr,
    script: Script,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Upstream {
    async fn start() -> Self {
        // Another program may use the TCP port of the same number.
        let (udp, tcp, addr) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
            let addr = udp.local_addr().expect("bound");
            match TcpListener::bind(addr).await {
                Ok(tcp) => break (udp, tcp, addr),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
            }
        };
        let script = Script::default();
        let tasks = [
            tokio::spawn(upstream_udp(udp, script.clone())),
            tokio::spawn(upstream_tcp(tcp, script.clone())),
        ];
        Self { addr, script, tasks }
    }

    fn on(&self, name: &str, kind: RecordType, does: Does) -> &Self {
        self.script.lock().expect("sound").insert((name.to_owned(), kind), does);
        self
    }
}

fn look_up(script: &Script, query: &Message) -> Does {
    let question = &query.queries[0];
    let key = (question.name.to_ascii().to_lowercase(), question.query_type);
    script.lock().expect("sound").get(&key).cloned().unwrap_or(Does::Answer(Vec::new()))
}

fn response(query: &Message, data: &[RData]) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.queries.clone_from(&query.queries);
    let mut owner = query.queries[0].name.clone();
    for data in data {
        reply.answers.push(Record::from_rdata(owner.clone(), 300, data.clone()));
        if let RData::CNAME(CNAME(target)) = data {
            owner = target.clone();
        }
    }
    reply
}

async fn upstream_udp(socket: UdpSocket, script: Script) {
    let mut buffer = [0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let query = Message::from_vec(&buffer[..len]).expect("our own query");
        let send = async |message: Message| {
            socket.send_to(&message.to_vec().expect("encodes"), from).await.expect("loopback");
        };
        match look_up(&script, &query) {
            Does::Answer(data) => send(response(&query, &data)).await,
            Does::Drop => {}
            Does::Fail(code) => {
                let mut reply = response(&query, &[]);
                reply.metadata.response_code = code;
                send(reply).await;
            }
            Does::Truncate(_) => {
                let mut reply = response(&query, &[]);
                reply.metadata.truncation = true;
                send(reply).await;
            }
            Does::Careless(data) => {
                let mut reply = response(&query, &data);
                reply.queries[0].name = query.queries[0].name.to_lowercase();
                send(reply).await;
            }
            Does::LieFirst(data) => {
                let lie = [RData::A(A(Ipv4Addr::new(203, 0, 113, 66)))];
                let mut wrong_id = response(&query, &lie);
                wrong_id.metadata.id ^= 1;
                send(wrong_id).await;
                let mut other = query.clone();
                other.queries[0].name = Name::from_ascii("evil.example.").expect("literal");
                send(response(&other, &lie)).await;
                let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
                let bytes = response(&query, &lie).to_vec().expect("encodes");
                elsewhere.send_to(&bytes, from).await.expect("loopback");
                send(response(&query, &data)).await;
            }
            Does::Datagrams(of) => {
                for datagram in of(&buffer[..len]) {
                    socket.send_to(&datagram, from).await.expect("loopback");
                }
            }
        }
    }
}

async fn upstream_tcp(listener: TcpListener, script: Script) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let query = Message::from_vec(&read_framed(&mut stream).await).expect("our own query");
        if let Does::Truncate(data) | Does::Careless(data) = look_up(&script, &query) {
            write_framed(&mut stream, &response(&query, &data).to_vec().expect("encodes")).await;
        }
    }
}

async fn read_framed(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut message = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
    stream.read_exact(&mut message).await.expect("a message");
    message
}

async fn write_framed(stream: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) {
    let len = u16::try_from(message.len()).expect("short");
    stream.write_all(&[&len.to_be_bytes()[..], message].concat()).await.expect("loopback");
}

fn settings(upstreams: &[SocketAddr]) -> Settings {
    Settings {
        zones: vec![Zone {
            id: ZoneId(3),
            name: "floor-3".to_owned(),
            clients: vec!["::1/128".parse().expect("literal")],
            pref64: vec!["2001:db8:64::/96".parse::<Pref64>().expect("literal").into()],
            rules: Rules::default(),
        }],
        listen: vec!["[::1]:0".parse().expect("literal")],
        upstreams: upstreams.to_vec(),
        ..Settings::default()
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x6464, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(Name::from_ascii(name).expect("literal"), kind));
    message
}

async fn over_udp(resolver: &Resolver, query: &Message) -> Message {
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    socket.connect(resolver.addresses()[0]).await.expect("loopback");
    socket.send(&query.to_vec().expect("encodes")).await.expect("loopback");
    let mut buffer = [0; 4096];
    let len = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("some");
    Message::from_vec(&buffer[..len]).expect("a message")
}

async fn over_tcp(resolver: &Resolver, query: &Message) -> Message {
    let mut stream = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    write_framed(&mut stream, &query.to_vec().expect("encodes")).await;
    let answer = tokio::time::timeout(PATIENCE, read_framed(&mut stream)).await.expect("in time");
    Message::from_vec(&answer).expect("a message")
}

fn a(text: &str) -> RData {
    RData::A(A(text.parse().expect("literal")))
}

fn aaaa(text: &str) -> RData {
    RData::AAAA(AAAA(text.parse().expect("literal")))
}

fn data(message: &Message) -> Vec<RData> {
    message.answers.iter().map(|record| record.data.clone()).collect()
}

#[tokio::test]
async fn synthesis_over_udp_and_tcp() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let query = query("V4.example.", RecordType::AAAA);
    for answer in [over_udp(&resolver, &query).await, over_tcp(&resolver, &query).await] {
        assert_eq!(answer.metadata.id, 0x6464);
        assert!(answer.metadata.recursion_available);
        assert_eq!(answer.queries, query.queries);
        assert_eq!(data(&answer), [aaaa("2001:db8:64::c633:6407")]);
    }
    let row = resolver.counters().zone(Some(ZoneId(3)));
    assert_eq!(row.outcome(Outcome::SynthesizedNodata), 2);
    resolver.stop(PATIENCE).await;
}

#[tokio::test]
async fn timeouts_of_aaaa_and_of_the_upstream() {
    // id 6147-5.1.3-timeout
    let upstream = Upstream::start().await;
    upstream
        .on("v4.example.", RecordType::AAAA, Does::Drop)
        .on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]))
        .on("dead.example.", RecordType::AAAA, Does::Drop)
        .on("dead.example.", RecordType::A, Does::Drop);
    let mut settings = settings(&[upstream.addr]);
    settings.timeouts = Timeouts {
        aaaa_wait: Duration::from_millis(50),
        attempt: Duration::from_millis(50),
        total: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let resolver = start(settings).expect("starts");
    let answer = over_udp(&resolver, &query("v4.example.", RecordType::AAAA)).await;
    assert_eq!(data(&answer), [aaaa("2001:db8:64::c633:6407")]);
    let answer = over_udp(&resolver, &query("dead.example.", RecordType::AAAA)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(resolver.counters().outcome(Outcome::SynthesizedTimeout), 1);
    assert_eq!(resolver.counters().outcome(Outcome::UpstreamTimeout), 1);
}

#[tokio::test]
async fn failover_to_another_upstream() {
    let lame = Upstream::start().await;
    let closed = UdpSocket::bind("127.0.0.1:0").await.expect("loopback").local_addr().expect("bound");
    let good = Upstream::start().await;
    lame.on("x.example.", RecordType::AAAA, Does::Fail(ResponseCode::Refused));
    good.on("x.example.", RecordType::AAAA, Does::Answer(vec![aaaa("2001:db8:9::1")]));
    let mut settings = settings(&[closed, lame.addr, good.addr]);
    // The machine may be slow; only the upstreams matter here.
    settings.timeouts = Timeouts { aaaa_wait: PATIENCE, total: PATIENCE, ..Timeouts::default() };
    let resolver = start(settings).expect("starts");
    let answer = over_udp(&resolver, &query("x.example.", RecordType::AAAA)).await;
    assert_eq!(data(&answer), [aaaa("2001:db8:9::1")]);
    assert_eq!(resolver.counters().outcome(Outcome::Native), 1);
}

#[tokio::test]
async fn forged_replies_are_ignored() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::LieFirst(vec![a("198.51.100.7")]));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let answer = over_udp(&resolver, &query("v4.example.", RecordType::AAAA)).await;
    assert_eq!(data(&answer), [aaaa("2001:db8:64::c633:6407")]);
}

#[tokio::test]
async fn truncated_replies_are_retried_over_tcp() {
    // id 6147-5.4-trunc
    let upstream = Upstream::start().await;
    let many: Vec<_> = (1..=40).map(|n| a(&format!("198.51.100.{n}"))).collect();
    upstream.on("many.example.", RecordType::A, Does::Truncate(many));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let query = query("many.example.", RecordType::AAAA);
    let answer = over_udp(&resolver, &query).await;
    assert!(answer.metadata.truncation);
    assert!(answer.answers.is_empty());
    let answer = over_tcp(&resolver, &query).await;
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 40);
    assert_eq!(resolver.counters().zone(Some(ZoneId(3))).truncated(), 1);
}

#[tokio::test]
async fn other_types_are_forwarded() {
    // id 6147-5.3.3-rr
    let upstream = Upstream::start().await;
    let text = RData::TXT(TXT::new(vec!["hello".to_owned()]));
    upstream.on("x.example.", RecordType::TXT, Does::Answer(vec![text.clone()]));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let query = query("x.example.", RecordType::TXT);
    assert_eq!(data(&over_udp(&resolver, &query).await), std::slice::from_ref(&text));
    assert_eq!(data(&over_tcp(&resolver, &query).await), [text]);
    assert_eq!(resolver.counters().outcome(Outcome::PassedType), 2);
}

#[tokio::test]
async fn sources_outside_every_zone_are_refused() {
    let mut settings = settings(&[]);
    settings.zones[0].clients = vec!["2001:db8::/64".parse().expect("literal")];
    let resolver = start(settings).expect("starts");
    let query = query("x.example.", RecordType::AAAA);
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    socket.connect(resolver.addresses()[0]).await.expect("loopback");
    socket.send(&query.to_vec().expect("encodes")).await.expect("loopback");
    // Connections are closed at once.
    for _ in 0..40 {
        let mut stream = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("in time");
        assert!(matches!(end, Ok(0) | Err(_)), "closed at once");
    }
    assert_eq!(resolver.counters().refused_connections(), 0, "no limit was reached");
    let row = resolver.counters().zone(None);
    let counted = async {
        while row.outcome(Outcome::NoZone) < 41 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("all are counted");
    resolver.stop(PATIENCE).await;
    let nothing = socket.try_recv(&mut [0; 512]);
    assert!(nothing.is_err(), "an answer to a source outside every zone: {nothing:?}");
}

#[tokio::test]
async fn clients_that_half_close_receive_their_answers() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let resolver = start(settings(&[upstream.addr])).expect("starts");
    let mut stream = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    // From the upstream, and answered at once.
    for name in ["v4.example.", "v6.example.", "ipv4only.arpa."] {
        write_framed(&mut stream, &query(name, RecordType::AAAA).to_vec().expect("encodes")).await;
    }
    stream.shutdown().await.expect("half closed");
    let mut names = Vec::new();
    for _ in 0..3 {
        let answer = tokio::time::timeout(PATIENCE, read_framed(&mut stream)).await.expect("in time");
        names.push(Message::from_vec(&answer).expect("a message").queries[0].name.to_ascii());
    }
    names.sort_unstable();
    assert_eq!(names, ["ipv4only.arpa.", "v4.example.", "v6.example."]);
    let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("in time");
    assert!(matches!(end, Ok(0)), "then the server closes too");
}

#[tokio::test]
async fn pending_queries_per_client_are_limited() {
    let upstream = Upstream::start().await;
    upstream.on("slow.example.", RecordType::TXT, Does::Drop);
    let mut settings = settings(&[upstream.addr]);
    settings.limits = Limits { in_flight_per_client: 1, ..Limits::default() };
    let resolver = start(settings).expect("starts");
    let slow = query("slow.example.", RecordType::TXT).to_vec().expect("encodes");
    let mut first = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    write_framed(&mut first, &slow).await;
    // Either query may arrive first; the second is refused immediately.
    let mut second = TcpStream::connect(resolver.addresses()[0]).await.expect("loopback");
    write_framed(&mut second, &slow).await;
    let refused = async {
        tokio::select! {
            answer = read_framed(&mut first) => answer,
            answer = read_framed(&mut second) => answer,
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.expect("in time");
    let refused = Message::from_vec(&refused).expect("a message");
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    assert_eq!(resolver.counters().outcome(Outcome::BusyClient), 1);
}

#[tokio::test]
async fn a_reload_keeps_sockets_and_changes_rules() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let mut settings = settings(&[upstream.addr]);
    let mut resolver = start(settings.clone()).expect("starts");
    let before = resolver.addresses();
    let query = query("v4.example.", RecordType::AAAA);
    settings.zones[0].pref64 = vec!["2001:db8:aa::/96".parse::<Pref64>().expect("literal").into()];
    settings.listen.push("127.0.0.1:0".parse().expect("literal"));
    resolver.reconfigure(settings.clone()).expect("reloads");
    assert_eq!(resolver.addresses()[0], before[0]);
    assert_eq!(resolver.addresses().len(), 2);
    assert_eq!(data(&over_udp(&resolver, &query).await), [aaaa("2001:db8:aa::c633:6407")]);

    let taken = UdpSocket::bind("[::1]:0").await.expect("loopback");
    let mut broken = settings.clone();
    broken.listen = vec![taken.local_addr().expect("bound")];
    broken.zones.clear();
    assert!(resolver.reconfigure(broken).is_err());
    assert_eq!(data(&over_udp(&resolver, &query).await), [aaaa("2001:db8:aa::c633:6407")]);

    settings.listen.pop();
    resolver.reconfigure(settings).expect("reloads");
    assert_eq!(resolver.addresses(), before);
}

#[tokio::test]
async fn an_absent_listen_address_is_accepted() {
    let mut settings = settings(&[]);
    settings.listen = vec!["[2001:db8:dead::53]:0".parse().expect("literal")];
    let resolver = start(settings).expect("starts all the same");
    assert_eq!(resolver.addresses().len(), 1);
    assert!(super::socket::is_absent(resolver.addresses()[0]));
}

#[tokio::test]
async fn pending_queries_are_answered_at_shutdown() {
    let upstream = Upstream::start().await;
    upstream.on("slow.example.", RecordType::TXT, Does::Drop);
    let mut settings = settings(&[upstream.addr]);
    settings.timeouts.total = Duration::from_millis(100);
    let resolver = start(settings).expect("starts");
    let socket = UdpSocket::bind("[::1]:0").await.expect("loopback");
    socket.connect(resolver.addresses()[0]).await.expect("loopback");
    let slow = query("slow.example.", RecordType::TXT).to_vec().expect("encodes");
    socket.send(&slow).await.expect("loopback");
    let admitted = async {
        while resolver.shared.queries.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, admitted).await.expect("it is taken");
    resolver.stop(PATIENCE).await;
    let mut buffer = [0; 512];
    let len = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("some");
    let answer = Message::from_vec(&buffer[..len]).expect("a message");
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn cache_hits_are_counted_and_no_synthesis_while_the_translator_is_down() {
    let upstream = Upstream::start().await;
    upstream.on("v4.example.", RecordType::A, Does::Answer(vec![a("198.51.100.7")]));
    let mut settings = settings(&[upstream.addr]);
    settings.network.threads = 2;
    let mut resolver = start(settings.clone()).expect("starts");
    let query = query("v4.example.", RecordType::AAAA);
    for _ in 0..6 {
        assert_eq!(data(&over_udp(&resolver, &query).await).len(), 1);
    }
    let reporter = resolver.reporter();
    // The count of another thread arrives later.
    let counted = async {
        loop {
            let report = reporter.report(10).await;
            let zone = &report.zones[&ZoneId(3)];
            if zone.names.first().is_some_and(|name| name.times == 6) {
                return (report.cached_names, zone.clone());
            }
        }
    };
    let (cached, zone) = tokio::time::timeout(PATIENCE, counted).await.expect("all six are counted");
    assert_eq!((cached, zone.names[0].name.as_str()), (1, "v4.example."));
    assert_eq!(zone.ipv6_support.values().sum::<u64>(), 1);
    ledger_of_all_threads(&upstream, &resolver).await;

    resolver.set_translating(ZoneId(3), false);
    // A report follows all earlier commands.
    reporter.report(0).await;
    let answer = over_udp(&resolver, &query).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(resolver.counters().outcome(Outcome::TranslatorDown), 1);
    // A reload does not change that.
    resolver.reconfigure(settings).expect("valid");
    let answer = over_udp(&resolver, &query).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(resolver.counters().outcome(Outcome::TranslatorDown), 2);
    resolver.set_translating(ZoneId(3), true);
    reporter.report(0).await;
    assert_eq!(data(&over_udp(&resolver, &query).await).len(), 1);
    resolver.stop(PATIENCE).await;
}

/// Checks that the batch lookups ask all threads, after six queries for `v4.example.`.
async fn ledger_of_all_threads(upstream: &Upstream, resolver: &Resolver) {
    let reporter = resolver.reporter();
    let names: Vec<_> =
        (0..8_u8).map(|number| (format!("n{number}.example."), format!("192.0.2.{number}"))).collect();
    for (name, addr) in &names {
        upstream.on(name, RecordType::A, Does::Answer(vec![a(addr)]));
        assert_eq!(data(&over_udp(resolver, &query(name, RecordType::A)).await).len(), 1);
    }
    let host = HostKey::new(ZoneId(3), Ipv6Addr::LOCALHOST, 128);
    let addrs = names.iter().map(|(_, addr)| addr.as_str()).chain(["198.51.100.7", "203.0.113.9"]);
    let of: Vec<_> = addrs.map(|addr| (host, addr.parse().expect("literal"))).collect();
    let found = reporter.names_of(of.into()).await;
    let found: Vec<_> =
        found.into_iter().map(|found| found.map(|found| (found.name, found.is_synthesized))).collect();
    let mut expected: Vec<_> = names.into_iter().map(|(name, _)| Some((name, false))).collect();
    expected.extend([Some(("v4.example.".to_owned(), true)), None]);
    assert_eq!(found, expected);
    let taken = reporter.take_usage().await;
    let taken: Vec<_> = taken[&ZoneId(3)].iter().map(|name| (name.name.as_str(), name.times)).collect();
    assert_eq!(taken, [("v4.example.", 6)], "queries for A are not counted");
    assert!(reporter.take_usage().await[&ZoneId(3)].is_empty());
}
