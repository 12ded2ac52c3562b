//! Events of workers for the binding log: a bounded ring per worker, without lock, allocation or wake-up.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::report::Notice;
use crate::translator::Event;

/// Capacity of a ring in events. The log empties it every 50 ms.
const CAPACITY: usize = 8192;

/// A worker's end of its ring.
#[derive(Debug)]
pub(super) struct BindingEventSender(Arc<ArrayQueue<Notice>>);

/// The log's end of all rings. Without it, events of the binding log are discarded.
#[derive(Debug, Default)]
pub struct BindingEvents(Vec<Arc<ArrayQueue<Notice>>>);

impl BindingEvents {
    /// Adds a ring, for one worker.
    pub(super) fn add(&mut self) -> BindingEventSender {
        let ring = Arc::new(ArrayQueue::new(CAPACITY));
        self.0.push(Arc::clone(&ring));
        BindingEventSender(ring)
    }

    /// Passes waiting events to `each`, at most one full ring per worker. Returns their number.
    pub fn drain(&self, mut each: impl FnMut(Notice)) -> usize {
        let mut drained = 0;
        for ring in &self.0 {
            for _ in 0..CAPACITY {
                let Some(notice) = ring.pop() else { break };
                each(notice);
                drained += 1;
            }
        }
        drained
    }
}

impl BindingEventSender {
    /// How many events fit; `None` if nobody receives them.
    pub(super) fn room(&self) -> Option<usize> {
        (Arc::strong_count(&self.0) > 1).then(|| CAPACITY - self.0.len())
    }

    /// Adds an event if it belongs to the binding log. There must be [`room`](Self::room).
    pub(super) fn send(&self, notice: Notice) {
        if is_logged(&notice.event) {
            let fits = self.0.push(notice).is_ok();
            debug_assert!(fits, "this worker alone adds events");
        }
    }
}

/// Whether the binding log contains events of this kind.
const fn is_logged(event: &Event) -> bool {
    match event {
        Event::BlockAssigned { .. }
        | Event::BlockReleased { .. }
        | Event::BlockReclaimed { .. }
        | Event::SessionStarted { .. }
        | Event::SessionEnded { .. } => true,
        Event::QuotaReached { .. } | Event::PoolExhausted { .. } | Event::WithoutChecksum { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::SystemTime;

    use super::*;
    use crate::addr::{HostKey, PortRange, ZoneId};
    use crate::translator::WorkerId;

    fn notice(event: Event) -> Notice {
        Notice { worker: WorkerId(0), at: SystemTime::UNIX_EPOCH, event }
    }

    #[test]
    fn blocks_are_passed_on_and_other_events_are_not() {
        let host = HostKey::new(ZoneId(0), Ipv6Addr::LOCALHOST, 128);
        let ports = PortRange::new(1024, 1039).expect("a range");
        let assigned = notice(Event::BlockAssigned { host, addr: Ipv4Addr::LOCALHOST, ports });
        let mut events = BindingEvents::default();
        let senders = [events.add(), events.add()];
        senders[0].send(notice(Event::PoolExhausted { host }));
        senders[0].send(assigned);
        senders[1].send(assigned);
        assert_eq!(senders[0].room(), Some(CAPACITY - 1));
        let mut received = Vec::new();
        assert_eq!(events.drain(|notice| received.push(notice)), 2);
        assert_eq!(received, [assigned; 2]);
        assert_eq!(senders[0].room(), Some(CAPACITY));
        drop(events);
        assert_eq!(senders[0].room(), None, "nobody receives");
    }
}
