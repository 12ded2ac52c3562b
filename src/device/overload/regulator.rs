//! Decides whether a worker is behind, and how much each host may send then.
//!
//! The backlog of a queue is what the filter accepted minus what the worker read, minus what the kernel dropped because
//! the queue was full; the last is known whenever the queue is empty. While the backlog takes longer than
//! [`TARGET`] to read, the shares shrink; while it is short, they grow.

use super::program::UNIT_SHIFT;
use super::queues::{Counts, Limits};
use crate::device::QUEUE_LEN;

/// Backlog up to which shares do not shrink, as the time to read it. In nanoseconds, like all times here.
const TARGET: u64 = 1_000_000;
/// Backlog up to which a worker is not behind, in packets.
const MIN_BACKLOG: u64 = 128;
/// Interval between two changes of the shares.
const STEP: u64 = 1_000_000;
/// Lifetime of the limits: they end by themselves if the worker does not renew them.
const LIFETIME: u64 = 20_000_000;
/// The limits end after this time without a drop.
const CALM: u64 = 50_000_000;
/// How much of its share a host may use at once, as time. Longer, and the shares change too slowly.
const DEPTH: u64 = 4_000_000;
const SECOND: u64 = 1_000_000_000;

/// A read from the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::device) struct Read {
    pub(in crate::device) packets: u64,
    pub(in crate::device) bytes: u64,
    /// Whether it filled all buffers.
    pub(in crate::device) full: bool,
    /// Whether it left the queue empty.
    pub(in crate::device) drained: bool,
}

/// What was read since `start`.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: u64,
    packets: u64,
    units: u64,
}

/// Shares in units per second, while the worker is behind.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// What the worker can process.
    capacity: u64,
    /// Share of each host with a port block.
    known: u64,
    /// Share of all other hosts together.
    unknown: u64,
    /// Backlog at the last step.
    backlog: u64,
    /// Packets dropped until the last step.
    refused: u64,
    /// When packets were dropped last.
    refused_at: u64,
}

/// The regulator of one queue.
#[derive(Debug, Default)]
pub(super) struct Regulator {
    received: u64,
    /// Packets that were accepted, but dropped because the queue was full.
    lost: u64,
    /// Whether the queue was not empty after a read since `lost` was determined.
    stale: bool,
    window: Option<Window>,
    shares: Option<Shares>,
}

impl Regulator {
    /// Notes a read. Returns new limits if they change. `counts` are the filter's present counters.
    pub(super) fn after_read(
        &mut self,
        read: Read,
        counts: impl FnOnce() -> Counts,
        now: impl FnOnce() -> u64,
    ) -> Option<Limits> {
        self.received = self.received.wrapping_add(read.packets);
        if self.shares.is_none() && !read.full {
            // A read that ends because of its bytes has super-packets: their senders are TCP, which slows down.
            if read.drained && self.stale {
                self.lost = counts().accepted.wrapping_sub(self.received);
                self.stale = false;
            }
            self.window = None;
            return None;
        }
        let counts = counts();
        if read.drained {
            self.lost = counts.accepted.wrapping_sub(self.received);
        }
        self.stale = !read.drained;
        let backlog = self.backlog(counts);
        if self.shares.is_none() && backlog < MIN_BACKLOG {
            self.window = None;
            return None;
        }
        let now = now();
        let window = self.window.get_or_insert(Window { start: now, packets: 0, units: 0 });
        let elapsed = now.saturating_sub(window.start);
        if elapsed > 0 {
            window.packets += read.packets;
            window.units += read.packets + (read.bytes >> UNIT_SHIFT);
        }
        if elapsed < STEP {
            return None;
        }
        let done = *window;
        self.window = Some(Window { start: now, packets: 0, units: 0 });
        self.step(done, now, backlog, counts.refused)
    }

    fn backlog(&mut self, counts: Counts) -> u64 {
        let waiting = counts.accepted.wrapping_sub(self.received).wrapping_sub(self.lost);
        // Packets that the filter counts while the worker reads make it negative.
        let waiting = if waiting > u64::MAX / 2 { 0 } else { waiting };
        let backlog = waiting.min(QUEUE_LEN.into());
        self.lost = self.lost.wrapping_add(waiting - backlog);
        backlog
    }

