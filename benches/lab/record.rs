//! Samples and their statistics: medians, and ratios of medians with confidence intervals.

use crate::contestant::Contestant;

/// Number of bootstrap resamples.
const RESAMPLES: usize = 2000;

/// Identifies a figure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// The test's name.
    pub(crate) test: &'static str,
    /// Its variant: direction, flows.
    pub(crate) what: &'static str,
    /// The unit of the figure.
    pub(crate) unit: &'static str,
    /// Whether more is better.
    pub(crate) more: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) row: Row,
    pub(crate) contestant: Contestant,
    pub(crate) value: f64,
    /// The tester was the limit, not the contestant.
    pub(crate) limited: bool,
}

/// All samples of a run in the order taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) samples: Vec<Sample>,
}

/// A ratio of two medians with its 95 % bootstrap interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Ratio {
    pub(crate) middle: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Record {
    pub(crate) fn add(&mut self, row: &Row, contestant: Contestant, value: f64, limited: bool) {
        self.samples.push(Sample { row: row.clone(), contestant, value, limited });
    }

    /// All rows, in the order of their first sample.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for sample in &self.samples {
            if !rows.contains(&sample.row) {
                rows.push(sample.row.clone());
            }
        }
        rows
    }

    /// The samples of a contestant in a row.
    pub(crate) fn values(&self, row: &Row, contestant: Contestant) -> Vec<f64> {
        let of = |s: &&Sample| s.contestant == contestant && s.row == *row;
        self.samples.iter().filter(of).map(|s| s.value).collect()
    }

    /// Whether the tester was the limit in any sample.
    pub(crate) fn limited(&self, row: &Row, contestant: Contestant) -> bool {
        self.samples.iter().any(|s| s.limited && s.contestant == contestant && s.row == *row)
    }

    pub(crate) fn ratio(&self, row: &Row, over: Contestant, under: Contestant) -> Option<Ratio> {
        ratio(&self.values(row, over), &self.values(row, under))
    }
}

/// The median; `None` if there are no values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}

/// The quantile `part` (0 to 1) of the sorted values.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = (part * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The ratio of two medians with its bootstrap interval. The resampling is deterministic.
pub(crate) fn ratio(over: &[f64], under: &[f64]) -> Option<Ratio> {
    let middle = median(over)? / median(under)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |from: &[f64]| {
        let one = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            from[(state >> 33) as usize % from.len()]
        };
        median(&(0..from.len()).map(one).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    let mut resampled: Vec<f64> = (0..RESAMPLES).map(|_| pick(over) / pick(under)).collect();
    resampled.sort_by(f64::total_cmp);
    Some(Ratio { middle, low: quantile(&resampled, 0.025), high: quantile(&resampled, 0.975) })
}
