//! The whole way of a page, in memory: no root, no network.

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
use capture::Capture;
use world::World;

/// Bytes of the file that shows how fast it is.
const FILE: usize = 16 << 20;

/// A host that has only IPv6 fetches a page from a server that has only IPv4, all in memory.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Writes every packet, before and after translation, to this capture file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// Tells the story on standard output. Failures are printed; the exit code is 0, or 1 after one.
pub fn run(args: &Args) -> ExitCode {
    match tell(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gate64 demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(args: &Args) -> Result<(), LabError> {
    let capture = args.pcap.as_deref().map(Capture::create).transpose()?;
    let mut world = World::new(capture)?;
    story::tell(&mut world, FILE)?;
    world.finish()?;
    if let Some(path) = &args.pcap {
        println!("Every packet is in {}: look at it with Wireshark.", path.display());
    }
    Ok(())
}
