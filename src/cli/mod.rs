//! The command line.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::lab;

/// Exit code for a configuration or a command line that can't be used.
pub const USAGE: u8 = 2;

/// A NAT64 and DNS64 gateway in one program.
#[derive(Parser, Debug)]
#[command(name = "gate64", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the gateway until SIGTERM; SIGHUP reloads the file.
    Run(ConfigFile),
    /// Check a configuration, show what it means and what must be routed upstream.
    Check(ConfigFile),
    /// Show what a running gateway does.
    Status(StatusArgs),
    /// Remove what a killed gateway left on this host.
    Cleanup(CleanupArgs),
    /// Watch a name looked up and a page fetched, without root and without network.
    Demo(lab::demo::Args),
    /// The same with kernels: network namespaces, a real device, named and an HTTP server (root).
    Lab(lab::Args),
    /// Print the version.
    Version,
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/gate64/gate64.toml")]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// The admin socket of the gateway.
    #[arg(long, value_name = "PATH", default_value = "/run/gate64/admin.sock")]
    socket: PathBuf,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct CleanupArgs {
    /// Where the gateway keeps its record of changes to the host.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/gate64")]
    state_dir: PathBuf,
}

/// Runs the program that the arguments name.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => unavailable(&args.config),
        Command::Check(args) => check::check(&args.config),
        Command::Status(args) => unavailable(&args.socket),
        Command::Cleanup(args) => unavailable(&args.state_dir),
        Command::Demo(args) => lab::demo::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Version => {
            println!("gate64 {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

fn unavailable(path: &std::path::Path) -> ExitCode {
    eprintln!("gate64: {}: this command comes with the next landing", path.display());
    ExitCode::FAILURE
}
