//! What a thread of the resolver waits for: datagrams, messages of upstreams, the clock, other threads.

use std::io;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::client::Back;
use super::mmsg::{BATCH, Incoming};
use super::upstream::{Opened, stream};
use super::worker::{Handed, State, Worker};
use crate::dns64::slab::Id;
use crate::time::Instant;

/// How long to leave a socket alone that gave an error.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes the queries of one listener.
pub(super) async fn listen(worker: Rc<Worker>, number: usize, socket: Rc<UdpSocket>) {
    read(&worker, &socket, |state, now, incoming, n| {
        if let Some(path) = incoming.path(n) {
            state.query(now, path.peer.ip(), Back::Datagram(number, path), incoming.datagram(n));
        }
    })
    .await;
}

/// Starts a reader for a way to an upstream.
pub(super) fn read_from(worker: &Rc<Worker>, way: Opened) {
    let of = Rc::clone(worker);
    let (id, reader) = match way {
        Opened::Udp(id, socket) => (id, tokio::task::spawn_local(read_socket(of, id, socket))),
        Opened::Stream(id, addr, via, queue) => {
            let reader = async move {
                let authorities = of.shared.told().authorities.clone();
                let came = |message: &mut [u8]| of.act(|state, now| state.came(now, id, message));
                if let Err(error) = stream::converse(addr, &via, authorities, queue, came).await {
                    tracing::debug!(%error, "the connection to {addr}");
                }
                // Off this task, which ends with its way.
                let of = Rc::clone(&of);
                tokio::task::spawn_local(async move { of.act(|state, now| state.broken(now, id)) });
            };
            (id, tokio::task::spawn_local(reader))
        }
    };
    worker.state.borrow_mut().pool.attach(id, reader.abort_handle());
}

async fn read_socket(worker: Rc<Worker>, id: Id, socket: Rc<UdpSocket>) {
    read(&worker, &socket, |state, now, incoming, n| state.came(now, id, incoming.datagram_mut(n))).await;
    // Only an upstream's socket ever gives up: nobody listens there.
    tokio::task::spawn_local(async move { worker.act(|state, now| state.broken(now, id)) });
}

/// Reads datagrams in batches, and shows each to `take`. Ends when a connected socket says that
/// nobody listens at its other end.
async fn read(
    worker: &Rc<Worker>,
    socket: &UdpSocket,
    mut take: impl FnMut(&mut State, Instant, &mut Incoming, usize),
) {
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let received = worker.act(|state, now| {
            let mut incoming = state.incoming.take().unwrap_or_else(|| Box::new(Incoming::new()));
            let received = receive(socket, &mut incoming);
            for n in 0..*received.as_ref().unwrap_or(&0) {
                take(state, now, &mut incoming, n);
            }
            state.incoming = Some(incoming);
            received
        });
        match received {
            // There may be more; the other tasks have their turn first.
            Ok(BATCH) => tokio::task::yield_now().await,
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                io::ErrorKind::ConnectionRefused => return,
                _ => {
                    tracing::debug!(%error, "receiving");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Receives a batch. One that is not full has emptied the socket, which is then waited for without
/// asking it once more: what comes meanwhile is a new event.
fn receive(socket: &UdpSocket, incoming: &mut Incoming) -> io::Result<usize> {
    let mut taken = 0;
    let received = socket.try_io(Interest::READABLE, || {
        taken = incoming.receive(socket.as_fd())?;
        if taken == BATCH { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    if taken > 0 { Ok(taken) } else { received.map(|()| 0) }
}

/// Lets time pass for the engine.
pub(super) async fn keep_time(worker: Rc<Worker>) {
    loop {
        let at = worker.arm();
        let alarm = worker.alarm.notified();
        if at == Instant::NEVER {
            alarm.await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep_until(worker.shared.moment(at)) => worker.act(State::timeout),
            () = alarm => {}
        }
    }
}

/// Takes what other threads hand over.
pub(super) async fn take_handed(worker: Rc<Worker>, mut handed: mpsc::Receiver<Handed>) {
    let mut batch = Vec::new();
    while handed.recv_many(&mut batch, BATCH).await > 0 {
        worker.act(|state, now| batch.drain(..).for_each(|one| state.take(now, one)));
    }
}
