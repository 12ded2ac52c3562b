//! The format of saved sessions: a header, then one record per slot of a worker's session table.
//!
//! A worker writes its file while it runs (`snapshot.rs`), so that a killed gateway loses only
//! the last seconds. The next gateway reads it. All numbers are little-endian.
//!
//! | at | size | header |
//! |---|---|---|
//! | 0 | 8 | `gate64st` |
//! | 8 | 2, 2 | major and minor version |
//! | 12 | 2, 2 | length of the header, length of a record |
//! | 16 | 4 | owner seed ([`Settings`](crate::translator::Settings)) |
//! | 20 | 16 | boot ID |
//! | 36 | 8, 8, 8 | the same moment in three clocks: `CLOCK_MONOTONIC`, Unix time, the worker's; in nanoseconds |
//! | | 4 | at the end: CRC-32 of the header so far |
//!
//! | at | size | record |
//! |---|---|---|
//! | 0 | 1 | kind: 0 an empty slot, 1 a session, 2 a binding in quarantine (from version 1.1), without server |
//! | 1 | 1, 1, 1 | protocol, TCP state, flags (1 inbound, 2 answered) |
//! | 4 | 16, 2 | client |
//! | 22 | 4, 2 | mapped address |
//! | 28 | 4, 2 | server |
//! | 34 | 16, 1 | pref64; then a reserved byte |
//! | 52 | 8, 8 | deadline of session or quarantine, and the client's last packet, by the worker's clock |
//! | 68 | 4, 4 | packets to and from the server |
//! | 76 | 8, 8 | bytes to and from the server |
//! | | 4 | at the end: CRC-32 of the record so far |
//!
//! A reader refuses another major version. A newer minor version may lengthen header and records, in front of the
//! CRC, and add kinds: a reader uses the fields that it knows, and counts records of unknown kinds. A record that a
//! kill interrupted has a wrong CRC; the reader counts it and goes on.
//!
//! Deadlines are those of the worker's clock. The header has one moment in three clocks, so that the time between
//! two gateways counts, and after a reboot too.

#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::addr::{Ipv6Prefix, Pref64, Proto, Transport4, Transport6};
use crate::time::Instant;
use crate::translator::SessionRecord;

const MAGIC: [u8; 8] = *b"gate64st";
const MAJOR: u16 = 1;
const MINOR: u16 = 1;
/// Length of the header.
pub const HEADER: usize = 64;
/// Length of a record.
pub const RECORD: usize = 96;
/// Longest header or record that a reader accepts.
const LONGEST: usize = 1024;
/// Length of the fields that a reader of this version needs, with the CRC.
const LEAST: (usize, usize) = (64, 96);

const EMPTY: u8 = 0;
const INBOUND: u8 = 1;
const ANSWERED: u8 = 2;

/// What a record describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A session.
    Session = 1,
    /// A binding in quarantine.
    Quarantined = 2,
}

/// One moment in three clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Boot ID: `CLOCK_MONOTONIC` starts again with each boot.
    pub boot: [u8; 16],
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub monotonic: u64,
    /// Unix time, in nanoseconds.
    pub wall: u64,
}

impl Moment {
    /// Time elapsed since `earlier`. After a reboot it follows the wall clock, and is zero if that was set back.
    pub fn since(&self, earlier: &Self) -> Duration {
        if self.boot == earlier.boot && self.monotonic >= earlier.monotonic {
            return Duration::from_nanos(self.monotonic - earlier.monotonic);
        }
        Duration::from_nanos(self.wall.saturating_sub(earlier.wall))
    }
}

/// The header of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Seed of the hash that assigns hosts to workers.
    pub owner_seed: u32,
    /// When the header was written.
    pub written: Moment,
    /// The same moment by the worker's clock.
    pub clock: Instant,
}

