//! `gate64 report`: how far zones are from doing without IPv4, from the ledger.

mod csv;
#[cfg(test)]
mod fixtures;
mod html;
mod model;
mod phrases;
mod programme;
mod verdict;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::constants::CONFIG;
use super::exit;
use crate::control::cleanup::state_dir_of;
use crate::control::clock::wall;
use crate::observe::ledger::FILE;
use crate::observe::ledger::read::{Period, read};
use model::{DAY, Report, ZoneReport, date};
use phrases::Language;

/// Days of a report by default.
const DAYS: u64 = 30;

/// Format of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Format {
    /// One self-contained page.
    Html,
    /// One line per name, literal, host class and reason.
    Csv,
    /// Everything.
    Json,
}

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Configuration file of the gateway; gate64 reads the state directory from it.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The ledger; by default ledger.sqlite in the state directory.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Only this zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// First day, UTC; by default 29 days before the last day.
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Last day, UTC; by default today.
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// The previous calendar month.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    last_month: bool,
    /// Format.
    #[arg(long, value_enum, default_value = "html")]
    format: Format,
    /// Language of the page.
    #[arg(long, value_enum, default_value = "en")]
    lang: Language,
    /// Domain of the operator: its names without AAAA records become a to-do list. Repeatable.
    #[arg(long, value_name = "DOMAIN")]
    own: Vec<String>,
    /// Maximum number of names and of literals per zone.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    most: u32,
    /// File to write; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes the report.
pub(super) fn run(args: &Args) -> ExitCode {
    exit::end(report(args).and_then(|text| write(args, &text)))
}

fn report(args: &Args) -> Result<String, String> {
    let today =
        Timestamp::try_from(wall()).map_err(|why| why.to_string())?.to_zoned_datetime(TimeZone::UTC).date();
    let (from, to) = days(args, today)?;
    let period = Period { first: number(from)?, last: number(to)? };
    let path = args.ledger.clone().unwrap_or_else(|| state_dir_of(&args.config).join(FILE));
    let found = read(&path, period, args.zone.as_deref(), args.most);
    let found = found.map_err(|why| format!("{}: {why}", path.display()))?;
    if let (Some(zone), true) = (&args.zone, found.is_empty()) {
        return Err(format!("{}: no zone `{zone}`", path.display()));
    }
    let zones: Result<_, String> = found.into_iter().map(|evidence| ZoneReport::new(to, evidence)).collect();
    let own = args.own.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect();
    let report = Report { from, to, zones: zones?, language: args.lang, own };
    match args.format {
        Format::Html => Ok(html::page(&report)),
        Format::Csv => Ok(csv::table(&report)),
        Format::Json => serde_json::to_string_pretty(&report).map_err(|why| why.to_string()),
    }
}

/// First and last day.
fn days(args: &Args, today: Date) -> Result<(Date, Date), String> {
    if args.last_month {
        let last = today.first_of_month().yesterday().map_err(|why| why.to_string())?;
        return Ok((last.first_of_month(), last));
    }
    let to = args.to.unwrap_or(today);
    let from = match args.from {
        Some(from) => from,
        None => date(number(to)?.saturating_sub(DAYS - 1)),
    };
    if from > to {
        return Err(format!("--from {from} is after --to {to}"));
    }
    Ok((from, to))
}

/// Days since 1970.
fn number(date: Date) -> Result<u64, String> {
    let time = date.to_zoned_datetime(TimeZone::UTC).map_err(|why| why.to_string())?.timestamp();
    u64::try_from(time.as_second() / DAY).map_err(|_| format!("{date} is before 1970"))
}

fn write(args: &Args, text: &str) -> Result<(), String> {
    match &args.out {
        Some(path) => fs::write(path, text).map_err(|why| format!("{}: {why}", path.display())),
        None => match std::io::stdout().write_all(text.as_bytes()) {
            Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(format!("standard output: {why}"))
            }
            Ok(()) | Err(_) => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates() {
        let date_of = |text: &str| text.parse::<Date>().expect("a date");
        assert_eq!(number(date_of("2026-11-29")), Ok(20_786));
        assert_eq!(date(20_786), date_of("2026-11-29"));
        let parse = |words: &[&str]| {
            #[derive(clap::Parser)]
            struct Cli {
                #[command(flatten)]
                args: Args,
            }
            let cli = <Cli as clap::Parser>::try_parse_from([&["report"], words].concat()).expect("valid");
            days(&cli.args, date_of("2026-03-15"))
        };
        let expected = |from, to| Ok((date_of(from), date_of(to)));
        assert_eq!(parse(&[]), expected("2026-02-14", "2026-03-15"));
        assert_eq!(parse(&["--last-month"]), expected("2026-02-01", "2026-02-28"));
        assert_eq!(parse(&["--from", "2026-01-01"]), expected("2026-01-01", "2026-03-15"));
        assert!(parse(&["--from", "2027-01-01"]).is_err());
    }
}
