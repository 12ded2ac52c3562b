//! Writes a worker's sessions to its file while it runs, so that a killed gateway loses only the last seconds.
//!
//! The worker visits all slots of its tables of sessions and bindings every [`SWEEP`], [`CHUNK`] slots at a time between two batches.
//! A packet costs nothing more, and nothing is allocated. A session that is one sweep old is in the file.
//!
//! Slot *n* of the table is record *n* of the file. So there is no list of changes, and work and memory are bounded:
//! one write of 48 KiB per step. A log of changes would cost each new session a record, and grow until compacted.
//! At exit each worker writes all slots once more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::state::{self, HEADER, Header, Kind, Moment, RECORD};
use crate::counters::Tally;
use crate::time::Instant;
use crate::translator::Translator;

/// Time for all slots. A session is saved at the latest after this time and the time of one step.
const SWEEP: Duration = Duration::from_secs(2);
/// Slots per step: about 30 µs, and one write.
const CHUNK: u32 = 512;

/// The file that a worker writes, and what does not change in its header.
#[derive(Debug)]
pub struct Target {
    /// The empty file.
    pub file: File,
    /// Seed of the hash that assigns hosts to workers.
    pub owner_seed: u32,
    /// Boot ID.
    pub boot: [u8; 16],
    /// What the worker reports.
    pub progress: Arc<Progress>,
}

/// Progress of a snapshot, readable from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Completed visits of all slots.
    pub sweeps: Tally,
    /// Failed writes.
    pub failures: Tally,
}

/// The snapshot of one worker.
pub(super) struct Snapshot {
    target: Target,
    /// The next slot.
    slot: u32,
    due: Instant,
    buffer: Box<[u8]>,
}

impl Snapshot {
    pub(super) fn new(target: Target, now: Instant) -> io::Result<Self> {
        let buffer = vec![0; CHUNK as usize * RECORD].into_boxed_slice();
        let snapshot = Self { target, slot: 0, due: now, buffer };
        snapshot.write_header(now)?;
        Ok(snapshot)
    }

    /// When the next step is due.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Saves the next slots if it is time.
    pub(super) fn keep_up(&mut self, now: Instant, translator: &Translator) {
        if self.due <= now {
            let steps = slots(translator).div_ceil(CHUNK).max(1);
            self.due = now + SWEEP / steps;
            self.step(now, translator);
        }
    }

    /// Saves all slots.
    pub(super) fn complete(&mut self, now: Instant, translator: &Translator) {
        self.slot = 0;
        while !self.step(now, translator) {}
    }

    /// Saves the next slots; returns whether they were the last. A slot that cannot be written is tried again in
    /// the next sweep.
    fn step(&mut self, now: Instant, translator: &Translator) -> bool {
        let (first, end) = (self.slot, slots(translator));
        let last = end.min(first.saturating_add(CHUNK));
        for (slot, out) in (first..last).zip(self.buffer.chunks_exact_mut(RECORD)) {
            match slot.checked_sub(translator.session_slots()) {
                None => state::encode(Kind::Session, translator.record(now, slot).as_ref(), now, out),
                Some(slot) => {
                    let binding = translator.quarantined(now, slot);
                    state::encode(Kind::Quarantined, binding.as_ref(), now, out);
                }
            }
        }
        let bytes = &self.buffer[..last.saturating_sub(first) as usize * RECORD];
        let at = HEADER as u64 + u64::from(first) * RECORD as u64;
        let is_complete = last >= end;
        self.slot = if is_complete { 0 } else { last };
        let mut written = self.target.file.write_all_at(bytes, at);
        if is_complete {
            written = written.and_then(|()| self.write_header(now));
        }
        self.target.progress.failures.add(written.is_err().into());
        self.target.progress.sweeps.add((is_complete && written.is_ok()).into());
        is_complete
    }

    fn write_header(&self, clock: Instant) -> io::Result<()> {
        let written = moment(self.target.boot);
        let header = Header { owner_seed: self.target.owner_seed, written, clock };
        self.target.file.write_all_at(&header.encode(), 0)
    }
}

/// Records of a file: the slots of sessions, then those of bindings in quarantine. When there are more sessions than
/// before, the records of bindings move; the next sweep completes them.
const fn slots(translator: &Translator) -> u32 {
    translator.session_slots().saturating_add(translator.binding_slots())
}

/// Now, in the clocks that outlive a process.
#[expect(clippy::disallowed_methods, reason = "the workers' clock does not outlive the process")]
pub(crate) fn moment(boot: [u8; 16]) -> Moment {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // This clock exists on every Linux.
    let monotonic = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let monotonic = monotonic.map_or(0, |time| nanos(Duration::from(time)));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos);
    Moment { boot, monotonic, wall }
}
