//! Records repairs of the host, and gives up where another program undoes them again and again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::observe::host::{HostReport, Part, Repair};

/// Repairs of one thing within [`WINDOW`] after which another program is assumed to undo them.
const MAX_REPAIRS: usize = 3;

/// Time in which repairs of one thing are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Time without further repairs of a thing.
const BACKOFF: Duration = Duration::from_secs(600);

/// Number of repairs that `gate64 status` shows.
const SHOWN: usize = 10;

/// Repairs so far.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    report: HostReport,
    /// Times of the recent repairs of each thing, by its text.
    recent: BTreeMap<String, VecDeque<Instant>>,
    /// Things that are not repaired, until when.
    paused: BTreeMap<String, Instant>,
    /// Problems found by the current comparison.
    problems: Vec<String>,
}

impl Repairs {
    /// Begins a comparison.
    pub(super) fn begin(&mut self, now: Instant) {
        self.problems.clear();
        self.paused.retain(|_, end| now < *end);
        self.recent.retain(|_, times| times.back().is_some_and(|last| now < *last + WINDOW));
    }

    /// Resumes paused repairs: the operator wants another attempt.
    pub(super) fn resume(&mut self) {
        self.paused.clear();
        self.recent.clear();
    }

    /// Whether to repair `what`; while its repairs are paused it is a problem instead.
    pub(super) fn may(&mut self, what: &str) -> bool {
        let is_paused = self.paused.contains_key(what);
        if is_paused {
            self.problem(format!("{what}: another program undoes the repair"));
        }
        !is_paused
    }

    /// Records a repair of `what`.
    pub(super) fn done(&mut self, part: Part, what: &str, now: Instant) {
        tracing::warn!("repaired: {what}");
        self.report.repairs[part as usize] += 1;
        self.report.last.push_back(Repair { at: now, what: what.to_owned() });
        if self.report.last.len() > SHOWN {
            self.report.last.pop_front();
        }
        let times = self.recent.entry(what.to_owned()).or_default();
        while times.front().is_some_and(|first| *first + WINDOW <= now) {
            times.pop_front();
        }
        times.push_back(now);
        if times.len() >= MAX_REPAIRS {
            self.recent.remove(what);
            self.paused.insert(what.to_owned(), now + BACKOFF);
            let minutes = BACKOFF.as_secs() / 60;
            tracing::warn!(
                "{what}: repaired {MAX_REPAIRS} times in a minute, so another program undoes it; \
                 no further repair for {minutes} minutes"
            );
        }
    }

    /// Records what is wrong and not repaired. It is logged when it begins and when it ends.
    pub(super) fn problem(&mut self, what: String) {
        if !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }

    /// Number of problems that the current comparison has found.
    pub(super) const fn found(&self) -> usize {
        self.problems.len()
    }

    /// The problems that it has found after the first `number`.
    pub(super) fn found_after(&self, number: usize) -> Vec<String> {
        self.problems[number..].to_vec()
    }

    /// Ends a comparison: logs new and past problems.
    pub(super) fn end(&mut self) {
        let before = std::mem::replace(&mut self.report.problems, std::mem::take(&mut self.problems));
        let now = &self.report.problems;
        for new in now.iter().filter(|what| !before.contains(what)) {
            tracing::warn!("{new}");
        }
        for past in before.iter().filter(|what| !now.contains(what)) {
            tracing::info!("no longer: {past}");
        }
    }

    /// The repairs and problems so far.
    pub(super) const fn report(&self) -> &HostReport {
        &self.report
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    #[test]
    fn repairs_pause_if_another_program_undoes_them() {
        let mut repairs = Repairs::default();
        let start = clock::monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        // Twice in a minute, again and again, is not too often.
        for second in [0, 50, 70, 120, 200] {
            repairs.begin(at(second));
            assert!(repairs.may("x"), "{second}");
            repairs.done(Part::Route, "x", at(second));
            repairs.end();
        }
        for second in [210, 220] {
            repairs.begin(at(second));
            assert!(repairs.may("x"), "{second}");
            repairs.done(Part::Route, "x", at(second));
            repairs.end();
        }
        repairs.begin(at(230));
        assert!(!repairs.may("x") && repairs.may("y"));
        repairs.end();
        assert_eq!(repairs.report().problems, ["x: another program undoes the repair"]);
        repairs.begin(at(220 + 600));
        assert!(repairs.may("x"), "after the pause");
        repairs.end();
        let report = repairs.report();
        assert_eq!(
            (report.problems.len(), report.repairs[Part::Route as usize], report.last.len()),
            (0, 7, 7)
        );
    }

    #[test]
    fn the_report_is_bounded() {
        let mut repairs = Repairs::default();
        for n in 0..100 {
            repairs.begin(clock::monotonic());
            repairs.done(Part::Proxy, &n.to_string(), clock::monotonic());
            repairs.end();
        }
        let report = repairs.report();
        assert_eq!(report.last.len(), SHOWN);
        assert_eq!((report.last[0].what.as_str(), report.repairs[Part::Proxy as usize]), ("90", 100));
    }
}
