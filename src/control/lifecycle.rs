//! Start and exit of the gateway, and its main loop.
//!
//! Everything is built and validated before the first packet is read. A failed start and an orderly exit undo the
//! changes to the host, unless `--fd-store` keeps them for the next start.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::fd_store::FdStore;
use super::gateway::{
    Gateway, SavedState, Seeds, filter_hosts, log_warnings, notify, prefixes, set_translating, start_resolver,
};
use super::host_info::LocalHost;
use super::host_state::{DeviceGone, HostError, HostState};
use super::host_watch::{Changed, HostWatch};
use super::journal::{Extent, Journal};
use super::last_good::{self, Source};
use super::memory::{self, Memory, MemoryLimit};
use super::neighbours::Announcer;
use super::netlink::Netlink;
use super::progress::{self, Progress};
use super::records::{Logs, session_files};
use super::reload::{restored_lingering, with_lingering};
use super::requirements::Requirements;
use super::saved_blocks::{self, SavedBlocks};
use super::saved_sessions::{self, Inherited, SavedSessions};
use super::services::{self, Services};
use super::sysctl::Tree;
use super::{clock, logging, privileges, sandbox, state_dir};
use crate::addr::WorkerId;
use crate::config::{Config, MAX_ZONES};
use crate::device::overload::OverloadFilter;
use crate::device::steer::Steering;
use crate::device::tun::{self, Queue};
use crate::observe::admin::{self, Request};
use crate::observe::ledger::SessionFiles;
use crate::observe::{metrics, view::View};
use crate::resolver::Resolver;
use crate::worker::{self, Assignment, Cause, Failure, Notice, Saved, Started};

pub(crate) use super::gateway::RunError;

/// Capacity of the channel of notices from the workers.
const NOTICES: usize = 4096;

/// Capacity of the channel of requests from the admin socket.
const REQUESTS: usize = 16;

/// Everything that is ready before threads start and capabilities are dropped.
struct Prepared {
    config: Config,
    journal: Journal,
    interface: tun::Interface,
    queues: Vec<Queue>,
    seeds: Seeds,
    steering: Option<Steering>,
    overload: Option<OverloadFilter>,
    saved_sessions: SavedSessions,
    inherited: Inherited,
    fd_store: FdStore,
    source: Source,
    announcer: Announcer,
}

/// Runs a gateway until SIGTERM or SIGINT. With `fd_store`, the device and all changes to the host stay for the next
/// start; the service manager runs `gate64 cleanup` after a final stop.
///
/// # Errors
/// The start failed, and its changes were undone unless `fd_store` keeps them; or a worker panicked.
pub(crate) fn run(path: &Path, fd_store: bool) -> Result<(), RunError> {
    logging::init();
    let prepared = prepare(path, FdStore::open(fd_store))?;
    // The threads below inherit the remaining capabilities.
    privileges::drop_unneeded(&prepared.config.host.state_dir)?;
    if let Err(why) = sandbox::enter() {
        // In the unit: its own filter does not allow another one.
        tracing::debug!("no filter of system calls: {why}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .map_err(RunError::system("threads"))?;
    runtime.block_on(serve(path, prepared))
}

/// Reads the configuration, and opens or adopts the device. With a new device, undoes the changes of the previous gateway.
fn prepare(path: &Path, mut fd_store: FdStore) -> Result<Prepared, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::system("the runtime"))?;
    let system = runtime.block_on(LocalHost::read(None)).map_err(RunError::system("addresses"))?;
    let (mut config, source) = last_good::load(path, &system)?;
    log_warnings(&mut config);
    check_memory(&config)?;
    if !privileges::may_start() {
        return Err(RunError::NotAllowed);
    }
    let mut journal = Journal::open(&config.host.state_dir)?;
    let host = &config.host;
    let settings = tun::Settings {
        name: host.device.clone(),
        queues: host.workers,
        mtu: host.mtu,
        offloads: host.offloads,
    };
    let (interface, mut queues) = tun::open(&settings, fd_store.take_queues())?;
    if interface.is_adopted() {
        tracing::info!("{} stayed up with {} queues", interface.name(), queues.len());
    } else {
        runtime.block_on(undo(&mut journal))?;
    }
    fd_store.keep_queues(&queues, interface.is_adopted());
    let (saved_sessions, inherited) = SavedSessions::open(&config, runtime_dir(&fd_store));
    let seeds = Seeds::draw(config.host.workers, inherited.owner_seed)?;
    let steering = steer(&config, &seeds, &interface, &queues);
    let overload = filter_overload(&config, &seeds, &mut queues);
    Ok(Prepared {
        config,
        journal,
        interface,
        queues,
        seeds,
        steering,
        overload,
        saved_sessions,
        inherited,
        fd_store,
        source,
        announcer: Announcer::open(),
    })
}

