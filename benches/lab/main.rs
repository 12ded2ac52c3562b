//! gate64 beside what people use today and beside the limit, interleaved, in the kernel lab.
//!
//! The procedures are those of RFC 8219 and RFC 9693, made smaller: PERFORMANCE.md says how. Prints
//! what it measured and asserts nothing, since the machine may be busy. Needs root.
#![allow(missing_docs)]

mod bed;
mod contestant;
mod cpu;
mod dns;
mod machine;
mod options;
mod packets;
mod record;
mod report;
mod search;
mod tests;
mod traffic;

use std::fs;
use std::path::Path;

use gate64::lab::LabError;

use bed::Bed;
use options::{Options, Test};
use record::Record;

/// Sessions that the gateways have room for.
const SESSIONS: u32 = 1 << 20;

fn run(options: &Options) -> Result<(), LabError> {
    println!("{}; {}", machine::describe(), contestant::tayga_version());
    let _priority = machine::Priority::take();
    // It has beds of its own.
    if options.tests == [Test::Dns] {
        return dns::run(options.rounds, options.quick);
    }
    let mut beds = options.only.iter().map(|c| Bed::build(*c, SESSIONS)).collect::<Result<Vec<_>, _>>()?;
    let mut record = Record::default();
    for &test in &options.tests {
        tests::run(test, &mut beds, options, &mut record)?;
    }
    println!("{}", report::table(&record, &options.only));
    let dir = Path::new("target/bench-lab");
    let write = |name: &str, text: &str| {
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(dir.join(name), text))
            .map_err(bed::failed("target/bench-lab"))
    };
    write("samples.csv", &report::csv(&record))
}

fn main() {
    if !gate64::lab::is_root() {
        eprintln!("SKIPPED: the lab's benchmark needs root");
        return;
    }
    if let Err(error) = run(&Options::read()) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
