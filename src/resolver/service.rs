//! What UDP and TCP share: settings, counters, limits, and the drive of the engine.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use tokio::sync::{Notify, oneshot};

use super::admission::{Admission, Permit};
use super::{Counters, upstream};
use crate::dns64::{Answer, Ask, Engine, Settings, Taken, Transport};
use crate::time::Instant;

/// Who waits for an answer; while it waits, it counts as in flight.
type Back = (oneshot::Sender<Answer>, Permit);

/// The resolver behind its listeners.
#[derive(Debug)]
pub(super) struct Service {
    settings: RwLock<Arc<Settings>>,
    engine: Mutex<Engine<Back>>,
    /// Rung when the engine's deadline may have changed.
    timer: Notify,
    pub(super) counters: Arc<Counters>,
    pub(super) admission: Arc<Admission>,
    origin: tokio::time::Instant,
}

/// What becomes of a query when it comes.
pub(super) enum Start {
    /// Send this.
    Answer(Vec<u8>),
    /// [`Service::finish`] this.
    Running(oneshot::Receiver<Answer>),
    /// Send nothing.
    Nothing,
}

impl Service {
    /// A service whose engine's clock runs as a task of the current runtime.
    pub(super) fn start(settings: Settings, seed: u64) -> Arc<Self> {
        let settings = Arc::new(settings);
        let service = Arc::new(Self {
            settings: RwLock::new(Arc::clone(&settings)),
            engine: Mutex::new(Engine::new(settings, seed)),
            timer: Notify::new(),
            counters: Arc::default(),
            admission: Arc::default(),
            origin: tokio::time::Instant::now(),
        });
        tokio::spawn(keep_time(Arc::downgrade(&service)));
        service
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        let settings = Arc::new(settings);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&settings);
        self.engine().reconfigure(settings);
    }

    fn engine(&self) -> MutexGuard<'_, Engine<Back>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn moment(&self, at: Instant) -> tokio::time::Instant {
        self.origin + at.since(Instant::ZERO)
    }

    /// Takes a query.
    pub(super) fn begin(self: &Arc<Self>, client: IpAddr, transport: Transport, query: &[u8]) -> Start {
        let (answer, waits) = oneshot::channel();
        let limits = self.settings().limits;
        let admit = || Ok((answer, self.admission.enter(limits, client)?));
        let taken = self.engine().query(self.now(), client, transport, query, admit);
        self.pump();
        match taken {
            Taken::Answer(answer) => Start::Answer(self.counted(answer)),
            Taken::Drop(zone, outcome) => {
                self.counters.zone(zone).count(outcome);
                Start::Nothing
            }
            Taken::Waits => Start::Running(waits),
        }
    }

    /// Waits for the answer. `None` only if the service ends before.
    pub(super) async fn finish(&self, waits: oneshot::Receiver<Answer>) -> Option<Vec<u8>> {
        waits.await.ok().map(|answer| self.counted(answer))
    }

    fn counted(&self, answer: Answer) -> Vec<u8> {
        let row = self.counters.zone(answer.zone);
        row.count(answer.outcome);
        if answer.truncated {
            row.count_truncated();
        }
        answer.message
    }

    /// Sends what the engine has to send.
    fn pump(self: &Arc<Self>) {
        let mut engine = self.engine();
        while let Some(ask) = engine.poll_ask() {
            tokio::spawn(Arc::clone(self).ask(ask));
        }
        while let Some(((back, _permit), answer)) = engine.poll_answer() {
            // Who has gone away gets no answer.
            let _ = back.send(answer);
        }
        drop(engine);
        self.timer.notify_one();
    }

    async fn ask(self: Arc<Self>, ask: Ask) {
        let patience = self.settings().timeouts.total;
        match tokio::time::timeout(patience, upstream::ask(&ask)).await {
            Ok(Ok(reply)) => _ = self.engine().reply(self.now(), ask.id, &reply),
            Ok(Err(error)) => {
                tracing::debug!(%error, "upstream");
                self.engine().failed(self.now(), ask.id);
            }
            Err(_) => return,
        }
        self.pump();
    }
}

/// Lets time pass for the engine as long as there is a service.
async fn keep_time(service: Weak<Service>) {
    loop {
        let Some(strong) = service.upgrade() else { return };
        let deadline = strong.engine().deadline();
        if deadline <= strong.now() {
            strong.engine().timeout(strong.now());
            strong.pump();
            continue;
        }
        let at = if deadline == Instant::NEVER { None } else { Some(strong.moment(deadline)) };
        let sleep = async {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = strong.timer.notified() => {}
            () = sleep => {}
        }
    }
}
