//! The binding log: which host had which port when (RFC 6888 REQ-12).
//!
//! Workers put the events of port blocks into rings, without waiting. One task empties the rings, makes records of
//! the events, and queues them for each sink. A slow sink loses records, which are counted; it never delays packets.
//!
//! If a worker's ring is full, events wait in the translator's bounded queue, which counts losses. The task empties
//! the rings every 50 ms and adds the records of static bindings. The files have a thread of their own, since a file
//! system can block; each collector has a task, which connects again after errors. Losses are noted in the log itself.
//! `assignments` has the present assignments: `gate64 who` asks for them, and each day's first file begins with them, so
//! that any day can be read alone and old days can be deleted.

mod assignments;
mod collector;
mod files;
#[cfg(test)]
mod fixtures;
mod hosts;
mod ipfix;
mod journal;
mod record;
pub mod search;
mod sink;
mod syslog;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::addr::{HostKey, PortRange, ZoneId};
use crate::config::{self, Config, SessionRecords};
use crate::counters::Counters;
use crate::dns64::Via;
use crate::nat64::{LoggedSession, StaticBinding};
use crate::resolver::tls;
use crate::translator::{BlockAssignment, Event};
use crate::worker::{BindingEvents, Notice, Workers};
use assignments::Assignments;
use collector::{Collector, Format, Target};
use files::FileSink;
pub(in crate::observe) use hosts::Hosts;
use ipfix::Exporter;
use sink::{QUEUE, Sink};

pub use record::{Destination, Kind, Mapping, Protocol, Record, Session};
pub use sink::SinkStatus;

use record::timestamp;

/// Interval at which the rings are emptied.
const POLL: Duration = Duration::from_millis(50);
/// Minimum interval between warnings about lost records.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Capacity of the channel of commands.
const COMMANDS: usize = 16;
/// Timeout of the sinks at exit.
const DRAIN: Duration = Duration::from_secs(2);

/// A running binding log.
pub struct BindingLog {
    view: BindingLogView,
    task: tokio::task::JoinHandle<()>,
    /// The tasks of collectors and the thread that writes files.
    writers: Writers,
}

/// What metrics and the admin socket show of the log.
#[derive(Clone, Debug)]
pub struct BindingLogView {
    node: String,
    assignments: Assignments,
    sinks: Vec<Arc<SinkStatus>>,
    commands: mpsc::Sender<Command>,
}

impl BindingLogView {
    /// Name of the gateway.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The present assignments that contain a port.
    pub fn find(&self, address: Ipv4Addr, port: u16) -> Vec<Mapping> {
        self.assignments.find(address, port)
    }

    /// The sinks.
    pub fn sinks(&self) -> &[Arc<SinkStatus>] {
        &self.sinks
    }

    /// Follows the zones and static bindings of a reloaded configuration.
    pub fn reconfigure(&self, config: &Config) {
        // There is room for more reloads than the task lets wait.
        let _ = self.commands.try_send(Command::Rename(Names::of(config)));
    }
}

/// A command to the task.
#[derive(Debug)]
enum Command {
    Rename(Names),
    Stop,
}

/// What a reload changes: names of zones, and static bindings.
#[derive(Debug, Default)]
struct Names {
    zones: BTreeMap<ZoneId, String>,
    /// Static bindings, with their host.
    statics: Vec<(StaticBinding, HostKey)>,
}

impl Names {
    fn of(config: &Config) -> Self {
        let zones = &config.nat64.zones;
        let host = |binding: &StaticBinding| {
            let clients = zones.iter().flat_map(|zone| zone.clients.iter().map(move |net| (net, zone)));
            let around = clients.filter(|(net, _)| net.contains(binding.v6.addr));
            let (_, zone) = around.max_by_key(|(net, _)| net.len())?;
            Some((*binding, HostKey::new(zone.id, binding.v6.addr, zone.host_len)))
        };
        Self {
            zones: zones.iter().map(|zone| zone.id).zip(config.zone_names.iter().cloned()).collect(),
            statics: config.nat64.statics.iter().filter_map(host).collect(),
        }
    }
}

