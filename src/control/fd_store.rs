//! The descriptors that the service manager keeps over a restart: the queues of the device. So the device stays up with
//! its addresses and routes, and packets wait in its queues (`FileDescriptorStoreMax=` in systemd.service(5)).
//!
//! `device::tun` adopts them; queues are attached or detached for another number of workers. Queues of a deleted
//! device answer `TUNGETIFF` with EBADFD: the store forgets them, and the device is created again.
//!
//! The changes to this host stay as well: the journal passes to the next gateway, which undoes what it does not
//! need. A process cannot tell a restart from a final stop; systemd can. It stops `gate64-host.service`
//! (`StopWhenUnneeded=`), which runs `gate64 cleanup`, when `gate64.service` is inactive with neither a start job nor
//! an automatic restart pending. `ExecStopPost=` would run during each restart, and not at all if the unit is stopped
//! between a crash and the restart after it.

use std::os::fd::{AsFd, OwnedFd};

use sd_notify::NotifyState;

use crate::device::received;
use crate::device::tun::Queue;

const QUEUE: &str = "queue.";

/// The service manager's store.
pub(super) struct FdStore {
    is_enabled: bool,
    /// Queues received at the start: number and descriptor.
    queues: Vec<(u8, OwnedFd)>,
    /// Numbers of the queues in the store at the start.
    stored: Vec<u8>,
}

impl FdStore {
    /// Receives what an earlier process stored. Unless `is_enabled`, nothing is received or stored.
    pub(super) fn open(is_enabled: bool) -> Self {
        let received = if is_enabled { received::take() } else { Ok(Vec::new()) };
        let received = received.unwrap_or_else(|why| {
            tracing::warn!("the descriptors of the previous gateway: {why}");
            Vec::new()
        });
        let mut queues: Vec<_> =
            received.into_iter().filter_map(|(name, fd)| Some((number(&name)?, fd))).collect();
        queues.sort_by_key(|(number, _)| *number);
        Self { is_enabled, queues, stored: Vec::new() }
    }

    /// Whether the service manager restarts gate64 with its descriptors, and cleans up after a final stop.
    pub(super) const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Takes the queues of the previous gateway, in the order of their numbers.
    pub(super) fn take_queues(&mut self) -> Vec<OwnedFd> {
        let (numbers, queues) = self.queues.drain(..).unzip();
        self.stored = numbers;
        queues
    }

    /// Stores the queues of the device. If it `is_adopted`, its first queues are in the store already; others are
    /// removed from it, the last one first.
    pub(super) fn keep_queues(&self, queues: &[Queue], is_adopted: bool) {
        if !self.is_enabled {
            return;
        }
        let are_in_place = is_adopted && self.stored.iter().copied().eq(0..self.stored.len() as u8);
        for number in self.stored.iter().rev() {
            if !are_in_place || usize::from(*number) >= queues.len() {
                let name = format!("{QUEUE}{number}");
                report(sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]));
            }
        }
        for (number, queue) in queues.iter().enumerate() {
            let name = format!("{QUEUE}{number}");
            // Without polling: a queue of a deleted device would leave the store, and the numbers would have a gap.
            let state = [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
            report(sd_notify::notify_with_fds(&state, &[queue.as_fd()]));
        }
    }
}

/// The number of the queue with this name.
fn number(name: &str) -> Option<u8> {
    name.strip_prefix(QUEUE)?.parse().ok()
}

fn report(sent: std::io::Result<()>) {
    if let Err(why) = sent {
        tracing::warn!("the service manager does not keep the device over a restart: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queues_are_taken() {
        assert_eq!(
            ["queue.0", "queue.63", "queue.", "queue.x", "stored"].map(number),
            [Some(0), Some(63), None, None, None]
        );
    }

    #[test]
    fn a_store_that_is_not_enabled_receives_nothing() {
        let mut store = FdStore::open(false);
        assert!(store.take_queues().is_empty() && !store.is_enabled());
    }
}
