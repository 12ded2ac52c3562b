//! Saved sessions: the files that workers write while they run, and those of earlier gateways.
//!
//! The files are `sessions.GENERATION.WORKER` in the state directory, or in a directory in memory that outlives the
//! process. Each start begins a new generation: it reads
//! the older ones, the newest first, and removes them once each of its workers has saved all its sessions. So a
//! gateway that is killed at any time leaves at least one complete generation.
//!
//! A start keeps the seed that assigns hosts to workers: host and ports stay with one worker. Each worker imports
//! the sessions of its hosts after the saved port blocks, before the first packet, and checks each record against the
//! settings: zone, pref64, pool, limits, timeouts.
//!
//! With a descriptor store the files are in the runtime directory, which is in memory and which systemd keeps over a
//! restart (`RuntimeDirectoryPreserve=`), so that saving writes nothing to the disk. A memfd in the store would need
//! as many pages and writes, and a descriptor per worker. At exit the files are copied to the state directory, for a
//! start after a stop or reboot. Without the store they are in the state directory all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal;
use crate::config::Config;
use crate::ownership::Owners;
use crate::time::Instant;
use crate::translator::SessionRecord;
use crate::worker::state::{Header, Kind, Reader, StateError};
use crate::worker::{Progress, Restored, Saved, Target, moment};

const PREFIX: &str = "sessions";

/// Name of a file: generation, then worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name(u32, u8);

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let (generation, worker) = name.strip_prefix(PREFIX)?.strip_prefix('.')?.split_once('.')?;
        let name_of = Self(generation.parse().ok()?, worker.parse().ok()?);
        // Not a name with further zeros or signs.
        (name_of.to_string() == name).then_some(name_of)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}.{}.{}", self.0, self.1)
    }
}

/// What earlier gateways left.
#[derive(Default)]
pub(super) struct Inherited {
    /// Seed of the hash that assigns hosts to workers. Another one would separate hosts from their ports.
    pub(super) owner_seed: Option<u32>,
    sessions: Vec<SessionRecord>,
    /// Bindings in quarantine (RFC 6888 REQ-8).
    quarantined: Vec<SessionRecord>,
}

/// The files of this gateway and of earlier ones.
pub(super) struct SavedSessions {
    /// The state directory.
    dir: PathBuf,
    /// Where the files are while the gateway runs, if not in the state directory.
    live: Option<PathBuf>,
    boot: [u8; 16],
    generation: u32,
    /// Files of earlier generations.
    old: BTreeSet<Name>,
    workers: u8,
    progress: Vec<Arc<Progress>>,
    is_failing: bool,
}

impl SavedSessions {
    /// Reads the files of earlier gateways. Logs files that cannot be read; they are removed like the others. With a
    /// directory `live` in memory, the files are there while the gateway runs, and are copied at exit.
    pub(super) fn open(config: &Config, live: Option<PathBuf>) -> (Self, Inherited) {
        let dir = config.host.state_dir.clone();
        let boot = journal::boot_id();
        let found = located(&live.iter().chain([&dir]).cloned().collect::<Vec<_>>());
        let mut inherited = Inherited::default();
        // Each session may be in two generations.
        let room = (config.nat64.limits.sessions as usize).saturating_mul(2);
        for path in found.values().rev() {
            if let Err(why) = read(path, boot, room, &mut inherited) {
                tracing::warn!("{}: {why}; its sessions are lost", path.display());
            }
        }
        let old: BTreeSet<Name> = found.into_keys().collect();
        let generation = old.last().map_or(1, |newest| newest.0.wrapping_add(1));
        let (workers, progress) = (config.host.workers, Vec::new());
        (Self { dir, live, boot, generation, old, workers, progress, is_failing: false }, inherited)
    }

    /// Creates the files of this gateway; returns what each worker restores, and where it saves.
    pub(super) fn begin(&mut self, owners: &Owners, inherited: Inherited) -> Vec<Saved> {
        let saved = (0..owners.workers())
            .map(|worker| Saved { snapshot: self.create(worker, owners.seed()), ..Saved::default() });
        let mut saved: Vec<_> = saved.collect();
        for record in inherited.sessions {
            saved[usize::from(owners.source(record.v6.addr).0)].sessions.push(record);
        }
        let mut quarantined = inherited.quarantined;
        quarantined.sort_unstable_by_key(|record| record.remaining);
        for record in quarantined {
            saved[usize::from(owners.source(record.v6.addr).0)].quarantined.push(record);
        }
        saved
    }

    /// Creates the file of a worker. Without it the gateway runs, and loses the worker's sessions when it ends.
    fn create(&mut self, worker: u8, owner_seed: u32) -> Option<Target> {
        let dir = self.live.as_ref().unwrap_or(&self.dir);
        let path = dir.join(Name(self.generation, worker).to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file
            .inspect_err(|why| {
                tracing::warn!(
                    "{}: {why}; a restart will lose the sessions of worker {worker}",
                    path.display()
                );
            })
            .ok()?;
        let progress = Arc::new(Progress::default());
        self.progress.push(Arc::clone(&progress));
        Some(Target { file, owner_seed, boot: self.boot, progress })
    }

    /// The files in which the workers save their sessions while they run.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let dir = self.live.as_ref().unwrap_or(&self.dir);
        (0..self.workers).map(|worker| dir.join(Name(self.generation, worker).to_string())).collect()
    }

