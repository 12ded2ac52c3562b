//! The loop of one worker.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc as commands;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::binding_events::BindingEventSender;
use super::inbox::HandoverSender;
use super::inspection::Inspection;
use super::report::{Cause, Failure, Notice};
use super::snapshot::Snapshot;
use super::survey::Survey;
use super::trace::Tracer;
use crate::device::{BATCH, BATCH_BYTES, Device};
use crate::reason::Reason;
use crate::time::Instant;
use crate::translator::{Change, Event, ExtraPackets, Translator, Verdict, WorkerId};
use crate::wire::buf::{MAX_PACKET, PacketBuf};

/// Capacity for extra packets of a batch. The worst case is a batch of UDP super-packets: Linux sends
/// them without DF, so each datagram longer than 1,260 bytes becomes two fragments. Unused buffers
/// occupy no physical memory.
const EXTRA: usize = 2 * (BATCH_BYTES + MAX_PACKET) / 1240 + BATCH;
/// Packet buffers of a worker.
pub(super) const BUFFERS: usize = BATCH + EXTRA;
/// Sessions that may expire between two batches.
const EXPIRE: usize = 64;
/// Events fetched at once.
const EVENTS: usize = 64;
/// Retry interval when the device fails or the event channel is full.
const RETRY: Duration = Duration::from_millis(100);

/// What the clock of all workers shows when they start: sessions of an earlier gateway have been silent since before.
const ORIGIN: Duration = Duration::from_secs(24 * 3600);

/// The monotonic clock of all workers. It begins with [`ORIGIN`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one clock of the packet path")]
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn now(self) -> Instant {
        let elapsed = self.0.elapsed() + ORIGIN;
        Instant::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A command to a worker.
pub(super) enum Command {
    /// Apply the change before the next batch, then signal the sender.
    Change(Change, oneshot::Sender<()>),
    /// Signal the sender.
    Ping(oneshot::Sender<()>),
    /// Count in steps between batches.
    Survey(Survey),
    /// Follow packets.
    Trace(Box<Tracer>),
    /// Stop when no packet waits, or at this time.
    Stop(Instant),
}

/// A list of packets to send that keeps its allocation between batches.
#[derive(Default)]
pub(super) struct SendList(Vec<&'static PacketBuf>);

impl SendList {
    /// Lends the empty list, for references that live as long as this batch.
    pub(super) fn lend<'a>(&mut self) -> Vec<&'a PacketBuf> {
        std::mem::take(&mut self.0)
    }

    /// Takes the list back. Collecting from an emptied vector keeps its allocation.
    pub(super) fn return_list(&mut self, mut list: Vec<&PacketBuf>) {
        list.clear();
        self.0 = list.into_iter().map(|_| unreachable!("the list is empty")).collect();
    }
}

/// A worker's connections to other threads.
pub(super) struct Channels {
    /// Packets from and to other workers.
    pub(super) handover: HandoverSender,
    pub(super) commands: commands::Receiver<Command>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) binding_events: BindingEventSender,
}

/// What a worker owns: its translator, its device, and the file that has its sessions.
pub(super) struct Parts {
    pub(super) translator: Translator,
    pub(super) device: Box<dyn Device>,
    pub(super) snapshot: Option<Snapshot>,
}

pub(super) struct Worker {
    id: WorkerId,
    parts: Parts,
    clock: Clock,
    channels: Channels,
    packets: Vec<PacketBuf>,
    verdicts: Vec<Verdict>,
    extra: ExtraPackets,
    outgoing: SendList,
    events: Vec<Event>,
    inspection: Inspection,
    /// When to stop, once commanded.
    stop: Option<Instant>,
    /// Whether the last use of the device failed.
    failing: bool,
}

/// Runs the worker until it stops, reports a panic, and returns the device.
pub(super) fn run_and_report_panic(mut worker: Worker, failures: &mpsc::Sender<Failure>) -> Box<dyn Device> {
    let id = worker.id;
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| worker.run_to_end(failures))) {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let cause = Cause::Panic(text.unwrap_or_else(|| "no message".to_owned()));
        // There is room: see `start`.
        let _ = failures.try_send(Failure { worker: id, cause });
    }
    worker.parts.device
}

