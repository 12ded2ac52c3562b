//! What gate64 wants to reach, as ratios within one interleaved run.

use crate::contestant::Contestant::{self, Gate64, Plain, Tayga, TaygaMasquerade};
use crate::record::{Ratio, Record, Row, ratio};
use crate::tests::{flood, latency, overload, setup, small, tcp, udp};

/// A ratio to be reached.
pub(crate) struct Target {
    pub(crate) row: Row,
    /// Whom gate64 is compared with; `None` if the figure is a ratio already.
    pub(crate) under: Option<Contestant>,
    /// At least, or at most, by which of the two is better.
    pub(crate) bound: f64,
}

/// All of them, in the order of the tests.
pub(crate) fn all() -> Vec<Target> {
    let target = |row: &Row, under, bound| Target { row: row.clone(), under, bound };
    let mut all = Vec::new();
    for (at, (row, flows, _)) in tcp::SHAPES.iter().enumerate() {
        all.push(target(row, Some(Plain), if *flows == 1 { 0.55 } else { 0.45 }));
        if at < 2 {
            all.push(target(row, Some(TaygaMasquerade), 13.0));
            all.push(target(row, Some(Tayga), 9.0));
        }
    }
    all.push(target(&udp::UP, Some(Tayga), 4.0));
    all.push(target(&udp::DOWN, Some(Tayga), 4.0));
    let [(_, _, one), (_, _, thousand)] = &small::SHAPES;
    all.push(target(&one[0], Some(TaygaMasquerade), 4.0));
    all.push(target(&thousand[0], Some(TaygaMasquerade), 1.8));
    all.push(target(&one[2], Some(Tayga), 0.5));
    all.push(target(&thousand[2], Some(Tayga), 0.85));
    all.push(target(&latency::ADDED, Some(Tayga), 1.0));
    all.push(target(&overload::PART, None, 0.9));
    all.push(target(&setup::NEW, Some(TaygaMasquerade), 2.0));
    for ([during, after], _) in &flood::FLOODS {
        all.push(target(during, None, 0.9));
        all.push(target(after, None, 0.99));
    }
    all.push(target(&flood::MEMORY, None, 1.0));
    all
}

impl Target {
    /// What was reached; `None` if it was not measured.
    pub(crate) fn reached(&self, record: &Record) -> Option<Ratio> {
        match self.under {
            Some(under) => record.ratio(&self.row, Gate64, under),
            None => ratio(&record.values(&self.row, Gate64), &[1.0]),
        }
    }

    /// What gate64 is compared with, in words.
    pub(crate) fn compared(&self) -> &'static str {
        self.under.map_or(self.row.unit, Contestant::name)
    }

    /// Whether a ratio is as wanted.
    pub(crate) fn is_met(&self, ratio: Ratio) -> bool {
        if self.row.more { ratio.middle >= self.bound } else { ratio.middle <= self.bound }
    }
}
