//! One question to one upstream: UDP from a port of its own, TCP if the answer is cut short.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::dns64::Ask;

/// Largest datagram that is read; we announce 1,232.
const DATAGRAM: usize = 4_096;

/// Sends `ask` and waits for its answer, for ever if none comes: the exchange knows how long. What
/// comes from elsewhere, has another id or answers another question is ignored (RFC 5452 §9.1).
///
/// # Errors
/// Nobody listens there, or no way leads there.
pub(super) async fn ask(ask: &Ask) -> io::Result<Vec<u8>> {
    // A new socket gets a random port from the kernel, which with the id makes 32 bits to guess.
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
            if is_truncated(&buffer) {
                return over_tcp(ask).await;
            }
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(ask: &Ask) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(ask.upstream).await?;
    let query = with_random_id(&ask.query)?;
    let len = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if is_answer(ask, &query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn with_random_id(query: &[u8]) -> io::Result<Vec<u8>> {
    let mut query = query.to_vec();
    let id = query.get_mut(..2).ok_or(io::ErrorKind::InvalidInput)?;
    getrandom::fill(id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(query)
}

fn is_answer(ask: &Ask, query: &[u8], answer: &[u8]) -> bool {
    answer.get(..2) == query.get(..2) && ask.is_answered_by(answer)
}

/// Whether the TC bit is set in a message that has a header.
fn is_truncated(message: &[u8]) -> bool {
    message[2] & 0x02 != 0
}
