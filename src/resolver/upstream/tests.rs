//! The pool with simulated time: upstreams are sockets on loopback that the test reads and answers.

use std::net::{Ipv4Addr, UdpSocket};

use super::super::{frame, query_key};
use super::*;
use crate::addr::{Pref64, ZoneId};
use crate::dns64::{Engine, Network, QueryAction, Rules, Transport, Zone};

/// A pool with an engine that makes its queries.
struct Bench {
    settings: Arc<Settings>,
    counters: Counters,
    engine: Engine<()>,
    pool: Pool,
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
            pool: Pool::new(Secret::new([1, 2])),
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
        let upstream = self.pool.submit(now, transmit, context, &mut self.random);
        self.send(now);
        upstream
    }

    fn send(&mut self, now: Instant) {
        let timeout = self.settings.timeouts.attempt;
        let failed = self.pool.send(now, timeout, &mut self.random, &mut self.opened);
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
        self.pool.receive(now, id, &mut reply)
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
    // id dns-stream-stall
    let addr = "192.0.2.53:53".parse().expect("literal");
    for via in [Via::Tcp, Via::Tls("dns.example".to_owned())] {
        let mut bench = Bench::new(&[addr], via);
        let at = |millis: u64| Instant::from_millis(10_000 + millis);
        bench.ask(at(0));
        let first = streams(&mut bench).pop().expect("a stream");
        // Idle for long, but no query is in flight: the stream stays.
        let mut reply = first.1[0].clone();
        reply[2] |= 0x80;
        assert!(matches!(bench.pool.receive(at(10), first.0, &mut reply), Received::Answer(_)));
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
        assert!(matches!(bench.pool.receive(at(10_600), first.0, &mut late), Received::Answer(_)));
        // A stream on which something arrives stays, though one query is never answered.
        bench.ask(at(12_000));
        let mut reply = streams(&mut bench)[1].1[0].clone();
        reply[2] |= 0x80;
        assert!(matches!(bench.pool.receive(at(12_100), now_open[1].0, &mut reply), Received::Answer(_)));
        bench.ask(at(14_000));
        assert_eq!(streams(&mut bench).len(), 2);
        // The end of the old stream is not a failure of the upstream, which has replied since.
        for _ in 0..5 {
            bench.pool.channel_closed(at(14_100), first.0);
        }
        assert!(!bench.pool.upstreams[0].health.is_demoted(at(14_100)));
    }
}

/// The cookie of a query.
fn cookie_of(query: &Datagram) -> Option<Vec<u8>> {
    frame::option(&query.bytes, query_key::COOKIE).map(<[u8]>::to_vec)
}

/// A reply with this cookie instead of the query's.
fn reply_with(query: &Datagram, cookie: Option<&[u8]>) -> Vec<u8> {
    let mut reply = query.reply();
    let opt = frame::last_opt(&reply).expect("every query has an OPT record");
    frame::clear_options(&mut reply, opt);
    if let Some(cookie) = cookie {
        frame::push_option(&mut reply, opt, query_key::COOKIE, cookie);
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
        assert!(matches!(result, Received::Answer(_)));
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
    assert!(matches!(ask(true), Received::Answer(_)));
    // A cookie is expected now; without one the query is repeated over TCP.
    assert_eq!(ask(false), Received::Ignored);
    assert_eq!(ask(false), Received::Ignored);
    assert!(matches!(ask(true), Received::Answer(_)), "only consecutive replies count");
    for _ in 0..3 {
        assert_eq!(ask(false), Received::Ignored);
    }
    assert!(matches!(ask(false), Received::Answer(_)));
    assert!(matches!(ask(true), Received::Answer(_)));
    assert_eq!(ask(false), Received::Ignored, "support seen again");
}
