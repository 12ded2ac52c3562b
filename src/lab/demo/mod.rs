//! `gate64 demo`: a DNS64 lookup and a page through NAT64, in memory, without root or network.

mod capture;
mod describe;
mod host;
mod names;
mod story;
mod tally;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use super::LabError;
use crate::output::{errln, outln};
use capture::Capture;
use world::World;

/// Size in bytes of the file that measures the speed.
const FILE: usize = 16 << 20;

/// Fetch a page from an IPv4-only server on an IPv6-only host, in memory: no root, no network.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Write every packet, before and after translation, to this capture file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// Runs the demonstration and prints errors. The exit code is 0, or 1 after an error.
pub fn run(args: &Args) -> ExitCode {
    match demonstrate(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("gate64 demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(args: &Args) -> Result<(), LabError> {
    let capture = args.pcap.as_deref().map(Capture::create).transpose()?;
    let mut world = World::new(capture)?;
    story::run_steps(&mut world, FILE)?;
    world.finish()?;
    if let Some(path) = &args.pcap {
        outln!("Capture of all packets, for Wireshark: {}", path.display());
    }
    Ok(())
}
