//! Clients over TCP and TLS (RFC 7766, RFC 7858): several queries of a connection at once, answered in
//! the order in which answers come. The number and the life of connections are bounded.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::admission::Permit;
use super::client::Back;
use super::worker::Worker;
use crate::message::{Bytes, Frames};

/// Queries of one connection that may be under way at once.
const AT_ONCE: usize = 32;
/// How long to wait after `accept` failed: there are no descriptors, or no memory.
const PAUSE: Duration = Duration::from_millis(50);

/// What is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Speech {
    Plain,
    Tls,
}

/// Takes connections until it is dropped.
pub(super) async fn accept(worker: Rc<Worker>, listener: TcpListener, speech: Speech) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&worker, stream, peer, speech),
            Err(error) => {
                tracing::debug!(%error, "taking a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection if there is room for it and its client is in a zone: others are not even
/// given a handshake.
fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, speech: Speech) {
    let told = worker.shared.told();
    let network = &told.settings.network;
    let known = told.settings.zone_of(peer.ip()).is_some();
    let connections = &worker.shared.connections;
    let entered = connections.enter(network.connections, network.connections_per_client, peer.ip());
    let server = match (speech, &told.server) {
        (Speech::Plain, _) => None,
        (Speech::Tls, Some(server)) if known => Some(Arc::clone(server)),
        (Speech::Tls, _) => return,
    };
    match entered {
        Ok(permit) => drop(tokio::task::spawn_local(serve(Rc::clone(worker), stream, peer, server, permit))),
        Err(_) => worker.shared.counters.count_refused_connection(),
    }
}

async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    server: Option<Arc<ServerConfig>>,
    permit: Permit,
) {
    let told = worker.shared.told();
    let (idle, total) = (told.settings.timeouts.tcp_idle, told.settings.network.connection_total);
    let served = async {
        stream.set_nodelay(true)?;
        match server {
            None => converse(&worker, stream, peer, idle).await,
            Some(server) => {
                let shaken = TlsAcceptor::from(server).accept(stream);
                let stream =
                    tokio::time::timeout(idle, shaken).await.map_err(|_| io::ErrorKind::TimedOut)??;
                converse(&worker, stream, peer, idle).await
            }
        }
    };
    if let Ok(Err(error)) = tokio::time::timeout(total, served).await {
        tracing::debug!(%error, "the connection of {peer}");
    }
    drop(permit);
}

async fn converse(
    worker: &Rc<Worker>,
    stream: impl Bytes,
    peer: SocketAddr,
    idle: Duration,
) -> io::Result<()> {
    let mut frames = Frames::new(stream, peer);
    let (answers, mut answered) = mpsc::channel(AT_ONCE);
    let mut closing = worker.closing.subscribe();
    let mut under_way = 0;
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            message = frames.next(), if under_way < AT_ONCE => {
                let Some(query) = message else { return Ok(()) };
                let (query, back) = (query?, Back::Stream(answers.clone()));
                heard = Instant::now();
                let taken = worker.act(|state, now| state.query(now, peer.ip(), back, &query));
                if !taken {
                    return Ok(());
                }
                under_way += 1;
            }
            Some(answer) = answered.recv() => {
                under_way -= 1;
                heard = Instant::now();
                frames.send(answer)?;
            }
            () = tokio::time::sleep_until(heard + idle), if under_way == 0 => return Ok(()),
            _ = closing.wait_for(|closing| *closing), if under_way == 0 => return Ok(()),
        }
    }
}