impl BindingLog {
    /// Starts the log on the present runtime. `now` is the wall clock.
    ///
    /// # Errors
    /// The key of the hash is unreadable, or the process has no thread left.
    pub fn start(
        config: &Config,
        events: BindingEvents,
        workers: &Workers,
        now: fn() -> SystemTime,
    ) -> io::Result<Self> {
        let settings = &config.binding_log;
        let node = settings.node.clone().unwrap_or_else(host_name);
        let assignments = Assignments::default();
        let hosts = Hosts::open(settings.host_key.as_deref())?;
        let (mut sinks, mut writers) = start_collectors(settings, now)?;
        if let Some(files) = &settings.files {
            let (sink, thread) = start_files(files, &node, &assignments, now)?;
            sinks.push(sink);
            writers.thread = Some(thread);
        }
        let statuses = sinks.iter().map(|sink| Arc::clone(&sink.status)).collect();
        let (commands, received) = mpsc::channel(COMMANDS);
        let view = BindingLogView {
            node: node.clone(),
            assignments: assignments.clone(),
            sinks: statuses,
            commands,
        };
        let alarm = Alarm::new(workers.counters());
        let records = settings.sessions;
        let writer = Writer { node, hosts, records, names: Names::default(), assignments, sinks, now };
        let mut log = Log { writer, events, alarm };
        log.writer.write(Kind::Start, None);
        log.writer.rename(Names::of(config));
        for BlockAssignment { host, addr, ports } in workers.restored().blocks.iter().copied() {
            log.writer.assign(now(), log.writer.block(host, addr, ports, now()));
        }
        let task = tokio::spawn(log.run(received));
        Ok(Self { view, task, writers })
    }

    /// What metrics and the admin socket show.
    pub fn view(&self) -> BindingLogView {
        self.view.clone()
    }

    /// Writes the last events; call it when the workers have stopped. Waits a bounded time for the sinks.
    pub async fn stop(self) {
        // The task ends only now.
        let _ = self.view.commands.send(Command::Stop).await;
        // A panic of the task is reported by the runtime.
        let _ = self.task.await;
        let Writers { mut tasks, thread } = self.writers;
        let joined = tokio::task::spawn_blocking(move || thread.map(std::thread::JoinHandle::join));
        let ended = async {
            while tasks.join_next().await.is_some() {}
            // A panic of the thread is printed by the runtime library.
            let _ = joined.await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("binding log: a sink did not finish within {DRAIN:?}");
        }
    }
}

/// Checks that key and certificates of the sinks can be read.
///
/// # Errors
/// The first file that cannot.
pub(crate) fn check(config: &Config) -> io::Result<()> {
    let settings = &config.binding_log;
    Hosts::open(settings.host_key.as_deref())?;
    let mut collectors = settings.syslog.iter().chain(&settings.ipfix);
    if collectors.any(|collector| matches!(collector.via, Via::Tls(_))) {
        tls::client_config(&settings.authorities, None)?;
    }
    Ok(())
}

/// What writes the records of the sinks.
struct Writers {
    tasks: JoinSet<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Starts the tasks of the journal and the collectors.
fn start_collectors(
    settings: &config::BindingLog,
    now: fn() -> SystemTime,
) -> io::Result<(Vec<Sink>, Writers)> {
    let (mut sinks, mut tasks) = (Vec::new(), JoinSet::new());
    let mut start = |name: &str, target, format| {
        let status = SinkStatus::new(name);
        let (queue, records) = mpsc::channel(QUEUE);
        tasks.spawn(Collector::new(target, format, Arc::clone(&status), now).run(records));
        sinks.push(Sink { queue, status });
    };
    if settings.journal {
        start("journal", Target::Local(journal::SOCKET.into()), Format::Journal);
    }
    let both = [("syslog", &settings.syslog), ("ipfix", &settings.ipfix)];
    for (kind, collector) in both.iter().flat_map(|(kind, list)| list.iter().map(move |one| (*kind, one))) {
        let is_tls = matches!(collector.via, Via::Tls(_));
        let authorities = is_tls.then(|| tls::client_config(&settings.authorities, None)).transpose()?;
        let target = Target::Network(collector.addr, collector.via.clone(), authorities);
        let format = if kind == "ipfix" { Format::Ipfix(Exporter::new()) } else { Format::Syslog };
        start(&format!("{kind} {}", collector.url), target, format);
    }
    Ok((sinks, Writers { tasks, thread: None }))
}

/// Starts the thread that writes files: a file system can block for seconds.
fn start_files(
    settings: &config::LogFiles,
    node: &str,
    assignments: &Assignments,
    now: fn() -> SystemTime,
) -> io::Result<(Sink, std::thread::JoinHandle<()>)> {
    let status = SinkStatus::new("files");
    let (queue, records) = mpsc::channel(QUEUE);
    let sink = FileSink::new(settings.clone(), node.to_owned(), assignments.clone(), Arc::clone(&status));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = std::thread::Builder::new()
        .name("binding-log".to_owned())
        .spawn(move || runtime.block_on(sink.run(records, now)))?;
    Ok((Sink { queue, status }, thread))
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "gate64".to_owned() } else { name.trim().to_owned() }
}

