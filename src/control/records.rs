//! Records on disk: binding log and ledger.

use std::io;
use std::sync::Arc;

use super::clock;
use super::gateway::RunError;
use super::saved_sessions::SavedSessions;
use crate::config::Config;
use crate::observe::binding_log::BindingLog;
use crate::observe::ledger::{Ledger, SessionFiles};
use crate::observe::ledger_source::LedgerSource;
use crate::observe::view::View;
use crate::worker::{Saved, Started};

/// Records on disk.
pub(super) struct Logs {
    binding_log: Option<BindingLog>,
    ledger: Option<Ledger>,
}

impl Logs {
    /// Starts those that are enabled.
    ///
    /// # Errors
    /// The binding log cannot start. A ledger that cannot start is reported; the gateway runs without it.
    pub(super) fn start(
        config: &Config,
        started: &mut Started,
        view: &Arc<View>,
        files: Option<SessionFiles>,
    ) -> Result<Self, RunError> {
        let binding_log = start_binding_log(config, started, view)?;
        Ok(Self { binding_log, ledger: files.and_then(|files| start_ledger(config, view, files)) })
    }

    /// Reads the last sessions whose names the resolver knows, before it stops.
    pub(super) async fn read(self) -> Self {
        let Self { binding_log, ledger: Some(ledger) } = self else { return self };
        let read = tokio::task::spawn_blocking(move || {
            ledger.read();
            ledger
        });
        Self { binding_log, ledger: read.await.ok() }
    }

    /// Writes the last records, after the workers have stopped.
    pub(super) async fn stop(self) {
        if let Some(log) = self.binding_log {
            log.stop().await;
        }
        if let Some(ledger) = self.ledger {
            // A panic of its thread is logged.
            let _ = tokio::task::spawn_blocking(move || ledger.stop()).await;
        }
    }
}

/// What the ledger reads, if it is enabled.
pub(super) fn session_files(
    config: &Config,
    sessions: &SavedSessions,
    restore: &[Saved],
) -> Option<SessionFiles> {
    config.ledger.is_enabled.then(|| SessionFiles {
        paths: sessions.paths(),
        restored: restore.iter().flat_map(|saved| saved.sessions.iter().copied()).collect(),
    })
}

/// Starts the binding log if it is enabled. Otherwise its events are discarded.
fn start_binding_log(
    config: &Config,
    started: &mut Started,
    view: &View,
) -> Result<Option<BindingLog>, RunError> {
    let events = std::mem::take(&mut started.binding_events);
    if !config.binding_log.is_enabled() {
        return Ok(None);
    }
    let log = BindingLog::start(config, events, &started.workers, clock::wall);
    let log = log.map_err(RunError::system("binding log"))?;
    view.set_binding_log(log.view());
    Ok(Some(log))
}

/// Starts the ledger. The gateway runs without one, too.
fn start_ledger(config: &Config, view: &Arc<View>, files: SessionFiles) -> Option<Ledger> {
    let source = LedgerSource::new(Arc::clone(view));
    let ledger = source.and_then(|source| Ledger::start(config, source, files, clock::wall));
    let failed =
        |why: &io::Error| tracing::error!("{}: {why}; there is no ledger", config.ledger.file.display());
    let ledger = ledger.inspect_err(failed).ok()?;
    view.set_ledger(ledger.view());
    Some(ledger)
}
