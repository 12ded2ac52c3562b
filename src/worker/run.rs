//! The loop of one worker.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc as orders;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::inbox::Post;
use super::{Cause, Failure, Notice};
use crate::counters::Counters;
use crate::device::{BATCH, BATCH_BYTES, Device};
use crate::reason::Reason;
use crate::time::Instant;
use crate::translator::{Batch, Change, Event, Translator, Verdict, WorkerId};
use crate::wire::buf::{MAX_PACKET, PacketBuf};

/// Packets that may come of a batch beside those put in. The most are two fragments of each datagram of
/// as many UDP super-packets as a batch takes: Linux sends those without DF, and what is longer than
/// 1,260 bytes is then fragmented. Memory that is not used is not touched.
const EXTRA: usize = 2 * (BATCH_BYTES + MAX_PACKET) / 1240 + BATCH;
/// Sessions that may be ended between two batches.
const EXPIRE: usize = 64;
/// Events fetched at once.
const EVENTS: usize = 64;
/// How long a worker waits when its device fails, or when nobody receives its events.
const PATIENCE: Duration = Duration::from_millis(100);

/// The time of all workers: since the program started them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one clock of the packet path")]
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn now(self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What a worker can be told.
pub(super) enum Order {
    /// Switch at the next batch edge, and say so.
    Change(Change, oneshot::Sender<()>),
    /// End when nothing waits, or when this moment has passed.
    Stop(Instant),
}

/// A list of packets to send that keeps its memory from batch to batch.
#[derive(Default)]
pub(super) struct Outgoing(Vec<&'static PacketBuf>);

impl Outgoing {
    /// The empty list, for references that live as long as this batch.
    pub(super) fn lend<'a>(&mut self) -> Vec<&'a PacketBuf> {
        std::mem::take(&mut self.0)
    }

    /// Takes the list back. Collecting from an emptied vector keeps its allocation.
    pub(super) fn give_back(&mut self, mut list: Vec<&PacketBuf>) {
        list.clear();
        self.0 = list.into_iter().map(|_| unreachable!("the list is empty")).collect();
    }
}

pub(super) struct Worker {
    id: WorkerId,
    translator: Translator,
    counters: Arc<Counters>,
    device: Box<dyn Device>,
    clock: Clock,
    post: Post,
    orders: orders::Receiver<Order>,
    notices: mpsc::Sender<Notice>,
    packets: Vec<PacketBuf>,
    verdicts: Vec<Verdict>,
    extra: Batch,
    outgoing: Outgoing,
    events: Vec<Event>,
    /// When to end, once told to.
    stop: Option<Instant>,
    /// The device failed when last used.
    failing: bool,
}

/// Runs the worker to its end, reports a panic, and gives the device back.
pub(super) fn guarded(mut worker: Worker, failures: &mpsc::Sender<Failure>) -> Box<dyn Device> {
    let id = worker.id;
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| worker.run(failures))) {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let cause = Cause::Panic(text.unwrap_or_else(|| "no message".to_owned()));
        // There is room: see `start`.
        let _ = failures.try_send(Failure { worker: id, cause });
    }
    worker.device
}

impl Worker {
    pub(super) fn new(
        id: WorkerId,
        translator: Translator,
        device: Box<dyn Device>,
        clock: Clock,
        post: Post,
        orders: orders::Receiver<Order>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        let counters = translator.counters().clone();
        Self {
            id,
            translator,
            counters,
            device,
            clock,
            post,
            orders,
            notices,
            packets: (0..BATCH).map(|_| PacketBuf::new(MAX_PACKET)).collect(),
            verdicts: vec![Verdict::Hold; BATCH],
            extra: Batch::new(EXTRA, MAX_PACKET),
            outgoing: Outgoing::default(),
            events: vec![Event::PoolEmpty { host: NOBODY }; EVENTS],
            stop: None,
            failing: false,
        }
    }

    fn run(&mut self, failures: &mpsc::Sender<Failure>) {
        loop {
            self.obey();
            let filled = self.read(failures);
            let now = self.clock.now();
            if filled > 0 {
                self.extra.clear();
                self.translator.process(
                    now,
                    &mut self.packets[..filled],
                    &mut self.verdicts,
                    &mut self.extra,
                );
                self.dispatch(filled);
            }
            let more_due = self.expire(now);
            let untold = self.tell();
            if filled == 0 && !more_due {
                if self.stop.is_some() {
                    return;
                }
                self.wait(untold);
            }
            if self.stop.is_some_and(|deadline| deadline <= now) {
                return;
            }
        }
    }

    /// Does what it was told since the last batch; whether it was told anything. Nobody left to give
    /// orders is an order to stop.
    fn obey(&mut self) -> bool {
        let mut told = false;
        loop {
            match self.orders.try_recv() {
                Ok(Order::Change(change, switched)) => {
                    self.translator.reconfigure(self.clock.now(), change);
                    // Whoever asked may have gone.
                    let _ = switched.send(());
                }
                Ok(Order::Stop(deadline)) => self.stop = Some(deadline),
                Err(orders::TryRecvError::Empty) => return told,
                Err(orders::TryRecvError::Disconnected) => {
                    return self.stop.replace(Instant::ZERO).is_none() || told;
                }
            }
            told = true;
        }
    }

