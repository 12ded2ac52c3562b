//! DNS64 on the network: sockets, upstreams and timers for [`crate::dns64`].
//!
//! Each thread has its own socket for every listener; the kernel distributes clients among them. A thread
//! answers from its answer cache. Each name belongs to one thread, whose engine handles the other queries
//! for it (`thread_state`). UDP uses batched system calls (`mmsg`). `crate::message` frames messages on TCP and
//! TLS; `client_stream`, `connections`, `admission` and `rate` enforce the limits.

mod admission;
mod answer_cache;
pub(crate) mod certificate;
mod client;
mod client_stream;
pub(crate) mod clock;
mod connections;
mod cookie;
mod counters;
mod message_edit;
mod mmsg;
mod query_key;
mod random;
mod rate;
mod reply_sockets;
mod report;
mod reporter;
mod shared;
mod shedding;
mod socket;
mod tasks;
#[cfg(test)]
mod tests;
mod thread;
mod thread_state;
pub(crate) mod tls;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::ZoneId;
use crate::dns64::Settings;

pub use counters::{Counters, UpstreamCounters, WAIT_BUCKETS, ZoneCounters};
pub use report::{Name, Report, ZoneReport};
pub use reporter::Reporter;

use client_stream::ListenerKind;
use cookie::Secret;
use shared::{ActiveSettings, Shared};
use thread::{Command, Sockets, Thread};

/// A running resolver. When dropped, it accepts no further queries; pending ones are still answered.
pub struct Resolver {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    listeners: Vec<Listener>,
    /// Number of the next listener.
    next: usize,
}

/// A listen address in use.
struct Listener {
    number: usize,
    /// As configured.
    configured: (SocketAddr, ListenerKind),
    /// As bound; differs if the configured port is 0.
    addr: SocketAddr,
}

/// An opened listener that no thread serves yet.
struct OpenListener {
    configured: (SocketAddr, ListenerKind),
    addr: SocketAddr,
    sockets: Vec<Sockets>,
}

/// Opens the listeners and starts the threads.
///
/// An address that no interface has is opened too, with a warning.
///
/// # Errors
/// A listener that cannot be opened, or a certificate or key that cannot be read. The text names it.
pub fn start(settings: Settings) -> io::Result<Resolver> {
    let random = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    let secret = Secret::new([random()?, random()?]);
    let active = load(settings, 0)?;
    let opened = open_all(&configured_listeners(&active.settings), active.settings.network.threads.max(1))?;
    let shared = Arc::new(Shared::new(active, secret, random()?));
    let threads = Thread::start_all(&shared)?;
    let mut resolver = Resolver { shared, threads, listeners: Vec::new(), next: 0 };
    resolver.serve(opened);
    Ok(resolver)
}

/// Why [`start`] would fail now: reads certificates, and opens each address for a moment.
pub fn check(settings: Settings) -> Vec<io::Error> {
    match load(settings, 0) {
        Ok(active) => {
            let listeners = configured_listeners(&active.settings).into_iter();
            listeners.filter_map(|(addr, kind)| socket::listen(addr, kind, 1).err()).collect()
        }
        Err(why) => vec![why],
    }
}

impl Resolver {
    /// Changes the settings, and reads certificates and keys again. Unchanged listeners keep their sockets.
    /// Pending queries finish under their old settings. The number of threads is fixed.
    ///
    /// # Errors
    /// As [`start`]; nothing has changed in that case.
    pub fn reconfigure(&mut self, settings: Settings) -> io::Result<()> {
        let active = load(settings, self.shared.generation() + 1)?;
        let configured = configured_listeners(&active.settings);
        let known: Vec<_> = self.listeners.iter().map(|l| l.configured).collect();
        let added: Vec<_> = configured.iter().copied().filter(|one| !known.contains(one)).collect();
        let opened = open_all(&added, self.threads.len())?;
        let (kept, removed) = self.listeners.drain(..).partition(|l| configured.contains(&l.configured));
        self.listeners = kept;
        for listener in &removed {
            let _: &Listener = listener;
            self.threads.iter().for_each(|thread| thread.send(Command::Close(listener.number)));
        }
        self.shared.activate(active);
        self.serve(opened);
        Ok(())
    }

    fn serve(&mut self, opened: Vec<OpenListener>) {
        for open in opened {
            let number = self.next;
            self.next += 1;
            for (thread, sockets) in self.threads.iter().zip(open.sockets) {
                thread.send(Command::Open(number, sockets));
            }
            self.listeners.push(Listener { number, configured: open.configured, addr: open.addr });
        }
    }

    /// The counters since start.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// A handle to query the state of the engines.
    pub fn reporter(&self) -> Reporter {
        Reporter(self.threads.iter().map(Thread::commands).collect())
    }

    /// Reports whether the translator of a zone is up. While it is down, nothing is synthesized for the
    /// zone.
    pub fn set_translating(&self, zone: ZoneId, translating: bool) {
        self.threads.iter().for_each(|thread| thread.send(Command::Translating(zone, translating)));
    }

    /// The listen addresses with their actual ports; those for TLS last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let of = |listener_kind| {
            self.listeners.iter().filter(move |l| l.configured.1 == listener_kind).map(|l| l.addr)
        };
        of(ListenerKind::Plain).chain(of(ListenerKind::Tls)).collect()
    }

    /// Accepts no further queries, waits up to `drain` for pending ones, and stops.
    pub async fn stop(self, drain: Duration) {
        self.threads.iter().for_each(|thread| thread.send(Command::End(drain)));
        for thread in self.threads {
            thread.ended().await;
        }
    }
}

fn load(settings: Settings, generation: u64) -> io::Result<ActiveSettings> {
    let server = settings.network.tls.as_ref().map(tls::server).transpose()?;
    let tls_config = tls::upstream_config(&settings)?;
    let clients = settings.client_zones();
    Ok(ActiveSettings { generation, settings: Arc::new(settings), clients, server, tls_config })
}

fn configured_listeners(settings: &Settings) -> Vec<(SocketAddr, ListenerKind)> {
    let plain = settings.listen.iter().map(|addr| (*addr, ListenerKind::Plain));
    let tls = settings.network.tls.iter().flat_map(|tls| &tls.listen).map(|addr| (*addr, ListenerKind::Tls));
    plain.chain(tls).collect()
}

fn open_all(configured: &[(SocketAddr, ListenerKind)], threads: usize) -> io::Result<Vec<OpenListener>> {
    let each = configured.iter().map(|&(addr, listener_kind)| {
        let (chosen, sockets) = socket::listen(addr, listener_kind, threads)?;
        if socket::is_absent(addr) {
            tracing::warn!("DNS64 listens on {addr}, which no interface has yet");
        }
        Ok(OpenListener { configured: (addr, listener_kind), addr: chosen, sockets })
    });
    each.collect()
}
