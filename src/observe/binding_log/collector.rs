//! Sends records to a collector over the network or to a local socket, and connects again after errors.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::sync::mpsc;
use tokio_rustls::rustls::ClientConfig;

use super::ipfix::Exporter;
use super::record::Record;
use super::sink::SinkStatus;
use super::{journal, syslog};
use crate::dns64::Via;
use crate::resolver::tls;

/// Timeout of the connection setup.
const CONNECT: Duration = Duration::from_secs(5);
/// How long sent data may stay unacknowledged before the kernel closes the connection (RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after an error; it doubles up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Batches to send without an error before the pause is the first again.
const STABLE: u32 = 8;
/// Records taken from the queue at once.
const BATCH: usize = 256;

/// Where to send.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A collector. `Some` for TLS: the trusted authorities.
    Network(SocketAddr, Via, Option<Arc<ClientConfig>>),
    /// A datagram socket of this host.
    Local(PathBuf),
}

/// How records are encoded.
#[derive(Debug)]
pub(super) enum Format {
    Syslog,
    Ipfix(Exporter),
    Journal,
}

impl Format {
    /// Begins a new transport session.
    fn reset(&mut self) {
        match self {
            Self::Ipfix(exporter) => *exporter = Exporter::new(),
            Self::Syslog | Self::Journal => {}
        }
    }

    /// Datagrams, or parts of a stream.
    fn encode(&mut self, records: &[Arc<Record>], now: SystemTime, is_stream: bool) -> Vec<Vec<u8>> {
        match self {
            Self::Syslog => {
                let texts = records.iter().map(|record| syslog::message(record, std::process::id()));
                texts.map(|text| if is_stream { syslog::framed(&text) } else { text.into_bytes() }).collect()
            }
            Self::Ipfix(exporter) => exporter.encode(records, now, !is_stream),
            Self::Journal => records.iter().map(|record| journal::entry(record).into_bytes()).collect(),
        }
    }
}

/// A byte stream of TCP or TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Connection {
    Udp(UdpSocket),
    Local(UnixDatagram),
    Stream(Box<dyn Stream>),
}

impl Connection {
    async fn open(target: &Target) -> io::Result<Self> {
        let (addr, via, authorities) = match target {
            Target::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                return Ok(Self::Local(socket));
            }
            Target::Network(addr, via, authorities) => (*addr, via, authorities),
        };
        if *via == Via::Udp {
            let any =
                if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
            socket.connect(addr).await?;
            return Ok(Self::Udp(socket));
        }
        let stream = TcpStream::connect(addr).await?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(match via {
            Via::Tls(name) => Self::Stream(Box::new(tls::connect(authorities.clone(), name, stream).await?)),
            Via::Tcp | Via::Udp => Self::Stream(Box::new(stream)),
        })
    }

    const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    async fn send(&mut self, messages: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => {
                for message in messages {
                    socket.send(message).await?;
                }
            }
            Self::Local(socket) => {
                for message in messages {
                    socket.send(message).await?;
                }
            }
            Self::Stream(stream) => {
                stream.write_all(&messages.concat()).await?;
                stream.flush().await?;
            }
        }
        Ok(())
    }

    /// Returns when the peer has closed the connection or sent an error. Collectors send no data.
    async fn closed(&mut self) -> io::Error {
        let closed = io::Error::from(io::ErrorKind::ConnectionReset);
        match self {
            Self::Udp(socket) => {
                let mut byte = [0];
                loop {
                    if let Err(why) = socket.recv(&mut byte).await {
                        return why;
                    }
                }
            }
            Self::Local(_) => std::future::pending().await,
            Self::Stream(stream) => {
                let mut bytes = [0; 256];
                loop {
                    match stream.read(&mut bytes).await {
                        Ok(0) => return closed,
                        Ok(_) => {}
                        Err(why) => return why,
                    }
                }
            }
        }
    }
}

/// A collector with its state.
pub(super) struct Collector {
    target: Target,
    format: Format,
    status: Arc<SinkStatus>,
    now: fn() -> SystemTime,
    /// Records that are not sent yet.
    batch: Vec<Arc<Record>>,
}

impl Collector {
    pub(super) const fn new(
        target: Target,
        format: Format,
        status: Arc<SinkStatus>,
        now: fn() -> SystemTime,
    ) -> Self {
        Self { target, format, status, now, batch: Vec::new() }
    }