impl Header {
    /// The header as bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut out = Put(&mut bytes);
        out.put(&MAGIC);
        for number in [MAJOR, MINOR, HEADER as u16, RECORD as u16] {
            out.put(&number.to_le_bytes());
        }
        out.put(&self.owner_seed.to_le_bytes());
        out.put(&self.written.boot);
        for number in [self.written.monotonic, self.written.wall, self.clock.as_nanos()] {
            out.put(&number.to_le_bytes());
        }
        seal(&mut bytes);
        bytes
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another kind of file, or an empty one.
    #[error("not a file of saved sessions")]
    Foreign,
    /// A version that this gate64 cannot read.
    #[error("saved by another version of gate64 (format {0}, this one reads {MAJOR})")]
    Version(u16),
    /// The header is damaged.
    #[error("damaged header")]
    Damaged,
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A saved session. Its times are those of the worker that saved it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedSession {
    deadline: Instant,
    active: Instant,
    record: SessionRecord,
}

impl SavedSession {
    /// The record when it was saved, without times.
    pub const fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// The record at a time of the saving worker's clock; `None` if the session has expired.
    pub fn at(&self, now: Instant) -> Option<SessionRecord> {
        let (remaining, silent) = (self.deadline.since(now), now.since(self.active));
        (remaining > Duration::ZERO).then_some(SessionRecord { remaining, silent, ..self.record })
    }
}

/// A slot of the saving worker's session table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// No session.
    Empty,
    /// A session.
    Session(SavedSession),
    /// A binding in quarantine.
    Quarantined(SavedSession),
    /// A record that is being written, or that a kill interrupted.
    Damaged,
    /// A record of a newer gate64.
    Unknown,
}

/// Writes a record, or an empty slot, to `out`, which has [`RECORD`] bytes.
pub(crate) fn encode(kind: Kind, record: Option<&SessionRecord>, now: Instant, out: &mut [u8]) {
    out.fill(0);
    let Some(record) = record else { return };
    let silent = u64::try_from(record.silent.as_nanos()).unwrap_or(u64::MAX);
    let flags = if record.inbound { INBOUND } else { 0 } | if record.answered { ANSWERED } else { 0 };
    let mut put = Put(out);
    put.put(&[kind as u8, record.proto as u8, record.state, flags]);
    put.put(&record.v6.addr.octets());
    put.put(&record.v6.port.to_le_bytes());
    for side in [record.v4, record.remote] {
        put.put(&side.addr.octets());
        put.put(&side.port.to_le_bytes());
    }
    put.put(&record.pref64.prefix().addr().octets());
    put.put(&[record.pref64.prefix().len(), 0]);
    put.put(&(now + record.remaining).as_nanos().to_le_bytes());
    put.put(&now.as_nanos().saturating_sub(silent).to_le_bytes());
    record.packets.iter().for_each(|packets| put.put(&packets.to_le_bytes()));
    record.bytes.iter().for_each(|bytes| put.put(&bytes.to_le_bytes()));
    seal(out);
}