    /// Changes the shares after a window.
    fn step(&mut self, window: Window, now: u64, backlog: u64, refused: u64) -> Option<Limits> {
        let elapsed = now - window.start;
        // The time to read the backlog is backlog * elapsed / packets.
        let late = backlog >= MIN_BACKLOG && backlog * elapsed > TARGET * window.packets;
        let capacity = (window.units * SECOND / elapsed).max(1000);
        let Some(shares) = &mut self.shares else {
            if late {
                let shares = Shares {
                    capacity,
                    known: capacity - capacity / 8,
                    unknown: capacity / 2,
                    backlog,
                    refused,
                    refused_at: now,
                };
                self.shares = Some(shares);
                return Some(shares.limits(now));
            }
            return None;
        };
        if refused != shares.refused {
            (shares.refused, shares.refused_at) = (refused, now);
        }
        if now.saturating_sub(shares.refused_at) > CALM {
            self.shares = None;
            self.window = None;
            return Some(Limits::default());
        }
        // A backlog that will soon be short needs no smaller shares.
        let draining = shares.backlog.saturating_sub(backlog) >= (backlog / 8).min(window.packets / 2);
        if late && !draining {
            let very_late = backlog * elapsed > 4 * TARGET * window.packets;
            shares.shrink(capacity, very_late);
        } else if !late {
            shares.grow(window.units * SECOND / elapsed);
        }
        shares.backlog = backlog;
        Some(shares.limits(now))
    }
}

impl Shares {
    /// Hosts without port block give way first.
    fn shrink(&mut self, capacity: u64, much: bool) {
        self.capacity = capacity;
        let (known, unknown) = if much { (6, 4) } else { (7, 5) };
        self.known = (self.known * known / 8).clamp(capacity / 256, capacity);
        self.unknown = (self.unknown * unknown / 8).clamp(capacity / 64, capacity * 16);
    }

    /// Quickly while the worker is idle for a part of the time.
    fn grow(&mut self, used: u64) {
        let part = if used < self.capacity / 4 * 3 { 4 } else { 16 };
        self.known = (self.known + self.known / part).min(self.capacity);
        self.unknown = (self.unknown + self.unknown / part).min(self.capacity * 16);
    }

