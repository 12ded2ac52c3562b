//! What all threads of the resolver share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::Counters;
use super::admission::Admission;
use super::clock::Clock;
use super::connections::Connections;
use super::cookie::Secret;
use super::rate::Rates;
use super::shedding::KnownClients;
use crate::dns64::{ClientZones, Settings};

/// The settings in effect, and the content of the files that they name.
#[derive(Debug)]
pub(super) struct ActiveSettings {
    /// Incremented by each change.
    pub(super) generation: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) clients: ClientZones,
    /// Certificate and key for clients.
    pub(super) server: Option<Arc<ServerConfig>>,
    /// CA certificates for upstreams.
    pub(super) tls_config: Option<Arc<ClientConfig>>,
}

/// What all threads of the resolver share.
pub(super) struct Shared {
    active: RwLock<Arc<ActiveSettings>>,
    /// Copy of `active.generation`, read without the lock.
    generation: AtomicU64,
    pub(super) counters: Arc<Counters>,
    pub(super) queries: Arc<Admission>,
    pub(super) connections: Arc<Connections>,
    pub(super) rates: Arc<Rates>,
    pub(super) known_clients: Arc<KnownClients>,
    pub(super) secret: Secret,
    /// Assigns names to threads.
    pub(super) seed: u64,
    pub(super) clock: Clock,
}

impl Shared {
    pub(super) fn new(active: ActiveSettings, secret: Secret, seed: u64) -> Self {
        Self {
            generation: AtomicU64::new(active.generation),
            rates: Arc::new(Rates::new(&active.settings.network)),
            active: RwLock::new(Arc::new(active)),
            counters: Arc::default(),
            queries: Arc::default(),
            connections: Arc::default(),
            known_clients: Arc::new(KnownClients::new()),
            secret,
            seed,
            clock: Clock::start(),
        }
    }

    pub(super) fn active(&self) -> Arc<ActiveSettings> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn activate(&self, active: ActiveSettings) {
        self.rates.set(&active.settings.network);
        let mut active_slot = self.active.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.store(active.generation, Ordering::Release);
        *active_slot = Arc::new(active);
    }
}
