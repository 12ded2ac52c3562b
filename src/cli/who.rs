//! `gate64 who`: which host had a port of an outside address, from the files of the binding log.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;

use super::admin::{AdminSocket, ask};
use super::exit;
use super::protocol::protocol;
use crate::addr::Proto;
use crate::config::lenient;
use crate::control::cleanup::state_dir_of;
use crate::observe::binding_log::search::{Answer, End, Found, Query, merge_present, search};
use crate::observe::binding_log::{Mapping, Protocol};
use crate::output::{out, outln};

/// Timeout of the request to the gateway.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The outside IPv4 address.
    address: Ipv4Addr,
    /// The outside port, or the ICMP identifier.
    port: u16,
    /// Protocol: matters for ports with a static binding.
    #[arg(long, value_parser = protocol())]
    protocol: Option<Proto>,
    /// Time: RFC 3339 ("2026-11-29T10:00:00Z"), or local time ("2026-11-29 10:00"). Without it, all
    /// hosts that had the port, the latest first.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// Directory of the files; gate64 reads it from the configuration file otherwise.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    socket: AdminSocket,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Parses a time: RFC 3339, or local time without a time zone.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let local =
        text.parse::<DateTime>().ok().and_then(|time| time.to_zoned_datetime(TimeZone::system()).ok());
    local.map(|time| time.timestamp()).ok_or_else(|| {
        "allowed: \"2026-11-29T10:00:00Z\", or local time such as \"2026-11-29 10:00\"".to_owned()
    })
}

/// Shows which host had the port. Without an answer the exit code is 1.
pub(super) fn who(args: &Args) -> ExitCode {
    let protocol = args.protocol.map(Protocol::from);
    let query = Query { address: args.address, port: args.port, protocol, at: args.at };
    let directory = args.directory.clone().unwrap_or_else(|| directory_of(&args.socket.config));
    let present = present(&args.socket.path(), &query);
    let mut found = match search(&directory, &query) {
        Ok(found) => found,
        // A gateway without files answers for the present.
        Err(why) if present.is_some() && why.kind() == std::io::ErrorKind::NotFound => Found::default(),
        Err(why) => {
            let hint = "the binding log is the directory of [binding_log] in the configuration";
            return exit::fail(format_args!("{why}; {hint}"));
        }
    };
    if let Some((mappings, node)) = &present {
        merge_present(&mut found, &query, mappings, node);
    }
    if args.json {
        let oldest = found.oldest.map(|day| day.to_string());
        let object = json!({
            "address": query.address, "port": query.port, "at": query.at, "answers": found.answers,
            "oldest_file": oldest, "torn_lines": found.torn, "lost_records": found.lost,
            "gateway_is_running": present.is_some(),
        });
        outln!("{object}");
    } else {
        print(&query, &found, present.is_some());
    }
    if found.answers.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The directory of the files by the configuration file; without a valid one, the default.
fn directory_of(config: &Path) -> PathBuf {
    let directory = lenient::path(config, "binding_log", "directory");
    directory.unwrap_or_else(|| state_dir_of(config).join("binding_log"))
}

/// The assignments of the running gateway that have the port, and its name; `None` if it does not run.
fn present(socket: &Path, query: &Query) -> Option<(Vec<Mapping>, String)> {
    let request = format!("GET /bindings/{}/{}", query.address, query.port);
    let response = ask(socket, &request, TIMEOUT).ok().filter(|response| response.code == 200)?;
    serde_json::from_str(&response.body).ok()
}

fn print(query: &Query, found: &Found, is_running: bool) {
    let when = query.at.map(|at| format!(" at {}", both(at))).unwrap_or_default();
    let protocol = query.protocol.map(|protocol| format!(" {}", protocol.name())).unwrap_or_default();
    outln!("{} port {}{protocol}{when}", query.address, query.port);
    found.answers.iter().for_each(|answer| print_answer(answer, is_running));
    if found.answers.is_empty() {
        outln!("\nno host: the binding log has no record of it");
    }
    if let (Some(oldest), true) = (found.oldest, found.answers.is_empty() || query.at.is_none()) {
        outln!("\nThe files begin on {oldest} (UTC).");
    }
    if found.torn > 0 {
        outln!("{} damaged lines were skipped.", found.torn);
    }
    if found.lost > 0 {
        outln!("{} records are missing in the files, so this answer may be incomplete.", found.lost);
    }
}

fn print_answer(answer: &Answer, is_running: bool) {
    let mapping = &answer.mapping;
    let host = match mapping.host_port {
        Some(port) => format!("{} port {port} (static binding)", mapping.host),
        None => mapping.host.clone(),
    };
    let protocols: Vec<_> = mapping.protocols.iter().map(|protocol| protocol.name()).collect();
    let ports = match mapping.ports {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let ended = mapping.end.map(both).unwrap_or_default();
    let until = match answer.until {
        End::Present => "now: still assigned".to_owned(),
        End::Recorded => ended,
        End::Stopped => format!("{ended}: gate64 stopped"),
        End::Unknown if mapping.end.is_some() => {
            format!("{ended} at the latest; the record of its end is missing")
        }
        End::Unknown if is_running => "unknown: the record of its end is missing".to_owned(),
        End::Unknown => "unknown: gate64 does not run, and did not record an end".to_owned(),
    };
    let before = if answer.began_before_log { "; before the oldest file" } else { "" };
    out!(
        "\nhost   {host}\nzone   {}\nports  {ports} of {}: {}\nfrom   {}{before}\nuntil  {until}\nnode   {}\n",
        mapping.zone,
        mapping.address,
        protocols.join(", "),
        both(mapping.start),
        answer.node
    );
}

/// A time in UTC, and in local time if that differs.
fn both(time: Timestamp) -> String {
    let zone = TimeZone::system();
    let local = time.to_zoned_datetime(zone);
    if local.offset().is_zero() {
        format!("{time} (UTC)")
    } else {
        format!("{time} (UTC; local {})", local.strftime("%Y-%m-%d %H:%M:%S %:z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_local() {
        let utc = time("2026-11-29T10:00:00Z").expect("valid");
        assert_eq!(time("2026-11-29T12:00:00+02:00").expect("valid"), utc);
        assert_eq!(time("2026-11-29 10:00:00Z").expect("valid"), utc);
        let local = DateTime::constant(2026, 11, 29, 10, 0, 0, 0)
            .to_zoned_datetime(TimeZone::system())
            .expect("valid");
        assert_eq!(time("2026-11-29 10:00").expect("valid"), local.timestamp());
        for wrong in ["yesterday", "10:00", "2026-13-01 10:00", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_directory_is_that_of_the_configuration() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("gate64.toml");
        let of = |text: &str| {
            std::fs::write(&path, text).expect("written");
            directory_of(&path)
        };
        assert_eq!(
            of("[binding_log]\ndirectory = \"/log\"\n[host]\nstate_dir = \"/s\"\n"),
            Path::new("/log")
        );
        assert_eq!(of("[host]\nstate_dir = \"/s\"\n"), Path::new("/s/binding_log"));
        assert_eq!(of(""), Path::new("/var/lib/gate64/binding_log"));
    }
}
