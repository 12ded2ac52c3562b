//! A destination of records: a bounded queue, and counters of what became of the records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::record::Record;

/// Capacity of a sink's queue in records.
pub(super) const QUEUE: usize = 65_536;

/// What became of the records of one sink.
#[derive(Debug)]
pub struct SinkStatus {
    /// Name, for metrics and messages.
    pub name: String,
    written: AtomicU64,
    lost: AtomicU64,
    failing: AtomicBool,
}

impl SinkStatus {
    pub(super) fn new(name: impl Into<String>) -> Arc<Self> {
        let (written, lost, failing) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { name: name.into(), written, lost, failing })
    }

    /// Records written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records lost: the queue was full, or the sink failed until the end.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the sink fails at present.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn count_written(&self, records: u64) {
        self.written.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn count_lost(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// Logs that the sink fails, once until it works again.
    pub(super) fn fails(&self, why: &std::io::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "binding log: {}: {why}; records wait, and are lost once their queue is full",
                self.name
            );
        }
    }

    /// Logs that the sink works again.
    pub(super) fn works(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(
                "binding log: {}: works again; {} records were lost so far",
                self.name,
                self.lost()
            );
        }
    }
}

/// The log's end of a sink.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) queue: mpsc::Sender<Arc<Record>>,
    pub(super) status: Arc<SinkStatus>,
}

impl Sink {
    /// Queues a record, or counts it as lost.
    pub(super) fn send(&self, record: &Arc<Record>) {
        if self.queue.try_send(Arc::clone(record)).is_err() {
            self.status.count_lost(1);
        }
    }
}