    const fn limits(&self, now: u64) -> Limits {
        Limits {
            deadline: now + LIFETIME,
            depth: DEPTH,
            known_cost: SECOND / (self.known + 1) + 1,
            unknown_cost: SECOND / (self.unknown + 1) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const BATCH: u64 = 64;
    /// Time for one packet: 250,000 packets per second.
    const PACKET: u64 = 4_000;
    const MILLISECOND: u64 = 1_000_000;

    #[derive(Default)]
    struct Sender {
        /// Interval between two packets.
        interval: u64,
        next: u64,
        /// When it stops.
        until: u64,
        known: bool,
        virtual_time: u64,
        offered: u64,
        read: u64,
        delay: u64,
    }

    /// A queue, its worker and the senders.
    #[derive(Default)]
    struct Model {
        now: u64,
        limits: Limits,
        counts: Counts,
        unknown_time: u64,
        senders: Vec<Sender>,
        queue: VecDeque<(usize, u64)>,
        regulator: Regulator,
    }

    /// The filter's token bucket.
    fn charge(virtual_time: &mut u64, now: u64, cost: u64) -> bool {
        let start = now.max(*virtual_time);
        let passes = start <= now + DEPTH;
        if passes {
            *virtual_time = start + cost;
        }
        passes
    }

    impl Model {
        fn sender(&mut self, per_second: u64, known: bool, until: u64) {
            let interval = SECOND / per_second;
            self.senders.push(Sender { interval, known, until, ..Sender::default() });
        }

        fn arrive(&mut self) {
            loop {
                let next = self.senders.iter().enumerate().filter(|(_, s)| s.next < s.until);
                let Some((index, at)) = next.map(|(n, s)| (n, s.next)).min_by_key(|(_, at)| *at) else {
                    return;
                };
                if at > self.now {
                    return;
                }
                let sender = &mut self.senders[index];
                sender.next += sender.interval;
                sender.offered += 1;
                let (time, cost) = if sender.known {
                    (&mut sender.virtual_time, self.limits.known_cost)
                } else {
                    (&mut self.unknown_time, self.limits.unknown_cost)
                };
                if self.limits.deadline >= at && !charge(time, at, cost) {
                    self.counts.refused += 1;
                    continue;
                }
                self.counts.accepted += 1;
                if self.queue.len() < usize::from(QUEUE_LEN) {
                    self.queue.push_back((index, at));
                }
            }
        }

        fn run(&mut self, until: u64) {
            while self.now < until {
                self.arrive();
                let packets = BATCH.min(self.queue.len() as u64);
                let (full, drained) = (packets == BATCH, packets < BATCH);
                for (index, at) in self.queue.drain(..packets as usize) {
                    let sender = &mut self.senders[index];
                    sender.read += 1;
                    sender.delay = sender.delay.max(self.now - at);
                }
                let read = Read { packets, bytes: packets * 100, full, drained };
                let (counts, now) = (self.counts, self.now);
                if let Some(limits) = self.regulator.after_read(read, || counts, || now) {
                    self.limits = limits;
                }
                self.now += (packets * PACKET).max(20_000);
            }
        }

        fn reset(&mut self) {
            for sender in &mut self.senders {
                (sender.offered, sender.read, sender.delay) = (0, 0, 0);
            }
        }

        fn share(&self, index: usize) -> f64 {
            self.senders[index].read as f64 / self.senders[index].offered as f64
        }
    }

    #[test]
    fn a_neighbour_of_a_flooder_keeps_its_packets_and_delay() {
        for known in [true, false] {
            let mut model = Model::default();
            model.sender(1_000_000, known, 1000 * MILLISECOND);
            model.sender(2_000, true, u64::MAX);
            model.run(50 * MILLISECOND);
            model.reset();
            model.run(1000 * MILLISECOND);
            assert!(model.share(1) > 0.99, "share {}", model.share(1));
            assert!(model.senders[1].delay < 5 * MILLISECOND, "delay {}", model.senders[1].delay);
            // The flooder has what is left.
            let used = model.senders[0].read * PACKET;
            assert!(used > 850 * MILLISECOND, "{} ms of work for the flooder", used / MILLISECOND);
            model.run(1200 * MILLISECOND);
            assert_eq!(model.limits, Limits::default(), "idle after the flood");
        }
    }

    #[test]
    fn many_flooders_share_equally() {
        let mut model = Model::default();
        (0..20).for_each(|_| model.sender(50_000, true, u64::MAX));
        model.sender(2_000, true, u64::MAX);
        model.run(150 * MILLISECOND);
        model.reset();
        model.run(500 * MILLISECOND);
        assert!(model.share(20) > 0.99, "share {}", model.share(20));
        assert!(model.senders[20].delay < 5 * MILLISECOND, "delay {}", model.senders[20].delay);
        let read: Vec<_> = model.senders[..20].iter().map(|s| s.read).collect();
        let (least, most) = (read.iter().min().expect("some"), read.iter().max().expect("some"));
        assert!(most - least < most / 5, "{read:?}");
    }

    #[test]
    fn a_worker_that_keeps_up_has_no_limits() {
        let mut model = Model::default();
        model.sender(200_000, true, u64::MAX);
        model.sender(20_000, false, u64::MAX);
        model.run(500 * MILLISECOND);
        assert_eq!(model.counts.refused, 0);
        assert_eq!(model.limits, Limits::default());
    }

    #[test]
    fn super_packets_are_left_to_tcp() {
        let mut regulator = Regulator::default();
        for n in 1..1000 {
            let read = Read { packets: 4, bytes: 4 << 16, full: false, drained: false };
            let counts = || Counts { accepted: 2000 + 4 * n, ..Counts::default() };
            assert_eq!(regulator.after_read(read, counts, || n * MILLISECOND), None);
        }
    }

    #[test]
    fn packets_lost_at_a_full_queue_are_no_backlog() {
        let mut regulator = Regulator::default();
        let mut counts = Counts { accepted: 100_000, ..Counts::default() };
        let mut read = |counts: Counts, packets, drained: bool, now| {
            let read = Read { packets, bytes: 0, full: !drained, drained };
            regulator.after_read(read, || counts, || now)
        };
        assert_eq!(read(counts, 64, false, 0), None, "the first read of the window");
        assert_eq!(read(counts, 8, true, 100_000), None, "now it is empty: the difference was lost");
        counts.accepted += 100;
        for n in 1..100 {
            counts.accepted += 64;
            assert_eq!(read(counts, 64, false, n * MILLISECOND), None, "100 packets wait");
        }
    }
}
