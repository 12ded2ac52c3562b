//! The upstreams with simulated time: upstreams are sockets on loopback that the test reads and answers.

use std::net::{Ipv4Addr, UdpSocket};

use super::super::{message_edit, query_key};
use super::*;
use crate::addr::{Pref64, ZoneId};
use crate::dns64::{Engine, Network, QueryAction, Rules, Transport, Zone};

/// A upstreams with an engine that makes its queries.
struct Bench {
    settings: Arc<Settings>,
    counters: Counters,
    engine: Engine<()>,
    upstreams: Upstreams,
    random: Random,
    opened: Vec<NewChannel>,
    queries: u16,
}

impl Bench {
    fn new(upstreams: &[SocketAddr], via: Via) -> Self {
        let settings = Arc::new(Settings {
            zones: vec![Zone {
                id: ZoneId(0),
                name: "test".to_owned(),
                clients: vec!["2001:db8:1::/64".parse().expect("literal")],
                pref64: vec![Pref64::WELL_KNOWN.into()],
                rules: Rules::default(),
            }],
            upstreams: upstreams.to_vec(),
            network: Network {
                via: upstreams.iter().map(|addr| (*addr, via.clone())).collect(),
                ..Network::default()
            },
            ..Settings::default()
        });
        Self {
            engine: Engine::new(Arc::clone(&settings), 0),
            settings,
            counters: Counters::default(),
            upstreams: Upstreams::new(Secret::new([1, 2])),
            random: Random::new(),
            opened: Vec::new(),
            queries: 0,
        }
    }

    /// Sends a query for another name. Returns the selected upstream.
    fn ask(&mut self, now: Instant) -> SocketAddr {
        self.queries += 1;
        let name = wire::name_of(&format!("n{}.example.", self.queries)).expect("literal");
        let query = wire::upstream_query(&name, wire::rr::A, wire::rr::IN, wire::flag::RD, false);
        let client = "2001:db8:1::5".parse().expect("literal");
        let action = self.engine.query(now, client, Transport::Udp, &query, || Ok(()));
        assert!(matches!(action, QueryAction::Pending));
        let transmit = self.engine.poll_transmit().expect("a query");
        let context = (&*self.settings, &self.counters);
        let id = transmit.id;
        let (upstream, hedge_delay) = self.upstreams.submit(now, transmit, context, &mut self.random);
        self.engine.sent_to(now, id, upstream, hedge_delay);
        self.send(now);
        upstream
    }

    fn send(&mut self, now: Instant) {
        let timeout = self.settings.timeouts.attempt;
        let failed = self.upstreams.send(now, timeout, &mut self.random, &mut self.opened);
        assert!(failed.is_empty());
    }

    /// The UDP channel with this local port.
    fn channel(&self, port: u16) -> Id {
        let has_port = |channel: &NewChannel| match channel {
            NewChannel::Udp(id, socket) => {
                (socket.local_addr().expect("bound").port() == port).then_some(*id)
            }
            NewChannel::Stream(..) => None,
        };
        self.opened.iter().find_map(has_port).expect("an open channel")
    }

    /// Passes `reply` to the channel that sent `query`.
    fn reply(&mut self, now: Instant, query: &Datagram, mut reply: Vec<u8>) -> Received {
        let id = self.channel(query.from.port());
        self.upstreams.receive(now, id, &mut reply)
    }
}

/// A query that a server has received.
struct Datagram {
    bytes: Vec<u8>,
    from: SocketAddr,
}

impl Datagram {
    /// A reply without records, with the options of the query.
    fn reply(&self) -> Vec<u8> {
        let mut reply = self.bytes.clone();
        reply[2] |= 0x80;
        reply
    }
}

fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    socket.set_nonblocking(true).expect("a socket");
    let addr = socket.local_addr().expect("bound");
    (socket, addr)
}

/// The queries that a server has received. Loopback delivers them before the sender's call returns.
fn received(server: &UdpSocket) -> Vec<Datagram> {
    let mut buffer = [0; 1_500];
    std::iter::from_fn(|| {
        let (len, from) = server.recv_from(&mut buffer).ok()?;
        Some(Datagram { bytes: buffer[..len].to_vec(), from })
    })
    .collect()
}

