//! Workers: each reads a batch from its device, translates it and sends it. The only clock on the
//! packet path.
//!
//! A worker is a blocking thread that owns one device queue and one translator, without shared state.
//! Packets for another worker go through that worker's inbox. Commands arrive and events leave through
//! channels. Reading a worker's counters takes no lock.

mod binding_events;
mod inbox;
mod inspection;
mod inspector;
mod report;
mod run;
mod saved;
mod snapshot;
pub mod state;
mod survey;
#[cfg(test)]
mod tests;
mod trace;

use std::io;
use std::sync::Arc;
use std::sync::mpsc as commands;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::addr::LocalAddresses;
use crate::counters::Counters;
use crate::device::{Device, Tallies};
use crate::ownership::MAX_WORKERS;
use crate::translator::{Change, Settings, Translator, WorkerId};
use inbox::{HandoverSender, Inbox};
use run::{Channels, Clock, Command, Parts, Worker};
use snapshot::Snapshot;

pub use binding_events::BindingEvents;
pub use inspector::{EndingCounts, Inspector, PoolUsage};
pub use report::{Cause, Failure, Notice};
pub use saved::{Restored, Saved};
pub(crate) use snapshot::moment;
pub use snapshot::{Progress, Target};
pub use trace::{SNAP, Trace, TraceEvent, TraceFilter, TraceRecord};

/// Capacity of a worker's inbox, in packets.
const INBOX: usize = 256;

/// Bytes of a worker's packet buffers, used or not.
pub(crate) const fn buffer_bytes(workers: u8) -> u64 {
    let inbox = if workers > 1 { INBOX } else { 0 };
    ((run::BUFFERS + inbox) * crate::wire::buf::MAX_PACKET) as u64
}

/// Everything one worker needs to start.
pub struct Assignment {
    /// Settings of its translator; `settings.worker` is its index in the list.
    pub settings: Settings,
    /// Its device queue.
    pub device: Box<dyn Device>,
    /// What an earlier gateway saved, and where this worker saves its sessions.
    pub saved: Saved,
}

/// What [`start`] returns: four parts, each for a different task.
pub struct Started {
    /// Controls the workers.
    pub workers: Workers,
    /// Receives events. When it is full they wait in the translators' bounded queues, which count what
    /// they lose ([`Counters::events_lost`]).
    pub events: mpsc::Receiver<Notice>,
    /// Receives the events of the binding log. Drop it if nobody empties it: when it is full, events wait as above.
    pub binding_events: BindingEvents,
    /// Receives failures.
    pub failures: mpsc::Receiver<Failure>,
}

struct Handle {
    commands: commands::Sender<Command>,
    counters: Arc<Counters>,
    tallies: Arc<Tallies>,
    thread: JoinHandle<Box<dyn Device>>,
}

/// The running workers. Dropping it stops them without draining and does not wait.
pub struct Workers {
    handles: Vec<Handle>,
    inboxes: Arc<[Inbox]>,
    clock: Clock,
    restored: Restored,
}

/// Starts a worker for each assignment. Zone numbers are below `zones`; `events` is the capacity of
/// the event channel, in notices.
///
/// Allocates all memory before the first thread starts.
///
/// # Errors
/// If the process has no file descriptor or thread left; then no worker runs.
///
/// # Panics
/// If there are more than [`MAX_WORKERS`] assignments.
pub fn start(assignments: Vec<Assignment>, zones: usize, events: usize) -> io::Result<Started> {
    assert!(assignments.len() <= usize::from(MAX_WORKERS), "at most {MAX_WORKERS} workers");
    let clock = Clock::start();
    let room = if assignments.len() > 1 { INBOX } else { 0 };
    let inboxes: Arc<[Inbox]> =
        assignments.iter().map(|_| Inbox::new(room)).collect::<io::Result<Vec<_>>>()?.into();
    let (notices, events) = mpsc::channel(events.max(1));
    // Room for one panic and one device failure per worker; further reports are dropped.
    let (failing, failures) = mpsc::channel(2 * assignments.len().max(1));
    let mut restored = Restored::default();
    let ready = assignments.into_iter().map(|assignment| {
        let (id, device) = (assignment.settings.worker, assignment.device);
        let mut translator = Translator::new(assignment.settings, zones);
        assignment.saved.restore(clock.now(), &mut translator, &mut restored);
        let snapshot =
            assignment.saved.snapshot.map(|target| Snapshot::new(target, clock.now())).transpose()?;
        Ok((id, Parts { translator, device, snapshot }))
    });
    let ready = ready.collect::<io::Result<Vec<_>>>()?;
    let mut workers = Workers { handles: Vec::new(), inboxes: inboxes.clone(), clock, restored };
    let mut binding_events = BindingEvents::default();
    for (id, parts) in ready {
        let counters = parts.translator.counters().clone();
        let tallies = parts.device.tallies().clone();
        let handover = HandoverSender::new(id, inboxes.clone());
        let (commands, inbound) = commands::channel();
        let (notices, binding_events) = (notices.clone(), binding_events.add());
        let channels = Channels { handover, commands: inbound, notices, binding_events };
        let worker = Worker::new(id, parts, clock, channels);
        let failing = failing.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", id.0))
            .spawn(move || run::run_and_report_panic(worker, &failing))?;
        workers.handles.push(Handle { commands, counters, tallies, thread });
    }
    Ok(Started { workers, events, binding_events, failures })
}

