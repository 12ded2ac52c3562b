//! One worker's tallies: written by one thread, read by any, never locked.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::reason::Reason;

/// A number with one writer. Reading it from another thread gives some recent value.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds `n`. Only the owning thread may call this: it loads and stores, it does not lock.
    pub fn add(&self, n: u64) {
        self.set(self.read().wrapping_add(n));
    }

    /// Takes `n` away; the same rule as for [`add`](Self::add).
    pub fn sub(&self, n: u64) {
        self.set(self.read().wrapping_sub(n));
    }

    /// Sets the number; the same rule as for [`add`](Self::add).
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one zone, or for packets that belong to none. In lines of the cache of its
/// own, two by two as they are fetched: what another worker writes is never beside it.
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
    /// ICMP errors of our own.
    pub errors_sent: Tally,
    /// Packets on hold or stored, counted when they came.
    pub held: Tally,
    /// Sessions alive: TCP, UDP, ICMP.
    pub sessions: [Tally; 3],
    /// Bindings alive: TCP, UDP, ICMP.
    pub bindings: [Tally; 3],
    /// Port blocks in use.
    pub blocks: Tally,
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
            drops: core::array::from_fn(|_| Tally::default()),
        }
    }
}

impl ZoneCounters {
    /// Packets not forwarded for `reason`.
    pub const fn drops(&self, reason: Reason) -> &Tally {
        &self.drops[reason as usize]
    }
}

/// All tallies of one worker: a row per zone number, and one for packets without a zone.
#[derive(Debug)]
pub struct Counters {
    zones: Box<[ZoneCounters]>,
    none: ZoneCounters,
    /// Packets that left for another worker.
    pub handed_over: Tally,
    /// Events that found no room.
    pub events_lost: Tally,
}

impl Counters {
    /// Rows for zone numbers below `zones`.
    pub fn new(zones: usize) -> Self {
        Self {
            zones: (0..zones).map(|_| ZoneCounters::default()).collect(),
            none: ZoneCounters::default(),
            handed_over: Tally::default(),
            events_lost: Tally::default(),
        }
    }

    /// The row of a zone; packets of unknown zones share one row.
    pub fn zone(&self, zone: Option<crate::addr::ZoneId>) -> &ZoneCounters {
        zone.and_then(|z| self.zones.get(usize::from(z.0))).unwrap_or(&self.none)
    }

    /// Packets not forwarded for `reason`, over all zones.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.zones.iter().chain([&self.none]).map(|z| z.drops(reason).read()).sum()
    }
}
