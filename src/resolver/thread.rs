//! The threads of the resolver: their runtimes and commands.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

use super::client_stream::{self, ListenerKind};
use super::report::{Name, Report};
use super::shared::Shared;
use super::tasks;
use super::thread_state::{DnsThread, THREAD_QUEUE, ThreadMessage, ThreadState};
use crate::addr::{HostKey, ZoneId};
use crate::dns64::AddressName;

/// A command to a thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve these sockets of the listener with this number.
    Open(usize, Sockets),
    /// Close the listener with this number.
    Close(usize),
    /// The translator of a zone is up or down.
    Translating(ZoneId, bool),
    /// Report the engine's state, with at most this many names per zone.
    Report(usize, oneshot::Sender<Report>),
    /// Respond.
    Ping(oneshot::Sender<()>),
    /// Report the names under which hosts last received addresses, in this order.
    NamesOf(Arc<[(HostKey, Ipv4Addr)]>, oneshot::Sender<Vec<Option<AddressName>>>),
    /// Report the queries since the last such command, by zone.
    TakeUsage(oneshot::Sender<BTreeMap<ZoneId, Vec<Name>>>),
    /// Report the failures of a name that the engine remembers.
    Failures(String, oneshot::Sender<Vec<String>>),
    /// Accept no further queries; end when pending ones are answered, or after this time.
    End(Duration),
}

/// One thread's sockets of a listener.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: Option<UdpSocket>,
    pub(super) tcp: TcpListener,
    pub(super) listener_kind: ListenerKind,
}

/// A thread of the resolver. When this is dropped, the thread ends gracefully.
pub(super) struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    ended: oneshot::Receiver<()>,
}

impl Thread {
    /// Starts as many threads as the settings say.
    ///
    /// # Errors
    /// A thread or its runtime could not be created.
    pub(super) fn start_all(shared: &Arc<Shared>) -> io::Result<Vec<Self>> {
        let count = shared.active().settings.network.threads.max(1);
        let (peers, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(THREAD_QUEUE)).unzip();
        let each = inboxes.into_iter().enumerate();
        each.map(|(number, inbox)| Self::start(number, shared, peers.clone(), inbox)).collect()
    }

    fn start(
        number: usize,
        shared: &Arc<Shared>,
        peers: Vec<mpsc::Sender<ThreadMessage>>,
        inbox: mpsc::Receiver<ThreadMessage>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, command_queue) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name(format!("dns64-{number}")).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                match DnsThread::new(number, shared, peers, tasks::read_from) {
                    Ok(dns_thread) => run_thread(dns_thread, command_queue, inbox).await,
                    Err(error) => tracing::error!("DNS64 thread {number}: {error}"),
                }
            });
            // The receiver may have ended.
            let _ = end.send(());
        })?;
        Ok(Self { commands, ended })
    }

    /// The sender of commands.
    pub(super) fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }

    /// Sends a command. A thread that has ended ignores it.
    pub(super) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Waits for the end of the thread.
    pub(super) async fn ended(self) {
        // An error means that the thread panicked.
        let _ = self.ended.await;
    }
}

/// Tasks of one listener.
type Listening = Vec<AbortHandle>;

async fn run_thread(
    dns_thread: Rc<DnsThread>,
    mut command_queue: mpsc::UnboundedReceiver<Command>,
    inbox: mpsc::Receiver<ThreadMessage>,
) {
    tokio::task::spawn_local(tasks::keep_time(Rc::clone(&dns_thread)));
    tokio::task::spawn_local(tasks::receive_thread_messages(Rc::clone(&dns_thread), inbox));
    let mut listening: BTreeMap<usize, Listening> = BTreeMap::new();
    let drain = loop {
        match command_queue.recv().await {
            Some(Command::Open(number, sockets)) => match open(&dns_thread, number, sockets) {
                Ok(tasks) => _ = listening.insert(number, tasks),
                Err(error) => tracing::error!("DNS64 listener: {error}"),
            },
            Some(Command::Close(number)) => close(&dns_thread, number, listening.remove(&number)),
            Some(Command::Translating(zone, translating)) => {
                dns_thread.with_state(|state, _| state.set_translating(zone, translating));
            }
            // The receiver may have ended.
            Some(Command::Report(most, to)) => {
                _ = to.send(dns_thread.with_state(|state, now| state.report(now, most)));
            }
            Some(Command::Ping(to)) => _ = to.send(()),
            Some(Command::NamesOf(of, to)) => {
                _ = to.send(dns_thread.with_state(|state, _| state.names_of(&of)));
            }
            Some(Command::TakeUsage(to)) => _ = to.send(dns_thread.with_state(ThreadState::take_usage)),
            Some(Command::Failures(name, to)) => {
                _ = to.send(dns_thread.with_state(|state, now| state.failures(now, &name)));
            }
            Some(Command::End(drain)) => break drain,
            None => break dns_thread.shared.active().settings.timeouts.total,
        }
    };
    listening.values().flatten().for_each(AbortHandle::abort);
    if tokio::time::timeout(drain, drained(&dns_thread)).await.is_err() {
        tracing::info!("DNS queries still pending after the drain timeout ({drain:?}) were dropped");
    }
}

fn open(dns_thread: &Rc<DnsThread>, number: usize, sockets: Sockets) -> io::Result<Listening> {
    let mut tasks = Vec::new();
    if let Some(udp) = sockets.udp {
        let udp = Rc::new(tokio::net::UdpSocket::from_std(udp)?);
        dns_thread.with_state(|state, _| state.reply_sockets.open(number, Rc::clone(&udp)));
        tasks
            .push(tokio::task::spawn_local(tasks::listen(Rc::clone(dns_thread), number, udp)).abort_handle());
    }
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp)?;
    let accepting = client_stream::accept(Rc::clone(dns_thread), tcp, sockets.listener_kind);
    tasks.push(tokio::task::spawn_local(accepting).abort_handle());
    Ok(tasks)
}

/// Pending answers of a closed listener are lost with its socket.
fn close(dns_thread: &Rc<DnsThread>, number: usize, listening: Option<Listening>) {
    listening.iter().flatten().for_each(AbortHandle::abort);
    dns_thread.with_state(|state, _| state.reply_sockets.close(number));
}

/// Waits until no query is pending and no connection is open.
async fn drained(dns_thread: &Rc<DnsThread>) {
    dns_thread.shared.queries.close().await;
    dns_thread.closing.send_replace(true);
    dns_thread.shared.connections.close().await;
}
