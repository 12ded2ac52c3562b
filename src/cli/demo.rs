//! `gate64 demo`.

use std::process::ExitCode;

use clap::Args;

/// Arguments of `gate64 demo`.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {}

/// Runs the demonstration.
pub(super) fn demo(_args: &DemoArgs) -> ExitCode {
    eprintln!("gate64: the demonstration comes with the next landing");
    ExitCode::FAILURE
}
