//! The running gateway: its parts, and what start, reload and exit share.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::time::Instant;

use super::host_state::{HostError, HostState};
use super::journal::JournalError;
use super::saved_blocks::SavedBlocks;
use super::saved_sessions::SavedSessions;
use crate::addr::{Pref64, WorkerId};
use crate::config::{Config, Dns64, LoadError};
use crate::device::overload::{self, OverloadFilter};
use crate::device::steer::Steering;
use crate::device::tun;
use crate::observe::view::View;
use crate::ownership::Owners;
use crate::resolver::{self, Resolver};
use crate::worker::Workers;

/// Why a gateway could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The configuration is invalid or unreadable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The journal could not be opened or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// This process may use less memory than the configuration promises.
    #[error("{0}")]
    Memory(String),
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] tun::OpenError),
    /// The host could not be prepared.
    #[error(transparent)]
    HostState(#[from] HostError),
    /// CAP_NET_ADMIN is missing.
    #[error("gate64 run needs CAP_NET_ADMIN: start it with systemd (gate64.service) or as root")]
    NotAllowed,
    /// Capabilities could not be dropped.
    #[error("dropping capabilities: {0}")]
    Privileges(#[from] caps::errors::CapsError),
    /// A worker panicked. Its share of the traffic is lost until a restart.
    #[error("worker {0} panicked; the gateway ends, so that the service manager restarts it")]
    Worker(u8),
    /// The device was deleted.
    #[error("the device {0} was deleted; the gateway ends, so that the service manager restarts it")]
    DeviceGone(String),
    /// An operation of the operating system failed.
    #[error("{what}: {source}")]
    System {
        /// The operation.
        what: String,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl RunError {
    /// For `map_err`: adds the name of the operation.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// A running gateway.
pub(super) struct Gateway {
    pub(super) file: ConfigFile,
    pub(super) config: Config,
    pub(super) host_state: HostState,
    pub(super) seeds: Seeds,
    pub(super) steering: Option<Steering>,
    pub(super) overload: Option<OverloadFilter>,
    pub(super) workers: Workers,
    pub(super) resolver: Option<Resolver>,
    /// Whether no worker can use its device.
    pub(super) is_down: bool,
    pub(super) lingering: Vec<Lingering>,
    pub(super) saved: SavedState,
    pub(super) view: Arc<View>,
}

/// The configuration file.
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    /// Its text, as it is in effect.
    pub(super) text: String,
}

/// What the next gateway restores.
pub(super) struct SavedState {
    pub(super) blocks: SavedBlocks,
    pub(super) sessions: SavedSessions,
    /// Whether the changes to the host stay for it.
    pub(super) is_host_kept: bool,
}

/// Random seeds, drawn at start and kept across reloads.
pub(super) struct Seeds {
    pub(super) workers: Vec<u64>,
    owner: u32,
}

impl Seeds {
    /// Draws seeds, except for an `owner` seed that an earlier gateway used.
    pub(super) fn draw(workers: u8, owner: Option<u32>) -> Result<Self, RunError> {
        let failed = |why: getrandom::Error| RunError::System {
            what: "random numbers".to_owned(),
            source: io::Error::other(why.to_string()),
        };
        let drawn: Result<Vec<_>, _> = (0..workers).map(|_| getrandom::u64()).collect();
        let owner = owner.map_or_else(getrandom::u32, Ok).map_err(failed)?;
        Ok(Self { workers: drawn.map_err(failed)?, owner })
    }

    /// Ownership of hosts and port ranges.
    pub(super) fn owners(&self, config: &Config) -> Owners {
        config.nat64.owners(self.owner, u8::try_from(self.workers.len()).unwrap_or(u8::MAX))
    }

    /// Settings of each worker.
    pub(super) fn settings(&self, config: &Config) -> Vec<crate::translator::Settings> {
        let count = u8::try_from(self.workers.len()).unwrap_or(u8::MAX);
        let each = (0..count).zip(&self.workers);
        each.map(|(id, seed)| config.worker(WorkerId(id), count, *seed, self.owner)).collect()
    }
}

/// The hosts that the overload filter knows.
pub(super) fn filter_hosts<'a>(config: &'a Config, owners: &'a Owners) -> overload::Hosts<'a> {
    let siit = config.siit.as_ref().map(|siit| &siit.settings);
    overload::Hosts { owners, zones: &config.nat64.zones, siit }
}

/// A removed pref64 that is still translated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lingering {
    pub(super) zone: String,
    pub(super) pref64: Pref64,
    pub(super) until: Instant,
}

/// The lingering prefixes.
pub(super) fn prefixes(lingering: &[Lingering]) -> Vec<Pref64> {
    lingering.iter().map(|l| l.pref64).collect()
}

/// Logs the warnings of a configuration once.
pub(super) fn log_warnings(config: &mut Config) {
    for warning in config.warnings.drain(..) {
        tracing::warn!("{warning}");
    }
}

/// Starts the DNS server.
///
/// # Errors
/// A listener could not be opened.
pub(super) fn start_resolver(dns: &Dns64) -> Result<Resolver, RunError> {
    resolver::start(dns.settings.clone()).map_err(RunError::system("DNS64"))
}

/// Reports to all zones of the resolver whether the translator is up.
pub(super) fn set_translating(resolver: &Resolver, config: &Config, translating: bool) {
    config.nat64.zones.iter().for_each(|zone| resolver.set_translating(zone.id, translating));
}

/// Notifies the service manager, if there is one.
pub(super) fn notify(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::debug!("the service manager is unreachable: {why}");
    }
}
