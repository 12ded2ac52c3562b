//! Status of the host, and of the last reload.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::binding_log::SinkStatus;
use super::format::{pairs, span};
use super::host::Part;
use super::view::View;

/// Status of the host, and of the last reload.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HostStatus {
    /// What is wrong and not repaired.
    pub problems: Vec<String>,
    /// Number of repairs by part, without zeros.
    pub repairs: BTreeMap<String, u64>,
    /// The last repairs, the oldest first.
    pub last_repairs: Vec<RepairStatus>,
    /// The last reload; `None` before the first.
    pub last_reload: Option<ReloadStatus>,
    /// The sinks of the binding log.
    #[serde(default)]
    pub log_sinks: Vec<SinkState>,
}

/// State of a sink of the binding log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SinkState {
    /// Name.
    pub name: String,
    /// Records written.
    pub written: u64,
    /// Records lost.
    pub lost: u64,
    /// Whether it fails at present.
    pub is_failing: bool,
}

/// A repair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RepairStatus {
    /// Seconds since the repair.
    pub ago: u64,
    /// What was missing.
    pub what: String,
}

/// The end of a reload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// Seconds since the reload.
    pub ago: u64,
    /// Whether the new settings are in effect.
    pub succeeded: bool,
    /// The result, as `gate64 reload` prints it.
    pub message: String,
}

impl HostStatus {
    /// The present status.
    pub(super) fn of(view: &View) -> Self {
        let report = view.condition().host;
        let repairs = Part::ALL.iter().zip(report.repairs).filter(|(_, count)| *count > 0);
        let ago = |then: Instant| view.now().saturating_duration_since(then).as_secs();
        let last = report.last.into_iter();
        Self {
            problems: report.problems,
            repairs: repairs.map(|(part, count)| (part.name().to_owned(), count)).collect(),
            last_repairs: last.map(|r| RepairStatus { ago: ago(r.at), what: r.what }).collect(),
            last_reload: view.condition().last_reload.map(|r| ReloadStatus {
                ago: ago(r.at),
                succeeded: r.succeeded,
                message: r.message,
            }),
            log_sinks: view
                .binding_log()
                .map(|log| log.sinks().iter().map(|sink| of_sink(sink)).collect())
                .unwrap_or_default(),
        }
    }
}

fn of_sink(sink: &SinkStatus) -> SinkState {
    SinkState {
        name: sink.name.clone(),
        written: sink.written(),
        lost: sink.lost(),
        is_failing: sink.is_failing(),
    }
}

impl fmt::Display for HostStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ReloadStatus { ago, succeeded, message }) = &self.last_reload {
            let result = if *succeeded { "" } else { "failed: " };
            writeln!(f, "\nlast reload  {} ago  {result}{message}", span(*ago))?;
        }
        if !self.repairs.is_empty() {
            writeln!(f, "\nrepairs of this host  {}", pairs(&self.repairs))?;
        }
        for RepairStatus { ago, what } in &self.last_repairs {
            writeln!(f, "  {} ago  {what}", span(*ago))?;
        }
        Ok(())
    }
}
