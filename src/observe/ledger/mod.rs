//! The ledger: which names and hosts still need IPv4, kept on disk over restarts.
//!
//! It joins two sources and adds no work to the packet path:
//! - Workers write their sessions to files in memory anyway ([`crate::worker`]). A thread reads them every
//!   `READ` and credits each session's new bytes (`sessions`).
//! - The resolver knows under which name a host received an address. The thread asks it once for each new session, in
//!   batches. Later sessions to the address may belong to another name; a session keeps its own.
//!
//! A session without a name is one to a literal. Sums go to a database (`store`) every `WRITE` readings.
//!
//! # Bounds
//! 32 bytes per slot of the session tables, 2^18 entries per table between two writes, and 8 MiB of SQLite's cache.
//! The file is bounded, too: a full one loses its oldest day. A disk that fails does not stop the gateway: entries
//! stay in memory until the next write succeeds.
//!
//! # Restart
//! The counters of restored sessions are the baseline, so no byte counts twice. The names of addresses are in the
//! database, for sessions that the resolver of the new process does not know. An orderly stop reads the files once
//! more after the workers' last save; a kill loses the seconds since the last write.

mod batch;
mod credits;
mod key;
pub mod read;
mod sessions;
mod store;
#[cfg(test)]
mod tests;
mod zones;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use crate::config::{self, Config};
use crate::counters::Tally;
use crate::observe::unix_seconds;
use crate::translator::SessionRecord;
use credits::Credits;
use sessions::Sessions;
use store::{DAY, Store};
use zones::Zones;

pub use credits::Source;
pub use store::StoreError;

/// Name of the database in the state directory.
pub const FILE: &str = "ledger.sqlite";
/// Interval between two readings. No session's lifetime is shorter.
const READ: Duration = Duration::from_secs(10);
/// Readings between two writes.
const WRITE: u32 = 6;
/// Readings after which all restored sessions are in the files.
const RESTORED: u32 = 6;

/// Counters of the ledger.
#[derive(Debug, Default)]
pub struct LedgerStatus {
    /// Failed writes. Their entries are written later.
    pub failures: Tally,
    /// Entries for which there was no room in memory.
    pub lost: Tally,
    /// Days deleted before the end of the retention, because the file was full.
    pub deleted_days: Tally,
    /// Writes with a time before that of an earlier write.
    pub clock_steps: Tally,
}

/// What metrics and the reload use of a running ledger.
#[derive(Clone, Debug)]
pub struct LedgerView {
    status: Arc<LedgerStatus>,
    commands: mpsc::Sender<Command>,
}

impl LedgerView {
    /// The counters.
    pub fn status(&self) -> &LedgerStatus {
        &self.status
    }

    /// Follows the zones of a reloaded configuration.
    pub fn reconfigure(&self, config: &Config) {
        // The thread ends only at a stop.
        let _ = self.commands.send(Command::Zones(Zones::of(config)));
    }
}

/// A command to the thread.
#[derive(Debug)]
enum Command {
    Zones(Zones),
    /// Read now, then answer.
    Read(mpsc::SyncSender<()>),
    Stop,
}

/// The files in which workers save their sessions, and the sessions that they restored.
#[derive(Debug, Default)]
pub struct SessionFiles {
    /// A file for each worker.
    pub paths: Vec<PathBuf>,
    /// Sessions of an earlier gateway.
    pub restored: Vec<SessionRecord>,
}

/// A running ledger.
pub struct Ledger {
    view: LedgerView,
    thread: std::thread::JoinHandle<()>,
}

impl Ledger {
    /// Starts the thread. `now` is the wall clock.
    ///
    /// # Errors
    /// The database or the key cannot be opened, or the process has no thread left.
    pub fn start(
        config: &Config,
        source: impl Source + 'static,
        files: SessionFiles,
        now: fn() -> SystemTime,
    ) -> io::Result<Self> {
        let status = Arc::new(LedgerStatus::default());
        let credits = Credits::new(source, Zones::of(config), key::open(&config.ledger)?);
        let task = Task::new(&config.ledger, credits, files, (Arc::clone(&status), now))?;
        let (commands, received) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("ledger".to_owned()).spawn(move || task.run(&received))?;
        Ok(Self { view: LedgerView { status, commands }, thread })
    }

    /// What metrics and the reload use.
    pub fn view(&self) -> LedgerView {
        self.view.clone()
    }

    /// Reads the sessions now. Call it before the resolver stops, since it knows their names. Blocks.
    pub fn read(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.view.commands.send(Command::Read(done)).is_ok() {
            // An error means that the thread panicked.
            let _ = wait.recv();
        }
    }

