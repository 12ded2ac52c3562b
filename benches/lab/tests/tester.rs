//! Self-test: the rate and loss of the tester without a gateway.

use std::time::Duration;

use gate64::lab::LabError;

use crate::machine;
use crate::options::Options;
use crate::packets::tester::{Length, Side, Stream, Tester};
use crate::testbed::{Testbed, failed};

/// A rate above that of any machine.
const UNLIMITED: f64 = 1e8;

/// Measures the frame rate between the ends of one link, and the loss.
pub(super) fn run(testbeds: &mut [Testbed], options: &Options) -> Result<(), LabError> {
    let Some(testbed) = testbeds.first_mut() else { return Ok(()) };
    let flows = testbed.flows(1000, 16, 0).to_unused_address();
    let [cpu, _] = machine::cpus();
    let ends = ((testbed.lab.host().name(), "eth0"), (testbed.lab.gateway.name(), "lan0"));
    let mut wire = Tester::new(ends.0, ends.1, cpu).map_err(failed("packet sockets"))?;
    let seconds = options.seconds(1.0);
    let mut try_at = |rate: f64| {
        let trial = flows.trial;
        let stream = Stream { from: Side::Zone, frames: &flows.up, rate, trial, stamped: false };
        let counts = wire.run(&[stream], Length::For(Duration::from_secs_f64(seconds)), |_| {});
        counts.map(|counts| (counts[0].sent as f64 / seconds, counts[0].loss())).map_err(failed("sending"))
    };
    let (most, _) = try_at(UNLIMITED)?;
    let (_, loss) = try_at(most * 0.8)?;
    println!(
        "self-test: the tester sends {:.0} kpps; {:.3} % of 80 % of that are not seen at the link's other end",
        most / 1e3,
        loss * 100.0
    );
    Ok(())
}
