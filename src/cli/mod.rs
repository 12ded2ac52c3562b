//! The command line.

mod admin;
mod bib;
mod check;
mod constants;
mod dns64_check;
mod doctor;
mod drops;
mod exit;
mod explain;
mod health;
mod online;
mod package_files;
mod pool;
mod protocol;
mod reload;
mod report;
mod run;
mod sessions;
mod status;
mod trace;
mod translate;
mod who;
mod zones;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::json_schema;
use crate::control::host_info::UnknownHost;
use crate::lab;
use crate::output::outln;
use admin::AdminSocket;
use constants::CONFIG;

pub use constants::USAGE;

/// NAT64 and DNS64 gateway.
#[derive(Parser, Debug)]
#[command(name = "gate64", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the gateway until SIGTERM. SIGHUP reloads the configuration.
    Run(RunArgs),
    /// Reload the configuration of a running gateway and wait for the result.
    ///
    /// The gateway reads the file that it was started with. If it refuses the file, it keeps running with
    /// the old configuration, and the exit code is 2 for an invalid file and 1 otherwise.
    Reload(ReloadArgs),
    /// Validate a configuration; show its effect, the routes that other routers need, and what this host lacks.
    ///
    /// The exit code is 0 if `gate64 run` would serve, 2 if the file is invalid, and 1 if this host refuses it.
    Check(check::Args),
    /// Explain how DNS64 answers a client's query, or what the translator does with a packet, and why.
    Explain(explain::Args),
    /// Show the state and counters of a running gateway.
    Status(StatusArgs),
    /// Show whether a running gateway does its work: device, workers, host, pool4, upstream resolvers.
    ///
    /// The exit code is 0 if clients can use it, also in part (`degraded`), and 1 otherwise.
    Health(StatusArgs),
    /// Examine configuration, host and running gateway; name what mends each problem.
    ///
    /// Asks the upstream resolvers, and counts drops for two seconds. The exit code is 1 if something does not work.
    Doctor(doctor::Args),
    /// List the zones of a running gateway with their traffic, drops and DNS queries.
    Zones(zones::Args),
    /// Show how much of pool4 is in use, by address and zone.
    Pool(pool::Args),
    /// Show why a running gateway drops packets: reasons, counts by zone, and what to do.
    Drops(drops::Args),
    /// Follow packets through a running gateway, with what became of each and why.
    ///
    /// A packet matches if it satisfies every condition before or after translation. Packets that timers send are
    /// not shown. A new trace ends an earlier one.
    Trace(trace::Args),
    /// Show which host had a port of an outside address, and when: the answer for an abuse desk.
    ///
    /// Reads the files of the binding log, also while gate64 does not run. A running gateway adds which
    /// host has the port now. The exit code is 1 if no record answers.
    Who(who::Args),
    /// List sessions, as workers saved them within the last seconds; also after gate64 has ended.
    Sessions(sessions::Filter),
    /// List bindings: which client has which public address and port. As current as `gate64 sessions`.
    Bib(sessions::Filter),
    /// List the hosts with the most traffic in live sessions.
    Hosts {
        #[command(flatten)]
        filter: sessions::Filter,
        /// Maximum number of hosts.
        #[arg(long, default_value_t = 20)]
        top: usize,
    },
    /// Write a report on what still uses IPv4: names, literals, hosts, and the progress of each zone.
    ///
    /// Reads the ledger (`[ledger]` in the configuration), also while gate64 runs or has ended. Days are those of UTC.
    Report(report::Args),
    /// Undo what a stopped or killed gateway left on this host: routes, addresses, sysctls.
    Cleanup(CleanupArgs),
    /// Test a DNS64 server, gate64 or any other, against RFC 6147, RFC 7050 and RFC 8880.
    Dns64Check(dns64_check::Args),
    /// Translate a capture offline: which packets the gateway would send, when and why.
    ///
    /// Reads a capture (pcap or pcapng; raw IP, Ethernet, loopback or Linux cooked) from standard
    /// input. Writes the packets that the gateway would send to standard output, as pcap of raw IP.
    ///
    /// The clock is the capture's: timers follow its timestamps, and each output packet bears the time
    /// at which the gateway would send it. The same input gives the same output: ports and IPv4
    /// identifications, which a gateway chooses randomly, derive from --seed. Addresses of this host
    /// are not used: ICMP errors without a configured source come from 2001:db8::64 and 192.0.0.8.
    ///
    /// A truncated or damaged capture is translated up to the damage, with exit code 1. An invalid
    /// configuration gives exit code 2.
    Translate(translate::TranslateArgs),
    /// Show a DNS64 lookup and a page fetched through NAT64, in memory: no root, no network.
    Demo(lab::demo::Args),
    /// The same with the kernel: network namespaces, a TUN device, named and a web server (root).
    Lab(lab::Args),
    /// Print the JSON Schema of the configuration file, with which editors complete and check keys.
    Schema,
    /// Print the version.
    Version,
    /// Write manual pages and completions, for packages.
    #[command(hide = true)]
    PackageFiles(package_files::PackageFiles),
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct RunArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Keep the device and all changes to this host at exit, for the next start.
    ///
    /// The service manager keeps the queues of the device (`FileDescriptorStoreMax=`), so that it stays up over a
    /// restart. After a final stop it must run `gate64 cleanup`; see gate64-host.service.
    #[arg(long)]
    fd_store: bool,
}

