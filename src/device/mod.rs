//! Devices: packet input and output of a worker.
//!
//! A worker owns one [`Device`]: one queue of a TUN (`tun`) or a pair of queues in memory ([`memory`]).
//! [`pcap`] reads and writes capture files. All `unsafe` code of the packet path is in this module.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Tally;
use crate::wire::buf::PacketBuf;

mod bpf;
mod join;
mod layout;
pub mod memory;
pub(crate) mod overload;
#[cfg(test)]
pub(crate) mod own_network;
pub mod pages;
pub mod pcap;
pub(crate) mod received;
pub(crate) mod steer;
mod sys;
pub(crate) mod tun;
pub(crate) mod vnet;
mod wake;

pub use overload::OverloadMonitor;
pub use tun::OpenError;
pub use wake::Waker;

/// Maximum number of packets in a batch.
pub const BATCH: usize = 64;

/// A batch is complete once it has this many bytes, to bound the latency of the packets after it.
pub const BATCH_BYTES: usize = 256 << 10;

/// Length of each queue in packets. Holds the burst that arrives while a worker translates a batch;
/// the kernel drops further packets without a message.
pub(crate) const QUEUE_LEN: u16 = 8192;

/// Offloads of a device. Missing ones are done in software before sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Completes a partial TCP or UDP checksum.
    pub checksum: bool,
    /// Segments TCP super-packets.
    pub tcp: bool,
    /// Segments UDP super-packets.
    pub udp: bool,
}

/// Counters of a device, written only by the worker that owns it. Aligned to avoid false sharing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tallies {
    /// Packets read; a super-packet counts once.
    pub received: Tally,
    /// Super-packets among them.
    pub received_super: Tally,
    /// Packets read but discarded: malformed, or longer than the maximum IP packet.
    pub unreadable: Tally,
    /// Packets sent, counted before joining and segmentation.
    pub sent: Tally,
    /// Writes to the device; fewer than packets where packets were joined.
    pub writes: Tally,
    /// Packets sent joined with others of their flow.
    pub joined: Tally,
    /// Super-packets segmented in software because the kernel refused them.
    pub segmented_in_software: Tally,
    /// Packets that the device refused.
    pub refused: Tally,
}

/// One bidirectional packet queue, owned by one worker. Only [`wait`](Self::wait) blocks.
pub trait Device: Send {
    /// Reads waiting packets into `packets`, from the front; stops after [`BATCH_BYTES`], which the last
    /// packet may exceed. Returns the number of packets read, 0 if none waits.
    ///
    /// # Errors
    /// Only errors that make the device unusable, such as a deleted interface.
    fn recv(&mut self, packets: &mut [PacketBuf]) -> io::Result<usize>;

    /// Sends `packets`, in order within each flow. Returns the number of refused packets, which are
    /// counted and lost.
    fn send(&mut self, packets: &[&PacketBuf]) -> usize;

    /// Sleeps until a packet can be read, [`Waker::wake`] is called, or `timeout` elapses. May return
    /// early.
    ///
    /// # Errors
    /// The error of the system call that waits.
    fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> io::Result<()>;

    /// Packets dropped by the overload filter since the last call.
    fn filtered(&mut self) -> u64 {
        0
    }

    /// The offloads that [`send`](Self::send) may rely on.
    fn offloads(&self) -> Offloads;

    /// The device's counters, readable from any thread.
    fn tallies(&self) -> &Arc<Tallies>;
}

impl fmt::Display for Offloads {
    /// The available offloads, for operators.
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