    /// Removes the files of earlier gateways once all workers have saved all sessions. Warns of failed writes.
    pub(super) fn check(&mut self) {
        let saved = self.progress.iter().filter(|progress| progress.sweeps.read() > 0).count();
        if saved == usize::from(self.workers) {
            for name in std::mem::take(&mut self.old) {
                for dir in self.live.iter().chain([&self.dir]) {
                    remove(&dir.join(name.to_string()));
                }
            }
        }
        self.report_failures();
    }

    /// Call it when the workers have stopped: removes the files of earlier gateways, and copies those in memory to the
    /// state directory, for a start after a reboot.
    pub(super) fn finish(&mut self) {
        self.check();
        let Some(live) = &self.live else { return };
        for worker in 0..self.workers {
            let name = Name(self.generation, worker).to_string();
            let path = self.dir.join(&name);
            if let Err(why) = copy(&live.join(&name), &path) {
                tracing::warn!("{}: {why}; only a restart will restore the sessions", path.display());
            }
        }
    }

    fn report_failures(&mut self) {
        let failing = self.progress.iter().any(|progress| progress.failures.read() > 0);
        if failing && !self.is_failing {
            self.is_failing = true;
            tracing::warn!(
                "{}: sessions cannot be saved, so a restart may lose some; is the disk full?",
                self.live.as_ref().unwrap_or(&self.dir).display()
            );
        }
    }
}

/// Copies a file, so that it is complete on the disk when this returns.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut new)?;
    new.sync_all()
}

fn remove(path: &Path) {
    if let Err(why) = fs::remove_file(path)
        && why.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{}: {why}", path.display());
    }
}

/// Logs which sessions were restored.
pub(super) fn log(restored: &Restored) {
    let Restored { sessions, refused, .. } = restored;
    if *sessions > 0 {
        tracing::info!("restored {sessions} sessions of the previous gateway");
    }
    if !refused.is_empty() {
        let reasons: Vec<_> = refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        tracing::warn!(
            "sessions of the previous gateway that do not fit the settings: {}",
            reasons.join(", ")
        );
    }
}

/// The files in these directories. One in an earlier directory takes precedence over one of the same name.
fn located(dirs: &[PathBuf]) -> BTreeMap<Name, PathBuf> {
    let mut all = BTreeMap::new();
    for dir in dirs {
        for name in files(dir) {
            all.entry(name).or_insert_with(|| dir.join(name.to_string()));
        }
    }
    all
}

/// The files of the newest generation in these directories, one per worker.
pub(crate) fn present(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let all = located(dirs);
    let newest = all.last_key_value().map(|(name, _)| name.0);
    all.into_iter().filter(|(name, _)| Some(name.0) == newest).map(|(_, path)| path).collect()
}

/// The present time by the clock of the worker that wrote a file.
pub(crate) fn now_of(header: &Header) -> Instant {
    now_in(journal::boot_id(), header)
}

/// The same in this boot.
fn now_in(boot: [u8; 16], header: &Header) -> Instant {
    header.clock + moment(boot).since(&header.written)
}

/// The saved files in a directory.
fn files(dir: &Path) -> BTreeSet<Name> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?)).collect()
}

/// Adds the sessions of a file that live still, up to `room`.
fn read(path: &Path, boot: [u8; 16], room: usize, inherited: &mut Inherited) -> Result<(), StateError> {
    // Not through a symbolic link, and without waiting on a FIFO.
    let file = OpenOptions::new().read(true).custom_flags(journal::SAFE).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file").into());
    }
    read_sessions(file, boot, room, inherited)
}

fn read_sessions(
    file: File,
    boot: [u8; 16],
    room: usize,
    inherited: &mut Inherited,
) -> Result<(), StateError> {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, file))?;
    let header = *reader.header();
    inherited.owner_seed.get_or_insert(header.owner_seed);
    let now = now_in(boot, &header);
    while inherited.sessions.len() < room
        && inherited.quarantined.len() < room
        && let Some((kind, saved)) = reader.next_record()?
    {
        match kind {
            Kind::Session => inherited.sessions.extend(saved.at(now)),
            Kind::Quarantined => inherited.quarantined.extend(saved.at(now)),
        }
    }
    if let (damaged @ 1.., _) = reader.skipped() {
        tracing::warn!(
            "{damaged} saved sessions were being written when the gateway was killed, and are lost"
        );
    }
    if let (_, unknown @ 1..) = reader.skipped() {
        tracing::info!("ignored {unknown} records of a newer gate64");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