#[tokio::test]
async fn a_dead_upstream_is_probed_and_used_again_within_2_s() {
    let ((dead, dead_addr), (good, good_addr)) = (server(), server());
    let mut bench = Bench::new(&[dead_addr, good_addr], Via::Udp);
    let at = |seconds: u64| Instant::from_secs(10 + seconds);
    for second in 0..3 {
        assert_eq!(bench.ask(at(second)), dead_addr);
    }
    assert_eq!(received(&dead).len(), 3);
    // Three timeouts demote it. Each client is now served by the other one, and every two seconds the dead
    // one receives a copy.
    let mut probes = Vec::new();
    for second in 3..60 {
        bench.send(at(second));
        if bench.ask(at(second)) == good_addr {
            let queries = received(&good);
            assert_eq!(queries.len(), 1, "at {second} s");
            bench.reply(at(second), &queries[0], queries[0].reply());
        } else {
            assert_eq!(second, 3, "the third timeout is due after the query");
        }
        probes.push(received(&dead));
    }
    let sent: usize = probes.iter().map(Vec::len).sum();
    assert!((27..=31).contains(&sent), "{sent} queries to the dead upstream in 57 s");
    // It returns.
    let probe = (60..62).find_map(|second| {
        bench.ask(at(second));
        received(&dead).pop().map(|probe| (at(second), probe))
    });
    let (now, probe) = probe.expect("a query within 2 s");
    assert_eq!(bench.reply(now, &probe, probe.reply()), Received::Ignored, "the client has its answer");
    assert_eq!(bench.ask(now), dead_addr);
}

/// The streams opened so far, with the number of messages queued on each.
fn streams(bench: &mut Bench) -> Vec<(Id, Vec<Vec<u8>>)> {
    let queued = |channel: &mut NewChannel| match channel {
        NewChannel::Stream(id, .., queue) => {
            Some((*id, std::iter::from_fn(|| queue.try_recv().ok()).collect()))
        }
        NewChannel::Udp(..) => None,
    };
    bench.opened.iter_mut().filter_map(queued).collect()
}

#[tokio::test]
async fn a_silent_stream_is_replaced() {
    // ids dns-stream-stall, dns-pad
    let addr = "192.0.2.53:53".parse().expect("literal");
    for via in [Via::Tcp, Via::Tls("dns.example".to_owned())] {
        let is_tls = matches!(via, Via::Tls(_));
        let mut bench = Bench::new(&[addr], via);
        let at = |millis: u64| Instant::from_millis(10_000 + millis);
        bench.ask(at(0));
        let first = streams(&mut bench).pop().expect("a stream");
        assert_eq!(first.1[0].len() == QUERY_BLOCK, is_tls, "queries over TLS are padded");
        // Idle for long, but no query is in flight: the stream stays.
        let mut reply = first.1[0].clone();
        reply[2] |= 0x80;
        assert!(matches!(bench.upstreams.receive(at(10), first.0, &mut reply), Received::Reply(_)));
        for millis in [8_000, 9_000, 10_499] {
            bench.ask(at(millis));
        }
        let open = streams(&mut bench);
        assert_eq!(open.iter().map(|(_, queued)| queued.len()).collect::<Vec<_>>(), [3]);
        // Nothing for 2.5 s after the first of them.
        bench.ask(at(10_500));
        let now_open = streams(&mut bench);
        assert_eq!(now_open.iter().map(|(_, queued)| queued.len()).collect::<Vec<_>>(), [0, 1]);
        // The old stream may still deliver replies.
        let mut late = open[0].1[0].clone();
        late[2] |= 0x80;
        assert!(matches!(bench.upstreams.receive(at(10_600), first.0, &mut late), Received::Reply(_)));
        // A stream on which something arrives stays, though one query is never answered.
        bench.ask(at(12_000));
        let mut reply = streams(&mut bench)[1].1[0].clone();
        reply[2] |= 0x80;
        assert!(matches!(bench.upstreams.receive(at(12_100), now_open[1].0, &mut reply), Received::Reply(_)));
        bench.ask(at(14_000));
        assert_eq!(streams(&mut bench).len(), 2);
        // The end of the old stream is not a failure of the upstream, which has replied since.
        for _ in 0..5 {
            bench.upstreams.channel_closed(first.0);
        }
        assert!(!bench.upstreams.members[0].health.is_demoted());
    }
}

