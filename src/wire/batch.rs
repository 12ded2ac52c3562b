//! Verdicts, and buffers for the additional packets that a batch produces.

use super::buf::PacketBuf;
use crate::addr::WorkerId;
use crate::reason::Reason;

/// The verdict on a packet. The caller acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Translated: send the buffer.
    Forward,
    /// Refused with an ICMP error or a RST to the sender: send the buffer.
    Reject(Reason),
    /// Held by the translator; the buffer is empty.
    Hold,
    /// Owned by another worker: send that worker the buffer as it is now.
    HandOver(WorkerId),
    /// Dropped; the buffer is unchanged. Two exceptions, which `meta` shows: it holds a datagram
    /// reassembled from fragments, or a hairpinned packet refused in its IPv4-to-IPv6 pass.
    Drop(Reason),
}

/// An additional packet that a batch produces.
#[derive(Debug)]
pub struct Extra {
    /// The packet to send.
    pub packet: PacketBuf,
    /// Index of the input packet after which it is sent.
    pub follows: u16,
    /// Destination worker; `None` is the device.
    pub to: Option<WorkerId>,
}

/// Reusable buffers for the additional packets of a batch: fragments, released held packets, and packets that
/// timers send.
#[derive(Debug)]
pub struct ExtraPackets {
    slots: Vec<Extra>,
    used: usize,
    follows: u16,
}

impl ExtraPackets {
    /// Allocates buffers for `packets` packets of up to `max` bytes.
    pub fn new(packets: usize, max: usize) -> Self {
        let slot = || Extra { packet: PacketBuf::new(max), follows: 0, to: None };
        Self { slots: (0..packets).map(|_| slot()).collect(), used: 0, follows: 0 }
    }

    /// Removes all packets.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// The packets in sending order.
    pub fn packets(&mut self) -> &mut [Extra] {
        &mut self.slots[..self.used]
    }

    /// Number of free buffers.
    pub fn room(&self) -> usize {
        self.slots.len() - self.used
    }

    /// Whether `packets` more packets of up to `len` bytes fit.
    pub fn has_room(&self, packets: usize, len: usize) -> bool {
        let free = self.slots.get(self.used..self.used + packets);
        free.is_some_and(|slots| slots.iter().all(|slot| slot.packet.capacity() >= len))
    }

    /// Sets the index of the input packet that further packets follow.
    pub fn follow(&mut self, input: u16) {
        self.follows = input;
    }

    /// Takes the next free buffer, empty; `None` if all are in use.
    pub fn next_slot(&mut self) -> Option<&mut Extra> {
        let slot = self.slots.get_mut(self.used)?;
        self.used += 1;
        slot.packet.clear();
        slot.follows = self.follows;
        slot.to = None;
        Some(slot)
    }
}
