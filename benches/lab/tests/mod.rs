//! The measurements.

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

use crate::bed::Bed;
use crate::options::{Options, Test};
use crate::record::Record;

/// Measures `test` on all beds, round by round.
pub(crate) fn run(
    test: Test,
    beds: &mut [Bed],
    options: &Options,
    record: &mut Record,
) -> Result<(), LabError> {
    match test {
        Test::Tcp => tcp::run(beds, options, record),
        Test::Tester => tester::run(beds, options),
        Test::Udp => udp::run(beds, options, record),
        Test::Small => small::run(beds, options, record),
        Test::Latency => latency::run(beds, options, record),
        Test::Overload => overload::run(beds, options, record),
        Test::Setup => setup::run(beds, options, record),
        Test::Flood => flood::run(beds, options, record),
        Test::Table => table::run(beds, options, record),
        Test::Dns => crate::dns::run(options.rounds, options.quick),
    }
}

/// Measures every bed once per round; each round starts with another bed.
fn rounds(
    beds: &mut [Bed],
    rounds: usize,
    mut measure: impl FnMut(&mut Bed, usize) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let many = beds.len();
    for round in 0..rounds {
        for shift in 0..many {
            measure(&mut beds[(round + shift) % many], round)?;
        }
    }
    Ok(())
}