/// The cookie of a query.
fn cookie_of(query: &Datagram) -> Option<Vec<u8>> {
    message_edit::option(&query.bytes, query_key::COOKIE).map(<[u8]>::to_vec)
}

/// A reply with this cookie instead of the query's.
fn reply_with(query: &Datagram, cookie: Option<&[u8]>) -> Vec<u8> {
    let mut reply = query.reply();
    let opt = message_edit::last_opt(&reply).expect("every query has an OPT record");
    message_edit::clear_options(&mut reply, opt);
    if let Some(cookie) = cookie {
        message_edit::push_option(&mut reply, opt, query_key::COOKIE, cookie);
    }
    reply
}

#[tokio::test]
async fn an_upstream_with_old_client_cookies_is_queried_without() {
    // id dns-cookie-mismatch
    let (socket, addr) = server();
    let mut bench = Bench::new(&[addr], Via::Udp);
    let at = |seconds: u64| Instant::from_secs(10 + seconds);
    let old = b"oldclient-server";
    for second in 0..3 {
        bench.ask(at(second));
        let query = received(&socket).pop().expect("a query");
        assert!(cookie_of(&query).is_some());
        // Several forged replies to one query count once.
        for _ in 0..3 {
            let result = bench.reply(at(second), &query, reply_with(&query, Some(old)));
            assert_eq!(result, Received::Ignored);
        }
    }
    bench.send(at(2));
    let open = streams(&mut bench);
    assert_eq!(open.len(), 1, "the third query is repeated over TCP");
    assert_eq!(open[0].1.len(), 1);
    for second in [3, 100, 301] {
        bench.ask(at(second));
        let query = received(&socket).pop().expect("a query");
        assert_eq!(cookie_of(&query), None, "at {second} s");
        let result = bench.reply(at(second), &query, reply_with(&query, Some(old)));
        assert!(matches!(result, Received::Reply(_)));
    }
    bench.ask(at(302));
    assert!(cookie_of(&received(&socket).pop().expect("a query")).is_some(), "tried again after 300 s");
}

#[tokio::test]
async fn support_for_cookies_is_not_required_for_ever() {
    // id dns-cookie-forget
    let (socket, addr) = server();
    let mut bench = Bench::new(&[addr], Via::Udp);
    let now = Instant::from_secs(10);
    let mut ask = |with_server_part: bool| {
        bench.ask(now);
        let query = received(&socket).pop().expect("a query");
        let client = cookie_of(&query).expect("a cookie")[..8].to_vec();
        let whole = [&client[..], b"serverck"].concat();
        bench.reply(now, &query, reply_with(&query, with_server_part.then_some(&*whole)))
    };
    assert!(matches!(ask(true), Received::Reply(_)));
    // A cookie is expected now; without one the query is repeated over TCP.
    assert_eq!(ask(false), Received::Ignored);
    assert_eq!(ask(false), Received::Ignored);
    assert!(matches!(ask(true), Received::Reply(_)), "only consecutive replies count");
    for _ in 0..3 {
        assert_eq!(ask(false), Received::Ignored);
    }
    assert!(matches!(ask(false), Received::Reply(_)));
    assert!(matches!(ask(true), Received::Reply(_)));
    assert_eq!(ask(false), Received::Ignored, "support seen again");
}

#[tokio::test]
async fn an_upstream_without_edns_is_queried_without() {
    // id dns-edns-retry
    let has_opt = |query: &Datagram| wire::layout(&query.bytes).expect("well formed").opt.is_some();
    for code in [wire::rcode::FORMERR, wire::rcode::NOTIMP] {
        let (server, addr) = server();
        let mut bench = Bench::new(&[addr], Via::Udp);
        let now = Instant::from_secs(10);
        bench.ask(now);
        let query = received(&server).remove(0);
        assert!(has_opt(&query));
        let mut rejection = query.bytes[..wire::HEADER].to_vec();
        rejection[2] |= 0x80;
        rejection[3] = code as u8;
        rejection[4..].fill(0);
        assert_eq!(bench.reply(now, &query, rejection.clone()), Received::Ignored);
        bench.send(now);
        let again = received(&server).remove(0);
        assert!(!has_opt(&again));
        assert!(matches!(bench.reply(now, &again, again.reply()), Received::Reply(_)));
        bench.ask(now);
        assert!(!has_opt(&received(&server).remove(0)), "the next query");
        bench.ask(now + WITHOUT_EDNS);
        let query = received(&server).remove(0);
        assert!(has_opt(&query), "but not for ever");
        // An error without EDNS is an answer.
        rejection[..2].copy_from_slice(&query.bytes[..2]);
        bench.reply(now + WITHOUT_EDNS, &query, rejection.clone());
        bench.send(now + WITHOUT_EDNS);
        let again = received(&server).remove(0);
        rejection[..2].copy_from_slice(&again.bytes[..2]);
        assert!(matches!(bench.reply(now + WITHOUT_EDNS, &again, rejection), Received::Reply(_)));
        bench.ask(now + WITHOUT_EDNS);
        assert!(has_opt(&received(&server).remove(0)), "the error did not come from EDNS");
    }
}