impl Worker {
    pub(super) fn new(id: WorkerId, parts: Parts, clock: Clock, channels: Channels) -> Self {
        Self {
            id,
            parts,
            clock,
            channels,
            packets: (0..BATCH).map(|_| PacketBuf::new(MAX_PACKET)).collect(),
            verdicts: vec![Verdict::Hold; BATCH],
            extra: ExtraPackets::new(EXTRA, MAX_PACKET),
            outgoing: SendList::default(),
            events: vec![Event::PoolExhausted { host: NO_HOST }; EVENTS],
            inspection: Inspection::default(),
            stop: None,
            failing: false,
        }
    }

    /// Runs until it stops, then saves all sessions.
    fn run_to_end(&mut self, failures: &mpsc::Sender<Failure>) {
        self.run(failures);
        if let Some(snapshot) = &mut self.parts.snapshot {
            snapshot.complete(self.clock.now(), &self.parts.translator);
        }
    }

    fn run(&mut self, failures: &mpsc::Sender<Failure>) {
        loop {
            self.drain_commands();
            let filled = self.read(failures);
            let now = self.clock.now();
            if filled > 0 {
                self.extra.clear();
                let packets = &mut self.packets[..filled];
                self.inspection.before(packets);
                self.parts.translator.process(now, packets, &mut self.verdicts, &mut self.extra);
                self.inspection.after(time_of_day, packets, &self.verdicts, &mut self.extra);
                self.dispatch(filled);
            }
            let more_due = self.expire(now);
            if let Some(snapshot) = &mut self.parts.snapshot {
                snapshot.keep_up(now, &self.parts.translator);
            }
            let more_to_count = self.inspection.surveys.step(now, &self.parts.translator);
            let unreported = self.report_events();
            if filled == 0 && !more_due && !more_to_count {
                if self.stop.is_some() {
                    return;
                }
                self.wait(unreported);
            }
            if self.stop.is_some_and(|deadline| deadline <= now) {
                return;
            }
        }
    }

    /// Executes the commands received since the last batch. Returns whether there were any. A closed
    /// channel stops the worker.
    fn drain_commands(&mut self) -> bool {
        let mut any = false;
        loop {
            match self.channels.commands.try_recv() {
                Ok(Command::Change(change, switched)) => {
                    if matches!(change, Change::Settings(_)) {
                        self.inspection.surveys.cancel();
                    }
                    self.parts.translator.reconfigure(self.clock.now(), change);
                    // The sender may no longer wait.
                    let _ = switched.send(());
                }
                // The sender may no longer wait.
                Ok(Command::Ping(responded)) => _ = responded.send(()),
                Ok(Command::Survey(survey)) => self.inspection.surveys.begin(survey),
                Ok(Command::Trace(tracer)) => self.inspection.tracer = Some(tracer),
                Ok(Command::Stop(deadline)) => self.stop = Some(deadline),
                Err(commands::TryRecvError::Empty) => return any,
                Err(commands::TryRecvError::Disconnected) => {
                    return self.stop.replace(Instant::ZERO).is_none() || any;
                }
            }
            any = true;
        }
    }

    /// Fills the batch: first with packets from other workers, which have waited longest, up to half
    /// of the batch; then from the device.
    fn read(&mut self, failures: &mpsc::Sender<Failure>) -> usize {
        let handed = self.channels.handover.inbox().take(&mut self.packets[..BATCH / 2]);
        let read = self.parts.device.recv(&mut self.packets[handed..]);
        let filtered = self.parts.device.filtered();
        self.count(Reason::Overload, filtered);
        match read {
            Ok(filled) => {
                if core::mem::take(&mut self.failing) {
                    let _ = failures.try_send(Failure { worker: self.id, cause: Cause::Recovered });
                }
                handed + filled
            }
            Err(error) => {
                self.report_failure(error, failures);
                handed
            }
        }
    }

    fn report_failure(&mut self, error: io::Error, failures: &mpsc::Sender<Failure>) {
        if !self.failing {
            self.failing = true;
            // Without a receiver the report is dropped.
            let _ = failures.try_send(Failure { worker: self.id, cause: Cause::Device(error) });
        }
    }

    /// Hands packets that other workers own over to them, and sends the rest in order of arrival.
    fn dispatch(&mut self, filled: usize) {
        let mut full = 0;
        let extra = self.extra.packets();
        let mut next = 0;
        for (index, packet) in self.packets[..filled].iter_mut().enumerate() {
            if let Verdict::HandOver(to) = self.verdicts[index] {
                full += u64::from(!self.channels.handover.hand_over(to, packet));
            }
            while let Some(one) = extra.get_mut(next).filter(|e| usize::from(e.follows) <= index) {
                full +=
                    one.to.map_or(0, |to| u64::from(!self.channels.handover.hand_over(to, &mut one.packet)));
                next += 1;
            }
        }
        self.count(Reason::RingFull, full);
        self.channels.handover.wake();
        self.send(filled);
    }