/// Reads the sessions of one file.
pub struct Reader<R> {
    input: R,
    header: Header,
    buffer: Vec<u8>,
    damaged: u64,
    unknown: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn new(mut input: R) -> Result<Self, StateError> {
        let mut bytes = vec![0; HEADER];
        let got = fill(&mut input, &mut bytes)?;
        let mut fields = Take(&bytes);
        if got < HEADER || fields.take() != MAGIC {
            return Err(StateError::Foreign);
        }
        let [major, _minor, header_len, record_len] = [(); 4].map(|()| u16::from_le_bytes(fields.take()));
        if major != MAJOR {
            return Err(StateError::Version(major));
        }
        let (header_len, record_len) = (usize::from(header_len), usize::from(record_len));
        if !(LEAST.0..=LONGEST).contains(&header_len) || !(LEAST.1..=LONGEST).contains(&record_len) {
            return Err(StateError::Damaged);
        }
        let owner_seed = u32::from_le_bytes(fields.take());
        let boot = fields.take();
        let [monotonic, wall, clock] = [(); 3].map(|()| u64::from_le_bytes(fields.take()));
        let written = Moment { boot, monotonic, wall };
        bytes.resize(header_len, 0);
        if fill(&mut input, &mut bytes[HEADER..])? < header_len - HEADER || !is_sealed(&bytes) {
            return Err(StateError::Damaged);
        }
        let header = Header { owner_seed, written, clock: Instant::from_nanos(clock) };
        Ok(Self { input, header, buffer: vec![0; record_len], damaged: 0, unknown: 0 })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Records so far that were damaged, and those of unknown kinds.
    pub const fn skipped(&self) -> (u64, u64) {
        (self.damaged, self.unknown)
    }

    /// The next session; `None` at the end. Skips bindings in quarantine.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_session(&mut self) -> io::Result<Option<SavedSession>> {
        loop {
            match self.next_record()? {
                Some((Kind::Session, saved)) => return Ok(Some(saved)),
                Some((Kind::Quarantined, _)) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next session or binding in quarantine; `None` at the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_record(&mut self) -> io::Result<Option<(Kind, SavedSession)>> {
        loop {
            match self.next_slot()? {
                Some(Slot::Session(saved)) => return Ok(Some((Kind::Session, saved))),
                Some(Slot::Quarantined(saved)) => return Ok(Some((Kind::Quarantined, saved))),
                Some(Slot::Empty | Slot::Damaged | Slot::Unknown) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next slot, in the order of the table; `None` at the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_slot(&mut self) -> io::Result<Option<Slot>> {
        let got = fill(&mut self.input, &mut self.buffer)?;
        if got < self.buffer.len() {
            // A kill can interrupt the last write.
            self.damaged += u64::from(got > 0);
            return Ok(None);
        }
        let slot = match self.buffer[0] {
            EMPTY if self.buffer.iter().all(|byte| *byte == 0) => Slot::Empty,
            _ if !is_sealed(&self.buffer) => Slot::Damaged,
            1 => decode(&self.buffer).map_or(Slot::Damaged, Slot::Session),
            2 => decode(&self.buffer).map_or(Slot::Damaged, Slot::Quarantined),
            _ => Slot::Unknown,
        };
        self.damaged += u64::from(slot == Slot::Damaged);
        self.unknown += u64::from(slot == Slot::Unknown);
        Ok(Some(slot))
    }
}

fn decode(bytes: &[u8]) -> Option<SavedSession> {
    let mut fields = Take(bytes);
    let [_kind, proto, state, flags] = fields.take();
    let proto = *Proto::ALL.get(usize::from(proto))?;
    let v6 = Transport6::new(Ipv6Addr::from(fields.take::<16>()), u16::from_le_bytes(fields.take()));
    let [v4, remote] = [(); 2]
        .map(|()| Transport4::new(Ipv4Addr::from(fields.take::<4>()), u16::from_le_bytes(fields.take())));
    let prefix = Ipv6Addr::from(fields.take::<16>());
    let [len, _reserved] = fields.take();
    let pref64 = Pref64::new(Ipv6Prefix::new(prefix, len).ok()?).ok()?;
    let [deadline, active] = [(); 2].map(|()| Instant::from_nanos(u64::from_le_bytes(fields.take())));
    let packets = [(); 2].map(|()| u32::from_le_bytes(fields.take()));
    let bytes = [(); 2].map(|()| u64::from_le_bytes(fields.take()));
    let (inbound, answered) = (flags & INBOUND != 0, flags & ANSWERED != 0);
    let (remaining, silent) = (Duration::ZERO, Duration::ZERO);
    let record = SessionRecord {
        proto,
        v6,
        v4,
        remote,
        pref64,
        state,
        remaining,
        silent,
        inbound,
        answered,
        packets,
        bytes,
    };
    Some(SavedSession { deadline, active, record })
}

/// Reads until `out` is full or the input ends; returns the number of bytes.
fn fill(input: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match input.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(filled)
}

/// Writes the CRC of a header or record to its last four bytes.
///
/// # Panics
/// If there are less than four bytes.
pub fn seal(bytes: &mut [u8]) {
    let (fields, crc) = bytes.split_at_mut(bytes.len() - 4);
    crc.copy_from_slice(&crc32fast::hash(fields).to_le_bytes());
}

fn is_sealed(bytes: &[u8]) -> bool {
    let (fields, crc) = bytes.split_at(bytes.len() - 4);
    crc == crc32fast::hash(fields).to_le_bytes()
}

/// Writes fields one after the other.
struct Put<'a>(&'a mut [u8]);

impl Put<'_> {
    fn put(&mut self, field: &[u8]) {
        let (to, rest) = core::mem::take(&mut self.0).split_at_mut(field.len());
        to.copy_from_slice(field);
        self.0 = rest;
    }
}

/// Takes fields one after the other. Their total length is checked before.
struct Take<'a>(&'a [u8]);

impl Take<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the length was checked");
        self.0 = rest;
        *field
    }
}
