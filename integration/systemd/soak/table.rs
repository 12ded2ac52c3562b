//! The table of faults, in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::faults::{Ends, Fault, Phase};
use super::load::{Column, Transfer};

const COLUMNS: [Column; 4] = [Column::Old, Column::New, Column::Dns, Column::Names];

/// A row: what happened each time that a fault was injected.
pub(super) struct Row {
    pub(super) name: &'static str,
    ends: Ends,
    /// Whether the kernel resets connections: without the rules of masquerading it takes the answers for its own.
    resets: bool,
    /// From the fault until all traffic flows again.
    windows: Vec<(Instant, Instant)>,
    /// The longest time without answer, by column and fault.
    gaps: [Vec<Duration>; 4],
    /// What the gateway said, and how often.
    said: BTreeMap<String, u32>,
    repairs: BTreeMap<String, u64>,
    /// Transfers in progress during a fault, and those of them that were intact.
    transfers: [usize; 2],
    pub(super) failures: Vec<String>,
}

impl Row {
    pub(super) fn new(fault: &Fault) -> Self {
        Self {
            name: fault.name,
            ends: fault.ends,
            resets: fault.phase == Phase::Masquerade,
            windows: Vec::new(),
            gaps: Default::default(),
            said: BTreeMap::new(),
            repairs: BTreeMap::new(),
            transfers: [0; 2],
            failures: Vec::new(),
        }
    }

    /// Records a fault from its begin until all traffic flows again.
    pub(super) fn window(&mut self, began: Instant, ended: Instant, gap: impl Fn(Column) -> Duration) {
        self.windows.push((began, ended));
        for (gaps, column) in self.gaps.iter_mut().zip(COLUMNS) {
            gaps.push(gap(column));
        }
    }

    /// Records the repairs since `before`.
    pub(super) fn repaired(&mut self, before: &[(String, u64)], after: &[(String, u64)]) {
        for (part, count) in after {
            let old = before.iter().find(|(name, _)| name == part).map_or(0, |(_, count)| *count);
            if *count > old {
                *self.repairs.entry(part.clone()).or_default() += count - old;
            }
        }
    }

    pub(super) fn said(&mut self, text: String) {
        if !text.is_empty() {
            *self.said.entry(text).or_default() += 1;
        }
    }

    /// Counts the transfers that were in progress during a fault.
    pub(super) fn count(&mut self, transfers: &[Transfer]) {
        let affected: Vec<_> = transfers.iter().filter(|transfer| self.overlaps(transfer)).collect();
        self.transfers =
            [affected.len(), affected.iter().filter(|transfer| transfer.failure.is_none()).count()];
    }

    fn overlaps(&self, transfer: &Transfer) -> bool {
        self.windows.iter().any(|(began, ended)| transfer.began < *ended && transfer.ended > *began)
    }

    /// The time from the last fault of this row to `then`.
    pub(super) fn age(&self, then: Instant) -> Option<Duration> {
        self.windows.iter().filter_map(|(began, _)| then.checked_duration_since(*began)).min()
    }

    /// Whether a transfer need not be intact.
    pub(super) fn excuses(&self, transfer: &Transfer) -> bool {
        self.resets && self.overlaps(transfer)
    }

    /// What the gateway did.
    fn did(&self) -> String {
        let process = match self.ends {
            Ends::Nothing => "same process",
            Ends::Process => "new process, same device",
            Ends::Device => "new process, new device",
        };
        let said = self.said.keys().map(String::as_str);
        let failed = (!self.failures.is_empty()).then(|| format!("**failed {} times**", self.failures.len()));
        [process].into_iter().chain(said).map(str::to_owned).chain(failed).collect::<Vec<_>>().join("; ")
    }

    fn line(&self) -> String {
        let mut line = format!("| {} | {} | {} |", self.name, self.windows.len(), self.did());
        for gaps in &self.gaps {
            let mut gaps = gaps.clone();
            gaps.sort_unstable();
            let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
            let longest = gaps.last().copied().unwrap_or_default();
            let _ = write!(line, " {} / {} |", seconds(median), seconds(longest));
        }
        let [all, intact] = self.transfers;
        let repairs = self.repairs.iter().map(|(part, count)| format!("{part} {count}"));
        let repairs = repairs.collect::<Vec<_>>().join(", ");
        let _ = write!(line, " {intact} of {all} | {} |", if repairs.is_empty() { "–" } else { &repairs });
        line
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

/// Resident memory while one process ran.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Memory {
    minutes: f64,
    first: f64,
    last: f64,
    /// KiB per minute after the first half.
    slope: f64,
}

/// Growth per minute that counts as none, as a part of the memory: pages of tables used for the first time.
const SLACK: f64 = 0.001;

impl Memory {
    /// From seconds and KiB. The first half is warm-up.
    pub(super) fn of(samples: &[(f64, f64)]) -> Self {
        let [.., (end, last)] = samples else { return Self::default() };
        let late: Vec<_> = samples.iter().filter(|(at, _)| *at >= end / 2.0).collect();
        let count = late.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| late.iter().map(|sample| of(sample)).sum::<f64>() / count;
        let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let covariance: f64 = late.iter().map(|(at, size)| (at - x) * (size - y)).sum();
        let variance: f64 = late.iter().map(|(at, _)| (at - x).powi(2)).sum();
        let slope = if variance > 0.0 { covariance / variance * 60.0 } else { 0.0 };
        Self { minutes: end / 60.0, first: late.first().map_or(0.0, |sample| sample.1), last: *last, slope }
    }

    /// Why the memory is not constant. A short run is warm-up.
    pub(super) fn failure(&self, minutes: u32) -> Option<String> {
        (minutes > 0 && self.slope > SLACK * self.first).then(|| format!("memory grows: {self:?}"))
    }
}

/// The whole table, and what belongs below it.
pub(super) fn markdown(rows: &[Row], memory: &Memory, transfers: &[Transfer]) -> String {
    let mut text = String::from(
        "| fault | times | gate64 | old flows | new flows | DNS, cached | DNS, new names | transfers intact | repairs |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows.iter().filter(|row| !row.windows.is_empty()) {
        let _ = writeln!(text, "{}", row.line());
    }
    let intact = transfers.iter().filter(|transfer| transfer.failure.is_none()).count();
    let _ = writeln!(text, "\nTransfers: {intact} of {} intact.", transfers.len());
    let _ = writeln!(
        text,
        "Resident memory in the second half of {:.1} minutes without restart: {:.0} KiB at its begin, {:.0} KiB at its \
         end, slope {:+.1} KiB per minute.",
        memory.minutes, memory.first, memory.last, memory.slope
    );
    text
}
