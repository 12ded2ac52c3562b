//! The measurements.

pub(crate) mod fairness;
pub(crate) mod flood;
pub(crate) mod latency;
pub(crate) mod overload;
pub(crate) mod setup;
pub(crate) mod small;
pub(crate) mod table;
pub(crate) mod tcp;
mod tester;
pub(crate) mod udp;

use gate64::lab::LabError;

use crate::options::{Options, Test};
use crate::record::Record;
use crate::testbed::Testbed;

/// Measures `test` on all testbeds, round by round.
pub(crate) fn run(
    test: Test,
    testbeds: &mut [Testbed],
    options: &Options,
    record: &mut Record,
) -> Result<(), LabError> {
    match test {
        Test::Tcp => tcp::run(testbeds, options, record),
        Test::Tester => tester::run(testbeds, options),
        Test::Udp => udp::run(testbeds, options, record),
        Test::Small => small::run(testbeds, options, record),
        Test::Latency => latency::run(testbeds, options, record),
        Test::Overload => overload::run(testbeds, options, record),
        Test::Setup => setup::run(testbeds, options, record),
        Test::Flood => flood::run(testbeds, options, record),
        Test::Fairness => fairness::run(options, record),
        Test::Table => table::run(testbeds, options, record),
        Test::Dns => crate::dns::run(options.rounds, options.quick),
    }
}

/// Measures every testbed once per round; each round starts with another testbed.
fn rounds(
    testbeds: &mut [Testbed],
    rounds: usize,
    mut measure: impl FnMut(&mut Testbed, usize) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let many = testbeds.len();
    for round in 0..rounds {
        for shift in 0..many {
            measure(&mut testbeds[(round + shift) % many], round)?;
        }
    }
    Ok(())
}
