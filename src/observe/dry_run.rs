//! What a reload would change, as `gate64 reload --dry-run` prints it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::format::pairs;
use crate::config::KeyChange;

/// What a reload would change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DryRun {
    /// Keys of the file that differ from the file that is in effect.
    pub changes: Vec<KeyChange>,
    /// Settings whose new value would take effect after a restart only.
    pub needs_restart: Vec<String>,
    /// Prefixes that would still be translated for a time although the file lacks them.
    pub lingering: Vec<String>,
    /// Sessions that would end, by cause, without zeros.
    pub sessions_ending: BTreeMap<String, u64>,
    /// Bindings that would end, by cause, without zeros.
    pub bindings_ending: BTreeMap<String, u64>,
    /// Probable mistakes in the file.
    pub warnings: Vec<String>,
    /// Why this host would refuse the configuration.
    pub conflicts: Vec<String>,
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for conflict in &self.conflicts {
            writeln!(f, "error: {conflict}")?;
        }
        if self.changes.is_empty() {
            writeln!(f, "the file is the one in effect")?;
        }
        for KeyChange { key, old, new } in &self.changes {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(default)".to_owned());
            writeln!(f, "{key}: {} -> {}", value(old), value(new))?;
        }
        for key in &self.needs_restart {
            writeln!(f, "needs a restart: {key}")?;
        }
        for pref64 in &self.lingering {
            writeln!(f, "still translated: {pref64}")?;
        }
        let ending = |counts: &BTreeMap<String, u64>| match counts.is_empty() {
            true => "none".to_owned(),
            false => format!("{} ({})", counts.values().sum::<u64>(), pairs(counts)),
        };
        writeln!(f, "sessions that end: {}", ending(&self.sessions_ending))?;
        writeln!(f, "bindings that end: {}", ending(&self.bindings_ending))
    }
}
