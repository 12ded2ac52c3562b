//! Traces: copies of matching packets with what became of them, for `gate64 trace`.
//!
//! A worker without a trace pays one branch per batch. With one, it copies the headers of each packet before translation,
//! and puts the matching ones into a bounded queue afterwards. A full queue loses records, which are counted.

mod filter;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_queue::ArrayQueue;

pub use filter::TraceFilter;

use crate::device::BATCH;
use crate::translator::{ExtraPackets, Verdict};
use crate::wire::buf::PacketBuf;
use filter::Matched;

/// Bytes of each packet in a record: all headers, and the packet that an ICMP error quotes.
pub const SNAP: usize = 256;

/// Records that wait for the reader, per worker.
const QUEUE: usize = 1024;

/// What a record is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceEvent {
    /// A packet that a worker read or received from another worker, with the verdict.
    Received(Verdict),
    /// A packet that was sent because of the packet before.
    Sent,
}

/// The first bytes of a packet, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct TraceRecord {
    /// Time of the batch.
    pub at: SystemTime,
    /// What happened.
    pub event: TraceEvent,
    /// Length of the packet.
    pub len: u32,
    captured: u16,
    bytes: [u8; SNAP],
}

impl TraceRecord {
    fn new(at: SystemTime, event: TraceEvent, packet: &Head) -> Self {
        Self { at, event, len: packet.len, captured: packet.captured, bytes: packet.bytes }
    }

    /// The first bytes of the packet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.captured)]
    }
}

/// Records of all workers. The trace ends when this is dropped, or when another one begins.
#[derive(Debug)]
pub struct Trace {
    queues: Vec<Arc<Queue>>,
}

impl Trace {
    pub(super) const fn new(queues: Vec<Arc<Queue>>) -> Self {
        Self { queues }
    }

    /// Takes all records, with the number of their worker.
    pub fn read(&self, mut each: impl FnMut(u8, &TraceRecord)) {
        // There are at most `MAX_WORKERS`.
        for (worker, queue) in (0..).zip(&self.queues) {
            while let Some(record) = queue.records.pop() {
                each(worker, &record);
            }
        }
    }

    /// Records lost so far because they were not read in time.
    pub fn lost(&self) -> u64 {
        self.queues.iter().map(|queue| queue.lost.load(Ordering::Relaxed)).sum()
    }

    /// Whether another trace has replaced it in all workers, or they have ended.
    pub fn has_ended(&self) -> bool {
        self.queues.iter().all(|queue| Arc::strong_count(queue) == 1)
    }
}

/// Records of one worker.
#[derive(Debug)]
pub(super) struct Queue {
    records: ArrayQueue<TraceRecord>,
    lost: AtomicU64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { records: ArrayQueue::new(QUEUE), lost: AtomicU64::new(0) }
    }

    fn push(&self, record: TraceRecord) {
        if self.records.push(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The first bytes of a packet.
#[derive(Clone, Copy)]
struct Head {
    len: u32,
    captured: u16,
    bytes: [u8; SNAP],
}

impl Head {
    const EMPTY: Self = Self { len: 0, captured: 0, bytes: [0; SNAP] };

    fn copy(&mut self, packet: &[u8]) {
        let captured = packet.len().min(SNAP);
        self.bytes[..captured].copy_from_slice(&packet[..captured]);
        // Packets have at most 65,575 bytes.
        (self.len, self.captured) = (packet.len() as u32, captured as u16);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.captured)]
    }
}

/// A trace in a worker.
pub(super) struct Tracer {
    filter: TraceFilter,
    queue: Arc<Queue>,
    heads: Box<[Head]>,
}

impl Tracer {
    pub(super) fn new(filter: TraceFilter, queue: Arc<Queue>) -> Self {
        Self { filter, queue, heads: vec![Head::EMPTY; BATCH].into_boxed_slice() }
    }

    /// Whether nobody reads the records any more.
    pub(super) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.queue) == 1
    }

    /// Copies the packets of a batch before translation.
    pub(super) fn copy(&mut self, packets: &[PacketBuf]) {
        self.heads.iter_mut().zip(packets).for_each(|(head, packet)| head.copy(packet.bytes()));
    }

    /// Records the packets that match, before or after translation, and what was sent because of them.
    pub(super) fn record(
        &self,
        at: SystemTime,
        packets: &[PacketBuf],
        verdicts: &[Verdict],
        extra: &mut ExtraPackets,
    ) {
        let mut sent = Head::EMPTY;
        let extra = &*extra.packets();
        for (index, ((head, packet), verdict)) in self.heads.iter().zip(packets).zip(verdicts).enumerate() {
            if self.filter.only_dropped && !matches!(verdict, Verdict::Drop(_) | Verdict::Reject(_)) {
                continue;
            }
            let is_sent = matches!(verdict, Verdict::Forward | Verdict::Reject(_));
            let following = || extra.iter().filter(|extra| usize::from(extra.follows) == index);
            let mut matched = Matched::default();
            self.filter.examine(head.bytes(), &mut matched);
            let outputs = is_sent.then_some(packet).into_iter().chain(following().map(|extra| &extra.packet));
            outputs.for_each(|packet| self.filter.examine(packet.bytes(), &mut matched));
            if !self.filter.is_satisfied(matched) {
                continue;
            }
            self.queue.push(TraceRecord::new(at, TraceEvent::Received(*verdict), head));
            let outputs = is_sent.then_some(packet).into_iter();
            let to_device = following().filter(|extra| extra.to.is_none());
            for packet in outputs.chain(to_device.map(|extra| &extra.packet)) {
                sent.copy(packet.bytes());
                self.queue.push(TraceRecord::new(at, TraceEvent::Sent, &sent));
            }
        }
    }
}
