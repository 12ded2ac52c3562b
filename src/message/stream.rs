//! Messages on a stream, each preceded by its length (RFC 1035 §4.2.2).

use std::io;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use hickory_net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_net::tcp::TcpStream;
use hickory_net::xfer::{BufDnsStreamHandle, DnsStreamHandle as _};
use hickory_proto::op::SerialMessage;
use tokio::io::{AsyncRead, AsyncWrite};

/// Maximum number of messages queued for writing.
const WAITING: usize = 128;

/// A byte stream that can carry messages.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Bytes for T {}

/// A stream of messages in both directions. Reads nothing while a message waits to be written.
pub(crate) struct Frames<S: Bytes> {
    stream: TcpStream<AsyncIoTokioAsStd<S>>,
    out: BufDnsStreamHandle,
    peer: SocketAddr,
}

impl<S: Bytes> Frames<S> {
    pub(crate) fn new(stream: S, peer: SocketAddr) -> Self {
        let (stream, out) = TcpStream::from_stream_with_buffer_size(AsyncIoTokioAsStd(stream), peer, WAITING);
        Self { stream, out, peer }
    }

    /// The next message; `None` at the end. Also writes queued messages. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let next = self.stream.next().await?;
        Some(next.map(|message| message.into_parts().0))
    }

    /// Writes queued messages, after the end of the received ones.
    ///
    /// # Errors
    /// The connection failed, or the peer has sent another message.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        match self.next().await {
            None => Ok(()),
            Some(Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
            Some(Err(error)) => Err(error),
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// The queue is full because the peer does not read.
    pub(crate) fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.out
            .send(SerialMessage::new(message, self.peer))
            .map_err(|error| io::Error::other(error.to_string()))
    }
}
