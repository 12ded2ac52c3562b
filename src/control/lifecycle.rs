//! A gateway's life: start, reload, stop.
//!
//! Everything is built and checked before the first packet is read. What a start has done is undone
//! by its failure as by the end.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::footprint::Footprint;
use super::hold::{Hold, HoldError};
use super::host_info::LocalHost;
use super::journal::{Journal, JournalError};
use super::leases::{self, Leases};
use super::netlink::Netlink;
use super::reload::Lingering;
use super::sysctl::Tree;
use super::{logging, privileges};
use crate::addr::WorkerId;
use crate::config::{Config, Dns64, LoadError, MAX_ZONES};
use crate::device::steer::Steering;
use crate::device::tun::{self, Queue};
use crate::observe::{admin, metrics, view::View};
use crate::ownership::Owners;
use crate::resolver::{self, Resolver};
use crate::translator::BlockAssignment;
use crate::worker::{self, Assignment, Cause, Failure, Notice, Started, Workers};

/// Notices that may wait for whoever reads them.
const NOTICES: usize = 4096;

/// Why the gateway can't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The record of changes.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The device.
    #[error(transparent)]
    Device(#[from] tun::OpenError),
    /// The host.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// Not allowed to.
    #[error("gate64 run needs CAP_NET_ADMIN: start it by systemd (gate64.service), or as root")]
    NotAllowed,
    /// Capabilities can't be given up.
    #[error("giving up capabilities: {0}")]
    Privileges(#[from] caps::errors::CapsError),
    /// A worker panicked: a bug, and a share of the traffic lost until a restart.
    #[error("worker {0} has ended; all others are ended too, so that a restart brings it back")]
    Worker(u8),
    /// Something of the system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl RunError {
    /// For `map_err`: says what was tried.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// What is ready before threads are started and rights given up.
struct Prepared {
    config: Config,
    journal: Journal,
    interface: tun::Interface,
    queues: Vec<Queue>,
    seeds: Seeds,
    steering: Option<Steering>,
}

/// Runs a gateway until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting; then nothing is left behind.
pub fn run(path: &Path) -> Result<(), RunError> {
    logging::init();
    let prepared = prepare(path)?;
    // From here on there will be threads, which inherit what is left.
    privileges::drop_unneeded()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .map_err(RunError::system("threads"))?;
    runtime.block_on(serve(path, prepared))
}

/// Reads the configuration, undoes what a killed gateway has left, opens the device.
fn prepare(path: &Path) -> Result<Prepared, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::system("the runtime"))?;
    let system = runtime.block_on(LocalHost::read(None)).map_err(RunError::system("addresses"))?;
    let mut config = Config::load(path, &system)?;
    log_warnings(&mut config);
    if !privileges::may_start() {
        return Err(RunError::NotAllowed);
    }
    let mut journal = Journal::open(&config.host.state_dir)?;
    if !journal.is_empty() {
        tracing::warn!("an earlier gateway was killed; undoing what it has left");
        runtime.block_on(async {
            let netlink = Netlink::open().map_err(RunError::system("netlink"))?;
            Ok::<_, RunError>(journal.undo(&Tree::kernel(), &netlink).await?)
        })?;
    }
    let host = &config.host;
    let settings = tun::Settings {
        name: host.device.clone(),
        queues: host.workers,
        mtu: host.mtu,
        offloads: host.offloads,
    };
    let (interface, queues) = tun::open(&settings)?;
    let seeds = Seeds::draw(config.host.workers)?;
    let steering = steer(&config, &seeds, &interface, &queues);
    Ok(Prepared { config, journal, interface, queues, seeds, steering })
}

