//! The DNS64 on the network: listens, asks upstreams, keeps the time for [`crate::dns64`].
//!
//! Each address listened on has a UDP loop of its own and a hickory-server for TCP; both hand
//! queries to one service, which limits what is in flight, drives the exchange and counts.

mod admission;
mod counters;
mod service;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod udp;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dns64::Settings;

pub use counters::{Counters, ZoneCounters};

use service::Service;
use stream::Handler;

/// Answers waiting to be written to one TCP connection.
const TCP_ANSWERS: usize = 32;

/// A running resolver. Dropped, it takes no new queries; those in flight still get their answer if
/// they came over UDP.
pub struct Resolver {
    service: Arc<Service>,
    listeners: Vec<Listener>,
}

/// One address listened on.
struct Listener {
    /// As it was asked for.
    wanted: SocketAddr,
    /// As it is; differs if the port was 0.
    addr: SocketAddr,
    stop_udp: Option<oneshot::Sender<()>>,
    udp: JoinHandle<()>,
    /// Ends its connections when dropped.
    _tcp: Server<Handler>,
}

/// Starts listening and answering, on the current tokio runtime (which must have I/O and time).
///
/// An address that no interface has is listened on all the same and logged as a warning.
///
/// # Errors
/// A listener that could not be opened; the text names its address. An unspecified address is one.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(settings: Settings) -> io::Result<Resolver> {
    let wanted = settings.listen.clone();
    let seed = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let service = Service::start(settings, seed);
    let listeners = open_all(&wanted)?.into_iter().map(|open| Listener::start(open, &service)).collect();
    Ok(Resolver { service, listeners })
}

impl Resolver {
    /// Changes the settings. Listeners that stay keep their sockets; what is in flight ends under the
    /// settings it began with.
    ///
    /// # Errors
    /// A new listener that could not be opened; then nothing has changed.
    pub fn reconfigure(&mut self, settings: Settings) -> io::Result<()> {
        let known: Vec<_> = self.listeners.iter().map(|l| l.wanted).collect();
        let added: Vec<_> = settings.listen.iter().copied().filter(|addr| !known.contains(addr)).collect();
        let added = open_all(&added)?;
        self.listeners.retain(|listener| settings.listen.contains(&listener.wanted));
        self.service.set_settings(settings);
        self.listeners.extend(added.into_iter().map(|open| Listener::start(open, &self.service)));
        Ok(())
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.service.counters)
    }

    /// The addresses listened on, with the ports chosen where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.addr).collect()
    }

    /// Takes no new queries, lets what is in flight end for at most `drain`, and ends.
    pub async fn stop(mut self, drain: Duration) {
        let listeners = &mut self.listeners;
        let admission = &self.service.admission;
        let drained = async {
            for listener in listeners.iter_mut() {
                listener.stop_udp = None;
            }
            admission.close().await;
            for listener in listeners.iter_mut() {
                // It fails only if the loop panicked, and then it has ended too.
                let _ = (&mut listener.udp).await;
            }
        };
        if tokio::time::timeout(drain, drained).await.is_err() {
            tracing::info!("DNS queries were cut off after {drain:?}");
        }
        for listener in &self.listeners {
            listener.udp.abort();
        }
    }
}

impl Drop for Listener {
    /// Lets the UDP loop end: it takes no new queries, and each exchange has an end.
    fn drop(&mut self) {
        self.stop_udp = None;
    }
}

/// Sockets known to the runtime, before anything is served on them.
struct Open {
    wanted: SocketAddr,
    addr: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

fn open_all(wanted: &[SocketAddr]) -> io::Result<Vec<Open>> {
    wanted.iter().map(|addr| open(*addr)).collect()
}

fn open(wanted: SocketAddr) -> io::Result<Open> {
    let pair = socket::listen(wanted)?;
    if socket::is_absent(wanted) {
        tracing::warn!("DNS64 listens on {wanted}, which no interface has yet");
    }
    let udp = UdpSocket::from_std(pair.udp)?;
    let addr = udp.local_addr()?;
    Ok(Open { wanted, addr, udp, tcp: TcpListener::from_std(pair.tcp)? })
}

impl Listener {
    fn start(open: Open, service: &Arc<Service>) -> Self {
        let (stop_udp, stopped) = oneshot::channel();
        let udp = tokio::spawn(udp::serve(Arc::clone(service), open.udp, stopped));
        let mut tcp = Server::new(Handler(Arc::clone(service)));
        tcp.register_listener(open.tcp, service.settings().timeouts.tcp_idle, TCP_ANSWERS);
        Self { wanted: open.wanted, addr: open.addr, stop_udp: Some(stop_udp), udp, _tcp: tcp }
    }
}