/// Undoes the changes of a killed gateway whose device is gone, and those that outlast a stop.
async fn undo(journal: &mut Journal) -> Result<(), RunError> {
    if journal.is_from_killed_gateway() {
        tracing::warn!("a previous gateway was killed; undoing its changes");
    }
    if !journal.is_empty() {
        let netlink = Netlink::open().map_err(RunError::system("netlink"))?;
        journal.undo(Extent::All, &Tree::kernel(), &netlink).await?;
    }
    Ok(())
}

/// The directory in memory that the service manager keeps over a restart (`RuntimeDirectory=`).
fn runtime_dir(fd_store: &FdStore) -> Option<PathBuf> {
    let dirs = std::env::var_os("RUNTIME_DIRECTORY").filter(|_| fd_store.is_enabled())?;
    // Several directories are separated by colons.
    dirs.to_str()?.split(':').next().map(PathBuf::from)
}

/// Checks that this process may use the memory that the configuration promises.
fn check_memory(config: &Config) -> Result<(), RunError> {
    let memory = Memory::of(config);
    if config.host.checks.memory {
        memory.check(MemoryLimit::of_this_process().as_ref()).map_err(RunError::Memory)?;
    }
    if let Some(warning) = memory.warning(memory::of_machine()) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Attaches the steering program if there are several workers and the kernel supports it. Logs offloads and steering
/// in one line.
fn steer(config: &Config, seeds: &Seeds, interface: &tun::Interface, queues: &[Queue]) -> Option<Steering> {
    let wanted = config.host.steering && queues.len() > 1;
    let steering = wanted.then(|| Steering::begin(&seeds.owners(config), &queues[0]));
    let how = match &steering {
        _ if queues.len() == 1 => "one worker".to_owned(),
        Some(Ok(_)) => "the kernel steers packets to workers".to_owned(),
        Some(Err(why)) => {
            format!("workers hand packets over, because the kernel rejects the steering program: {why}")
        }
        None => "workers hand packets over".to_owned(),
    };
    let (name, count, offloads) = (interface.name(), queues.len(), interface.offloads());
    tracing::info!("{name}: {count} queues, offloads: {offloads}; {how}");
    steering.and_then(Result::ok)
}

/// Attaches the overload filter if the kernel supports it.
fn filter_overload(config: &Config, seeds: &Seeds, queues: &mut [Queue]) -> Option<OverloadFilter> {
    let wanted = config.host.overload_filter && !queues.is_empty();
    let filter = wanted.then(|| {
        let owners = seeds.owners(config);
        OverloadFilter::begin(&filter_hosts(config, &owners), &queues[0])
    })?;
    match filter {
        Ok(filter) => {
            (0..).zip(queues).for_each(|(number, queue)| queue.set_overload(filter.control(number)));
            Some(filter)
        }
        Err(why) => {
            tracing::warn!("a flood of one host delays others, because the kernel rejects the filter: {why}");
            None
        }
    }
}

async fn serve(path: &Path, prepared: Prepared) -> Result<(), RunError> {
    let Prepared { config, journal, interface, queues, seeds, steering, overload, .. } = prepared;
    // From now on a signal ends the gateway in an orderly way, even during the start.
    let signals = Signals::listen().map_err(RunError::system("signals"))?;
    let netlink = Netlink::open().map_err(RunError::system("netlink"))?;
    let host_watch = HostWatch::open().map_err(RunError::system("netlink"))?;
    let mut host_state = host_state(&interface, journal, prepared.announcer, &netlink);
    let own = netlink.addresses(Some(interface.name())).await.map_err(HostError::from)?;
    let lingering = restored_lingering(&config);
    let required = Requirements::of(&config, &own, &prefixes(&lingering));
    let taken = host_state.apply(&config, &required).await;
    let is_host_kept = prepared.fd_store.is_enabled();
    if let Err(why) = taken {
        release_unless(is_host_kept, host_state, Extent::All).await;
        return Err(why.into());
    }
    let mut saved = SavedState {
        blocks: SavedBlocks::open(&config, clock::wall()),
        sessions: prepared.saved_sessions,
        is_host_kept,
    };
    let restore = saved.sessions.begin(&seeds.owners(&config), prepared.inherited);
    let effective = with_lingering(&config, &lingering);
    let files = session_files(&config, &saved.sessions, &restore);
    let assignments = assign(&effective, &seeds, queues, with_blocks(restore, &saved.blocks));
    match begin(&config, assignments, files).await {
        Ok(running) => {
            let Running { started, resolver, view, requests, logs } = running;
            let Started { workers, events, failures, .. } = started;
            saved_sessions::log(workers.restored());
            let inputs = Inputs { signals, events, failures, requests, host_watch, logs };
            let monitor = overload.as_ref().map(OverloadFilter::monitor);
            view.set_device(interface.offloads(), steering.is_some(), monitor);
            let file = prepared.source.publish(path, &config, &view);
            let gateway = Gateway {
                file,
                config,
                host_state,
                seeds,
                steering,
                overload,
                workers,
                resolver,
                is_down: false,
                lingering,
                saved,
                view,
            };
            let ended = gateway.run(inputs).await;
            drop(interface);
            ended
        }
        Err(why) => {
            release_unless(is_host_kept, host_state, Extent::All).await;
            Err(why)
        }
    }
}

/// The host as the start finds it.
fn host_state(
    interface: &tun::Interface,
    journal: Journal,
    announcer: Announcer,
    netlink: &Netlink,
) -> HostState {
    let mut state = HostState::new(netlink.clone(), journal, announcer, interface.name(), interface.index());
    if interface.is_adopted() {
        state.adopt_device();
    }
    state
}

/// The parts of a gateway that run.
struct Running {
    started: Started,
    resolver: Option<Resolver>,
    view: Arc<View>,
    requests: mpsc::Receiver<Request>,
    logs: Logs,
}

/// Undoes the changes to the host, unless they are kept for the next start.
async fn release_unless(is_kept: bool, host_state: HostState, extent: Extent) {
    if !is_kept {
        host_state.release(extent).await;
    }
}

/// Adds the block assignments of earlier gateways.
fn with_blocks(mut saved: Vec<Saved>, blocks: &SavedBlocks) -> Vec<Saved> {
    let blocks: Arc<[_]> = blocks.all().collect();
    saved.iter_mut().for_each(|saved| saved.blocks = Arc::clone(&blocks));
    saved
}

/// Everything that each worker needs.
fn assign(config: &Config, seeds: &Seeds, queues: Vec<Queue>, saved: Vec<Saved>) -> Vec<Assignment> {
    let each = seeds.settings(config).into_iter().zip(queues).zip(saved);
    each.map(|((settings, queue), saved)| Assignment { settings, device: Box::new(queue), saved }).collect()
}

async fn begin(
    config: &Config,
    assignments: Vec<Assignment>,
    files: Option<SessionFiles>,
) -> Result<Running, RunError> {
    // Listeners first: an address in use is an error before the first packet is translated.
    let resolver = config.dns64.as_ref().map(start_resolver).transpose()?;
    let mut started = worker::start(assignments, MAX_ZONES, NOTICES).map_err(RunError::system("workers"))?;
    let view = Arc::new(View::new(config, &started.workers, resolver.as_ref(), clock::monotonic));
    let logs = Logs::start(config, &mut started, &view, files)?;
    if let Some(listen) = config.observe.metrics {
        metrics::serve(listen, view.clone()).await;
    }
    let what = config.observe.admin.display().to_string();
    let (sender, requests) = mpsc::channel(REQUESTS);
    admin::serve(&config.observe.admin, view.clone(), sender).await.map_err(RunError::system(what))?;
    Ok(Running { started, resolver, view, requests, logs })
}

/// The signals that the gateway handles.
struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// What the main loop waits for.
struct Inputs {
    signals: Signals,
    events: mpsc::Receiver<Notice>,
    failures: mpsc::Receiver<Failure>,
    requests: mpsc::Receiver<Request>,
    host_watch: HostWatch,
    logs: Logs,
}

impl Gateway {
    /// Main loop, until a signal ends the gateway or a worker panics.
    async fn run(mut self, inputs: Inputs) -> Result<(), RunError> {
        let Inputs { mut signals, mut events, mut failures, mut requests, mut host_watch, logs } = inputs;
        notify(&[NotifyState::Ready, NotifyState::Status("translating")]);
        tracing::info!("ready: {} zones", self.config.zone_names.len());
        // They may have changed since the configuration was read.
        self.update_local_addresses().await;
        let mut save = tokio::time::interval(saved_blocks::INTERVAL);
        let mut search = tokio::time::interval(services::INTERVAL);
        let mut services = Services::default();
        let mut failing = BTreeSet::new();
        let mut progress = Progress::start();
        let ended = loop {
            tokio::select! {
                changed = host_watch.changed() => if let Err(DeviceGone) = self.follow_host(changed).await {
                    break Err(RunError::DeviceGone(self.config.host.device.clone()));
                },
                _ = signals.reload.recv() => {
                    drop(self.reload(clock::monotonic()).await);
                    host_watch.expect(Changed::All);
                    search.reset_immediately();
                }
                Some(request) = requests.recv() => if self.answer(request).await {
                    host_watch.expect(Changed::All);
                    search.reset_immediately();
                },
                () = self.linger() => self.forget_lingering(clock::monotonic()).await,
                Some(notice) = events.recv() => self.note(&notice),
                _ = save.tick() => {
                    self.saved.blocks.save(&self.config, clock::wall());
                    self.saved.sessions.check();
                }
                () = progress.due() => self.check_health(&mut progress).await,
                _ = search.tick() => services.search(&self.config),
                Some(failure) = failures.recv() => {
                    log_failure(&failure);
                    if let Cause::Panic(_) = failure.cause {
                        break Err(RunError::Worker(failure.worker.0));
                    }
                    self.note_device(&mut failing, &failure);
                }
                _ = signals.terminate.recv() => break Ok(()),
                _ = signals.interrupt.recv() => break Ok(()),
            }
        };
        self.end(events, logs).await;
        ended
    }

    /// Executes a request of the admin socket. Returns whether it was a reload.
    async fn answer(&mut self, request: Request) -> bool {
        // The client may have closed its connection.
        match request {
            Request::Reload(sender) => {
                let _ = sender.send(self.reload(clock::monotonic()).await);
                true
            }
            Request::DryRun(sender) => {
                let _ = sender.send(self.dry_run(clock::monotonic()).await);
                false
            }
        }
    }

    /// Follows an event of a worker.
    fn note(&mut self, notice: &Notice) {
        self.saved.blocks.note(&notice.event);
        if let Some(filter) = &mut self.overload {
            filter.note(&notice.event);
        }
        self.view.note(notice);
    }

    /// Tracks failing devices. While no worker can use its device, DNS64 does not synthesize addresses.
    fn note_device(&mut self, failing: &mut BTreeSet<WorkerId>, failure: &Failure) {
        let all = self.seeds.workers.len();
        let was_down = failing.len() == all;
        match failure.cause {
            Cause::Device(_) => _ = failing.insert(failure.worker),
            Cause::Recovered => _ = failing.remove(&failure.worker),
            Cause::Panic(_) => {}
        }
        let is_down = failing.len() == all;
        self.is_down = is_down;
        self.view.report(|condition| condition.is_down = is_down);
        if is_down != was_down
            && let Some(resolver) = &self.resolver
        {
            set_translating(resolver, &self.config, !is_down);
        }
    }

    /// Stops DNS64, drains the workers, and saves sessions and blocks. Undoes the changes to the host, unless
    /// `--fd-store` keeps them; unreachable routes stay.
    async fn end(mut self, mut events: mpsc::Receiver<Notice>, logs: Logs) {
        notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        progress::publish(&self.config.health, false);
        let drain = self.config.host.drain;
        let logs = logs.read().await;
        if let Some(resolver) = self.resolver {
            resolver.stop(drain).await;
        }
        let workers = self.workers;
        let devices = tokio::task::spawn_blocking(move || workers.stop(drain)).await;
        drop(devices);
        // Blocks assigned since the last notice was received are in use, too.
        while let Ok(notice) = events.try_recv() {
            self.saved.blocks.note(&notice.event);
        }
        self.saved.blocks.save(&self.config, clock::wall());
        self.saved.sessions.finish();
        logs.stop().await;
        release_unless(self.saved.is_host_kept, self.host_state, Extent::Stop).await;
        state_dir::hand_over(&self.config.host.state_dir);
        // A missing socket is not an error.
        let _ = std::fs::remove_file(&self.config.observe.admin);
        tracing::info!("stopped");
    }
}

fn log_failure(failure: &Failure) {
    let worker = failure.worker.0;
    match &failure.cause {
        Cause::Panic(text) => tracing::error!("worker {worker} panicked, its packets are lost: {text}"),
        Cause::Device(why) => tracing::error!("worker {worker}: device error: {why}"),
        Cause::Recovered => tracing::info!("worker {worker}: the device has recovered"),
    }
}