/// Has the kernel choose each packet's worker, where there is a choice and it can; and says in one
/// line what the device does for us.
fn steer(config: &Config, seeds: &Seeds, interface: &tun::Interface, queues: &[Queue]) -> Option<Steering> {
    let wanted = config.host.steering && queues.len() > 1;
    let steering = wanted.then(|| Steering::begin(&seeds.owners(config), &queues[0]));
    let how = match &steering {
        _ if queues.len() == 1 => "one worker".to_owned(),
        Some(Ok(_)) => "the kernel chooses the worker".to_owned(),
        Some(Err(why)) => {
            format!("workers hand packets over, since the kernel takes no steering program: {why}")
        }
        None => "workers hand packets over".to_owned(),
    };
    let (name, count, offloads) = (interface.name(), queues.len(), interface.offloads());
    tracing::info!("{name}: {count} queues, offloads: {offloads}; {how}");
    steering.and_then(Result::ok)
}

/// Shows the warnings of a file once.
pub(super) fn log_warnings(config: &mut Config) {
    for warning in config.warnings.drain(..) {
        tracing::warn!("{warning}");
    }
}

/// A running gateway.
pub(super) struct Gateway {
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) hold: Hold,
    pub(super) seeds: Seeds,
    pub(super) steering: Option<Steering>,
    pub(super) workers: Workers,
    pub(super) resolver: Option<Resolver>,
    pub(super) lingering: Vec<Lingering>,
    pub(super) leases: Leases,
    pub(super) view: Arc<View>,
}

/// The chance a gateway was started with; the same for every reload.
pub(super) struct Seeds {
    workers: Vec<u64>,
    owner: u32,
}

impl Seeds {
    fn draw(workers: u8) -> Result<Self, RunError> {
        let failed = |why: getrandom::Error| RunError::System {
            what: "random numbers".to_owned(),
            source: io::Error::other(why.to_string()),
        };
        let drawn: Result<Vec<_>, _> = (0..workers).map(|_| getrandom::u64()).collect();
        Ok(Self { workers: drawn.map_err(failed)?, owner: getrandom::u32().map_err(failed)? })
    }

    /// Who owns what under this configuration.
    pub(super) fn owners(&self, config: &Config) -> Owners {
        config.nat64.owners(self.owner, u8::try_from(self.workers.len()).unwrap_or(u8::MAX))
    }

    /// What each worker is told.
    pub(super) fn settings(&self, config: &Config) -> Vec<crate::translator::Settings> {
        let count = u8::try_from(self.workers.len()).unwrap_or(u8::MAX);
        let each = (0..count).zip(&self.workers);
        each.map(|(id, seed)| config.worker(WorkerId(id), count, *seed, self.owner)).collect()
    }
}

async fn serve(path: &Path, prepared: Prepared) -> Result<(), RunError> {
    let Prepared { config, journal, interface, queues, seeds, steering } = prepared;
    // From now on a signal ends the gateway in good order, even while it starts.
    let signals = Signals::listen().map_err(RunError::system("signals"))?;
    let netlink = Netlink::open().map_err(RunError::system("netlink"))?;
    let mut hold = Hold::new(netlink.clone(), journal, interface.name(), interface.index());
    let own = netlink.addresses(Some(interface.name())).await.map_err(HoldError::from)?;
    let taken = hold.take(&config, &Footprint::of(&config, &own, &[])).await;
    if let Err(why) = taken {
        hold.release().await;
        return Err(why.into());
    }
    let offloads = interface.offloads();
    let leases = Leases::open(&config, now());
    match begin(&config, &seeds, queues, leases.all().collect()).await {
        Ok(begun) => {
            let Started { workers, events, failures } = begun.started;
            let path = path.to_owned();
            let view = begun.view;
            view.set_device(offloads, steering.is_some());
            let resolver = begun.resolver;
            let lingering = Vec::new();
            let gateway =
                Gateway { path, config, hold, seeds, steering, workers, resolver, lingering, leases, view };
            let ended = gateway.live(signals, events, failures).await;
            drop(interface);
            ended
        }
        Err(why) => {
            hold.release().await;
            Err(why)
        }
    }
}

/// What runs besides the host's part.
struct Begun {
    started: Started,
    resolver: Option<Resolver>,
    view: Arc<View>,
}

