//! Reads the files in which the workers save their sessions, and finds what is new since the last reading.
//!
//! Slot *n* of a worker's session table is record *n* of its file. For each slot this keeps 32 bytes: a hash of the
//! session, its counters and its name. A session stays in its table at least until its lifetime ends, which is longer
//! than the interval between two readings. So no byte is lost, except what a kill of the gateway loses.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch::Traffic;
use crate::translator::SessionRecord;
use crate::worker::state::{Reader, Slot as SavedSlot, StateError};

/// Buffer of a reader, in bytes.
const BUFFER: usize = 1 << 20;
/// The number of a session without a name.
const NO_NAME: u32 = u32::MAX;

/// What is known of a slot. A `key` of 0 is an empty slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    bytes: [u64; 2],
    name: u32,
}

/// Bytes per slot.
pub(super) const SLOT: u64 = size_of::<Slot>() as u64;

const EMPTY: Slot = Slot { key: 0, bytes: [0; 2], name: NO_NAME };

/// A slot: number of the file, and of its record.
pub(super) type At = (usize, usize);

/// A session with traffic since the last reading.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) record: SessionRecord,
    pub(super) traffic: Traffic,
    /// The slot, if the name of the session is not yet known.
    pub(super) unnamed: Option<At>,
    /// The known name.
    pub(super) name: Option<Arc<str>>,
}

/// Names of sessions, by number.
#[derive(Debug, Default)]
struct Names {
    all: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    fn number(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(NO_NAME);
        self.all.push(Arc::clone(name));
        self.numbers.insert(Arc::clone(name), number);
        number
    }

    fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.all.get(usize::try_from(number).ok()?)
    }
}

/// The sessions at the last reading.
pub(super) struct Sessions {
    paths: Vec<PathBuf>,
    slots: Vec<Vec<Slot>>,
    names: Names,
    /// Counters of restored sessions, which an earlier ledger has credited.
    restored: HashMap<u64, [u64; 2]>,
    seed: RandomState,
    live: usize,
}

impl Sessions {
    /// The sessions of these files. The traffic of `restored` ones so far is not credited.
    pub(super) fn new<'a>(paths: Vec<PathBuf>, restored: impl Iterator<Item = &'a SessionRecord>) -> Self {
        let seed = RandomState::new();
        let restored = restored.map(|record| (key_of(&seed, record), record.bytes)).collect();
        let slots = vec![Vec::new(); paths.len()];
        Self { paths, slots, names: Names::default(), restored, seed, live: 0 }
    }

    /// Forgets the counters of restored sessions. All of them are in the files by now.
    pub(super) fn forget_restored(&mut self) {
        self.restored = HashMap::new();
    }

    /// Reads all files, and calls `each` for each change, in the order of the files. Returns how many files could not
    /// be read.
    pub(super) fn read(&mut self, mut each: impl FnMut(&mut Self, Change)) -> Vec<(PathBuf, StateError)> {
        self.live = 0;
        let mut failed = Vec::new();
        for file in 0..self.paths.len() {
            if let Err(why) = self.read_file(file, &mut each) {
                failed.push((self.paths[file].clone(), why));
            }
        }
        self.compact();
        failed
    }

    /// Sets the name of a session.
    pub(super) fn set_name(&mut self, (file, slot): At, name: &Arc<str>) {
        let number = self.names.number(name);
        if let Some(slot) = self.slots.get_mut(file).and_then(|slots| slots.get_mut(slot)) {
            slot.name = number;
        }
    }

    fn read_file(&mut self, file: usize, each: &mut impl FnMut(&mut Self, Change)) -> Result<(), StateError> {
        let input = BufReader::with_capacity(BUFFER, File::open(&self.paths[file])?);
        let mut reader = Reader::new(input)?;
        let mut number = 0;
        while let Some(slot) = reader.next_slot()? {
            match slot {
                SavedSlot::Session(saved) => {
                    self.live += 1;
                    if let Some(change) = self.note((file, number), *saved.record()) {
                        each(self, change);
                    }
                }
                SavedSlot::Empty | SavedSlot::Quarantined(_) => {
                    if let Some(slot) = self.slots[file].get_mut(number) {
                        *slot = EMPTY;
                    }
                }
                // The worker writes it just now: the next reading finds it.
                SavedSlot::Damaged | SavedSlot::Unknown => {}
            }
            number += 1;
        }
        Ok(())
    }

    /// Compares a record with what is known of its slot.
    fn note(&mut self, (file, number): At, record: SessionRecord) -> Option<Change> {
        let key = key_of(&self.seed, &record);
        let slots = &mut self.slots[file];
        if slots.len() <= number {
            slots.resize(number + 1, EMPTY);
        }
        let slot = &mut slots[number];
        let has_grown = |before: [u64; 2]| before[0] <= record.bytes[0] && before[1] <= record.bytes[1];
        let is_known = slot.key == key && has_grown(slot.bytes);
        let before =
            if is_known { Some(slot.bytes) } else { self.restored.remove(&key).filter(|b| has_grown(*b)) };
        let name = if is_known { self.names.name(slot.name).cloned() } else { None };
        *slot = Slot { key, bytes: record.bytes, name: if is_known { slot.name } else { NO_NAME } };
        let [out, into] = before.unwrap_or_default();
        let bytes = [record.bytes[0] - out, record.bytes[1] - into];
        let traffic = Traffic { sessions: u64::from(before.is_none()), bytes };
        let unnamed = (!is_known).then_some((file, number));
        (unnamed.is_some() || traffic != Traffic::default()).then_some(Change {
            record,
            traffic,
            unnamed,
            name,
        })
    }

    /// Removes names without sessions, once most are unused.
    fn compact(&mut self) {
        if self.names.all.len() < 2 * self.live + 1024 {
            return;
        }
        let old = std::mem::take(&mut self.names);
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.key != 0) {
            slot.name = old.name(slot.name).map_or(NO_NAME, |name| self.names.number(name));
        }
    }
}

/// A hash of what identifies a session; never 0.
fn key_of(seed: &RandomState, record: &SessionRecord) -> u64 {
    let SessionRecord { proto, v6, v4, remote, .. } = record;
    seed.hash_one((proto, v6.addr, v6.port, v4.addr, v4.port, remote.addr, remote.port)) | 1
}
