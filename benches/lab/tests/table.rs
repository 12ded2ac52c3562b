//! Many flows (RFC 9693): the rate of small packets of random flows, and memory per session.

use gate64::lab::LabError;

use super::{rounds, small};
use crate::contestant::Contestant;
use crate::machine;
use crate::options::Options;
use crate::packets::tester::Side;
use crate::record::{Record, Row};
use crate::search::Wanted;
use crate::testbed::Testbed;
use crate::traffic::Load;

/// Flows per host.
const EACH: u32 = 200;
/// The first host. No other test uses it.
const FIRST: u32 = 40_000;

const fn row(what: &'static str) -> Row {
    Row { test: "Many flows", what, unit: "kpps at 0.1 % loss", more: true }
}

pub(crate) const SIZES: [(Row, u32); 3] =
    [(row("10,000 flows"), 10_000), (row("100,000 flows"), 100_000), (row("1,000,000 flows"), 1_000_000)];
/// Default limit of the kernel's connection table, roughly.
const LARGE: u32 = 200_000;

pub(crate) const MEMORY: Row =
    Row { test: "Memory", what: "a session, at 1,000,000", unit: "bytes", more: false };

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter() {
        testbed.pin_gateway(true)?;
    }
    rounds(testbeds, options.rounds.min(2), |testbed, round| {
        for (row, many) in &SIZES {
            let alone = testbed.contestant == Contestant::Gate64;
            if *many > LARGE && (!alone || options.quick || round > 0) {
                continue;
            }
            let before = memory(testbed);
            let mut flows = testbed.flows(*many, *many / EACH, FIRST);
            testbed.open(&mut flows, 50_000.0)?;
            if *many > LARGE
                && let (Some(before), Some(after)) = (before, memory(testbed))
            {
                let each = after.saturating_sub(before) as f64 / f64::from(*many);
                record.add(&MEMORY, testbed.contestant, each, false);
            }
            let seconds = options.seconds(0.5);
            let found = Wanted::new(small::LITTLE, None).highest(|rate| {
                testbed.load(&flows, Load { from: Side::Zone, rate, seconds, stamped: false })
            })?;
            let name = testbed.contestant.name();
            println!("round {}  {name:<22} {many:>8} flows  {:>7.1} kpps", round + 1, found.rate / 1e3);
            record.add(row, testbed.contestant, found.rate / 1e3, found.limited);
        }
        Ok(())
    })
}

fn memory(testbed: &Testbed) -> Option<u64> {
    machine::memory(testbed.running.pid()?, "VmRSS:")
}
