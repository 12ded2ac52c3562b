//! The inputs and outputs of a scenario with their times, for the other runners.

use gate64::nat64::{Pool, Zone};
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::Settings;
use gate64::wire::buf::Offload;

use super::language::{Action, Step};

/// A scenario's run through the library.
pub(crate) struct Recording {
    pub(crate) steps: Vec<Step>,
    /// The initial settings.
    pub(crate) settings: Settings,
    pub(crate) entries: Vec<Entry>,
    /// The end time.
    pub(crate) end: Instant,
}

/// One event.
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
    /// Why the daemon can't run the scenario: it uses the real clock and its own random numbers. `None` if
    /// it can.
    pub(crate) fn skipped_by_the_daemon(&self) -> Option<&'static str> {
        let (settings, default) = (&self.settings, gate64::xlat::RewriteRules::default());
        let rules = &settings.rules;
        let is_limited = |zone: &Zone| {
            let of = &zone.new_sessions;
            zone.bindings_per_second > 0 || of.host_rate.per_second > 0 || of.zone_rate.per_second > 0
        };
        let rates = rules.error_rate != default.error_rate
            || rules.error_burst != default.error_burst
            || settings.nat64.zones.iter().any(is_limited);
        let addresses = |pool: &Pool| pool.ranges.iter().map(|(net, _)| net.size()).sum::<u64>();
        let waits = |step: &Step| matches!(step.action, Action::At(_) | Action::Wait(_));
        if self.steps.iter().any(waits) {
            Some("a clock that advances")
        } else if rates {
            Some("rates per second, which a busy machine misses")
        } else if settings.nat64.pools.iter().any(|pool| addresses(pool) > 1) {
            Some("a random choice among several addresses")
        } else {
            None
        }
    }

    /// Why only the library can run the scenario; `None` if another runner can.
    pub(crate) fn library_only(&self) -> Option<&'static str> {
        let offloaded = |entry: &Entry| match &entry.what {
            What::In { offload, .. } => *offload != Offload::default(),
            What::Out { .. } | What::Forward | What::Drop(_) | What::Reject(_) | What::Hold => false,
        };
        if self.settings.workers > 1 {
            Some("several workers with selected queues")
        } else if self.settings.nat64.masquerade.is_some() {
            Some("masquerading, which needs addresses of the host")
        } else if self.entries.iter().any(offloaded) {
            Some("offloads, which a capture does not record")
        } else if self.steps.iter().any(|step| matches!(step.action, Action::Local(_))) {
            Some("addresses of this host")
        } else if self.steps.iter().any(|step| matches!(step.action, Action::Reload)) {
            Some("a reload between two packets")
        } else if !self.entries.iter().any(|entry| matches!(entry.what, What::In { .. })) {
            Some("no packet")
        } else {
            None
        }
    }
}
