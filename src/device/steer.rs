//! Steering: the kernel puts each packet on the queue of the worker that owns it.
//!
//! The kernel asks a small program, assembled here and loaded with bpf(2). It reads
//! who owns what from maps, which follow a reload. Where it may not be loaded, the kernel
//! distributes packets as it likes and the workers hand them over: slower, not wrong.

mod asm;
mod bpf;
mod maps;
mod program;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::sys;
use super::tun::Queue;
use crate::ownership::Owners;
use maps::Maps;

/// The loaded program and its maps. An interface it was attached to keeps them when this is gone.
#[derive(Debug)]
pub struct Steering {
    program: OwnedFd,
    maps: Maps,
}

impl Steering {
    /// Loads the program and has the interface of `queue` ask it.
    ///
    /// # Errors
    /// See [`load`](Self::load) and [`attach`](Self::attach). The gateway works without.
    pub fn begin(owners: &Owners, queue: &Queue) -> io::Result<Self> {
        let steering = Self::load(owners)?;
        steering.attach(queue)?;
        Ok(steering)
    }

    /// Loads the program and tells it who owns what.
    ///
    /// # Errors
    /// `EPERM` without CAP_BPF where the kernel wants it; `ENOSYS` or `EINVAL` from kernels
    /// without BPF; what the verifier says.
    pub fn load(owners: &Owners) -> io::Result<Self> {
        let mut maps = Maps::new(owners)?;
        maps.fill(owners)?;
        let program = bpf::load(&program::assemble(&maps, owners.seed(), owners.workers()))?;
        Ok(Self { program, maps })
    }

    /// Has the interface of `queue` ask the program. There are as many queues as workers, attached
    /// in their order.
    ///
    /// # Errors
    /// `EINVAL` from kernels before 4.16.
    pub fn attach(&self, queue: &Queue) -> io::Result<()> {
        sys::set_steering(queue, self.program.as_raw_fd())
    }

    /// Tells the program of new owners, while packets flow. Needs no capability. Seed and number
    /// of workers are as they were.
    ///
    /// # Errors
    /// `ENOSPC` or `E2BIG` if `owners` has more than twice the prefixes, addresses or static
    /// bindings there were at the start; then steering is partly wrong, and workers hand over.
    pub fn update(&mut self, owners: &Owners) -> io::Result<()> {
        self.maps.fill(owners)
    }
}
