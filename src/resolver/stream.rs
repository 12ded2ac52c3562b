//! Clients over TCP and TLS (RFC 7766, RFC 7858). A connection may have several pending queries; answers
//! leave as they become ready. Number and lifetime of connections are limited.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::admission::Permit;
use super::client::ReplyPath;
use super::worker::DnsWorker;
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
pub(super) async fn accept(worker: Rc<DnsWorker>, listener: TcpListener, listener_kind: ListenerKind) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&worker, stream, peer, listener_kind),
            Err(error) => {
                tracing::debug!(%error, "accepting a DNS connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection if the limits allow it. A client in no zone gets no TLS handshake.
fn admit(worker: &Rc<DnsWorker>, stream: TcpStream, peer: SocketAddr, listener_kind: ListenerKind) {
    let active = worker.shared.active();
    let network = &active.settings.network;
    let known = active.clients.find(peer.ip()).is_some();
    let connections = &worker.shared.connections;
    let entered = connections.enter(network.connections, network.connections_per_client, peer.ip());
    let server = match (listener_kind, &active.server) {
        (ListenerKind::Plain, _) => None,
        (ListenerKind::Tls, Some(server)) if known => Some(Arc::clone(server)),
        (ListenerKind::Tls, _) => return,
    };
    match entered {
        Ok(permit) => drop(tokio::task::spawn_local(serve(Rc::clone(worker), stream, peer, server, permit))),
        Err(_) => worker.shared.counters.count_refused_connection(),
    }
}

async fn serve(
    worker: Rc<DnsWorker>,
    stream: TcpStream,
    peer: SocketAddr,
    server: Option<Arc<ServerConfig>>,
    permit: Permit,
) {
    let active = worker.shared.active();
    let (idle, total) = (active.settings.timeouts.tcp_idle, active.settings.network.connection_total);
    let served = async {
        stream.set_nodelay(true)?;
        match server {
            None => run_connection(&worker, stream, peer, idle).await,
            Some(server) => {
                let handshake = TlsAcceptor::from(server).accept(stream);
                let stream =
                    tokio::time::timeout(idle, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
                run_connection(&worker, stream, peer, idle).await
            }
        }
    };
    if let Ok(Err(error)) = tokio::time::timeout(total, served).await {
        tracing::debug!(%error, "DNS client connection from {peer}");
    }
    drop(permit);
}

async fn run_connection(
    worker: &Rc<DnsWorker>,
    stream: impl Bytes,
    peer: SocketAddr,
    idle: Duration,
) -> io::Result<()> {
    let mut frames = Frames::new(stream, peer);
    let (answers, mut answered) = mpsc::channel(MAX_CONCURRENT);
    let mut closing = worker.closing.subscribe();
    let clock = worker.shared.clock;
    let mut in_flight = 0;
    let mut last_activity = clock.now();
    loop {
        tokio::select! {
            message = frames.next(), if in_flight < MAX_CONCURRENT => {
                let Some(query) = message else { return Ok(()) };
                let (query, reply_path) = (query?, ReplyPath::Stream(answers.clone()));
                last_activity = clock.now();
                let taken = worker.with_state(|state, now| state.query(now, peer.ip(), reply_path, &query));
                if !taken {
                    return Ok(());
                }
                in_flight += 1;
            }
            Some(answer) = answered.recv() => {
                in_flight -= 1;
                last_activity = clock.now();
                frames.send(answer)?;
            }
            () = clock.sleep_until(last_activity + idle), if in_flight == 0 => return Ok(()),
            _ = closing.wait_for(|closing| *closing), if in_flight == 0 => return Ok(()),
        }
    }
}