/// The task of the log.
struct Log {
    writer: Writer,
    events: BindingEvents,
    alarm: Alarm,
}

impl Log {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                now = poll.tick() => {
                    self.drain();
                    self.alarm.check(now, &mut self.writer);
                }
                command = commands.recv() => {
                    // Events from before a reload have the old names.
                    self.drain();
                    match command {
                        Some(Command::Rename(names)) => self.writer.rename(names),
                        Some(Command::Stop) | None => break,
                    }
                }
            }
        }
        self.writer.write(Kind::Stop, None);
    }

    fn drain(&mut self) {
        let writer = &mut self.writer;
        self.events.drain(|notice| writer.note(&notice));
    }
}

/// Makes records of events and queues them for the sinks.
struct Writer {
    node: String,
    hosts: Hosts,
    /// What the records of sessions contain; `None` without such records.
    records: Option<SessionRecords>,
    names: Names,
    assignments: Assignments,
    sinks: Vec<Sink>,
    now: fn() -> SystemTime,
}

impl Writer {
    fn note(&mut self, notice: &Notice) {
        match notice.event {
            Event::BlockAssigned { host, addr, ports } => {
                self.assign(notice.at, self.block(host, addr, ports, notice.at));
            }
            Event::BlockReleased { host, addr, ports } => {
                self.end_block(notice.at, Kind::Release, (host, addr, ports));
            }
            Event::BlockReclaimed { host, addr, ports } => {
                self.end_block(notice.at, Kind::Reclaim, (host, addr, ports));
            }
            Event::SessionStarted { session } => self.session(notice.at, &session, None),
            Event::SessionEnded { session, age } => self.session(notice.at, &session, Some(age)),
            Event::QuotaReached { .. } | Event::PoolExhausted { .. } | Event::WithoutChecksum { .. } => {}
        }
    }

    /// Records the start of a session, or its end at an age.
    fn session(&self, at: SystemTime, session: &LoggedSession, ended: Option<Duration>) {
        let Some(SessionRecords { destinations }) = self.records else { return };
        let kind = if ended.is_some() { Kind::SessionEnd } else { Kind::SessionStart };
        let record = Session {
            zone: self.zone(session.zone),
            host: self.hosts.name(HostKey::new(session.zone, session.client.addr, 128)),
            host_port: session.client.port,
            address: session.mapped.addr,
            port: session.mapped.port,
            protocol: session.proto.into(),
            destination: destinations.then_some(Destination {
                destination: session.remote.addr,
                destination_port: session.remote.port,
                destination6: session.server,
            }),
            start: timestamp(ended.and_then(|age| at.checked_sub(age)).unwrap_or(at)),
            end: ended.map(|_| timestamp(at)),
            is_static: session.is_static,
        };
        self.queue(Record { session: Some(record), ..Record::of_gateway(timestamp(at), kind, &self.node) });
    }

    fn block(&self, host: HostKey, address: Ipv4Addr, ports: PortRange, at: SystemTime) -> Mapping {
        Mapping {
            zone: self.zone(host.zone),
            host: self.hosts.name(host),
            address,
            ports: (ports.first(), ports.last()),
            protocols: Protocol::ALL.to_vec(),
            host_port: None,
            start: timestamp(at),
            end: None,
        }
    }

    fn zone(&self, id: ZoneId) -> String {
        self.names.zones.get(&id).cloned().unwrap_or_else(|| id.0.to_string())
    }