#[tokio::test]
async fn a_dead_upstream_is_probed_without_client_queries() {
    let ((dead, dead_addr), (good, good_addr)) = (server(), server());
    let mut bench = Bench::new(&[dead_addr, good_addr], Via::Udp);
    let at = |millis: u64| Instant::from_millis(10_000 + millis);
    for _ in 0..3 {
        bench.ask(at(0));
    }
    assert_eq!(bench.upstreams.probe_at(), Instant::NEVER, "not demoted yet");
    bench.send(at(1_000));
    received(&dead);
    let settings = Arc::clone(&bench.settings);
    let (mut now, mut probes) = (at(1_000), 0);
    while now < at(60_000) {
        now = bench.upstreams.probe_at().max(now);
        bench.upstreams.probe(now, &settings);
        bench.send(now);
        probes += received(&dead).len();
    }
    assert!((29..=31).contains(&probes), "{probes} probes in a minute");
    // It returns.
    now = bench.upstreams.probe_at().max(now);
    bench.upstreams.probe(now, &settings);
    bench.send(now);
    let probe = received(&dead).pop().expect("a probe");
    assert_eq!(wire::question(&probe.bytes).map(|at| probe.bytes[at].len()), Some(5), "for the root");
    assert_eq!(bench.reply(now, &probe, probe.reply()), Received::Ignored);
    assert_eq!(bench.ask(now), dead_addr);
    assert_eq!(received(&good).len(), 0, "it served no client");
}

#[tokio::test]
async fn a_slow_reply_is_hedged_within_the_budget() {
    let ((first, first_addr), (second, second_addr)) = (server(), server());
    let mut bench = Bench::new(&[first_addr, second_addr], Via::Udp);
    let mut now = Instant::from_secs(10);
    // 400 queries with replies after 20 ms.
    for _ in 0..400 {
        let server = if bench.ask(now) == first_addr { &first } else { &second };
        let query = received(server).pop().expect("a query");
        now = now + Duration::from_millis(20);
        let reply = bench.reply(now, &query, query.reply());
        let Received::Reply(id) = reply else { unreachable!("{reply:?}") };
        bench.engine.reply(now, id, &query.reply());
    }
    for upstream in &mut bench.upstreams.members {
        (0..64).for_each(|_| upstream.health.answered(now, Duration::from_millis(20)));
    }
    // Then none is answered in time.
    let mut hedges = 0;
    for _ in 0..100 {
        let sent_at = now;
        let addr = bench.ask(now);
        let deadline = bench.engine.deadline();
        assert_eq!(deadline, sent_at + Duration::from_millis(20), "the 95th percentile");
        now = deadline;
        bench.engine.timeout(now);
        if let Some(hedge) = bench.engine.poll_transmit() {
            assert!(hedge.is_hedge);
            let context = (&*bench.settings, &bench.counters);
            let (other, _) = bench.upstreams.submit(now, hedge, context, &mut bench.random);
            assert_ne!(other, addr);
            hedges += 1;
            bench.send(now);
        }
        let replies = [received(&first), received(&second)].into_iter().flatten();
        for query in replies {
            if let Received::Reply(id) = bench.reply(now, &query, query.reply()) {
                bench.engine.reply(now, id, &query.reply());
            }
        }
    }
    assert!((8..=12).contains(&hedges), "{hedges} hedges: 3 % of the queries, and a saved burst");
}
