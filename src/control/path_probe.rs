//! Probes servers of the IPv4 Internet from this host: whether translated packets can reach anyone.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::config::{HealthSettings, Probe};
use crate::observe::view::View;

/// Timeout of one probe.
const TIMEOUT: Duration = Duration::from_secs(3);

/// When the next probes are due.
#[derive(Debug, Default)]
pub(super) struct PathProbes {
    due: Option<Instant>,
}

impl PathProbes {
    /// Starts the probes if they are due. Their results go to the view.
    pub(super) fn start_due(&mut self, config: &HealthSettings, view: &Arc<View>, now: Instant) {
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        self.due = Some(now + config.probe_interval);
        view.report(|condition| condition.path.retain(|probe, _| config.probes.contains(probe)));
        for probe in config.probes.iter().copied() {
            let view = Arc::clone(view);
            tokio::spawn(async move {
                let result = timeout(TIMEOUT, run(probe)).await;
                let has_answered = matches!(result, Ok(Ok(())));
                if let Ok(Err(why)) = &result {
                    tracing::debug!("probe {probe}: {why}");
                }
                view.report(|condition| {
                    let failures = condition.path.entry(probe).or_default();
                    *failures = if has_answered { 0 } else { failures.saturating_add(1) };
                });
            });
        }
    }
}

async fn run(probe: Probe) -> io::Result<()> {
    match probe {
        Probe::Ping(addr) => ping(addr).await,
        Probe::Tcp(addr) => TcpStream::connect(addr).await.map(drop),
    }
}

/// Sends an echo request by an ICMP socket (`net.ipv4.ping_group_range`), and waits for the reply. The kernel sets
/// identifier and checksum, and delivers replies to this socket only.
async fn ping(addr: Ipv4Addr) -> io::Result<()> {
    const REQUEST: [u8; 16] = [8, 0, 0, 0, 0, 0, 0, 1, b'g', b'a', b't', b'e', b'6', b'4', 0, 0];
    const REPLY: u8 = 0;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.connect(SocketAddrV4::new(addr, 0)).await?;
    socket.send(&REQUEST).await?;
    let mut reply = [0; 64];
    loop {
        let len = socket.recv(&mut reply).await?;
        if reply[..len].first() == Some(&REPLY) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tcp_probe_succeeds_if_the_server_accepts() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let probe = format!("tcp://{}", server.local_addr().expect("bound")).parse().expect("a probe");
        assert!(run(probe).await.is_ok());
        drop(server);
        assert!(run(probe).await.is_err());
    }
}
