//! Packets that come of a batch beside the ones put in.

use super::buf::PacketBuf;
use crate::addr::WorkerId;
use crate::reason::Reason;

/// What became of a packet. Whoever brought it acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The buffer holds the translated packet: send it.
    Forward,
    /// The packet was refused and the buffer holds the ICMP error for its sender: send it.
    Reject(Reason),
    /// The translator keeps the packet for now; the buffer is empty.
    Hold,
    /// The packet belongs to another worker: give it the buffer as it is.
    HandOver(WorkerId),
    /// Nothing is to be sent; the buffer is unchanged. Two exceptions, which `handed` shows: it holds
    /// the datagram that the packet made whole, or the packet turned round, which failed on its way in.
    Drop(Reason),
}

/// A packet that came of a batch beside the ones put in.
#[derive(Debug)]
pub struct Extra {
    /// The packet, ready to be sent.
    pub packet: PacketBuf,
    /// Index of the input it follows; it is sent after that one and before the next.
    pub follows: u16,
    /// The worker it is for, if not for the device.
    pub to: Option<WorkerId>,
}

/// Room for the packets that come of a batch beside the ones put in: fragments, packets that were
/// on hold, answers of timers. Taken once, used again and again.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<Extra>,
    used: usize,
    follows: u16,
}

impl Batch {
    /// Room for `packets` packets of `max` bytes each.
    pub fn new(packets: usize, max: usize) -> Self {
        let slot = || Extra { packet: PacketBuf::new(max), follows: 0, to: None };
        Self { slots: (0..packets).map(|_| slot()).collect(), used: 0, follows: 0 }
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// The packets, in the order in which they are to be sent.
    pub fn packets(&mut self) -> &mut [Extra] {
        &mut self.slots[..self.used]
    }

    /// How many more packets there is room for.
    pub fn room(&self) -> usize {
        self.slots.len() - self.used
    }

    /// Whether there is room for so many more packets of up to `len` bytes each.
    pub fn has_room(&self, packets: usize, len: usize) -> bool {
        let free = self.slots.get(self.used..self.used + packets);
        free.is_some_and(|slots| slots.iter().all(|slot| slot.packet.capacity() >= len))
    }

    /// From now on packets follow the input with this index.
    pub fn follow(&mut self, input: u16) {
        self.follows = input;
    }

    /// The next free slot, its packet empty; `None` if there is no room.
    pub fn next_slot(&mut self) -> Option<&mut Extra> {
        let slot = self.slots.get_mut(self.used)?;
        self.used += 1;
        slot.packet.clear();
        slot.follows = self.follows;
        slot.to = None;
        Some(slot)
    }
}