impl Workers {
    /// How many workers there are.
    pub const fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there are no workers.
    pub const fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// The sessions restored at the start.
    pub const fn restored(&self) -> &Restored {
        &self.restored
    }

    /// The counters of the translators, by worker.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.handles.iter().map(|h| h.counters.clone()).collect()
    }

    /// The tallies of the devices, by worker.
    pub fn tallies(&self) -> Vec<Arc<Tallies>> {
        self.handles.iter().map(|h| h.tallies.clone()).collect()
    }

    /// Sends each worker its new settings; it switches between two batches. Returns when all have
    /// switched.
    ///
    /// # Errors
    /// The first worker that has ended; all others have switched.
    ///
    /// # Panics
    /// If the number of settings is not the number of workers.
    pub async fn reconfigure(&self, settings: Vec<Settings>) -> Result<(), WorkerId> {
        assert_eq!(settings.len(), self.handles.len(), "settings for each worker");
        self.change(settings.into_iter().map(|settings| Change::Settings(Box::new(settings)))).await
    }

    /// Sends all workers the addresses of this host. Returns when all have switched.
    ///
    /// # Errors
    /// The first worker that has ended; all others have switched.
    pub async fn set_local_addresses(&self, local: &Arc<LocalAddresses>) -> Result<(), WorkerId> {
        self.change(self.handles.iter().map(|_| Change::LocalAddresses(Arc::clone(local)))).await
    }

    /// Inspects the workers.
    pub fn inspector(&self) -> Inspector {
        let workers = self.handles.iter().map(|handle| handle.commands.clone()).collect();
        Inspector::new(workers, Arc::clone(&self.inboxes))
    }

    /// Returns once all workers have responded, each after its current batch.
    ///
    /// # Errors
    /// The first worker that has ended.
    pub async fn ping(&self) -> Result<(), WorkerId> {
        self.command(self.handles.iter().map(|_| Command::Ping)).await
    }

    /// Sends each worker its change and waits until all have switched.
    async fn change(&self, changes: impl Iterator<Item = Change>) -> Result<(), WorkerId> {
        self.command(changes.map(|change| |switched| Command::Change(change, switched))).await
    }

    /// Sends each worker a command and waits until all have executed it.
    async fn command<F>(&self, commands: impl Iterator<Item = F>) -> Result<(), WorkerId>
    where
        F: FnOnce(oneshot::Sender<()>) -> Command,
    {
        let mut waiting = Vec::with_capacity(self.handles.len());
        for ((index, handle), command) in self.handles.iter().enumerate().zip(commands) {
            let (done, executed) = oneshot::channel();
            // A worker that has ended drops the command and with it `done`.
            let _ = handle.commands.send(command(done));
            self.inboxes[index].waker().wake();
            // There are at most `MAX_WORKERS`.
            waiting.push((WorkerId(index as u8), executed));
        }
        let mut ended = Ok(());
        for (worker, executed) in waiting {
            if executed.await.is_err() {
                ended = ended.and(Err(worker));
            }
        }
        ended
    }

    /// Stops all workers and returns their devices. Each worker first processes waiting packets, for
    /// at most `drain`. Blocks until all have stopped.
    pub fn stop(mut self, drain: Duration) -> Vec<Box<dyn Device>> {
        let deadline = self.clock.now() + drain;
        self.send_stop(deadline);
        // The thread catches panics itself, so joining cannot fail.
        self.handles.drain(..).filter_map(|h| h.thread.join().ok()).collect()
    }

    fn send_stop(&self, deadline: crate::time::Instant) {
        for (index, handle) in self.handles.iter().enumerate() {
            let _ = handle.commands.send(Command::Stop(deadline));
            self.inboxes[index].waker().wake();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.send_stop(crate::time::Instant::ZERO);
    }
}
