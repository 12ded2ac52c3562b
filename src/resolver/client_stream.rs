//! Clients over TCP and TLS (RFC 7766, RFC 7858). A connection may have several pending queries; answers
//! leave as they become ready. Number and lifetime of connections are limited.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::admission::Client;
use super::client::ReplyPath;
use super::connections::{Connection, ConnectionLimits};
use super::thread_state::DnsThread;
use crate::dns64::Outcome;
use crate::message::{Bytes, Frames};

/// Maximum number of pending queries per connection.
const MAX_CONCURRENT: usize = 32;
/// Delay after a failed `accept` (no descriptors or memory).
const PAUSE: Duration = Duration::from_millis(50);

/// Protocol of a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ListenerKind {
    Plain,
    Tls,
}

/// Accepts connections until dropped.
pub(super) async fn accept(thread: Rc<DnsThread>, listener: TcpListener, listener_kind: ListenerKind) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&thread, stream, peer, listener_kind),
            Err(error) => {
                tracing::debug!(%error, "accepting a DNS connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection if the limits allow it. A connection from outside every zone is closed at once.
fn admit(thread: &Rc<DnsThread>, stream: TcpStream, peer: SocketAddr, listener_kind: ListenerKind) {
    let active = thread.shared.active();
    let network = &active.settings.network;
    let counters = &thread.shared.counters;
    let (Some(zone), IpAddr::V6(addr)) = (active.clients.find(peer.ip()), peer.ip()) else {
        return counters.zone(None).count(Outcome::NoZone);
    };
    let server = match (listener_kind, &active.server) {
        (ListenerKind::Plain, _) => None,
        (ListenerKind::Tls, Some(server)) => Some(Arc::clone(server)),
        (ListenerKind::Tls, None) => return,
    };
    let client = Client::new(&active.settings.zones[zone], addr);
    let limits = ConnectionLimits { total: network.connections, per_client: network.connections_per_client };
    match thread.shared.connections.admit(thread.shared.clock.now(), limits, client) {
        Some(admitted) => {
            counters.count_evicted_connection(admitted.has_evicted);
            drop(tokio::task::spawn_local(serve(
                Rc::clone(thread),
                stream,
                peer,
                server,
                admitted.connection,
            )));
        }
        None => counters.count_refused_connection(),
    }
}

async fn serve(
    thread: Rc<DnsThread>,
    stream: TcpStream,
    peer: SocketAddr,
    server: Option<Arc<ServerConfig>>,
    connection: Connection,
) {
    let active = thread.shared.active();
    let (idle, total) = (active.settings.timeouts.tcp_idle, active.settings.network.connection_total);
    let served = async {
        stream.set_nodelay(true)?;
        let clock = thread.shared.clock;
        let client =
            ClientStream { thread: &thread, connection: &connection, peer, is_encrypted: server.is_some() };
        match server {
            None => client.run(stream, idle).await,
            Some(server) => {
                let handshake = TlsAcceptor::from(server).accept(stream);
                let stream =
                    tokio::time::timeout(idle, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
                connection.record(clock.now(), false);
                client.run(stream, idle).await
            }
        }
    };
    tokio::select! {
        served = tokio::time::timeout(total, served) => {
            if let Ok(Err(error)) = served {
                tracing::debug!(%error, "DNS client connection from {peer}");
            }
        }
        () = connection.evicted() => {}
    }
}

/// A client on a stream.
struct ClientStream<'a> {
    thread: &'a Rc<DnsThread>,
    connection: &'a Connection,
    peer: SocketAddr,
    is_encrypted: bool,
}

impl ClientStream<'_> {
    async fn run(self, stream: impl Bytes, idle: Duration) -> io::Result<()> {
        let mut frames = Frames::new(stream, self.peer);
        let (answers, mut answered) = mpsc::channel(MAX_CONCURRENT);
        let mut closing = self.thread.closing.subscribe();
        let clock = self.thread.shared.clock;
        let mut in_flight = 0;
        let mut last_activity = clock.now();
        loop {
            tokio::select! {
                message = frames.next(), if in_flight < MAX_CONCURRENT => {
                    let Some(query) = message else { break };
                    last_activity = clock.now();
                    if !self.query(&query?, &answers) {
                        return Ok(());
                    }
                    in_flight += 1;
                    self.connection.record(last_activity, true);
                }
                Some(answer) = answered.recv() => {
                    in_flight -= 1;
                    last_activity = clock.now();
                    self.connection.record(last_activity, in_flight > 0);
                    frames.send(answer)?;
                }
                () = clock.sleep_until(last_activity + idle), if in_flight == 0 => return Ok(()),
                _ = closing.wait_for(|closing| *closing), if in_flight == 0 => return Ok(()),
            }
        }
        // The client has sent all its queries and still reads (RFC 7766 §6.2.4).
        while in_flight > 0 {
            let Some(answer) = answered.recv().await else { break };
            in_flight -= 1;
            frames.send(answer)?;
            frames.flush().await?;
        }
        // Answers queued before the end.
        frames.flush().await
    }

    /// Handles a query. `false` if there will be no answer.
    fn query(&self, query: &[u8], answers: &mpsc::Sender<Vec<u8>>) -> bool {
        let reply_path = ReplyPath::Stream { answers: answers.clone(), is_encrypted: self.is_encrypted };
        self.thread.with_state(|state, now| state.query(now, self.peer.ip(), reply_path, query))
    }
}