async fn begin(
    config: &Config,
    seeds: &Seeds,
    queues: Vec<Queue>,
    leases: Arc<[BlockAssignment]>,
) -> Result<Begun, RunError> {
    // Listeners first: an address in use shows before the first packet is translated.
    let resolver = config.dns64.as_ref().map(start_resolver).transpose()?;
    let assignments = seeds.settings(config).into_iter().zip(queues);
    let assignments = assignments
        .map(|(settings, queue)| Assignment { settings, device: Box::new(queue), leases: leases.clone() })
        .collect();
    let started = worker::start(assignments, MAX_ZONES, NOTICES).map_err(RunError::system("workers"))?;
    let view = Arc::new(View::new(config, &started.workers, resolver.as_ref()));
    if let Some(listen) = config.observe.metrics {
        let what = format!("metrics on {listen}");
        metrics::serve(listen, view.clone()).await.map_err(RunError::system(what))?;
    }
    let what = config.observe.admin.display().to_string();
    admin::serve(&config.observe.admin, view.clone()).await.map_err(RunError::system(what))?;
    Ok(Begun { started, resolver, view })
}

/// Starts listening.
///
/// # Errors
/// A listener that could not be opened.
pub(super) fn start_resolver(dns: &Dns64) -> Result<Resolver, RunError> {
    resolver::start(dns.settings.clone()).map_err(RunError::system("DNS64"))
}

/// The signals that a gateway obeys.
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

impl Gateway {
    /// Until it is told to end, or a worker has ended.
    async fn live(
        mut self,
        mut signals: Signals,
        mut events: mpsc::Receiver<Notice>,
        mut failures: mpsc::Receiver<Failure>,
    ) -> Result<(), RunError> {
        say(&[NotifyState::Ready, NotifyState::Status("translating")]);
        tracing::info!("ready: {} zones", self.config.zone_names.len());
        let mut saving = tokio::time::interval(leases::INTERVAL);
        let mut failing = BTreeSet::new();
        let ended = loop {
            tokio::select! {
                _ = signals.reload.recv() => self.reload().await,
                () = self.linger() => self.forget_lingering().await,
                Some(notice) = events.recv() => {
                    self.leases.note(&notice.event);
                    self.view.note(&notice);
                }
                _ = saving.tick() => self.leases.save(&self.config, now()),
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
        self.end().await;
        ended
    }

    /// While no worker can use its device nothing is translated, and DNS64 hands out no address that
    /// leads nowhere.
    fn note_device(&self, failing: &mut BTreeSet<WorkerId>, failure: &Failure) {
        let all = self.seeds.workers.len();
        let was_down = failing.len() == all;
        match failure.cause {
            Cause::Device(_) => _ = failing.insert(failure.worker),
            Cause::Recovered => _ = failing.remove(&failure.worker),
            Cause::Panic(_) => {}
        }
        let is_down = failing.len() == all;
        if is_down != was_down
            && let Some(resolver) = &self.resolver
        {
            self.config.nat64.zones.iter().for_each(|zone| resolver.set_translating(zone.id, !is_down));
        }
    }

    /// Answers are given no more, then what was read leaves, then the host is as it was.
    async fn end(mut self) {
        say(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        let drain = self.config.host.drain;
        if let Some(resolver) = self.resolver {
            resolver.stop(drain).await;
        }
        let workers = self.workers;
        let devices = tokio::task::spawn_blocking(move || workers.stop(drain)).await;
        drop(devices);
        self.leases.save(&self.config, now());
        self.hold.release().await;
        // The socket's file is ours; if it is gone, so much the better.
        let _ = std::fs::remove_file(&self.config.observe.admin);
        tracing::info!("ended");
    }
}

#[expect(clippy::disallowed_methods, reason = "a file that outlives the process knows no other clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Tells systemd, if it listens.
pub(super) fn say(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::debug!("systemd can't be told: {why}");
    }
}

fn log_failure(failure: &Failure) {
    let worker = failure.worker.0;
    match &failure.cause {
        Cause::Panic(text) => tracing::error!("worker {worker} has ended, its packets are lost: {text}"),
        Cause::Device(why) => tracing::error!("worker {worker}: the device fails: {why}"),
        Cause::Recovered => tracing::info!("worker {worker}: the device works again"),
    }
}
