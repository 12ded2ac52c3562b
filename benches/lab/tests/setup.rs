//! Connection establishment (RFC 9693): the highest rate of new flows, each validated by a reply. The RFC
//! requires all of them; here 0.1 % may be missing.

use gate64::lab::LabError;

use super::rounds;
use crate::contestant::Contestant;
use crate::options::Options;
use crate::packets::sys;
use crate::packets::tester::{Count, Side};
use crate::record::{Record, Row, median};
use crate::search::Wanted;
use crate::testbed::{Testbed, failed};
use crate::traffic::Load;

/// New flows per trial, and their hosts.
const FLOWS: u32 = 20_000;
const HOSTS: u32 = 200;

pub(crate) const NEW: Row =
    Row { test: "Connection establishment", what: "new flows", unit: "thousands a second", more: true };

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter() {
        testbed.pin_gateway(true)?;
    }
    // Other tests use the hosts below.
    let mut first = 1000;
    rounds(testbeds, options.rounds.min(3), |testbed, round| {
        let known = median(&record.values(&NEW, testbed.contestant)).map(|kilo| kilo * 1e3);
        let found = Wanted::new(0.001, known).highest(|rate| {
            first += HOSTS;
            trial(testbed, rate, first)
        })?;
        let name = testbed.contestant.name();
        println!("round {}  {name:<22} {:>7.1} thousand new flows a second", round + 1, found.rate / 1e3);
        record.add(&NEW, testbed.contestant, found.rate / 1e3, found.limited);
        Ok(())
    })
}

/// Opens new flows and sends one reply on each.
fn trial(testbed: &mut Testbed, rate: f64, first: u32) -> Result<Count, LabError> {
    let mut flows = testbed.flows(FLOWS, HOSTS, first);
    let mut seen = vec![None; flows.up.len()];
    let mut count = testbed.open_once(&flows, rate, &mut seen)?;
    if count.loss() <= 0.001 {
        // Flows that did not arrive count as lost; replies go to the others.
        let known = seen.iter().copied().find(Option::is_some).flatten();
        let filled: Vec<_> = seen.iter().map(|seen| seen.or(known)).collect();
        testbed.build_replies(&mut flows, &filled)?;
        let replies = Load {
            from: Side::Internet,
            rate: VALIDATE,
            seconds: f64::from(FLOWS) / VALIDATE,
            stamped: false,
        };
        let back = testbed.load(&flows, replies)?;
        count.arrived = count.arrived.min(back.arrived * count.sent / back.sent.max(1));
    }
    flush_connections(testbed)?;
    Ok(count)
}

/// Replies per second: half of the peak of the slowest contestant on a slow machine.
const VALIDATE: f64 = 15_000.0;

/// Flushes the kernel's connection table, which would fill up between trials.
fn flush_connections(testbed: &Testbed) -> Result<(), LabError> {
    match testbed.contestant {
        Contestant::TaygaMasquerade | Contestant::Nat44 => {
            sys::flush_conntrack(testbed.lab.gateway.name()).map_err(failed("connection tracking"))
        }
        Contestant::Gate64 | Contestant::Tayga | Contestant::Plain => Ok(()),
    }
}
