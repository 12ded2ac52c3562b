//! Devices: where packets come from and go to.
//!
//! A worker owns one [`Device`]: one queue of the kernel's TUN ([`tun`]), a pair of queues in memory
//! ([`memory`]) or a capture file ([`pcap`]). All `unsafe` of the packet path lives below here.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Tally;
use crate::wire::buf::PacketBuf;

mod join;
mod layout;
pub mod memory;
#[cfg(test)]
pub(crate) mod own_network;
pub mod pages;
pub mod pcap;
pub mod steer;
mod sys;
pub mod tun;
pub(crate) mod vnet;
mod wake;

pub use wake::Waker;

/// Most packets that are read, translated and sent together.
pub const BATCH: usize = 64;

/// A batch is not filled further once it has this many bytes: what comes after should not wait for
/// megabytes to be translated.
pub const BATCH_BYTES: usize = 256 << 10;

/// What a device does itself with packets it is given. What it does not, is done in software before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Completes a partial TCP or UDP checksum.
    pub checksum: bool,
    /// Cuts TCP super-packets.
    pub tcp: bool,
    /// Cuts UDP super-packets.
    pub udp: bool,
}

/// What a device counts; written by the worker that owns it, and in lines of the cache of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tallies {
    /// Packets read, super-packets counted once.
    pub received: Tally,
    /// Super-packets among them.
    pub received_super: Tally,
    /// Packets read that no worker saw: damaged, or longer than any packet can be.
    pub unreadable: Tally,
    /// Packets sent, each as the translator gave it.
    pub sent: Tally,
    /// Writes that carried them: fewer than packets where runs were joined.
    pub writes: Tally,
    /// Packets that went out joined with others of their flow.
    pub joined: Tally,
    /// Super-packets that were cut in software, since the kernel would not take them.
    pub cut: Tally,
    /// Packets that were not taken.
    pub refused: Tally,
}

/// One queue of packets, in and out. Owned by one worker; never blocks but in [`wait`](Self::wait).
pub trait Device: Send {
    /// Reads what has come: fills `packets` from the front, at most [`BATCH_BYTES`] and one packet
    /// more. How many were filled; zero if nothing waits.
    ///
    /// # Errors
    /// Only what makes the device useless for now, such as a deleted interface.
    fn recv(&mut self, packets: &mut [PacketBuf]) -> io::Result<usize>;

    /// Sends `packets` in order within each flow. What is not taken is lost and counted; how many
    /// that were.
    fn send(&mut self, packets: &[&PacketBuf]) -> usize;

    /// Sleeps until something can be read, somebody calls [`Waker::wake`], or `timeout` is over.
    /// May return early.
    ///
    /// # Errors
    /// Only what makes waiting impossible.
    fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> io::Result<()>;

    /// What [`send`](Self::send) leaves to the device.
    fn offloads(&self) -> Offloads;

    /// The device's tallies, to be read from any thread.
    fn tallies(&self) -> &Arc<Tallies>;
}

impl fmt::Display for Offloads {
    /// As an operator reads it: what there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.checksum, self.tcp, self.udp) {
            (_, true, true) => "checksum, TCP and UDP",
            (_, true, false) => "checksum and TCP, not UDP (that needs Linux 6.2)",
            (_, false, true) => "checksum and UDP",
            (true, false, false) => "checksum only",
            (false, false, false) => "none",
        })
    }
}
