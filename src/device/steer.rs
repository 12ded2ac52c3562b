//! Steering: the kernel puts each packet on the queue of the worker that owns it.
//!
//! A small BPF program, assembled here and loaded with bpf(2), selects the queue. It reads the owners
//! from maps, which a reload updates. If it cannot be loaded, the kernel selects queues itself and
//! the workers hand packets over: slower, but correct.

pub(super) mod maps;
mod program;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::tun::Queue;
use super::{bpf, sys};
use crate::ownership::Owners;
use maps::Maps;

/// The loaded program and its maps. An attached interface keeps them after this is dropped.
#[derive(Debug)]
pub(crate) struct Steering {
    program: OwnedFd,
    maps: Maps,
}

impl Steering {
    /// Loads the program and attaches it to the interface of `queue`.
    ///
    /// # Errors
    /// See [`load`](Self::load) and [`attach`](Self::attach). The gateway works without steering.
    pub(crate) fn begin(owners: &Owners, queue: &Queue) -> io::Result<Self> {
        let steering = Self::load(owners)?;
        steering.attach(queue)?;
        Ok(steering)
    }

    /// Loads the program and fills its maps from `owners`.
    ///
    /// # Errors
    /// `EPERM` without CAP_BPF where the kernel requires it; `ENOSYS` or `EINVAL` from kernels
    /// without BPF; the verifier's error.
    pub(crate) fn load(owners: &Owners) -> io::Result<Self> {
        let mut maps = Maps::new(owners)?;
        maps.fill(owners)?;
        let program = bpf::load(&program::assemble(&maps, owners.seed(), owners.workers()))?;
        Ok(Self { program, maps })
    }

    /// Attaches the program to the interface of `queue`. Queue n belongs to worker n.
    ///
    /// # Errors
    /// `EINVAL` from kernels before 4.16.
    pub(crate) fn attach(&self, queue: &Queue) -> io::Result<()> {
        sys::set_steering(queue, self.program.as_raw_fd())
    }

    /// Updates the maps to new owners while packets flow. Needs no capability. Seed and number of workers
    /// must not change.
    ///
    /// # Errors
    /// `ENOSPC` or `E2BIG` if `owners` has more than twice the prefixes, addresses or static
    /// bindings of the start. Steering is then partly wrong, and workers hand packets over.
    pub(crate) fn update(&mut self, owners: &Owners) -> io::Result<()> {
        self.maps.fill(owners)
    }
}
