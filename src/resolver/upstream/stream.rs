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
    configure(&connected)?;
    let Via::Tls(name) = via else { return exchange(connected, addr, queue, on_message).await };
    let handshake = tls::connect(tls_config, name, connected);
    let stream = tokio::time::timeout(CONNECT, handshake).await.map_err(late)??;
    exchange(stream, addr, queue, on_message).await
}

/// Sends at once, and notices a dead connection early.
fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT))
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

async fn exchange(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unacknowledged_data_breaks_a_connection_after_3_s() {
        let listener = tokio::net::TcpListener::bind("[::1]:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        configure(&stream).expect("configured");
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().expect("readable"), Some(USER_TIMEOUT));
        assert!(stream.nodelay().expect("readable"));
    }
}
