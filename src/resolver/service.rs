//! What UDP and TCP share: settings, counters, limits, and the drive of an exchange.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::admission::{Admission, Permit};
use super::{Counters, upstream};
use crate::dns64::{self, Answer, Begin, Exchange, Settings, Transport};
use crate::time::Instant;

/// The resolver behind its listeners.
#[derive(Debug)]
pub(super) struct Service {
    settings: RwLock<Arc<Settings>>,
    pub(super) counters: Arc<Counters>,
    pub(super) admission: Arc<Admission>,
    origin: tokio::time::Instant,
}

/// What becomes of a query when it comes.
pub(super) enum Start {
    /// Send this.
    Answer(Vec<u8>),
    /// [`Service::run`] this.
    Running(Box<Running>),
    /// Send nothing.
    Nothing,
}

/// An exchange that was admitted.
pub(super) struct Running {
    exchange: Exchange,
    _permit: Permit,
}

impl Service {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: RwLock::new(Arc::new(settings)),
            counters: Arc::default(),
            admission: Arc::default(),
            origin: tokio::time::Instant::now(),
        }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn moment(&self, at: Instant) -> tokio::time::Instant {
        self.origin + at.since(Instant::ZERO)
    }

    /// Takes a query.
    pub(super) fn begin(&self, client: IpAddr, transport: Transport, query: &[u8]) -> Start {
        let settings = self.settings();
        match dns64::begin(self.now(), &settings, client, transport, query) {
            Begin::Exchange(exchange) => match self.admission.enter(settings.limits, client) {
                Ok(permit) => Start::Running(Box::new(Running { exchange, _permit: permit })),
                Err(outcome) => self.tell(dns64::refuse(Some(exchange.zone_id()), transport, query, outcome)),
            },
            other => self.tell(other),
        }
    }

    fn tell(&self, begin: Begin) -> Start {
        match begin {
            Begin::Answer(answer) => Start::Answer(self.counted(answer)),
            Begin::Drop(zone, outcome) => {
                self.counters.zone(zone).count(outcome);
                Start::Nothing
            }
            // Only `dns64::begin` makes one, and `begin` above takes it.
            Begin::Exchange(_) => Start::Nothing,
        }
    }

    fn counted(&self, answer: Answer) -> Vec<u8> {
        let row = self.counters.zone(answer.zone);
        row.count(answer.outcome);
        if answer.truncated {
            row.count_truncated();
        }
        answer.message
    }

    /// Asks upstreams until there is an answer. Dropping the future gives everything back.
    pub(super) async fn run(&self, running: Running) -> Vec<u8> {
        let Running { mut exchange, _permit } = running;
        let mut asks = FuturesUnordered::new();
        loop {
            while let Some(ask) = exchange.poll_ask(self.now()) {
                asks.push(async move { (ask.id, upstream::ask(&ask).await) });
            }
            if let Some(answer) = exchange.poll_answer() {
                return self.counted(answer);
            }
            tokio::select! {
                Some((id, result)) = asks.next() => match result {
                    Ok(reply) => {
                        exchange.reply(self.now(), id, &reply);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "upstream");
                        exchange.failed(self.now(), id);
                    }
                },
                () = tokio::time::sleep_until(self.moment(exchange.deadline(self.now()))) => {
                    exchange.timeout(self.now());
                }
            }
        }
    }
}
