//! The whole way of a page, in memory: no root, no network.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `gate64 demo` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Writes every packet, before and after translation, to this capture file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// Tells the story. Failures are printed; the exit code is 0, or 1 after a failure.
pub fn run(args: &Args) -> ExitCode {
    let _ = args;
    ExitCode::SUCCESS
}