    /// Sends what `queue` brings, until it is closed.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Arc<Record>>) {
        let mut pause = PAUSE.0;
        loop {
            match self.session(&mut queue, &mut pause).await {
                Ok(()) => return,
                Err(why) => self.status.fails(&why),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// One connection. Returns without error when the queue is closed and all is sent.
    async fn session(
        &mut self,
        queue: &mut mpsc::Receiver<Arc<Record>>,
        pause: &mut Duration,
    ) -> io::Result<()> {
        let connected = tokio::time::timeout(CONNECT, Connection::open(&self.target)).await;
        let mut connection = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.format.reset();
        if connection.is_stream() {
            self.status.works();
        }
        let mut sent = 0;
        loop {
            if self.batch.is_empty() {
                let received = tokio::select! {
                    biased;
                    why = connection.closed() => return Err(why),
                    received = queue.recv_many(&mut self.batch, BATCH) => received,
                };
                if received == 0 {
                    return Ok(());
                }
            }
            let messages = self.format.encode(&self.batch, (self.now)(), connection.is_stream());
            connection.send(&messages).await?;
            self.status.count_written(self.batch.len() as u64);
            self.batch.clear();
            sent += 1;
            if sent == STABLE {
                *pause = PAUSE.0;
                self.status.works();
            }
        }
    }
}

impl Drop for Collector {
    /// What is not sent at the end is lost.
    fn drop(&mut self) {
        self.status.count_lost(self.batch.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::net::TcpListener;

    use super::super::fixtures::{at, mapping, record};
    use super::super::record::Kind;
    use super::*;

    fn assigned(secs: u64) -> Arc<Record> {
        Arc::new(record(secs, Kind::Assign, Some(mapping("2001:db8:1::5", 1024, secs))))
    }

    fn start(target: Target, format: Format) -> (mpsc::Sender<Arc<Record>>, Arc<SinkStatus>) {
        let (queue, records) = mpsc::channel(8);
        let status = SinkStatus::new("test");
        tokio::spawn(Collector::new(target, format, Arc::clone(&status), || at(0)).run(records));
        (queue, status)
    }

    async fn line(stream: &mut TcpStream) -> String {
        let mut text = vec![0; 4096];
        let count = stream.read(&mut text).await.expect("open");
        String::from_utf8_lossy(&text[..count]).into_owned()
    }

    #[tokio::test]
    async fn syslog_over_tcp_is_framed_and_connects_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let (queue, status) = start(Target::Network(addr, Via::Tcp, None), Format::Syslog);
        queue.send(assigned(0)).await.expect("room");
        let (mut first, _) = listener.accept().await.expect("a connection");
        let text = line(&mut first).await;
        let (length, message) = text.split_once(' ').expect("octet counting");
        assert_eq!(length.parse(), Ok(message.len()));
        assert!(message.starts_with("<30>1 2026-11-29T10:00:00Z gw1 gate64 "), "{message}");
        drop(first);
        let (mut second, _) = listener.accept().await.expect("a second connection");
        queue.send(assigned(1)).await.expect("room");
        assert!(line(&mut second).await.contains("2026-11-29T10:00:01Z"));
        assert_eq!((status.written(), status.lost()), (2, 0));
    }

    #[tokio::test]
    async fn each_datagram_is_a_message() {
        let collector = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let addr = collector.local_addr().expect("bound");
        let mut buf = [0; 2048];
        let (queue, _) = start(Target::Network(addr, Via::Udp, None), Format::Syslog);
        for secs in 0..2 {
            queue.send(assigned(secs)).await.expect("room");
        }
        for secs in 0..2 {
            let count = collector.recv(&mut buf).await.expect("a message");
            let begin = format!("<30>1 2026-11-29T10:00:0{secs}Z gw1");
            assert!(buf[..count].starts_with(begin.trim_end_matches("0Z gw1").as_bytes()));
        }
        let (queue, _) = start(Target::Network(addr, Via::Udp, None), Format::Ipfix(Exporter::new()));
        queue.send(assigned(0)).await.expect("room");
        let lengths = [collector.recv(&mut buf).await, collector.recv(&mut buf).await];
        assert_eq!(lengths.map(|count| count.expect("a message")), [180, 62]);
    }

    #[tokio::test]
    async fn the_journal_receives_entries() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).expect("a socket");
        let (queue, _) = start(Target::Local(Path::new(&path).to_owned()), Format::Journal);
        queue.send(assigned(0)).await.expect("room");
        let mut buf = [0; 2048];
        let count = journal.recv(&mut buf).await.expect("an entry");
        assert!(String::from_utf8_lossy(&buf[..count]).contains("\nGATE64_HOST=2001:db8:1::5\n"));
    }
}
