//! What the filter and the workers exchange, by queue.

use std::io;

use crate::device::bpf::{Kind, Map};

/// Counters, written by the filter only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(super) struct Counts {
    /// Packets passed on to the queue, which may be full.
    pub(super) accepted: u64,
    /// Packets dropped.
    pub(super) refused: u64,
    /// Virtual time of all hosts without port block together.
    pub(super) unknown_time: u64,
}

/// Limits, written by the worker only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(super) struct Limits {
    /// When they end, by CLOCK_MONOTONIC in nanoseconds; 0 without limits.
    pub(super) deadline: u64,
    /// How far a virtual time may be ahead of the clock, in nanoseconds: what a share allows at once.
    pub(super) depth: u64,
    /// Nanoseconds per unit of a host with a port block.
    pub(super) known_cost: u64,
    /// Nanoseconds per unit of all other hosts together.
    pub(super) unknown_cost: u64,
}

/// The maps, from the number of a queue.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) counts: Map,
    pub(super) limits: Map,
    count: u32,
}

impl Queues {
    /// Maps for `count` queues without limits.
    pub(super) fn new(count: u8) -> io::Result<Self> {
        let array = |value| Map::new(Kind::Array, 4, value, count.into());
        Ok(Self {
            counts: array(size_of::<Counts>())?,
            limits: array(size_of::<Limits>())?,
            count: count.into(),
        })
    }

    /// The counters of queue `number`.
    pub(super) fn counts(&self, number: u32) -> io::Result<Counts> {
        let [accepted, refused, unknown_time] = read(&self.counts, number)?;
        Ok(Counts { accepted, refused, unknown_time })
    }

    /// Sets the limits of queue `number`. A packet may meet some old and some new ones.
    pub(super) fn set_limits(&self, number: u32, limits: Limits) -> io::Result<()> {
        let Limits { deadline, depth, known_cost, unknown_cost } = limits;
        let value = [deadline, depth, known_cost, unknown_cost].map(u64::to_ne_bytes);
        self.limits.set(&number.to_ne_bytes(), value.as_flattened())
    }

    /// Whether a queue has limits at time `now`.
    pub(super) fn any_limits(&self, now: u64) -> bool {
        (0..self.count)
            .any(|number| read::<4>(&self.limits, number).is_ok_and(|[deadline, ..]| deadline > now))
    }
}

/// Reads a value of `N` numbers.
fn read<const N: usize>(map: &Map, number: u32) -> io::Result<[u64; N]> {
    let mut value = [[0; 8]; N];
    map.get(&number.to_ne_bytes(), value.as_flattened_mut())?;
    Ok(value.map(u64::from_ne_bytes))
}
