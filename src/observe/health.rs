//! Whether the gateway does its work: for `gate64 health`, `/healthz`, `/readyz` and the hooks.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::format::span;
use super::view::{Condition, View};

/// Time after which an exhausted pool4 is no longer a finding.
const EXHAUSTED: Duration = Duration::from_secs(60);

/// Consecutive failures after which a probe of the IPv4 path is a finding.
const FAILURES: u32 = 3;

/// Result of a check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works.
    Ok,
    /// It works in part.
    Degraded,
    /// It does not work: clients should use another gateway.
    Failed,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// A check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What was checked: `device`, `workers`, `host`, `pool4`, `config`, `ipv4_path`, `dns64`.
    pub name: String,
    /// The result.
    pub level: Level,
    /// The finding, as text.
    pub finding: String,
}

/// Health of a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Health {
    /// The worst result.
    pub level: Level,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Health {
    /// The present health.
    pub fn of(view: &View) -> Self {
        let condition = view.condition();
        let mut checks = vec![device(&condition), workers(&condition), host(&condition), pool4(view)];
        checks.extend(configuration(&condition));
        checks.extend(path(&condition));
        checks.extend(dns64(view));
        let level = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
        Self { level, checks }
    }

    /// Whether clients should use this gateway: no check has failed.
    pub fn is_ready(&self) -> bool {
        self.level != Level::Failed
    }

    /// The worst finding in one line, or that it translates: for the service manager.
    pub fn line(&self) -> String {
        self.finding().unwrap_or_else(|| "translating".to_owned())
    }

    /// The worst finding in one line, if there is one.
    pub fn finding(&self) -> Option<String> {
        let worst = self.checks.iter().max_by_key(|check| check.level)?;
        (worst.level > Level::Ok).then(|| format!("{}: {}", worst.level.name(), worst.finding))
    }
}

fn check(name: &str, level: Level, finding: impl Into<String>) -> Check {
    Check { name: name.to_owned(), level, finding: finding.into() }
}

fn device(condition: &Condition) -> Check {
    if condition.is_down {
        check("device", Level::Failed, "no worker can use its queue of the device")
    } else {
        check("device", Level::Ok, "up")
    }
}

fn workers(condition: &Condition) -> Check {
    match &condition.stuck {
        Some(stuck) => check("workers", Level::Failed, stuck.clone()),
        None => check("workers", Level::Ok, "all workers and DNS64 threads respond"),
    }
}

fn host(condition: &Condition) -> Check {
    match condition.host.problems.first() {
        Some(problem) => check("host", Level::Degraded, problem.clone()),
        None => check("host", Level::Ok, "as configured"),
    }
}

fn pool4(view: &View) -> Check {
    match view.since_exhaustion() {
        Some(ago) if ago < EXHAUSTED => {
            check("pool4", Level::Degraded, format!("exhausted {} ago", span(ago.as_secs())))
        }
        _ => check("pool4", Level::Ok, "not exhausted in the last minute"),
    }
}

/// Whether the configuration file is in effect; `None` if it is.
fn configuration(condition: &Condition) -> Option<Check> {
    let why = condition.refused.as_ref()?;
    Some(check("config", Level::Degraded, format!("file refused, the last good one is in effect: {why}")))
}

/// Whether servers of the IPv4 Internet answer; `None` without probes.
fn path(condition: &Condition) -> Option<Check> {
    let silent = condition.path.iter().filter(|(_, failures)| **failures >= FAILURES);
    let silent: Vec<_> = silent.map(|(probe, _)| probe.to_string()).collect();
    let level = match silent.len() {
        _ if condition.path.is_empty() => return None,
        0 => return Some(check("ipv4_path", Level::Ok, "probes are answered")),
        n if n == condition.path.len() => Level::Failed,
        _ => Level::Degraded,
    };
    Some(check("ipv4_path", level, format!("no answer: {}", silent.join(" "))))
}

/// Whether upstream resolvers answer; `None` without DNS64.
fn dns64(view: &View) -> Option<Check> {
    let upstreams = view.resolver()?.upstreams();
    let silent: Vec<_> =
        upstreams.iter().filter(|(_, row)| row.is_demoted()).map(|(addr, _)| addr.to_string()).collect();
    Some(match silent.len() {
        0 => check("dns64", Level::Ok, "upstream resolvers answer"),
        n if n == upstreams.len() => {
            check("dns64", Level::Failed, format!("no upstream resolver answers: {}", silent.join(" ")))
        }
        _ => check("dns64", Level::Degraded, format!("does not answer: {}", silent.join(" "))),
    })
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, level, finding } in &self.checks {
            writeln!(f, "{:<9} {name:<8} {finding}", level.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_fails_when_no_server_answers() {
        let found = |failures: &[u32]| {
            let probe = |n| crate::config::Probe::Ping(std::net::Ipv4Addr::new(192, 0, 2, n));
            let path = (1..).map(probe).zip(failures.iter().copied()).collect();
            path_level(Condition { path, ..Condition::default() })
        };
        fn path_level(condition: Condition) -> Option<Level> {
            path(&condition).map(|check| check.level)
        }
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[2, 0]), Some(Level::Ok));
        assert_eq!(found(&[3, 0]), Some(Level::Degraded));
        assert_eq!(found(&[3, 4]), Some(Level::Failed));
    }
}
