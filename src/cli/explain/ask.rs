//! One query to one upstream, over UDP, TCP or TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::rustls::ClientConfig;

use crate::dns64::{Transmit, Via};
use crate::message::{Bytes, Frames};
use crate::resolver::tls;

/// Receive buffer in bytes. Queries advertise 1,232 bytes in EDNS.
const DATAGRAM: usize = 4_096;

/// Sends `ask` and waits for its answer, without a timeout: the engine has one.
///
/// # Errors
/// The upstream refuses the connection, is unreachable, or its certificate is invalid.
pub(in crate::cli) async fn ask(
    ask: &Transmit,
    via: &Via,
    tls_config: Option<Arc<ClientConfig>>,
) -> io::Result<Vec<u8>> {
    match via {
        Via::Udp => over_udp(ask).await,
        Via::Tcp => over_stream(ask, TcpStream::connect(ask.upstream).await?).await,
        Via::Tls(name) => {
            let stream = TcpStream::connect(ask.upstream).await?;
            over_stream(ask, tls::connect(tls_config, name, stream).await?).await
        }
    }
}

async fn over_udp(ask: &Transmit) -> io::Result<Vec<u8>> {
    let any = match ask.upstream {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(ask.upstream).await?;
    let query = with_random_id(&ask.query)?;
    socket.send(&query).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if is_answer(ask, &query, &buffer[..len]) {
            // TC is in the third byte; `is_answer` has checked the length of the header.
            if buffer[2] & 0x02 != 0 {
                return over_stream(ask, TcpStream::connect(ask.upstream).await?).await;
            }
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

async fn over_stream(ask: &Transmit, stream: impl Bytes) -> io::Result<Vec<u8>> {
    let query = with_random_id(&ask.query)?;
    let mut frames = Frames::new(stream, ask.upstream);
    frames.send(query.clone())?;
    let answer = frames.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
    if is_answer(ask, &query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn with_random_id(query: &[u8]) -> io::Result<Vec<u8>> {
    let mut query = query.to_vec();
    let id = query.get_mut(..2).ok_or(io::ErrorKind::InvalidInput)?;
    getrandom::fill(id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(query)
}

fn is_answer(ask: &Transmit, query: &[u8], answer: &[u8]) -> bool {
    answer.get(..2) == query.get(..2) && ask.is_answered_by(answer)
}
