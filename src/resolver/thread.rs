//! The threads of the resolver: their runtimes, and what they are told.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

use super::report::Report;
use super::shared::Shared;
use super::stream::{self, Speech};
use super::tasks;
use super::worker::{HANDED, Handed, Worker};
use crate::addr::ZoneId;

/// What a thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Take queries on these; the number is the listener's.
    Open(usize, Sockets),
    /// Take none on the listener of this number any more.
    Close(usize),
    /// Whether anything translates for a zone.
    Translating(ZoneId, bool),
    /// Tell what the engine knows, with at most so many names of each zone.
    Report(usize, oneshot::Sender<Report>),
    /// Take none at all; end when those in flight have their answer, or after this long.
    End(Duration),
}

/// The sockets of one listener on one thread.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: Option<UdpSocket>,
    pub(super) tcp: TcpListener,
    pub(super) speech: Speech,
}

/// A thread of the resolver. It ends by itself, in good order, when this is dropped.
pub(super) struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    ended: oneshot::Receiver<()>,
}

impl Thread {
    /// As many threads as the settings say.
    ///
    /// # Errors
    /// No thread, or no runtime for it.
    pub(super) fn start_all(shared: &Arc<Shared>) -> io::Result<Vec<Self>> {
        let count = shared.told().settings.network.threads.max(1);
        let (peers, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(HANDED)).unzip();
        let each = inboxes.into_iter().enumerate();
        each.map(|(number, inbox)| Self::start(number, shared, peers.clone(), inbox)).collect()
    }

    fn start(
        number: usize,
        shared: &Arc<Shared>,
        peers: Vec<mpsc::Sender<Handed>>,
        inbox: mpsc::Receiver<Handed>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, told) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name(format!("dns64-{number}")).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                match Worker::new(number, shared, peers) {
                    Ok(worker) => live(worker, told, inbox).await,
                    Err(error) => tracing::error!("DNS64 thread {number}: {error}"),
                }
            });
            // Whoever waits for the end may have gone.
            let _ = end.send(());
        })?;
        Ok(Self { commands, ended })
    }

    /// Where it can be told something.
    pub(super) fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }

    /// Tells it something. A thread that has ended hears nothing.
    pub(super) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Waits for its end.
    pub(super) async fn ended(self) {
        // An error says that it has ended without saying so: it panicked.
        let _ = self.ended.await;
    }
}

/// What runs for one listener.
type Listening = Vec<AbortHandle>;

async fn live(worker: Rc<Worker>, mut told: mpsc::UnboundedReceiver<Command>, inbox: mpsc::Receiver<Handed>) {
    tokio::task::spawn_local(tasks::keep_time(Rc::clone(&worker)));
    tokio::task::spawn_local(tasks::take_handed(Rc::clone(&worker), inbox));
    let mut listening: BTreeMap<usize, Listening> = BTreeMap::new();
    let drain = loop {
        match told.recv().await {
            Some(Command::Open(number, sockets)) => match open(&worker, number, sockets) {
                Ok(tasks) => _ = listening.insert(number, tasks),
                Err(error) => tracing::error!("DNS64 listener: {error}"),
            },
            Some(Command::Close(number)) => close(&worker, number, listening.remove(&number)),
            Some(Command::Translating(zone, translating)) => {
                worker.act(|state, _| state.set_translating(zone, translating));
            }
            // Who does not wait for it any more needs none.
            Some(Command::Report(most, to)) => _ = to.send(worker.act(|state, now| state.report(now, most))),
            Some(Command::End(drain)) => break drain,
            None => break worker.shared.told().settings.timeouts.total,
        }
    };
    listening.values().flatten().for_each(AbortHandle::abort);
    if tokio::time::timeout(drain, drained(&worker)).await.is_err() {
        tracing::info!("DNS queries were cut off after {drain:?}");
    }
}

fn open(worker: &Rc<Worker>, number: usize, sockets: Sockets) -> io::Result<Listening> {
    let mut tasks = Vec::new();
    if let Some(udp) = sockets.udp {
        let udp = Rc::new(tokio::net::UdpSocket::from_std(udp)?);
        worker.act(|state, _| state.outlets.open(number, Rc::clone(&udp)));
        tasks.push(tokio::task::spawn_local(tasks::listen(Rc::clone(worker), number, udp)).abort_handle());
    }
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp)?;
    let accepting = stream::accept(Rc::clone(worker), tcp, sockets.speech);
    tasks.push(tokio::task::spawn_local(accepting).abort_handle());
    Ok(tasks)
}

/// Answers that are still to come from a closed listener are lost with its socket.
fn close(worker: &Rc<Worker>, number: usize, listening: Option<Listening>) {
    listening.iter().flatten().for_each(AbortHandle::abort);
    worker.act(|state, _| state.outlets.close(number));
}

/// Until nobody waits for anything.
async fn drained(worker: &Rc<Worker>) {
    worker.shared.queries.close().await;
    worker.closing.send_replace(true);
    worker.shared.connections.close().await;
}
