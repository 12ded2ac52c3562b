//! A TCP or TLS connection to an upstream, with many queries in flight.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ClientConfig;

use super::super::tls;
use super::STREAM_IDLE;
use crate::dns64::Via;
use crate::message::{Bytes, Frames};

/// Timeout of the connection setup.
const CONNECT: Duration = Duration::from_secs(3);

/// How long sent data may stay unacknowledged before the kernel closes the connection (RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects, sends messages from `queue` and passes received ones to `on_message`. Returns when the upstream
/// closes the connection, after [`STREAM_IDLE`] without messages, or when the queue is closed.
///
/// # Errors
/// The connection failed.
pub(in super::super) async fn run_connection(
    addr: SocketAddr,
    via: &Via,
    tls_config: Option<Arc<ClientConfig>>,
    queue: mpsc::Receiver<Vec<u8>>,
    on_message: impl FnMut(&mut [u8]),
) -> io::Result<()> {
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(addr)).await.map_err(late)??;
    connected.set_nodelay(true)?;
    SockRef::from(&connected).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let Via::Tls(name) = via else { return attempt(connected, addr, queue, on_message).await };
    let handshake = tls::connect(tls_config, name, connected);
    let stream = tokio::time::timeout(CONNECT, handshake).await.map_err(late)??;
    attempt(stream, addr, queue, on_message).await
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

async fn attempt(
    stream: impl Bytes,
    addr: SocketAddr,
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut on_message: impl FnMut(&mut [u8]),
) -> io::Result<()> {
    let mut frames = Frames::new(stream, addr);
    loop {
        let idle = tokio::time::sleep(STREAM_IDLE);
        tokio::select! {
            message = frames.next() => match message {
                Some(message) => on_message(&mut message?),
                None => return Ok(()),
            },
            message = queue.recv() => match message {
                Some(message) => frames.send(message)?,
                None => return Ok(()),
            },
            () = idle => return Ok(()),
        }
    }
}
