//! Counters of one worker: written by one thread, read by any, without locks.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::reason::Reason;

/// A counter with one writer. Other threads read a recent value.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds `n`. Only the owning thread may call this: load and store are not one atomic operation.
    pub fn add(&self, n: u64) {
        self.set(self.read().wrapping_add(n));
    }

    /// Subtracts `n`. Only the owning thread may call this.
    pub fn sub(&self, n: u64) {
        self.set(self.read().wrapping_sub(n));
    }

    /// Sets the value. Only the owning thread may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Returns the value.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's counters for one zone, or for packets outside every zone.
///
/// Aligned to 128 bytes, a pair of cache lines as the prefetcher loads them, against false sharing between
/// workers.
#[derive(Debug)]
#[repr(align(128))]
pub struct ZoneCounters {
    /// Packets translated to IPv4, super-packets counted by their segments.
    pub packets_v6_to_v4: Tally,
    /// Packets translated to IPv6, super-packets counted by their segments.
    pub packets_v4_to_v6: Tally,
    /// Bytes of the IPv6 packets translated to IPv4.
    pub bytes_v6_to_v4: Tally,
    /// Bytes of the IPv4 packets translated to IPv6.
    pub bytes_v4_to_v6: Tally,
    /// Originated ICMP errors.
    pub errors_sent: Tally,
    /// Packets held: fragments in the cache and stored SYNs, counted on arrival.
    pub held: Tally,
    /// Live sessions: TCP, UDP, ICMP.
    pub sessions: [Tally; 3],
    /// Live bindings: TCP, UDP, ICMP.
    pub bindings: [Tally; 3],
    /// Port blocks in use.
    pub blocks: Tally,
    /// Ports and ICMP identifiers of the port blocks in use.
    pub ports: Tally,
    /// Port blocks without an answer that were reclaimed.
    pub blocks_reclaimed: Tally,
    drops: [Tally; Reason::COUNT],
}

impl Default for ZoneCounters {
    fn default() -> Self {
        Self {
            packets_v6_to_v4: Tally::default(),
            packets_v4_to_v6: Tally::default(),
            bytes_v6_to_v4: Tally::default(),
            bytes_v4_to_v6: Tally::default(),
            errors_sent: Tally::default(),
            held: Tally::default(),
            sessions: Default::default(),
            bindings: Default::default(),
            blocks: Tally::default(),
            ports: Tally::default(),
            blocks_reclaimed: Tally::default(),
            drops: core::array::from_fn(|_| Tally::default()),
        }
    }
}

impl ZoneCounters {
    /// Packets dropped or rejected for `reason`.
    pub const fn drops(&self, reason: Reason) -> &Tally {
        &self.drops[reason as usize]
    }
}

/// All counters of one worker: a row per zone number, and one for packets without a zone.
#[derive(Debug)]
pub struct Counters {
    zones: Box<[ZoneCounters]>,
    none: ZoneCounters,
    /// Packets handed over to other workers.
    pub handed_over: Tally,
    /// Events lost because the queue was full.
    pub events_lost: Tally,
}

impl Counters {
    /// Allocates rows for zone numbers below `zones`.
    pub fn new(zones: usize) -> Self {
        Self {
            zones: (0..zones).map(|_| ZoneCounters::default()).collect(),
            none: ZoneCounters::default(),
            handed_over: Tally::default(),
            events_lost: Tally::default(),
        }
    }

    /// The row of a zone; `None` and unknown zones share one row.
    pub fn zone(&self, zone: Option<crate::addr::ZoneId>) -> &ZoneCounters {
        zone.and_then(|z| self.zones.get(usize::from(z.0))).unwrap_or(&self.none)
    }

    /// Packets dropped or rejected for `reason`, over all zones.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.zones.iter().chain([&self.none]).map(|z| z.drops(reason).read()).sum()
    }
}
