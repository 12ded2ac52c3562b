//! `gate64 dns64-check`: tests any DNS64 server against RFC 6147, RFC 7050 and RFC 8880.
//!
//! Without a test domain it only queries `ipv4only.arpa`, which every DNS64 serves. With a test
//! domain it runs all checks; `--zone` prints the zone file for that domain.

mod asker;
mod domain;
mod everywhere;
mod findings;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use asker::Asker;
use findings::Findings;

use super::constants::USAGE;
use crate::output::{errln, out, outln};

/// Test a DNS64 server, gate64 or any other, against RFC 6147, RFC 7050 and RFC 8880.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Address of the DNS64 server, with a port unless it is 53.
    #[arg(value_name = "SERVER", value_parser = server, required_unless_present = "zone")]
    server: Option<SocketAddr>,
    /// Test domain: it has the records that --zone prints, and the server can resolve it.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// A name with A records whose name servers never answer AAAA queries.
    #[arg(long, value_name = "NAME")]
    broken: Option<String>,
    /// Timeout of each query, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    timeout: u64,
    /// Print the zone file of a test domain, to be served by any name server, and exit.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "server")]
    zone: Option<String>,
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| format!("`{text}` is not an IP address"))
}

/// Runs the checks and prints the table. Exit code: 0 if all pass, 1 if one fails, or if the
/// server does not answer or announces no prefix.
pub(super) fn run(args: &Args) -> ExitCode {
    if let Some(domain) = &args.zone {
        out!("{}", zone::text(domain));
        return ExitCode::SUCCESS;
    }
    let Some(server) = args.server else { return ExitCode::from(USAGE) };
    let asker = Asker::new(server, Duration::from_millis(args.timeout.max(1)));
    let mut findings = Findings::default();
    let Some(pref64) = everywhere::look(&asker, &mut findings) else {
        out!("{}", findings.table());
        errln!("gate64: {server} does not answer or announces no NAT64 prefix: the other checks are skipped");
        return ExitCode::FAILURE;
    };
    if let Some(domain) = &args.domain {
        domain::look(&asker, &mut findings, &pref64, domain);
    }
    if let Some(name) = &args.broken {
        domain::look_at_broken(&asker, &mut findings, &pref64, name);
    }
    out!("{}", findings.table());
    let (bad, all) = (findings.bad(), findings.len());
    outln!("{all} checks of {server}, {bad} bad");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_with_and_without_port() {
        for text in ["2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:53"] {
            assert_eq!(server(text).map(|addr| addr.to_string()).as_deref(), Ok("[2001:db8::53]:53"));
        }
        assert_eq!(server("192.0.2.1:5353").map(|addr| addr.port()), Ok(5353));
        assert!(server("dns.example").is_err());
    }
}
