//! Tables for the terminal and CSV.

use std::fmt::Write as _;

use crate::contestant::Contestant;
use crate::record::{Record, Row, median};
use crate::targets;

/// Each row with the median of each contestant and gate64's ratio to it.
pub(crate) fn table(record: &Record, contestants: &[Contestant]) -> String {
    let mut text = String::new();
    for row in record.rows() {
        let Row { test, what, unit, more } = row;
        let better = if more { "more is better" } else { "less is better" };
        let _ = writeln!(text, "\n{test}: {what} ({unit}; {better})");
        for &contestant in contestants {
            let values = record.values(&row, contestant);
            let Some(middle) = median(&values) else { continue };
            let mut line = format!("  {:<22} {:>10}", contestant.name(), figure(middle));
            if contestant != Contestant::Gate64
                && let Some(ratio) = record.ratio(&row, Contestant::Gate64, contestant)
            {
                let (m, l, h) = (figure(ratio.middle), figure(ratio.low), figure(ratio.high));
                let _ = write!(line, "   gate64 is {m} times that ({l} to {h})");
            }
            if record.limited(&row, contestant) {
                line.push_str("   tester-limited");
            }
            let _ = writeln!(text, "{line}");
        }
    }
    text.push_str(&against_targets(record));
    text
}

/// The targets and whether they are met.
fn against_targets(record: &Record) -> String {
    let mut text = "\ntargets:\n".to_owned();
    for target in targets::all() {
        let Some(ratio) = target.reached(record) else { continue };
        let (verdict, sign) = (
            if target.is_met(ratio) { "met    " } else { "NOT MET" },
            if target.row.more { ">=" } else { "<=" },
        );
        let other = target.compared();
        let [m, l, h] = [ratio.middle, ratio.low, ratio.high].map(figure);
        let Row { test, what, .. } = target.row;
        let _ = writeln!(
            text,
            "  {verdict} {test}, {what} / {other}: {m} ({l} to {h}), target {sign} {}",
            target.bound
        );
    }
    text
}

/// Formats a figure with three significant digits.
pub(crate) fn figure(value: f64) -> String {
    if value.is_infinite() {
        return "∞".to_owned();
    }
    let digits = match value.abs() {
        0.0 => 0,
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// All samples as CSV.
pub(crate) fn csv(record: &Record) -> String {
    let mut text = "test,what,unit,contestant,value,tester_limited\n".to_owned();
    for sample in &record.samples {
        let Row { test, what, unit, .. } = &sample.row;
        let key = sample.contestant.key();
        let _ = writeln!(text, "{test},\"{what}\",{unit},{key},{},{}", sample.value, sample.limited);
    }
    text
}
