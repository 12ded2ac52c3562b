//! A device in memory. Tests and benches simulate the network at its other end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{BATCH_BYTES, Device, Offloads, Tallies, Waker, sys};
use crate::wire::buf::{Offload, PacketBuf};

/// A packet in the queues of a memory device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frame {
    /// The packet from its IP header on.
    pub bytes: Vec<u8>,
    /// Its pending offloads.
    pub offload: Offload,
}

impl Frame {
    /// A packet without pending offloads.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes, offload: Offload::default() }
    }
}

#[derive(Default)]
struct Queues {
    to_worker: VecDeque<Frame>,
    to_peer: VecDeque<Frame>,
}

struct Shared {
    queues: Mutex<Queues>,
    bound: usize,
    /// Event counter, above zero while the worker has packets to read.
    readable: File,
    written: Condvar,
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end.
pub struct MemoryDevice {
    shared: Arc<Shared>,
    tallies: Arc<Tallies>,
}

/// The network's end. Clones share the same queues.
#[derive(Clone)]
pub struct MemoryPeer(Arc<Shared>);

/// A device and its network, with a queue of `bound` packets in each direction. The device accepts
/// super-packets and partial checksums unchanged, as the kernel's TUN does.
///
/// # Errors
/// If the process has no file descriptor left.
pub fn pair(bound: usize) -> io::Result<(MemoryDevice, MemoryPeer)> {
    let shared = Arc::new(Shared {
        queues: Mutex::default(),
        bound,
        readable: sys::eventfd()?,
        written: Condvar::new(),
    });
    Ok((MemoryDevice { shared: shared.clone(), tallies: Arc::default() }, MemoryPeer(shared)))
}

impl MemoryPeer {
    /// Queues a packet for the worker. Returns false if the queue is full.
    pub fn inject(&self, frame: Frame) -> bool {
        let mut queues = self.0.queues();
        let fits = queues.to_worker.len() < self.0.bound;
        if fits {
            queues.to_worker.push_back(frame);
            drop(queues);
            // Fails only if the counter is at its limit, and then the worker wakes anyway.
            let _ = (&self.0.readable).write(&1u64.to_ne_bytes());
        }
        fits
    }

    /// Queues packets for the worker while there is room. Returns their number; the rest stays in `frames`.
    pub fn inject_all(&self, frames: &mut VecDeque<Frame>) -> usize {
        let mut queues = self.0.queues();
        let count = frames.len().min(self.0.bound.saturating_sub(queues.to_worker.len()));
        queues.to_worker.extend(frames.drain(..count));
        drop(queues);
        if count > 0 {
            // As in `inject`.
            let _ = (&self.0.readable).write(&1u64.to_ne_bytes());
        }
        count
    }

    /// Appends all packets from the worker to `frames`, without waiting. Returns their number.
    pub fn take_all(&self, frames: &mut VecDeque<Frame>) -> usize {
        let mut queues = self.0.queues();
        let count = queues.to_peer.len();
        frames.append(&mut queues.to_peer);
        count
    }

    /// Receives the next packet from the worker; `None` if none arrives within `timeout`.
    pub fn take(&self, timeout: Duration) -> Option<Frame> {
        let queues = self.0.queues();
        let (mut queues, _) = self
            .0
            .written
            .wait_timeout_while(queues, timeout, |q| q.to_peer.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        queues.to_peer.pop_front()
    }
}

impl Device for MemoryDevice {
    fn recv(&mut self, packets: &mut [PacketBuf]) -> io::Result<usize> {
        // Reset the event before reading the queue, so that a packet queued later signals it again.
        let _ = (&self.shared.readable).read(&mut [0; 8]);
        let mut queues = self.shared.queues();
        let (mut filled, mut bytes) = (0, 0);
        for slot in packets {
            if bytes >= BATCH_BYTES {
                break;
            }
            let Some(frame) = queues.to_worker.pop_front() else { break };
            if !slot.fill(&frame.bytes) {
                self.tallies.unreadable.add(1);
                break;
            }
            slot.offload = frame.offload;
            bytes += slot.len();
            filled += 1;
        }
        if !queues.to_worker.is_empty() {
            let _ = (&self.shared.readable).write(&1u64.to_ne_bytes());
        }
        self.tallies.received.add(filled as u64);
        Ok(filled)
    }

    fn send(&mut self, packets: &[&PacketBuf]) -> usize {
        let mut queues = self.shared.queues();
        let room = self.shared.bound.saturating_sub(queues.to_peer.len());
        let taken = packets.len().min(room);
        let frames = packets[..taken].iter().map(|p| Frame { bytes: p.bytes().to_vec(), offload: p.offload });
        queues.to_peer.extend(frames);
        drop(queues);
        self.shared.written.notify_all();
        self.tallies.sent.add(taken as u64);
        self.tallies.writes.add(taken as u64);
        self.tallies.refused.add((packets.len() - taken) as u64);
        packets.len() - taken
    }

    fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
        waker.sleep(Some(self.shared.readable.as_fd()), timeout)
    }

    fn offloads(&self) -> Offloads {
        Offloads { checksum: true, tcp: true, udp: true }
    }

    fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_pass_in_both_directions_within_the_bound() {
        let (mut device, peer) = pair(2).expect("eventfd");
        assert!(peer.inject(Frame::plain(vec![1])));
        assert!(peer.inject(Frame::plain(vec![2])));
        assert!(!peer.inject(Frame::plain(vec![3])));
        let mut buffers: Vec<_> = (0..4).map(|_| PacketBuf::new(100)).collect();
        assert_eq!(device.recv(&mut buffers).expect("never fails"), 2);
        assert_eq!(buffers[1].bytes(), [2]);
        let all: Vec<&PacketBuf> = buffers.iter().collect();
        assert_eq!(device.send(&all), 2);
        assert_eq!(peer.take(Duration::ZERO), Some(Frame::plain(vec![1])));
        assert_eq!(device.tallies().refused.read(), 2);
    }

    #[test]
    fn batches_behave_like_single_packets() {
        let (mut device, peer) = pair(2).expect("eventfd");
        let mut frames: VecDeque<_> = (0..3).map(|n| Frame::plain(vec![n])).collect();
        assert_eq!(peer.inject_all(&mut frames), 2);
        assert_eq!(frames, [Frame::plain(vec![2])]);
        let mut buffers: Vec<_> = (0..4).map(|_| PacketBuf::new(100)).collect();
        assert_eq!(device.recv(&mut buffers).expect("never fails"), 2);
        device.send(&[&buffers[0], &buffers[1]]);
        assert_eq!(peer.take_all(&mut frames), 2);
        assert_eq!(frames, [2, 0, 1].map(|n| Frame::plain(vec![n])));
    }

    #[test]
    fn unread_packets_keep_the_device_readable() {
        let (mut device, peer) = pair(4).expect("eventfd");
        let waker = Waker::new().expect("eventfd");
        for n in 0..3 {
            peer.inject(Frame::plain(vec![n]));
        }
        let mut one = [PacketBuf::new(10)];
        for n in 0..3 {
            device.wait(&waker, None).expect("readable");
            assert_eq!(device.recv(&mut one).expect("never fails"), 1);
            assert_eq!(one[0].bytes(), [n]);
        }
        assert_eq!(device.recv(&mut one).expect("never fails"), 0);
    }
}
