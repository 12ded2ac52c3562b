//! Handover of packets between workers: full buffers are exchanged for empty ones.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::device::Waker;
use crate::translator::WorkerId;
use crate::wire::buf::{MAX_PACKET, PacketBuf};

/// Packets handed over to one worker, and empty buffers for the senders.
///
/// The number of buffers is fixed: `put` and `take` exchange a full buffer for an empty one. Packets
/// of one sender keep their order.
#[derive(Debug)]
pub(super) struct Inbox {
    full: ArrayQueue<PacketBuf>,
    empty: ArrayQueue<PacketBuf>,
    waker: Waker,
}

impl Inbox {
    /// An inbox with room for `packets` packets. With 0, every handover fails.
    pub(super) fn new(packets: usize) -> std::io::Result<Self> {
        let room = packets.max(1);
        let inbox = Self { full: ArrayQueue::new(room), empty: ArrayQueue::new(room), waker: Waker::new()? };
        for _ in 0..packets {
            let fits = inbox.empty.push(PacketBuf::new(MAX_PACKET)).is_ok();
            debug_assert!(fits, "as many as there is room for");
        }
        Ok(inbox)
    }

    /// The waker of the inbox's owner.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether no packet waits.
    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Moves the packet in `buf` to the inbox and leaves an empty buffer there. Returns false if the
    /// inbox is full; `buf` is then unchanged. The caller must wake the owner afterwards.
    pub(super) fn put(&self, buf: &mut PacketBuf) -> bool {
        let Some(empty) = self.empty.pop() else { return false };
        let packet = std::mem::replace(buf, empty);
        // The queue holds as many entries as there are buffers, so it has room.
        self.full.push(packet).is_ok()
    }

    /// Moves waiting packets into `slots`, from the front. Returns their number.
    pub(super) fn take(&self, slots: &mut [PacketBuf]) -> usize {
        let mut taken = 0;
        for slot in slots {
            let Some(packet) = self.full.pop() else { break };
            let mut empty = std::mem::replace(slot, packet);
            empty.clear();
            let fits = self.empty.push(empty).is_ok();
            debug_assert!(fits, "the queue has room for every buffer");
            taken += 1;
        }
        taken
    }
}

/// One worker's access to the inboxes of all workers.
pub(super) struct HandoverSender {
    own: WorkerId,
    inboxes: Arc<[Inbox]>,
    /// A bit for each worker that received a packet since the last [`wake`](Self::wake).
    pending: u64,
}

impl HandoverSender {
    /// The handover of worker `own`; there are at most 64 workers.
    pub(super) fn new(own: WorkerId, inboxes: Arc<[Inbox]>) -> Self {
        assert!(inboxes.len() <= 64, "a bit per worker");
        Self { own, inboxes, pending: 0 }
    }

    /// The worker's own inbox.
    pub(super) fn inbox(&self) -> &Inbox {
        &self.inboxes[usize::from(self.own.0)]
    }

    /// Hands the packet in `buf` over. Returns false if `to` does not exist or its inbox is full.
    pub(super) fn hand_over(&mut self, to: WorkerId, buf: &mut PacketBuf) -> bool {
        let Some(inbox) = self.inboxes.get(usize::from(to.0)) else { return false };
        buf.meta.hops = buf.meta.hops.saturating_add(1);
        let put = inbox.put(buf);
        if put {
            self.pending |= 1 << to.0;
        }
        put
    }

    /// Wakes the workers that received packets, once per batch.
    pub(super) fn wake(&mut self) {
        while self.pending != 0 {
            let to = self.pending.trailing_zeros();
            self.pending &= self.pending - 1;
            self.inboxes[to as usize].waker().wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_buffers_are_exchanged_for_empty_ones() {
        let inbox = Inbox::new(2).expect("eventfd");
        let mut buf = PacketBuf::with_packet(&[1, 2, 3]);
        assert!(inbox.put(&mut buf));
        assert!(buf.is_empty());
        buf.fill(&[4]);
        assert!(inbox.put(&mut buf));
        buf.fill(&[5]);
        assert!(!inbox.put(&mut buf), "there were two buffers");
        assert_eq!(buf.bytes(), [5]);
        let mut slots = [PacketBuf::new(MAX_PACKET), PacketBuf::new(MAX_PACKET), PacketBuf::new(MAX_PACKET)];
        assert_eq!(inbox.take(&mut slots), 2);
        assert_eq!(slots[0].bytes(), [1, 2, 3]);
        assert_eq!(slots[1].bytes(), [4]);
        assert!(inbox.is_empty());
        assert!(inbox.put(&mut buf), "the buffers came back");
    }

    #[test]
    fn packets_of_two_senders_arrive_each_in_order() {
        const EACH: u32 = 2000;
        let inboxes: Arc<[Inbox]> = (0..3).map(|_| Inbox::new(16).expect("eventfd")).collect();
        let threads = [1u8, 2].map(|sender| {
            let mut handover = HandoverSender::new(WorkerId(sender), inboxes.clone());
            std::thread::spawn(move || {
                let mut buf = PacketBuf::new(MAX_PACKET);
                for n in 0..EACH {
                    let mut bytes = [0; 5];
                    bytes[0] = sender;
                    bytes[1..].copy_from_slice(&n.to_be_bytes());
                    buf.fill(&bytes);
                    while !handover.hand_over(WorkerId(0), &mut buf) {
                        std::thread::yield_now();
                    }
                    handover.wake();
                }
            })
        });
        let mut next = [0u32; 3];
        let mut slots: Vec<_> = (0..8).map(|_| PacketBuf::new(MAX_PACKET)).collect();
        while next[1] < EACH || next[2] < EACH {
            let taken = inboxes[0].take(&mut slots);
            if taken == 0 {
                inboxes[0].waker().arm();
                if inboxes[0].is_empty() {
                    inboxes[0].waker().sleep(None, None).expect("woken");
                }
                inboxes[0].waker().disarm();
            }
            for slot in &slots[..taken] {
                let sender = usize::from(slot.bytes()[0]);
                assert_eq!(slot.bytes()[1..], next[sender].to_be_bytes());
                next[sender] += 1;
            }
        }
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}
