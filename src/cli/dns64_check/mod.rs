//! `gate64 dns64-check`: asks any DNS64 what RFC 6147, RFC 7050 and RFC 8880 want of it, and prints
//! what it found.
//!
//! Without a test domain only `ipv4only.arpa` is asked about, which every DNS64 knows. With one,
//! whose zone `--zone` prints for anybody to host, everything is.

mod asker;
mod domain;
mod everywhere;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use asker::Asker;

/// Asks a DNS64 what the RFCs want of it.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The DNS64: an address, with a port if it is not 53.
    #[arg(value_name = "SERVER", value_parser = server, required_unless_present = "zone")]
    server: Option<SocketAddr>,
    /// A domain with the records that `--zone` prints, which the server can resolve.
    #[arg(long, value_name = "DOMAIN")]
    name: Option<String>,
    /// A name with A records for which no AAAA query is ever answered.
    #[arg(long, value_name = "NAME")]
    broken: Option<String>,
    /// How long to wait for an answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    timeout: u64,
    /// Print the test zone for a domain, to be hosted anywhere, and end.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "server")]
    zone: Option<String>,
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| format!("{text} is no address"))
}

/// What came of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// As it should be.
    Good,
    /// The RFCs leave it open.
    Open,
    /// Not as it must be.
    Bad,
}

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    verdict: Verdict,
    what: &'static str,
    /// What was seen.
    seen: String,
    /// Who wants it.
    source: &'static str,
}

/// The table as it grows.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Notes whether something is as it must be, and what was seen.
    fn must(&mut self, what: &'static str, source: &'static str, good: bool, seen: impl Into<String>) {
        let verdict = if good { Verdict::Good } else { Verdict::Bad };
        self.0.push(Finding { verdict, what, seen: seen.into(), source });
    }

    /// Notes what nobody demands.
    fn shows(&mut self, what: &'static str, source: &'static str, seen: impl Into<String>) {
        self.0.push(Finding { verdict: Verdict::Open, what, seen: seen.into(), source });
    }

    fn table(&self) -> String {
        let width = self.0.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
        let lines = self.0.iter().map(|Finding { verdict, what, seen, source }| {
            let word = match verdict {
                Verdict::Good => "ok",
                Verdict::Open => "--",
                Verdict::Bad => "BAD",
            };
            format!("{word:<4} {what:<width$}  {seen}  [{source}]\n")
        });
        lines.collect()
    }

    fn bad(&self) -> usize {
        self.0.iter().filter(|finding| finding.verdict == Verdict::Bad).count()
    }
}

/// Asks and prints. The exit code is 0 if nothing is wrong, 1 if something is, and 2 if the server
/// can't be asked.
pub(super) fn run(args: &Args) -> ExitCode {
    if let Some(domain) = &args.zone {
        print!("{}", zone::text(domain));
        return ExitCode::SUCCESS;
    }
    let Some(server) = args.server else { return ExitCode::from(super::USAGE) };
    let asker = Asker::new(server, Duration::from_millis(args.timeout.max(1)));
    let mut findings = Findings::default();
    let Some(pref64) = everywhere::look(&asker, &mut findings) else {
        print!("{}", findings.table());
        eprintln!("gate64: {server} gives no prefix, or no answer: the rest can't be asked");
        return ExitCode::from(super::USAGE);
    };
    if let Some(domain) = &args.name {
        domain::look(&asker, &mut findings, &pref64, domain);
    }
    if let Some(name) = &args.broken {
        domain::look_at_broken(&asker, &mut findings, &pref64, name);
    }
    print!("{}", findings.table());
    let (bad, all) = (findings.bad(), findings.0.len());
    println!("{all} checks of {server}, {bad} bad");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_is_bad() {
        let mut findings = Findings::default();
        findings.must("one thing", "RFC 1", true, "fine");
        findings.must("another", "RFC 2", false, "broken");
        findings.shows("a third", "RFC 3", "so");
        assert_eq!(findings.bad(), 1);
        let table = findings.table();
        assert!(
            table.starts_with("ok   one thing  fine  [RFC 1]\nBAD  another    broken  [RFC 2]\n"),
            "{table}"
        );
    }

    #[test]
    fn servers_with_and_without_port() {
        for text in ["2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:53"] {
            assert_eq!(server(text).map(|addr| addr.to_string()).as_deref(), Ok("[2001:db8::53]:53"));
        }
        assert_eq!(server("192.0.2.1:5353").map(|addr| addr.port()), Ok(5353));
        assert!(server("dns.example").is_err());
    }
}
