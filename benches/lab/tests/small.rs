//! Small packets: the highest rate without loss and with 0.1 % loss, and CPU time per packet.

use gate64::lab::LabError;

use super::rounds;
use crate::cpu::per_million;
use crate::options::Options;
use crate::packets::tester::Side;
use crate::record::{Record, Row, median};
use crate::search::Wanted;
use crate::testbed::Testbed;
use crate::traffic::Load;

const UNIT: &str = "kpps";
/// 0.1 % loss.
pub(super) const LITTLE: f64 = 0.001;

/// Flows, their hosts, and the rows: 0.1 % loss, no loss, CPU.
pub(crate) const SHAPES: [(u32, u32, [Row; 3]); 2] = [
    (1, 1, rows(["one flow, 0.1 % loss", "one flow, no loss", "one flow"])),
    (1000, 16, rows(["1,000 flows, 0.1 % loss", "1,000 flows, no loss", "1,000 flows"])),
];

const fn rows(what: [&'static str; 3]) -> [Row; 3] {
    [
        Row { test: "Small packets", what: what[0], unit: UNIT, more: true },
        Row { test: "Small packets", what: what[1], unit: UNIT, more: true },
        Row { test: "CPU", what: what[2], unit: "s per million packets", more: false },
    ]
}

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter() {
        testbed.pin_gateway(true)?;
    }
    rounds(testbeds, options.rounds, |testbed, round| {
        for (many, hosts, rows) in &SHAPES {
            let mut flows = testbed.flows(*many, *hosts, 0);
            testbed.open(&mut flows, 20_000.0)?;
            let known = median(&record.values(&rows[0], testbed.contestant)).map(|kpps| kpps * 1e3);
            let seconds = options.seconds(0.5);
            let mut trial =
                |rate| testbed.load(&flows, Load { from: Side::Zone, rate, seconds, stamped: false });
            let little = Wanted::new(LITTLE, known).highest(&mut trial)?;
            let none = Wanted::new(0.0, Some(little.rate)).highest(&mut trial)?;
            let load =
                Load { from: Side::Zone, rate: little.rate, seconds: options.seconds(1.0), stamped: false };
            let cpu = per_million(testbed, &flows, load)?;
            println!(
                "round {}  {:<22} {many:>5} flows  {:>7.1} kpps with 0.1 % loss  {:>7.1} without  {cpu:>6.3} s/Mpkt",
                round + 1,
                testbed.contestant.name(),
                little.rate / 1e3,
                none.rate / 1e3,
            );
            record.add(&rows[0], testbed.contestant, little.rate / 1e3, little.limited);
            record.add(&rows[1], testbed.contestant, none.rate / 1e3, none.limited);
            record.add(&rows[2], testbed.contestant, cpu, false);
        }
        Ok(())
    })
}
