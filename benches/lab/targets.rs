//! gate64's targets, as ratios within one interleaved run.

use crate::contestant::Contestant::{self, Gate64, Plain, Tayga, TaygaMasquerade};
use crate::record::{Ratio, Record, Row, ratio};
use crate::tests::{flood, latency, overload, setup, small, tcp, udp};

/// A target ratio.
pub(crate) struct Target {
    pub(crate) row: Row,
    /// The contestant compared with; `None` if the figure is itself a ratio.
    pub(crate) other: Option<Contestant>,
    /// Lower bound if more is better, else upper bound.
    pub(crate) bound: f64,
}

/// All targets in the order of the tests.
pub(crate) fn all() -> Vec<Target> {
    let target = |row: &Row, other, bound| Target { row: row.clone(), other, bound };
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
    /// The measured ratio; `None` if it was not measured.
    pub(crate) fn reached(&self, record: &Record) -> Option<Ratio> {
        match self.other {
            Some(other) => record.ratio(&self.row, Gate64, other),
            None => ratio(&record.values(&self.row, Gate64), &[1.0]),
        }
    }

    /// The name of what gate64 is compared with.
    pub(crate) fn compared(&self) -> &'static str {
        self.other.map_or(self.row.unit, Contestant::name)
    }

    /// Whether a ratio meets the target.
    pub(crate) fn is_met(&self, ratio: Ratio) -> bool {
        if self.row.more { ratio.middle >= self.bound } else { ratio.middle <= self.bound }
    }
}
