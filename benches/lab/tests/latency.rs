//! Latency at half of tayga's load (RFC 8219 §7.2): one-way delay of every packet of one flow.

use gate64::lab::LabError;

use super::{rounds, small};
use crate::contestant::Contestant;
use crate::options::Options;
use crate::packets::tester::Side;
use crate::record::{Record, Row, median, quantile};
use crate::testbed::Testbed;
use crate::traffic::Load;

/// Rate if tayga was not measured: about half of its peak on a small virtual machine.
const UNKNOWN: f64 = 45_000.0;

const fn row(what: &'static str) -> Row {
    Row { test: "Latency", what, unit: "µs", more: false }
}

pub(crate) const QUANTILES: [(Row, f64); 3] =
    [(row("median"), 0.5), (row("p99"), 0.99), (row("p99.9"), 0.999)];
/// Delay added to that of plain forwarding.
pub(crate) const ADDED: Row = row("median, less that of plain forwarding");

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    let tayga = median(&record.values(&small::SHAPES[0].2[0], Contestant::Tayga));
    let rate = tayga.map_or(UNKNOWN, |kpps| kpps * 1000.0 / 2.0);
    for testbed in testbeds.iter() {
        testbed.pin_gateway(true)?;
    }
    rounds(testbeds, options.rounds, |testbed, round| {
        let mut flows = testbed.flows(1, 1, 0);
        testbed.open(&mut flows, 1000.0)?;
        let load = Load { from: Side::Zone, rate, seconds: options.seconds(1.5), stamped: true };
        let count = testbed.load(&flows, load)?;
        let mut delays: Vec<f64> = count.delays.iter().map(|&ns| ns as f64 / 1000.0).collect();
        delays.sort_by(f64::total_cmp);
        let of = |part| quantile(&delays, part);
        println!(
            "round {}  {:<22} delay at {:.0} kpps: {:.1} µs, p99 {:.1}, p99.9 {:.1}",
            round + 1,
            testbed.contestant.name(),
            rate / 1e3,
            of(0.5),
            of(0.99),
            of(0.999)
        );
        for (row, part) in &QUANTILES {
            record.add(row, testbed.contestant, of(*part), count.limited);
        }
        Ok(())
    })?;
    let plain = record.values(&QUANTILES[0].0, Contestant::Plain);
    for testbed in testbeds.iter().filter(|testbed| testbed.contestant != Contestant::Plain) {
        let own = record.values(&QUANTILES[0].0, testbed.contestant);
        for (own, plain) in own.iter().zip(&plain) {
            record.add(&ADDED, testbed.contestant, own - plain, false);
        }
    }
    Ok(())
}
