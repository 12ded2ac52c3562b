//! Messages on a stream, each behind its length (RFC 1035 §4.2.2).

use std::io;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use hickory_net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_net::tcp::TcpStream;
use hickory_net::xfer::{BufDnsStreamHandle, DnsStreamHandle as _};
use hickory_proto::op::SerialMessage;
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages that wait to be written.
const WAITING: usize = 128;

/// What messages can be framed on.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Bytes for T {}

/// The messages of a stream, both ways. While one waits to be written, none is read.
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

    /// The next message; `None` at the end. Also writes what was given to [`send`](Self::send), and
    /// can be dropped and called again without losing anything.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let next = self.stream.next().await?;
        Some(next.map(|message| message.into_parts().0))
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Too many wait: the peer does not read.
    pub(crate) fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.out
            .send(SerialMessage::new(message, self.peer))
            .map_err(|error| io::Error::other(error.to_string()))
    }
}
