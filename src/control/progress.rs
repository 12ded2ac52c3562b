//! Asks all threads whether they respond, feeds the watchdog of the service manager, and runs the hooks of `[health]`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::process::Command;
use tokio::time::{Instant, Interval, timeout};

use super::clock;
use super::gateway::{Gateway, notify};
use super::path_probe::PathProbes;
use crate::config::HealthSettings;
use crate::observe::health::Health;

/// Interval between checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time after which a thread that has not responded counts as stuck. A batch takes less than a millisecond.
const RESPONSE: Duration = Duration::from_secs(5);

/// Time that a change must last before the hooks run, so that a short outage moves no routes.
const SETTLE: Duration = Duration::from_secs(3);

/// Time after which a hook is killed.
const HOOK: Duration = Duration::from_secs(10);

/// The interval of the checks, and the state last reported to the hooks and the service manager.
#[derive(Debug)]
pub(super) struct Progress {
    ticks: Interval,
    /// The state at the last run of the hooks; `None` before the first.
    published: Option<bool>,
    /// A different state, and since when it lasts.
    changing: Option<(bool, Instant)>,
    /// The last line sent to the service manager.
    line: String,
    probes: PathProbes,
}

impl Progress {
    pub(super) fn start() -> Self {
        // The start has sent this one.
        let line = "translating".to_owned();
        Self {
            ticks: clock::ticks(INTERVAL),
            published: None,
            changing: None,
            line,
            probes: PathProbes::default(),
        }
    }

    /// Returns when a check is due.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Whether the hooks must run for `ready`: at once for the first state, later once it has lasted.
    fn settle(&mut self, ready: bool, now: Instant) -> bool {
        if self.published == Some(ready) {
            self.changing = None;
            return false;
        }
        let since = match self.changing {
            Some((state, since)) if state == ready => since,
            _ => now,
        };
        self.changing = Some((ready, since));
        if self.published.is_some() && now - since < SETTLE {
            return false;
        }
        (self.published, self.changing) = (Some(ready), None);
        true
    }
}

impl Gateway {
    /// Checks the health once.
    pub(super) async fn check_health(&mut self, progress: &mut Progress) {
        progress.probes.start_due(&self.config.health, &self.view, clock::monotonic());
        let stuck = self.stuck().await;
        // A service manager that expects no reports may not read them, and a full socket would block this thread.
        if stuck.is_none() && sd_notify::watchdog_enabled().is_some() {
            notify(&[NotifyState::Watchdog]);
        }
        if let Some(stuck) =
            stuck.as_ref().filter(|stuck| self.view.condition().stuck.as_ref() != Some(*stuck))
        {
            tracing::error!("{stuck}");
        }
        self.view.report(|condition| condition.stuck = stuck);
        let health = Health::of(&self.view);
        let line = health.line();
        if line != progress.line {
            notify(&[NotifyState::Status(&line)]);
            progress.line.clone_from(&line);
        }
        let ready = health.is_ready();
        if progress.settle(ready, clock::monotonic()) {
            if !ready {
                tracing::error!("not ready: {line}");
            }
            publish(&self.config.health, ready);
        }
    }

    /// Which threads do not respond, as text.
    async fn stuck(&self) -> Option<String> {
        let (workers, resolver) = tokio::join!(
            timeout(RESPONSE, self.workers.ping()),
            timeout(RESPONSE, self.view.resolver_responds()),
        );
        match (workers, resolver) {
            (Err(_), _) => Some("a worker has not responded for 5 s".to_owned()),
            (Ok(Err(worker)), _) => Some(format!("worker {} has ended", worker.0)),
            (Ok(Ok(())), Err(_)) => Some("a DNS64 thread has not responded for 5 s".to_owned()),
            (Ok(Ok(())), Ok(())) => None,
        }
    }
}

/// Creates or removes the file, and starts the command. Failures are logged.
pub(super) fn publish(hooks: &HealthSettings, ready: bool) {
    if let Some(path) = &hooks.file {
        let done = if ready {
            std::fs::write(path, "ready\n")
        } else {
            std::fs::remove_file(path).or_else(|why| match why.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(why),
            })
        };
        if let Err(why) = done {
            tracing::warn!("{}: {why}", path.display());
        }
    }
    let words = if ready { &hooks.on_healthy } else { &hooks.on_unhealthy };
    if let Some((program, arguments)) = words.split_first() {
        let child = Command::new(program).args(arguments).kill_on_drop(true).spawn();
        let program = program.clone();
        match child {
            Ok(mut child) => drop(tokio::spawn(async move {
                match timeout(HOOK, child.wait()).await {
                    Ok(Ok(status)) if status.success() => {}
                    Ok(Ok(status)) => tracing::warn!("{program}: {status}"),
                    Ok(Err(why)) => tracing::warn!("{program}: {why}"),
                    Err(_) => tracing::warn!("{program}: killed after {} s", HOOK.as_secs()),
                }
            })),
            Err(why) => tracing::warn!("{program}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hooks_run_once_for_a_state_that_lasts() {
        let mut progress = Progress::start();
        let start = clock::monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (second, ready, runs) in [
            (0, true, true),
            (1, true, false),
            (2, false, false),
            (4, false, false),
            (5, false, true),
            (6, false, false),
            // A short recovery does not count.
            (7, true, false),
            (8, false, false),
            (10, true, false),
            (12, true, false),
            (13, true, true),
        ] {
            assert_eq!(progress.settle(ready, at(second)), runs, "{second}");
        }
    }
}
