//! Workers: each reads a batch from its device, has it translated, and sends it. The only clock on
//! the packet path.
//!
//! A worker is a blocking thread that owns one device queue and one translator and shares nothing:
//! packets for another worker go through its inbox, orders come through a channel, events leave
//! through one. Reading a worker's tallies takes no lock.

mod inbox;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc as orders;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use crate::counters::Counters;
use crate::device::{Device, Tallies};
use crate::translator::{Change, Event, Lease, Settings, Translator, WorkerId};
use inbox::{Inbox, Post};
use run::{Clock, Order, Worker};

/// Packets that may wait for a worker at its inbox.
const INBOX: usize = 256;

/// Most workers there can be.
pub const MAX_WORKERS: usize = 64;

/// What one worker is given to work with.
pub struct Assignment {
    /// Its share of the gateway; `settings.worker` is its place in the list.
    pub settings: Settings,
    /// Its packets.
    pub device: Box<dyn Device>,
    /// Blocks that hosts had before a restart, whichever worker's they are now.
    pub leases: Arc<[Lease]>,
}

/// An event, by whom and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The worker it happened at.
    pub worker: WorkerId,
    /// When the worker told, at most a batch after it happened.
    pub at: SystemTime,
    /// What happened.
    pub event: Event,
}

/// Why a worker needs help.
#[derive(Debug)]
pub enum Cause {
    /// It panicked and has ended. The others go on; its packets are lost.
    Panic(String),
    /// Its device fails. Reported once for each streak of failures; the worker keeps trying.
    Device(io::Error),
    /// Its device works again.
    Recovered,
}

/// A worker needs help.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub worker: WorkerId,
    /// Why.
    pub cause: Cause,
}

/// What [`start`] returns: the three ends that different tasks hold.
pub struct Started {
    /// Orders go here.
    pub workers: Workers,
    /// Events come from here. When it is full they wait in the translators, whose own bound counts
    /// what is lost ([`Counters::events_lost`]).
    pub events: mpsc::Receiver<Notice>,
    /// Failures come from here.
    pub failures: mpsc::Receiver<Failure>,
}

struct Hand {
    orders: orders::Sender<Order>,
    counters: Arc<Counters>,
    tallies: Arc<Tallies>,
    thread: JoinHandle<Box<dyn Device>>,
}

/// The running workers. Dropping it stops them without draining and waits for none.
pub struct Workers {
    hands: Vec<Hand>,
    inboxes: Arc<[Inbox]>,
    clock: Clock,
}

/// Starts a worker for each assignment. Zone numbers are below `zones`; `events` is how many
/// notices may wait to be received.
///
/// All memory is taken here, before the first thread starts.
///
/// # Errors
/// When there is no file descriptor or thread left; then nothing runs.
///
/// # Panics
/// If there are more than [`MAX_WORKERS`] assignments.
pub fn start(assignments: Vec<Assignment>, zones: usize, events: usize) -> io::Result<Started> {
    assert!(assignments.len() <= MAX_WORKERS, "at most {MAX_WORKERS} workers");
    let clock = Clock::start();
    let room = if assignments.len() > 1 { INBOX } else { 0 };
    let inboxes: Arc<[Inbox]> =
        assignments.iter().map(|_| Inbox::new(room)).collect::<io::Result<Vec<_>>>()?.into();
    let (notices, events) = mpsc::channel(events.max(1));
    // Room for a panic and a failing device of each; more is not worth telling.
    let (failing, failures) = mpsc::channel(2 * assignments.len().max(1));
    let mut workers = Workers { hands: Vec::new(), inboxes: inboxes.clone(), clock };
    let ready: Vec<_> = assignments
        .into_iter()
        .map(|a| {
            let id = a.settings.worker;
            let mut translator = Translator::new(a.settings, zones);
            for lease in a.leases.iter() {
                // Another worker's, or nobody's any more.
                let _ = translator.keep(clock.now(), lease);
            }
            let post = Post::new(id, inboxes.clone());
            (id, translator, a.device, post)
        })
        .collect();
    for (id, translator, device, post) in ready {
        let counters = translator.counters().clone();
        let tallies = device.tallies().clone();
        let (orders, inbound) = orders::channel();
        let worker = Worker::new(id, translator, device, clock, post, inbound, notices.clone());
        let failing = failing.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", id.0))
            .spawn(move || run::guarded(worker, &failing))?;
        workers.hands.push(Hand { orders, counters, tallies, thread });
    }
    Ok(Started { workers, events, failures })
}

impl Workers {
    /// How many workers there are.
    pub const fn len(&self) -> usize {
        self.hands.len()
    }

    /// Whether there is no worker.
    pub const fn is_empty(&self) -> bool {
        self.hands.is_empty()
    }

    /// The tallies of the translators, by worker.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.hands.iter().map(|h| h.counters.clone()).collect()
    }

    /// The tallies of the devices, by worker.
    pub fn tallies(&self) -> Vec<Arc<Tallies>> {
        self.hands.iter().map(|h| h.tallies.clone()).collect()
    }

    /// Gives each worker its new settings, which it switches to between two batches. Returns when
    /// all have switched.
    ///
    /// # Errors
    /// The first worker that has ended instead; the others have switched nevertheless.
    ///
    /// # Panics
    /// If there are not as many settings as workers.
    pub async fn reconfigure(&self, settings: Vec<Settings>) -> Result<(), WorkerId> {
        assert_eq!(settings.len(), self.hands.len(), "settings for each worker");
        let mut waiting = Vec::with_capacity(settings.len());
        for (place, (hand, settings)) in self.hands.iter().zip(settings).enumerate() {
            let (switched, done) = oneshot::channel();
            let worker = settings.worker;
            // An ended worker drops the order and with it `switched`.
            let _ = hand.orders.send(Order::Change(Change::Settings(Box::new(settings)), switched));
            self.inboxes[place].waker().wake();
            waiting.push((worker, done));
        }
        let mut ended = Ok(());
        for (worker, done) in waiting {
            if done.await.is_err() {
                ended = ended.and(Err(worker));
            }
        }
        ended
    }

    /// Ends all workers and returns their devices. Each goes on until nothing waits for it, or for
    /// at most `drain`. Blocks as long.
    pub fn stop(mut self, drain: Duration) -> Vec<Box<dyn Device>> {
        let deadline = self.clock.now() + drain;
        self.order_stop(deadline);
        // A panic was caught inside, so that joining cannot fail.
        self.hands.drain(..).filter_map(|h| h.thread.join().ok()).collect()
    }

    fn order_stop(&self, deadline: crate::time::Instant) {
        for (place, hand) in self.hands.iter().enumerate() {
            let _ = hand.orders.send(Order::Stop(deadline));
            self.inboxes[place].waker().wake();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.order_stop(crate::time::Instant::ZERO);
    }
}
