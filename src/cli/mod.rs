//! The command line.

mod check;
mod dns64_check;
mod explain;
mod run;
mod status;
mod translate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::lab;

/// Exit code for a configuration or a command line that can't be used.
pub const USAGE: u8 = 2;

/// The configuration file if nobody says otherwise.
const CONFIG: &str = "/etc/gate64/gate64.toml";

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
    /// Say why a client gets the answer it gets for a name: rules, upstreams, addresses.
    Explain(ExplainArgs),
    /// Show what a running gateway does.
    Status(StatusArgs),
    /// Remove what a killed gateway left on this host.
    Cleanup(CleanupArgs),
    /// Ask a DNS64, this one or any other, what the RFCs want of it.
    Dns64Check(dns64_check::Args),
    /// Translate a capture: what the gateway would send, when and why.
    ///
    /// Reads a capture (pcap or pcapng; raw IP, Ethernet, loopback or Linux cooked) from standard
    /// input and writes what the gateway would send, as pcap of raw IP, to standard output.
    ///
    /// Time is the capture's: timers run by it, and each packet of the output has the moment at which
    /// the gateway would send it. The same input gives the same output; what chance decides in a
    /// gateway (ports, IPv4 identifications) follows from --seed. This host is not looked at: where
    /// the file leaves the source of ICMP errors to the host, 2001:db8::64 and 192.0.0.8 stand for it.
    ///
    /// A capture that is cut off or damaged is translated up to there; the exit code is then 1. An
    /// unusable configuration gives 2.
    Translate(translate::TranslateArgs),
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
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct ExplainArgs {
    /// The name that is asked for.
    name: String,
    /// The client that asks. Default: the first address of the first zone.
    #[arg(long, value_name = "ADDR")]
    client: Option<std::net::IpAddr>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// The configuration file of the gateway, for the path of its admin socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin socket itself.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct CleanupArgs {
    /// The configuration file of the gateway, for the path of its record of changes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of that record itself.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Runs the program that the arguments name.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args.config),
        Command::Check(args) => check::check(&args.config),
        Command::Explain(args) => explain::explain(&args.config, &args.name, args.client),
        Command::Status(args) => status::status(args.config.as_deref(), args.socket.as_deref(), args.json),
        Command::Cleanup(args) => run::clean(args.config.as_deref(), args.state_dir.as_deref()),
        Command::Dns64Check(args) => dns64_check::run(&args),
        Command::Translate(args) => translate::translate(&args),
        Command::Demo(args) => lab::demo::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Version => {
            println!("gate64 {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../configs/gate64.service");

    fn value<'a>(key: &str) -> Vec<&'a str> {
        UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    #[test]
    fn the_unit_starts_reloads_and_cleans_up() {
        for (key, command) in [("ExecStart", "Run"), ("ExecStopPost", "Cleanup")] {
            let words = value(key)[0].split_whitespace();
            let cli = Cli::try_parse_from(words).expect("words of ours");
            assert!(format!("{:?}", cli.command).starts_with(command), "{key}: {cli:?}");
        }
        assert_eq!(value("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
        assert_eq!(value("Type"), ["notify"]);
    }

    #[test]
    fn the_unit_has_a_user_and_few_capabilities() {
        assert_eq!(value("User"), ["gate64"]);
        let capabilities = "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_BPF";
        assert_eq!(value("AmbientCapabilities"), [capabilities]);
        assert_eq!(value("CapabilityBoundingSet"), [capabilities]);
        assert!(value("ProtectKernelTunables").is_empty(), "sysctls = \"set\" writes below /proc/sys/net");
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
