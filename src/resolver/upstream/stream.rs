//! A TCP or TLS connection to an upstream, on which many questions are under way at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ClientConfig;

use super::super::tls;
use super::STREAM_IDLE;
use crate::dns64::Via;
use crate::message::{Bytes, Frames};

/// How long it may take until a connection stands.
const CONNECT: Duration = Duration::from_secs(3);

/// Connects, sends what `queue` gives and hands what comes to `came`, until the upstream ends it,
/// nothing has happened for [`STREAM_IDLE`], or nobody can ask through it any more.
///
/// # Errors
/// What broke the connection, or kept it from being made.
pub(in super::super) async fn converse(
    addr: SocketAddr,
    via: &Via,
    authorities: Option<Arc<ClientConfig>>,
    queue: mpsc::Receiver<Vec<u8>>,
    came: impl FnMut(&mut [u8]),
) -> io::Result<()> {
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(addr)).await.map_err(late)??;
    connected.set_nodelay(true)?;
    let Via::Tls(name) = via else { return exchange(connected, addr, queue, came).await };
    let shaken = tls::connect(authorities, name, connected);
    let stream = tokio::time::timeout(CONNECT, shaken).await.map_err(late)??;
    exchange(stream, addr, queue, came).await
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

async fn exchange(
    stream: impl Bytes,
    addr: SocketAddr,
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut came: impl FnMut(&mut [u8]),
) -> io::Result<()> {
    let mut frames = Frames::new(stream, addr);
    loop {
        let idle = tokio::time::sleep(STREAM_IDLE);
        tokio::select! {
            message = frames.next() => match message {
                Some(message) => came(&mut message?),
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