    /// Sends the packets of the batch that were not handed over.
    fn send(&mut self, filled: usize) {
        let mut list = self.outgoing.lend();
        let mut extra = self.extra.packets().iter().peekable();
        for (index, packet) in self.packets[..filled].iter().enumerate() {
            match self.verdicts[index] {
                Verdict::Forward | Verdict::Reject(_) => list.push(packet),
                Verdict::Hold | Verdict::HandOver(_) | Verdict::Drop(_) => {}
            }
            while let Some(one) = extra.next_if(|e| usize::from(e.follows) <= index) {
                list.extend(one.to.is_none().then_some(&one.packet));
            }
        }
        list.extend(extra.filter(|e| e.to.is_none()).map(|e| &e.packet));
        let refused = if list.is_empty() { 0 } else { self.parts.device.send(&list) };
        self.outgoing.return_list(list);
        self.count(Reason::DeviceWrite, refused as u64);
    }

    /// Expires sessions and other timers. Returns whether more are due now.
    fn expire(&mut self, now: Instant) -> bool {
        if self.parts.translator.next_deadline().is_none_or(|due| due > now) {
            return false;
        }
        self.extra.clear();
        let more = self.parts.translator.expire(now, EXPIRE, &mut self.extra);
        let mut full = 0;
        for one in self.extra.packets() {
            full += one.to.map_or(0, |to| u64::from(!self.channels.handover.hand_over(to, &mut one.packet)));
        }
        self.count(Reason::RingFull, full);
        self.channels.handover.wake();
        self.send(0);
        more
    }

    /// Reports events while the channel and the ring of the binding log have room. Returns whether events may
    /// remain.
    fn report_events(&mut self) -> bool {
        loop {
            let logged = self.channels.binding_events.room();
            let room = self.channels.notices.capacity().min(EVENTS).min(logged.unwrap_or(EVENTS));
            if room == 0 {
                return logged == Some(0) || !self.channels.notices.is_closed();
            }
            let count = self.parts.translator.events(&mut self.events[..room]);
            if count == 0 {
                return false;
            }
            let at = time_of_day();
            for &event in &self.events[..count] {
                // Another worker may have filled the channel meanwhile: then the notice is lost.
                let notice = Notice { worker: self.id, at, event };
                if logged.is_some() {
                    self.channels.binding_events.send(notice);
                }
                // Only the binding log receives sessions.
                let is_session = matches!(event, Event::SessionStarted { .. } | Event::SessionEnded { .. });
                if !is_session && self.channels.notices.try_send(notice).is_err() {
                    self.parts.translator.counters().events_lost.add(1);
                }
            }
        }
    }

    /// Sleeps until a packet, a command or a timer is due.
    fn wait(&mut self, unreported: bool) {
        let snapshot = self.parts.snapshot.as_ref().map(Snapshot::due);
        let due = [self.parts.translator.next_deadline(), snapshot].into_iter().flatten().min();
        let due = due.map(|due| due.since(self.clock.now()));
        let retry = (unreported || self.failing).then_some(RETRY);
        let timeout = due.into_iter().chain(retry).min();
        self.channels.handover.inbox().waker().arm();
        // Packets and commands from before `arm` sent no wake-up.
        if self.channels.handover.inbox().is_empty() && !self.drain_commands() {
            let waker = self.channels.handover.inbox().waker();
            // A failed sleep returns at once; the loop then tries again.
            let _ = if self.failing {
                waker.sleep(None, timeout)
            } else {
                self.parts.device.wait(waker, timeout)
            };
        }
        self.channels.handover.inbox().waker().disarm();
    }

    fn count(&self, reason: Reason, packets: u64) {
        if packets > 0 {
            self.parts.translator.counters().zone(None).drops(reason).add(packets);
        }
    }
}

const NO_HOST: crate::addr::HostKey =
    crate::addr::HostKey::new(crate::addr::ZoneId(0), std::net::Ipv6Addr::UNSPECIFIED, 0);

#[expect(clippy::disallowed_methods, reason = "events carry the time of day")]
fn time_of_day() -> SystemTime {
    SystemTime::now()
}
