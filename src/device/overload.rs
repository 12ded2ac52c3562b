//! Overload: keeps hosts from filling the queue of a worker that is behind.
//!
//! The kernel runs the filter, a BPF program, for each packet in front of the queues. It is idle until a worker is
//! behind. Then the worker limits each host to a share, adapts the shares every millisecond, and lets them end once no
//! packet was dropped for a while. The limits also end by themselves soon after the last renewal: the filter belongs to
//! the device, which may outlive the process. Without the filter, the kernel drops what arrives at a full queue,
//! whoever sends it.
//!
//! Known hosts are those with a port block, and those with a stateless mapping; each has a share of its own. All
//! others compete for one share, first by site, then by host.
//!
//! Super-packets (TCP with offloads) fill no queue of packets: a read ends because of their bytes, and TCP slows down.
//! They start no limits. Under the limits that others caused, a super-packet costs by its size: up to 33 times as much
//! as a short packet.

mod maps;
mod program;
mod queues;
mod regulator;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use super::{bpf, sys};
use crate::translator::Event;
use maps::Maps;
use queues::Queues;
use regulator::Regulator;

pub(crate) use maps::Hosts;
pub(super) use regulator::Read;

/// The loaded filter and its maps. An attached interface keeps them after this is dropped.
#[derive(Debug)]
pub(crate) struct OverloadFilter {
    program: OwnedFd,
    maps: Maps,
    queues: Arc<Queues>,
}

impl OverloadFilter {
    /// Loads the filter and attaches it to the interface of `queue`. Each queue needs a [`control`](Self::control).
    ///
    /// # Errors
    /// See [`load`](Self::load); `EINVAL` from kernels before 4.16. The gateway works without the filter.
    pub(crate) fn begin(hosts: &Hosts<'_>, queue: impl AsFd) -> io::Result<Self> {
        let filter = Self::load(hosts)?;
        sys::set_filter(queue, filter.program.as_raw_fd())?;
        Ok(filter)
    }

    /// Loads the program and fills its maps.
    ///
    /// # Errors
    /// `EPERM` without CAP_BPF where the kernel requires it; `ENOSYS` or `EINVAL` from kernels without BPF; the
    /// verifier's error.
    fn load(hosts: &Hosts<'_>) -> io::Result<Self> {
        let mut maps = Maps::new(hosts)?;
        maps.fill(hosts)?;
        let queues = Arc::new(Queues::new(hosts.owners.workers())?);
        let program = bpf::load(&program::assemble(&maps, &queues, hosts.owners.seed()))?;
        Ok(Self { program, maps, queues })
    }

    /// The worker's part for queue `number`.
    pub(crate) fn control(&self, number: u8) -> Control {
        let queues = Arc::clone(&self.queues);
        Control { queues, number: number.into(), regulator: Regulator::default(), refused: 0, reported: 0 }
    }

    /// Updates zones, mappings and static bindings while packets flow.
    ///
    /// # Errors
    /// `ENOSPC` if `hosts` has more than twice the prefixes of the start: some hosts then have the wrong share.
    pub(crate) fn update(&mut self, hosts: &Hosts<'_>) -> io::Result<()> {
        self.maps.fill(hosts)
    }

    /// Notes assigned and released port blocks.
    pub(crate) fn note(&mut self, event: &Event) {
        match *event {
            Event::BlockAssigned { host, addr, ports } => self.maps.assigned(host.prefix, addr, ports),
            Event::BlockReleased { host, addr, ports } | Event::BlockReclaimed { host, addr, ports } => {
                self.maps.released(host.prefix, addr, ports);
            }
            Event::SessionStarted { .. }
            | Event::SessionEnded { .. }
            | Event::QuotaReached { .. }
            | Event::PoolExhausted { .. }
            | Event::WithoutChecksum { .. } => {}
        }
    }

    /// A handle for the status.
    pub(crate) fn monitor(&self) -> OverloadMonitor {
        OverloadMonitor(Arc::clone(&self.queues))
    }
}

/// Shows whether the filter is idle.
#[derive(Clone, Debug)]
pub struct OverloadMonitor(Arc<Queues>);

impl OverloadMonitor {
    /// Whether hosts are limited to their shares at present.
    pub fn is_active(&self) -> bool {
        self.0.any_limits(sys::monotonic())
    }
}

/// The worker's part of the filter, for one queue.
#[derive(Debug)]
pub(crate) struct Control {
    queues: Arc<Queues>,
    number: u32,
    regulator: Regulator,
    /// The filter's counter of drops, when last read.
    refused: u64,
    /// The part of it that [`refused`](Self::refused) has returned.
    reported: u64,
}

impl Control {
    /// Notes a read from the queue, and changes the limits if necessary.
    pub(super) fn after_read(&mut self, read: Read) {
        let counts = || {
            // Fails only on kernels that demand a capability, which then have no limits.
            let counts = self.queues.counts(self.number).unwrap_or_default();
            self.refused = self.refused.max(counts.refused);
            counts
        };
        if let Some(limits) = self.regulator.after_read(read, counts, sys::monotonic)
            && let Err(why) = self.queues.set_limits(self.number, limits)
        {
            tracing::debug!("overload filter: {why}");
        }
    }

    /// Packets dropped by the filter since the last call.
    pub(super) fn refused(&mut self) -> u64 {
        let new = self.refused - self.reported;
        self.reported = self.refused;
        new
    }
}
