//! What all threads of the resolver share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::Counters;
use super::admission::Admission;
use super::cookie::Secret;
use crate::dns64::Settings;
use crate::time::Instant;

/// Settings, and what was read from the files they name.
#[derive(Debug)]
pub(super) struct Told {
    /// Grows with each change.
    pub(super) generation: u64,
    pub(super) settings: Arc<Settings>,
    /// Certificate and key for clients.
    pub(super) server: Option<Arc<ServerConfig>>,
    /// Who vouches for upstreams.
    pub(super) authorities: Option<Arc<ClientConfig>>,
}

/// What all threads of the resolver share.
pub(super) struct Shared {
    told: RwLock<Arc<Told>>,
    /// That of `told`, for a look without a lock.
    generation: AtomicU64,
    pub(super) counters: Arc<Counters>,
    pub(super) queries: Arc<Admission>,
    pub(super) connections: Arc<Admission>,
    pub(super) secret: Secret,
    /// Shares out names among threads.
    pub(super) seed: u64,
    origin: tokio::time::Instant,
}

impl Shared {
    pub(super) fn new(told: Told, secret: Secret, seed: u64) -> Self {
        Self {
            generation: AtomicU64::new(told.generation),
            told: RwLock::new(Arc::new(told)),
            counters: Arc::default(),
            queries: Arc::default(),
            connections: Arc::default(),
            secret,
            seed,
            origin: tokio::time::Instant::now(),
        }
    }

    pub(super) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, told: Told) {
        let mut place = self.told.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.store(told.generation, Ordering::Release);
        *place = Arc::new(told);
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    pub(super) fn moment(&self, at: Instant) -> tokio::time::Instant {
        self.origin + at.since(Instant::ZERO)
    }
}
