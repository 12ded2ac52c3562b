//! The tasks of a resolver thread: datagrams, upstream replies, timers, and messages of other threads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::client::ReplyPath;
use super::mmsg::{BATCH, Headers, Incoming};
use super::thread_state::{DnsThread, ThreadMessage, ThreadState};
use super::upstream::{NewChannel, stream};
use crate::dns64::slab::Id;
use crate::time::Instant;

/// Delay after a socket error.
const PAUSE: Duration = Duration::from_millis(10);

/// Full batches in succession after which to look whether the socket has dropped datagrams.
const CHECK_DROPS: u32 = 8;

/// Reads the queries of one UDP listener.
pub(super) async fn listen(thread: Rc<DnsThread>, number: usize, socket: Rc<UdpSocket>) {
    // Datagrams that the socket has dropped so far.
    let mut dropped = 0;
    read(&thread, &socket, Errors::Ignored, move |state, now, incoming, n| {
        if n == 0 {
            let more = incoming.dropped().saturating_sub(dropped);
            dropped += more;
            state.begin_batch(now, more, incoming);
        }
        if let Some(path) = incoming.path(n) {
            state.query(now, path.peer.ip(), ReplyPath::Datagram(number, path), incoming.datagram(n));
        }
    })
    .await;
}

/// Starts the reader of an upstream channel.
pub(super) fn read_from(thread: &Rc<DnsThread>, channel: NewChannel) {
    let of = Rc::clone(thread);
    let (id, reader) = match channel {
        NewChannel::Udp(id, socket) => (id, tokio::task::spawn_local(read_socket(of, id, socket))),
        NewChannel::Stream(id, addr, via, queue) => {
            let reader = async move {
                let tls_config = of.shared.active().tls_config.clone();
                let on_message =
                    |message: &mut [u8]| of.with_state(|state, now| state.receive(now, id, message));
                if let Err(error) = stream::run_connection(addr, &via, tls_config, queue, on_message).await {
                    log_connection_error(&of, addr, &error);
                }
                // In its own task: closing the channel aborts this one.
                let of = Rc::clone(&of);
                tokio::task::spawn_local(
                    async move { of.with_state(|state, now| state.channel_closed(now, id)) },
                );
            };
            (id, tokio::task::spawn_local(reader))
        }
    };
    thread.state.borrow_mut().upstreams.attach(id, reader.abort_handle());
}

/// Logs an error of a connection to an upstream. An upstream that closes idle connections is not an error.
fn log_connection_error(thread: &DnsThread, addr: SocketAddr, error: &io::Error) {
    let is_closed = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    );
    if !is_closed && thread.shared.counters.upstream(addr).may_log(thread.shared.clock.now()) {
        tracing::warn!("upstream resolver {addr}: {error}");
    } else {
        tracing::debug!(%error, "upstream connection to {addr}");
    }
}

async fn read_socket(thread: Rc<DnsThread>, id: Id, socket: Rc<UdpSocket>) {
    let take = |state: &mut ThreadState, now, incoming: &mut Incoming, n| {
        state.receive(now, id, incoming.datagram_mut(n));
    };
    read(&thread, &socket, Errors::End, take).await;
    tokio::task::spawn_local(async move { thread.with_state(|state, now| state.channel_closed(now, id)) });
}

/// What an error of a socket does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Errors {
    /// Ends the reader: the socket is connected to an upstream, which is unreachable or whose port is closed.
    End,
    Ignored,
}

/// Reads datagrams in batches and passes each to `take`.
async fn read(
    thread: &Rc<DnsThread>,
    socket: &UdpSocket,
    errors: Errors,
    mut take: impl FnMut(&mut ThreadState, Instant, &mut Incoming, usize),
) {
    let mut headers = Headers::new();
    let mut full_batches = 0_u32;
    // epoll reports an error of a socket by itself, not as readable.
    let interest = match errors {
        Errors::End => Interest::READABLE | Interest::ERROR,
        Errors::Ignored => Interest::READABLE,
    };
    loop {
        let Ok(ready) = socket.ready(interest).await else { return };
        // `try_io` accepts one interest only. It clears the readiness once the socket is empty.
        let interest = if ready.is_readable() { Interest::READABLE } else { Interest::ERROR };
        let received = thread.with_state(|state, now| {
            let mut incoming = state.incoming.take().unwrap_or_else(|| Box::new(Incoming::new()));
            let received = receive(socket, interest, &mut incoming, &mut headers);
            for n in 0..*received.as_ref().unwrap_or(&0) {
                take(state, now, &mut incoming, n);
            }
            state.incoming = Some(incoming);
            received
        });
        match received {
            // There may be more; other tasks run first.
            Ok(BATCH) => {
                full_batches += 1;
                if full_batches.is_multiple_of(CHECK_DROPS) {
                    headers = Headers::new();
                }
                tokio::task::yield_now().await;
            }
            Ok(_) => full_batches = 0,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ if errors == Errors::End => return tracing::debug!(%error, "an upstream is unreachable"),
                _ => {
                    tracing::debug!(%error, "receiving DNS datagrams");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Receives a batch. A batch that is not full has emptied the socket, so the next read waits for readiness
/// without another system call.
fn receive(
    socket: &UdpSocket,
    interest: Interest,
    incoming: &mut Incoming,
    headers: &mut Headers,
) -> io::Result<usize> {
    let mut taken = 0;
    let received = socket.try_io(interest, || {
        taken = incoming.receive(socket.as_fd(), headers)?;
        if taken == BATCH { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    if taken > 0 { Ok(taken) } else { received.map(|()| 0) }
}

/// Runs the engine's timers.
pub(super) async fn keep_time(thread: Rc<DnsThread>) {
    loop {
        let at = thread.arm();
        let alarm = thread.alarm.notified();
        if at == Instant::NEVER {
            alarm.await;
            continue;
        }
        tokio::select! {
            () = thread.shared.clock.sleep_until(at) => thread.with_state(ThreadState::timeout),
            () = alarm => {}
        }
    }
}

/// Handles messages of other threads.
pub(super) async fn receive_thread_messages(
    thread: Rc<DnsThread>,
    mut messages: mpsc::Receiver<ThreadMessage>,
) {
    let mut batch = Vec::new();
    while messages.recv_many(&mut batch, BATCH).await > 0 {
        thread.with_state(|state, now| batch.drain(..).for_each(|one| state.handle_message(now, one)));
    }
}
