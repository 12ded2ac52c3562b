//! What a scenario put in and what came out, and when: for the doors that are not the library.

use std::path::Path;

use gate64::nat64::Pool;
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::Settings;
use gate64::wire::buf::Offload;

use super::{Action, Step, parse, world};

/// A scenario as it went through the library.
pub(crate) struct Recording {
    pub(crate) steps: Vec<Step>,
    /// What the translator was told at first.
    pub(crate) settings: Settings,
    pub(crate) entries: Vec<Entry>,
    /// When it ended.
    pub(crate) end: Instant,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Instant,
    pub(crate) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    In { bytes: Vec<u8>, offload: Offload },
    Out { bytes: Vec<u8>, offload: Offload },
    Forward,
    Drop(Reason),
    Reject(Reason),
    Hold,
}

impl Recording {
    /// Runs a file through the library.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let steps = parse(&text).map_err(|error| format!("{name}: {error}"))?;
        world::record(steps).map_err(|error| format!("{name}: {error}"))
    }

    /// Why the scenario can't be had of a daemon, which runs by the real clock and rolls its own dice;
    /// `None` if it can.
    pub(crate) fn skipped_by_the_daemon(&self) -> Option<&'static str> {
        let (settings, default) = (&self.settings, gate64::xlat::Rules::default());
        let rules = &settings.rules;
        let rates = rules.error_rate != default.error_rate
            || rules.error_burst != default.error_burst
            || settings.nat64.zones.iter().any(|zone| zone.bindings_per_second > 0);
        let addresses = |pool: &Pool| pool.ranges.iter().map(|(net, _)| net.size()).sum::<u64>();
        let waits = |step: &Step| matches!(step.action, Action::At(_) | Action::Wait(_));
        if self.steps.iter().any(waits) {
            Some("time that passes")
        } else if rates {
            Some("rates per second, which a busy machine misses")
        } else if settings.nat64.pools.iter().any(|pool| addresses(pool) > 1) {
            Some("an address among several, which is chance")
        } else {
            None
        }
    }

    /// Why no door but the library can be gone through; `None` if another can.
    pub(crate) fn library_only(&self) -> Option<&'static str> {
        let offloaded = |entry: &Entry| match &entry.what {
            What::In { offload, .. } => *offload != Offload::default(),
            What::Out { .. } | What::Forward | What::Drop(_) | What::Reject(_) | What::Hold => false,
        };
        if self.settings.workers > 1 {
            Some("several workers, whose queues are chosen")
        } else if self.entries.iter().any(offloaded) {
            Some("offloads, which no capture says")
        } else if self.steps.iter().any(|step| matches!(step.action, Action::Reload)) {
            Some("a reload between two packets")
        } else if !self.entries.iter().any(|entry| matches!(entry.what, What::In { .. })) {
            Some("no packet")
        } else {
            None
        }
    }
}