    /// Fills the batch: first with what others handed over, which has waited longest, but leaves
    /// half of the room to the device.
    fn read(&mut self, failures: &mpsc::Sender<Failure>) -> usize {
        let handed = self.post.inbox().take(&mut self.packets[..BATCH / 2]);
        match self.device.recv(&mut self.packets[handed..]) {
            Ok(filled) => {
                if core::mem::take(&mut self.failing) {
                    let _ = failures.try_send(Failure { worker: self.id, cause: Cause::Recovered });
                }
                handed + filled
            }
            Err(error) => {
                self.report(error, failures);
                handed
            }
        }
    }

    fn report(&mut self, error: io::Error, failures: &mpsc::Sender<Failure>) {
        if !self.failing {
            self.failing = true;
            // If nobody listens, nobody can help.
            let _ = failures.try_send(Failure { worker: self.id, cause: Cause::Device(error) });
        }
    }

    /// Hands over what is for others, and sends the rest in the order in which it came.
    fn dispatch(&mut self, filled: usize) {
        let mut full = 0;
        let extra = self.extra.packets();
        let mut next = 0;
        for (place, packet) in self.packets[..filled].iter_mut().enumerate() {
            if let Verdict::HandOver(to) = self.verdicts[place] {
                full += u64::from(!self.post.hand_over(to, packet));
            }
            while let Some(one) = extra.get_mut(next).filter(|e| usize::from(e.follows) <= place) {
                full += one.to.map_or(0, |to| u64::from(!self.post.hand_over(to, &mut one.packet)));
                next += 1;
            }
        }
        self.count(Reason::RingFull, full);
        self.post.wake();
        self.send(filled);
    }

    /// Sends what is left of the batch after handing over.
    fn send(&mut self, filled: usize) {
        let mut list = self.outgoing.lend();
        let mut extra = self.extra.packets().iter().peekable();
        for (place, packet) in self.packets[..filled].iter().enumerate() {
            match self.verdicts[place] {
                Verdict::Forward | Verdict::Reject(_) => list.push(packet),
                Verdict::Hold | Verdict::HandOver(_) | Verdict::Drop(_) => {}
            }
            while let Some(one) = extra.next_if(|e| usize::from(e.follows) <= place) {
                list.extend(one.to.is_none().then_some(&one.packet));
            }
        }
        list.extend(extra.filter(|e| e.to.is_none()).map(|e| &e.packet));
        let refused = if list.is_empty() { 0 } else { self.device.send(&list) };
        self.outgoing.give_back(list);
        self.count(Reason::DeviceWrite, refused as u64);
    }

    /// Ends what has run out; whether more is due at once.
    fn expire(&mut self, now: Instant) -> bool {
        if self.translator.next_deadline().is_none_or(|due| due > now) {
            return false;
        }
        self.extra.clear();
        let more = self.translator.expire(now, EXPIRE, &mut self.extra);
        let mut full = 0;
        for one in self.extra.packets() {
            full += one.to.map_or(0, |to| u64::from(!self.post.hand_over(to, &mut one.packet)));
        }
        self.count(Reason::RingFull, full);
        self.post.wake();
        self.send(0);
        more
    }

    /// Tells what happened, as far as there is room; whether something may be left.
    fn tell(&mut self) -> bool {
        loop {
            let room = self.notices.capacity().min(EVENTS);
            if room == 0 {
                return !self.notices.is_closed();
            }
            let told = self.translator.events(&mut self.events[..room]);
            if told == 0 {
                return false;
            }
            let at = now_outside();
            for &event in &self.events[..told] {
                // Another worker may have taken the room meanwhile: then the notice is lost.
                if self.notices.try_send(Notice { worker: self.id, at, event }).is_err() {
                    self.counters.events_lost.add(1);
                }
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, untold: bool) {
        let due = self.translator.next_deadline().map(|due| due.since(self.clock.now()));
        let patience = (untold || self.failing).then_some(PATIENCE);
        let timeout = match (due, patience) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.post.inbox().waker().arm();
        // What came before `arm` did not wake.
        if self.post.inbox().is_empty() && !self.obey() {
            let waker = self.post.inbox().waker();
            // A sleep that fails is a short one: the loop looks again.
            let _ = if self.failing { waker.sleep(None, timeout) } else { self.device.wait(waker, timeout) };
        }
        self.post.inbox().waker().disarm();
    }

    fn count(&self, reason: Reason, packets: u64) {
        if packets > 0 {
            self.counters.zone(None).drops(reason).add(packets);
        }
    }
}

const NOBODY: crate::addr::HostKey =
    crate::addr::HostKey::new(crate::addr::ZoneId(0), std::net::Ipv6Addr::UNSPECIFIED, 0);

#[expect(clippy::disallowed_methods, reason = "an event is told with the time of day")]
fn now_outside() -> SystemTime {
    SystemTime::now()
}