    fn assign(&self, at: SystemTime, mapping: Mapping) {
        let present = self.assignments.find(mapping.address, mapping.ports.0);
        if present.iter().any(|present| present.is_same_assignment(&mapping)) {
            // A restored block, which is recorded already.
            return;
        }
        // Their end was lost.
        for obsolete in self.assignments.add(&mapping) {
            self.end(at, Kind::Release, obsolete);
        }
        self.send(at, Kind::Assign, Some(mapping));
    }

    fn end_block(&self, at: SystemTime, kind: Kind, (host, addr, ports): (HostKey, Ipv4Addr, PortRange)) {
        let known = self.assignments.remove_block(addr, ports.first());
        // Without its beginning, which was lost, the record begins and ends now.
        self.end(at, kind, known.unwrap_or_else(|| self.block(host, addr, ports, at)));
    }

    fn end(&self, at: SystemTime, kind: Kind, mapping: Mapping) {
        self.send(at, kind, Some(Mapping { end: Some(timestamp(at)), ..mapping }));
    }

    /// Switches to new names. Static bindings that a reload adds or removes begin or end now.
    fn rename(&mut self, names: Names) {
        let now = (self.now)();
        let before = std::mem::take(&mut self.names.statics);
        for (binding, host) in before.iter().filter(|entry| !names.statics.contains(entry)) {
            let mapping = self.static_binding(binding, *host, now);
            if let Some(mapping) = self.assignments.remove(&mapping) {
                self.end(now, Kind::Release, mapping);
            }
        }
        self.names = names;
        for (binding, host) in self.names.statics.iter().filter(|entry| !before.contains(entry)) {
            self.assign(now, self.static_binding(binding, *host, now));
        }
    }

    fn static_binding(&self, binding: &StaticBinding, host: HostKey, at: SystemTime) -> Mapping {
        let port = binding.v4.port;
        Mapping {
            zone: self.zone(host.zone),
            host: self.hosts.name(HostKey::new(host.zone, binding.v6.addr, 128)),
            address: binding.v4.addr,
            ports: (port, port),
            protocols: vec![binding.proto.into()],
            host_port: Some(binding.v6.port),
            start: timestamp(at),
            end: None,
        }
    }

    /// Queues a record that happens now.
    fn write(&self, kind: Kind, lost: Option<u64>) {
        let record = Record::of_gateway(timestamp((self.now)()), kind, &self.node);
        self.queue(Record { lost, ..record });
    }

    fn send(&self, at: SystemTime, kind: Kind, mapping: Option<Mapping>) {
        self.queue(Record { mapping, ..Record::of_gateway(timestamp(at), kind, &self.node) });
    }

    fn queue(&self, record: Record) {
        let record = Arc::new(record);
        self.sinks.iter().for_each(|sink| sink.send(&record));
    }
}

/// Notices lost records.
struct Alarm {
    /// Counters of the workers, whose queues lose events.
    counters: Vec<Arc<Counters>>,
    /// Losses that are known: of the workers and the sinks.
    known: u64,
    /// Losses since the last warning.
    unreported: u64,
    last: Option<Instant>,
}

impl Alarm {
    /// An alarm for losses from now on: restored blocks may have exceeded the queues.
    fn new(counters: Vec<Arc<Counters>>) -> Self {
        let mut alarm = Self { counters, known: 0, unreported: 0, last: None };
        alarm.known = alarm.of_workers();
        alarm
    }

    fn of_workers(&self) -> u64 {
        self.counters.iter().map(|worker| worker.events_lost.read()).sum()
    }

    /// Writes how many records are missing, and warns about it with a limited rate.
    fn check(&mut self, now: Instant, writer: &mut Writer) {
        let of_workers = self.of_workers();
        let of_sinks: u64 = writer.sinks.iter().map(|sink| sink.status.lost()).sum();
        let lost = (of_workers + of_sinks).saturating_sub(self.known);
        if lost > 0 {
            self.known += lost;
            self.unreported += lost;
            // If a queue is full, this record is lost as well.
            writer.write(Kind::Lost, Some(lost));
            let after: u64 = writer.sinks.iter().map(|sink| sink.status.lost()).sum();
            self.known += after - of_sinks;
        }
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= WARNING_INTERVAL);
        if self.unreported > 0 && is_due {
            tracing::warn!(
                "binding log: {} records are missing: see gate64_binding_log_lost_total",
                self.unreported
            );
            (self.unreported, self.last) = (0, Some(now));
        }
    }
}

#[cfg(test)]
mod tests;
