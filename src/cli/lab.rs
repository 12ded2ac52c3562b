//! `gate64 lab`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `gate64 lab`.
#[derive(Args, Debug)]
pub(super) struct LabArgs {
    #[command(subcommand)]
    command: Option<LabCommand>,
}

#[derive(Subcommand, Debug)]
enum LabCommand {
    /// Open a shell in the zone of the lab.
    Shell,
}

/// Runs the lab.
pub(super) fn lab(args: &LabArgs) -> ExitCode {
    eprintln!("gate64: the lab comes with the next landing ({:?})", args.command);
    ExitCode::FAILURE
}
