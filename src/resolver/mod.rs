//! The DNS64 on the network: listens, asks upstreams, keeps the time for [`crate::dns64`].
//!
//! A few threads, each with sockets of its own for every listener, among which the kernel shares out the
//! clients. What a thread has ready it answers at once; names belong to threads, and what isn't
//! ready goes to the engine of the thread whose name it is (`worker`). Over UDP many datagrams cost one
//! system call (`mmsg`); on TCP and TLS messages are framed by `crate::message`, under limits of our own (`stream`).

mod admission;
mod answer_cache;
mod client;
mod cookie;
mod counters;
mod egress;
mod frame;
mod mmsg;
mod query_key;
mod random;
mod rate;
mod report;
mod shared;
mod socket;
mod stream;
mod tasks;
#[cfg(test)]
mod tests;
mod thread;
pub(crate) mod tls;
mod upstream;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::ZoneId;
use crate::dns64::Settings;

pub use counters::{Counters, UpstreamCounters, WAITS, ZoneCounters};
pub use report::{Name, Report, Reporter, ZoneReport};

use cookie::Secret;
use shared::{Shared, Told};
use stream::Speech;
use thread::{Command, Sockets, Thread};

/// A running resolver. Dropped, it takes no new queries; those in flight still get their answer.
pub struct Resolver {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    listeners: Vec<Listener>,
    /// The number of the next listener.
    next: usize,
}

/// One address listened on.
struct Listener {
    number: usize,
    /// As it was asked for.
    wanted: (SocketAddr, Speech),
    /// As it is; differs if the port was 0.
    addr: SocketAddr,
}

/// A listener before anything is served on it.
struct Open {
    wanted: (SocketAddr, Speech),
    addr: SocketAddr,
    sockets: Vec<Sockets>,
}

/// Starts listening and answering, on threads of its own.
///
/// An address that no interface has is listened on all the same and logged as a warning.
///
/// # Errors
/// A listener that could not be opened, a certificate or key that could not be read; the text names
/// it.
pub fn start(settings: Settings) -> io::Result<Resolver> {
    let random = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    let secret = Secret::new([random()?, random()?]);
    let told = told(settings, 0)?;
    let opened = open_all(&wanted(&told.settings), told.settings.network.threads.max(1))?;
    let shared = Arc::new(Shared::new(told, secret, random()?));
    let threads = Thread::start_all(&shared)?;
    let mut resolver = Resolver { shared, threads, listeners: Vec::new(), next: 0 };
    resolver.serve(opened);
    Ok(resolver)
}

impl Resolver {
    /// Changes the settings, and reads certificates and keys again. Listeners that stay keep their
    /// sockets; what is in flight ends under the settings it began with. The number of threads stays.
    ///
    /// # Errors
    /// As [`start`]; then nothing has changed.
    pub fn reconfigure(&mut self, settings: Settings) -> io::Result<()> {
        let told = told(settings, self.shared.generation() + 1)?;
        let wanted = wanted(&told.settings);
        let known: Vec<_> = self.listeners.iter().map(|l| l.wanted).collect();
        let added: Vec<_> = wanted.iter().copied().filter(|one| !known.contains(one)).collect();
        let opened = open_all(&added, self.threads.len())?;
        let (kept, gone) = self.listeners.drain(..).partition(|l| wanted.contains(&l.wanted));
        self.listeners = kept;
        for listener in &gone {
            let _: &Listener = listener;
            self.threads.iter().for_each(|thread| thread.tell(Command::Close(listener.number)));
        }
        self.shared.tell(told);
        self.serve(opened);
        Ok(())
    }

    fn serve(&mut self, opened: Vec<Open>) {
        for open in opened {
            let number = self.next;
            self.next += 1;
            for (thread, sockets) in self.threads.iter().zip(open.sockets) {
                thread.tell(Command::Open(number, sockets));
            }
            self.listeners.push(Listener { number, wanted: open.wanted, addr: open.addr });
        }
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Whoever wants to know what the engines know asks this.
    pub fn reporter(&self) -> Reporter {
        Reporter(self.threads.iter().map(Thread::commands).collect())
    }

    /// Says whether anything translates for a zone. While nothing does, nothing is synthesised for it.
    pub fn set_translating(&self, zone: ZoneId, translating: bool) {
        self.threads.iter().for_each(|thread| thread.tell(Command::Translating(zone, translating)));
    }

    /// The addresses listened on, with the ports chosen where 0 was asked for; those for TLS last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let of = |speech| self.listeners.iter().filter(move |l| l.wanted.1 == speech).map(|l| l.addr);
        of(Speech::Plain).chain(of(Speech::Tls)).collect()
    }

    /// Takes no new queries, lets what is in flight end for at most `drain`, and ends.
    pub async fn stop(self, drain: Duration) {
        self.threads.iter().for_each(|thread| thread.tell(Command::End(drain)));
        for thread in self.threads {
            thread.ended().await;
        }
    }
}

fn told(settings: Settings, generation: u64) -> io::Result<Told> {
    let server = settings.network.tls.as_ref().map(tls::server).transpose()?;
    let authorities = tls::authorities(&settings)?;
    Ok(Told { generation, settings: Arc::new(settings), server, authorities })
}

fn wanted(settings: &Settings) -> Vec<(SocketAddr, Speech)> {
    let plain = settings.listen.iter().map(|addr| (*addr, Speech::Plain));
    let tls = settings.network.tls.iter().flat_map(|tls| &tls.listen).map(|addr| (*addr, Speech::Tls));
    plain.chain(tls).collect()
}

fn open_all(wanted: &[(SocketAddr, Speech)], threads: usize) -> io::Result<Vec<Open>> {
    let each = wanted.iter().map(|&(addr, speech)| {
        let (chosen, sockets) = socket::listen(addr, speech, threads)?;
        if socket::is_absent(addr) {
            tracing::warn!("DNS64 listens on {addr}, which no interface has yet");
        }
        Ok(Open { wanted: (addr, speech), addr: chosen, sockets })
    });
    each.collect()
}