#[derive(Args, Debug)]
struct ReloadArgs {
    #[command(flatten)]
    socket: AdminSocket,
    /// Only show what would change: keys, settings that need a restart, sessions and bindings that would end.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object, for programs.
    #[arg(long, requires = "dry_run")]
    json: bool,
}

#[derive(Args, Debug)]
struct StatusArgs {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct CleanupArgs {
    /// Configuration file of the gateway; gate64 reads the state directory from it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory, which holds the journal of changes to this host.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Leave the unreachable routes, which stand in for a stopped gateway.
    #[arg(long)]
    after_stop: bool,
}

/// Parses the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args.file.config, args.fd_store),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Reload(args) if args.dry_run => reload::dry_run(&args.socket.path(), args.json),
        Command::Reload(args) => reload::reload(&args.socket.path()),
        Command::Status(args) => status::status(&args.socket.path(), args.json),
        Command::Health(args) => health::health(&args.socket.path(), args.json),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Zones(args) => zones::zones(&args),
        Command::Pool(args) => pool::pool(&args),
        Command::Drops(args) => drops::drops(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Who(args) => who::who(&args),
        Command::Sessions(filter) => sessions::sessions(&filter),
        Command::Bib(filter) => bib::bib(&filter),
        Command::Hosts { filter, top } => sessions::hosts(&filter, top),
        Command::Report(args) => report::run(&args),
        Command::Cleanup(args) => {
            run::clean(args.config.as_deref(), args.state_dir.as_deref(), args.after_stop)
        }
        Command::Dns64Check(args) => dns64_check::run(&args),
        Command::Translate(args) => translate::translate(&args),
        Command::Demo(args) => lab::demo::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::PackageFiles(args) => package_files::run(&args, &Cli::command()),
        Command::Schema => exit::print(serde_json::to_string_pretty(&json_schema(&UnknownHost::new()))),
        Command::Version => {
            outln!("gate64 {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../configs/gate64.service");
    const HOST_UNIT: &str = include_str!("../../configs/gate64-host.service");

    fn value<'a>(key: &str) -> Vec<&'a str> {
        value_in(UNIT, key)
    }

    fn value_in<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    #[test]
    fn the_unit_starts_reloads_and_cleans_up() {
        let commands =
            [(UNIT, "ExecStart", "Run"), (UNIT, "ExecReload", "Reload"), (HOST_UNIT, "ExecStop", "Cleanup")];
        for (unit, key, command) in commands {
            let words = value_in(unit, key)[0].split_whitespace();
            let cli = Cli::try_parse_from(words).expect("valid arguments");
            assert!(format!("{:?}", cli.command).starts_with(command), "{key}: {cli:?}");
        }
        assert_eq!(value("Type"), ["notify"]);
        let most: u8 = value("FileDescriptorStoreMax")[0].parse().expect("a number");
        assert!(most >= crate::ownership::MAX_WORKERS, "a queue for each worker");
        assert_eq!(value("Requires"), ["gate64-host.service"]);
        assert_eq!(value_in(HOST_UNIT, "StopWhenUnneeded"), ["yes"]);
        for key in ["User", "StateDirectory", "NoNewPrivileges"] {
            assert_eq!(value_in(HOST_UNIT, key), value(key), "{key}");
        }
    }

    #[test]
    fn the_unit_has_a_user_and_few_capabilities() {
        assert_eq!(value("User"), ["gate64"]);
        let capabilities = "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_BPF CAP_NET_RAW";
        assert_eq!(value("AmbientCapabilities"), [capabilities]);
        assert_eq!(value("CapabilityBoundingSet"), [capabilities]);
        assert!(value("ProtectKernelTunables").is_empty(), "sysctls = \"set\" writes below /proc/sys/net");
    }

    #[test]
    fn requests_read_the_default_configuration() {
        for command in ["status", "health", "doctor", "zones", "pool", "drops", "reload"] {
            let cli = Cli::try_parse_from(["gate64", command]).expect("valid arguments");
            assert!(format!("{:?}", cli.command).contains(CONFIG), "{command}: {cli:?}");
        }
    }

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page_and_completions() {
        let share = tempfile::tempdir().expect("a directory");
        package_files::write(share.path(), &Cli::command()).expect("written");
        let read = |file: &str| std::fs::read_to_string(share.path().join(file)).unwrap_or_default();
        let cli = Cli::command();
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let page = read(&format!("man/man1/gate64-{name}.1"));
            assert!(page.contains(".SH SYNOPSIS"), "no page of {name}");
            for (_, folder, file) in package_files::COMPLETIONS {
                assert!(read(&format!("{folder}/{file}")).contains(name), "{folder} lacks {name}");
            }
        }
        assert!(read("man/man1/gate64-package-files.1").is_empty(), "it is hidden");
    }
}
