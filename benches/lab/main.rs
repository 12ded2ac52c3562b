//! Compares gate64 with other translators and with plain forwarding, interleaved, in the kernel lab.
//!
//! The procedures are those of RFC 8219 and RFC 9693, shortened as PERFORMANCE.md describes. Prints figures
//! and asserts nothing, since the machine may be busy. Needs root.
#![allow(missing_docs)]

mod contestant;
mod cpu;
mod dns;
mod machine;
mod options;
#[path = "../../integration/packet_builder/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod packet_builder;
mod packets;
mod publish;
mod record;
mod report;
mod search;
mod svg;
mod targets;
mod testbed;
mod tests;
mod traffic;

use std::fs;
use std::path::Path;

use gate64::lab::LabError;

use options::{Options, Test};
use record::Record;
use testbed::Testbed;

/// Session capacity of the gateways.
const SESSIONS: u32 = 1 << 21;

fn run(options: &Options) -> Result<(), LabError> {
    println!("{}; {}", machine::describe(), contestant::tayga_version());
    let _priority = machine::Priority::take();
    // It builds its own lab.
    if options.tests == [Test::Dns] {
        return dns::run(options.rounds, options.quick);
    }
    let contestants = if options.tests == [Test::Fairness] { &[] } else { options.only.as_slice() };
    let build = |contestant: &_| Testbed::build(*contestant, SESSIONS, options.rps.as_deref());
    let mut testbeds = contestants.iter().map(build).collect::<Result<Vec<_>, _>>()?;
    let mut record = Record::default();
    for &test in &options.tests {
        tests::run(test, &mut testbeds, options, &mut record)?;
    }
    println!("{}", report::table(&record, &options.only));
    let mut files = vec![("samples.csv", report::csv(&record))];
    files.extend(publish::plots(&record));
    let dir = Path::new("target/bench-lab");
    fs::create_dir_all(dir)
        .and_then(|()| files.iter().try_for_each(|(name, text)| fs::write(dir.join(name), text)))
        .map_err(testbed::failed("target/bench-lab"))?;
    println!("all samples, and plots: {}", dir.display());
    if options.publish {
        publish::publish(&record, options).map_err(testbed::failed("PERFORMANCE.md and its plots"))?;
    }
    Ok(())
}

fn main() {
    if !gate64::lab::is_root() {
        eprintln!("SKIPPED: the lab benchmark needs root");
        return;
    }
    let mut words = std::env::args().skip(1);
    let done = match (words.next(), words.next()) {
        (Some(word), Some(addr)) if word == dns::bare::WORD => dns::bare::serve(&addr),
        _ => run(&Options::read()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