    /// Reads the sessions a last time, and writes everything. Call it after the workers' last save. Blocks.
    pub fn stop(self) {
        let _ = self.view.commands.send(Command::Stop);
        if self.thread.join().is_err() {
            tracing::error!("ledger: the thread panicked");
        }
    }
}

/// The state of the thread.
struct Task<S> {
    credits: Credits<S>,
    sessions: Sessions,
    store: Store,
    settings: config::Ledger,
    status: Arc<LedgerStatus>,
    now: fn() -> SystemTime,
    readings: u32,
    /// The day of the last deletion of old days.
    cleaned: u64,
    /// Whether the last write failed, and whether the clock is behind the last write.
    is_failing: bool,
    is_behind: bool,
}

impl<S: Source> Task<S> {
    fn new(
        settings: &config::Ledger,
        credits: Credits<S>,
        files: SessionFiles,
        (status, now): (Arc<LedgerStatus>, fn() -> SystemTime),
    ) -> io::Result<Self> {
        let (store, _) = Store::open(&settings.file, settings.total_bytes, unix_seconds(now()))
            .map_err(io::Error::other)?;
        Ok(Self {
            credits,
            sessions: Sessions::new(files.paths, files.restored.iter()),
            store,
            settings: settings.clone(),
            status,
            now,
            readings: 0,
            cleaned: 0,
            is_failing: false,
            is_behind: false,
        })
    }

    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        loop {
            match commands.recv_timeout(READ) {
                Ok(Command::Zones(zones)) => {
                    // Sessions until now belong to the old zones.
                    self.read();
                    self.credits.set_zones(zones);
                }
                Ok(Command::Read(done)) => {
                    self.read();
                    self.credits.collect(unix_seconds((self.now)()));
                    // The caller waits.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.read();
                    if self.readings.is_multiple_of(WRITE) {
                        self.write();
                    }
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.read();
        self.write();
    }

    /// Credits the traffic since the last reading.
    fn read(&mut self) {
        let now = unix_seconds((self.now)());
        let Self { credits, sessions, store, .. } = self;
        let failed = sessions.read(|sessions, change| credits.note(now, sessions, change, store));
        credits.finish(now, sessions, store);
        for (path, why) in failed {
            // A worker that could not create its file has been reported.
            tracing::debug!("ledger: {}: {why}", path.display());
        }
        self.readings = self.readings.wrapping_add(1);
        if self.readings == RESTORED {
            self.sessions.forget_restored();
        }
    }

    /// Writes the credits; after a failure they wait for the next write.
    fn write(&mut self) {
        let now = unix_seconds((self.now)());
        self.credits.collect(now);
        self.check_clock(now);
        let lost = std::mem::take(&mut self.credits.batch.lost);
        self.status.lost.add(lost);
        match self.try_write(now) {
            Ok(()) => {
                self.credits.batch = batch::Batch::default();
                self.is_failing = false;
            }
            Err(why) => {
                self.status.failures.add(1);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        "{}: {why}; the ledger keeps its entries in memory and tries again",
                        self.settings.file.display()
                    );
                }
                self.replace_unusable(&why, now);
            }
        }
    }

    fn try_write(&mut self, now: u64) -> Result<(), StoreError> {
        let today = now / DAY;
        if self.cleaned != today {
            self.store.delete_before(today.saturating_sub(self.settings.retention_days.into()))?;
            self.cleaned = today;
        }
        loop {
            match self.store.write(now, &self.credits.batch) {
                Err(why) if why.is_full() => {
                    let oldest = self.store.oldest_day().filter(|oldest| *oldest < today).ok_or(why)?;
                    tracing::warn!(
                        "{}: full; the ledger deletes its oldest day: raise total_mib, or lower retention_days",
                        self.settings.file.display()
                    );
                    self.status.deleted_days.add(1);
                    self.store.delete_before(oldest + 1)?;
                }
                result => return result,
            }
        }
    }

    /// Begins a new file if the present one is damaged.
    fn replace_unusable(&mut self, why: &StoreError, now: u64) {
        if !why.is_unusable() {
            return;
        }
        match Store::open(&self.settings.file, self.settings.total_bytes, now) {
            Ok((store, _)) => self.store = store,
            Err(why) => tracing::warn!("{}: {why}", self.settings.file.display()),
        }
    }

    /// Reports a clock that was set back. Entries then count for a day that has passed.
    fn check_clock(&mut self, now: u64) {
        let is_behind = now < self.store.last();
        self.status.clock_steps.add(is_behind.into());
        if is_behind && !self.is_behind {
            tracing::warn!(
                "ledger: the clock is behind the last entry; new entries count for the day it shows"
            );
        }
        self.is_behind = is_behind;
    }
}

/// Largest memory of a ledger of so many sessions, in bytes.
pub fn memory(sessions: u32) -> u64 {
    u64::from(sessions) * sessions::SLOT + batch::MEMORY
}
