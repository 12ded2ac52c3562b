//! `gate64 doctor`: examines configuration, host and running gateway, and names what mends each problem.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::admin::{AdminSocket, Response, ask};
use super::check::{findings, load};
use super::drops::Drops;
use crate::config::{Config, RUNTIME_DIR};
use crate::control::clock;
use crate::control::requirements::Requirements;
use crate::control::saved_sessions::present;
use crate::observe::finding::{Finding, Findings, Rating, worst};
use crate::observe::format::span;
use crate::observe::health::{Check, Health, Level};
use crate::observe::pool::PoolStatus;
use crate::observe::status::Status;
use crate::output::{out, outln};
use crate::reason::Reason;
use crate::resolver::certificate;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    socket: AdminSocket,
    /// Seconds for which drops are counted.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    seconds: u64,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Use of a pool or table above which it is a warning, in percent.
const NEARLY_FULL: u64 = 80;

/// Remaining validity of a certificate below which it is a warning, in days.
const CERTIFICATE_DAYS: i64 = 14;

/// Age of saved sessions above which they are a warning. Workers save each session every 2 s.
const SAVED_AGE: Duration = Duration::from_secs(60);

/// Prints all findings. Fails if one is an error.
pub(super) fn doctor(args: &Args) -> ExitCode {
    let socket = args.socket.path();
    let mut all = Vec::new();
    match load(&args.socket.config) {
        Ok((config, own)) => {
            all.extend(of_configuration(&config));
            let requirements = Requirements::of(&config, &own, &[]);
            match findings(&config, &own, &requirements, true) {
                Ok(found) => all.extend(found),
                Err(why) => all.push(Finding::error("host", why.to_string(), "")),
            }
            all.extend(certificate(&config));
            all.extend(gateway(&socket, args.seconds));
            all.extend(saved_sessions(&config, &socket));
        }
        // The errors are printed already.
        Err(_) => {
            let remedy = format!("gate64 check --config {}", args.socket.config.display());
            all.push(Finding::error("configuration", "the file is refused", remedy));
            all.extend(gateway(&socket, args.seconds));
        }
    }
    if args.json {
        outln!("{}", json!({ "findings": all }));
    } else {
        out!("{}", Findings(&all));
    }
    if worst(&all) == Rating::Error { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn of_configuration(config: &Config) -> Vec<Finding> {
    if config.warnings.is_empty() {
        return vec![Finding::ok("configuration", format!("valid, {} zones", config.zone_names.len()))];
    }
    let warning = |warning: &crate::config::Diagnostic| {
        let place = format!("{}:{}: {}", warning.file, warning.line, warning.found);
        Finding::warning("configuration", place, warning.allowed.clone())
    };
    config.warnings.iter().map(warning).collect()
}

/// Whether the certificate of DNS over TLS is valid for some time.
fn certificate(config: &Config) -> Option<Finding> {
    let tls = config.dns64.as_ref()?.settings.network.tls.as_ref()?;
    let path = tls.certificate.display();
    let end = match certificate::expiry(&tls.certificate) {
        Ok(end) => end,
        Err(why) => return Some(Finding::error("certificate", why.to_string(), "")),
    };
    let now = Timestamp::try_from(clock::wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    let days = (end.as_second() - now.as_second()) / 86_400;
    let remedy = "renew it, then: gate64 reload";
    Some(match days {
        _ if end <= now => Finding::error("certificate", format!("{path} expired at {end}"), remedy),
        0..CERTIFICATE_DAYS => Finding::warning("certificate", format!("{path} expires at {end}"), remedy),
        _ => Finding::ok("certificate", format!("{path} is valid for {days} days")),
    })
}

/// Whether the saved sessions are current.
fn saved_sessions(config: &Config, socket: &Path) -> Option<Finding> {
    fetch::<Health>(socket, "/health").ok()?;
    let dirs = [PathBuf::from(RUNTIME_DIR), config.host.state_dir.clone()];
    let age = |path: &PathBuf| -> io::Result<Duration> {
        Ok(clock::wall().duration_since(path.metadata()?.modified()?).unwrap_or_default())
    };
    let ages: io::Result<Vec<_>> = present(&dirs).iter().map(age).collect();
    let remedy = "look at the log: journalctl -u gate64 -p warning";
    Some(match ages.map(|ages| ages.into_iter().max()) {
        Ok(Some(age)) if age <= SAVED_AGE => Finding::ok("saved state", "sessions survive a restart"),
        Ok(Some(age)) => Finding::warning(
            "saved state",
            format!("sessions were last saved {} ago", span(age.as_secs())),
            remedy,
        ),
        Ok(None) => Finding::warning("saved state", "sessions are not saved, and end at a restart", remedy),
        Err(why) => Finding::warning("saved state", why.to_string(), remedy),
    })
}

/// Requests a JSON document of the gateway.
fn fetch<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, String> {
    match ask(socket, &format!("GET {path}"), TIMEOUT) {
        Ok(Response { code: 200, body }) => serde_json::from_str(&body).map_err(|why| why.to_string()),
        Ok(Response { code, .. }) => Err(format!("HTTP status {code}")),
        Err(why) => Err(why.to_string()),
    }
}

/// What a running gateway says about itself.
fn gateway(socket: &Path, seconds: u64) -> Vec<Finding> {
    let (health, status) = match (fetch::<Health>(socket, "/health"), fetch::<Status>(socket, "/status")) {
        (Ok(health), Ok(status)) => (health, status),
        (Err(why), _) | (_, Err(why)) => {
            let finding = format!("no answer on {}: {why}", socket.display());
            return vec![Finding::error("gateway", finding, "systemctl start gate64; journalctl -u gate64")];
        }
    };
    let mut all =
        vec![Finding::ok("gateway", format!("{} runs for {}", status.version, span(status.uptime)))];
    all.extend(health.checks.iter().filter_map(of_health));
    all.extend(host(&status));
    all.extend(upstreams(&status));
    all.extend(tables(&status));
    match fetch::<PoolStatus>(socket, "/pool") {
        Ok(pool) => all.extend(pool4(&pool)),
        Err(why) => all.push(Finding::warning("pool4", why, "gate64 pool")),
    }
    all.extend(sinks(&status));
    wait(Duration::from_secs(seconds));
    if let Ok(later) = fetch::<Status>(socket, "/status") {
        all.extend(drops(&status, &later, seconds.max(1)));
    }
    all
}

/// Waits; not on the packet path, and without another thread.
fn wait(time: Duration) {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() {
        runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

/// A failed check of the gateway's own health. Findings about the host and upstream resolvers have their own rows.
fn of_health(Check { name, level, finding }: &Check) -> Option<Finding> {
    let remedy = match name.as_str() {
        "device" => "ip -s link; journalctl -u gate64",
        "workers" => "systemctl restart gate64; report it with the log",
        "pool4" => "add addresses to `pool4`; gate64 hosts lists the largest users",
        "dns64" => "check the addresses in `upstreams`",
        _ => "gate64 health",
    };
    match (name.as_str(), level) {
        ("host", _) => None,
        (_, Level::Ok) => Some(Finding::ok(name, finding)),
        (_, Level::Degraded) => Some(Finding::warning(name, finding, remedy)),
        (_, Level::Failed) => Some(Finding::error(name, finding, remedy)),
    }
}

/// Problems of the host, repairs, and the last reload.
fn host(status: &Status) -> Vec<Finding> {
    let mut all = Vec::new();
    for problem in &status.host.problems {
        all.push(Finding::warning("host", problem, "mend it, then: gate64 reload"));
    }
    if !status.host.repairs.is_empty() {
        let count: u64 = status.host.repairs.values().sum();
        let last = status.host.last_repairs.last();
        let last = last.map_or_else(String::new, |last| format!("; {} ago: {}", span(last.ago), last.what));
        let remedy = "find the program that changes the host; gate64 status lists the repairs";
        all.push(Finding::warning("host", format!("{count} repairs{last}"), remedy));
    }
    match &status.host.last_reload {
        Some(reload) if !reload.succeeded => all.push(Finding::warning(
            "reload",
            format!("the last one failed {} ago: {}", span(reload.ago), first_line(&reload.message)),
            "gate64 check, then: gate64 reload",
        )),
        Some(_) | None => {}
    }
    if all.is_empty() {
        all.push(Finding::ok("host", "as configured, without repairs"));
    }
    all
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Upstream resolvers, as the gateway uses them.
fn upstreams(status: &Status) -> Vec<Finding> {
    let silent = status.dns64.upstreams.iter().filter(|upstream| upstream.demoted);
    let finding = |upstream: &crate::observe::status::UpstreamStatus| {
        let finding = format!("{} does not answer the gateway", upstream.address);
        Finding::warning("upstreams", finding, "check its address, and the firewall towards it")
    };
    silent.map(finding).collect()
}

/// Whether the session table is nearly full.
fn tables(status: &Status) -> Option<Finding> {
    let limit: u64 = status.settings.get("sessions")?.parse().ok()?;
    let used: u64 = status.workers.iter().map(|worker| worker.sessions).sum();
    let percent = (used * 100).checked_div(limit)?;
    let finding = format!("{used} of {limit} sessions ({percent} %)");
    Some(match percent {
        NEARLY_FULL.. => Finding::warning("sessions", finding, "raise `sessions` in [limits], and restart"),
        _ => Finding::ok("sessions", finding),
    })
}

/// Whether a pool, or the share of a zone, is nearly full.
fn pool4(pool: &PoolStatus) -> Vec<Finding> {
    let mut all = Vec::new();
    let of_pools = pool.addresses.iter().map(|row| (u64::from(row.assigned), u64::from(row.ports)));
    let (assigned, ports) = of_pools.fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    if let Some(percent) = (assigned * 100).checked_div(ports) {
        let finding = format!("{assigned} of {ports} ports assigned ({percent} %)");
        all.push(match percent {
            NEARLY_FULL.. => Finding::warning("pool4", finding, "add addresses to `pool4`"),
            _ => Finding::ok("pool4", finding),
        });
    }
    for zone in pool.zones.iter().filter(|zone| zone.allowed_percent < 100) {
        let allowed = zone.ports * u64::from(zone.allowed_percent) / 100;
        if let Some(percent @ NEARLY_FULL..) = (zone.assigned * 100).checked_div(allowed) {
            let finding = format!("zone {} uses {percent} % of its share", zone.zone);
            all.push(Finding::warning("pool4", finding, "raise `pool_share` of the zone, or add addresses"));
        }
    }
    all
}

/// Whether the sinks of the binding log work.
fn sinks(status: &Status) -> Vec<Finding> {
    let finding = |sink: &crate::observe::host_status::SinkState| {
        let remedy = "check the collector or the disk; journalctl -u gate64 -p warning";
        match (sink.is_failing, sink.lost) {
            (true, _) => Finding::error("binding log", format!("{} fails", sink.name), remedy),
            (false, 0) => Finding::ok("binding log", format!("{}: {} records", sink.name, sink.written)),
            (false, lost) => {
                Finding::warning("binding log", format!("{} has lost {lost} records", sink.name), remedy)
            }
        }
    };
    status.host.log_sinks.iter().map(finding).collect()
}

/// Drops that grow, the most frequent first.
fn drops(before: &Status, after: &Status, seconds: u64) -> Vec<Finding> {
    let old: BTreeMap<Reason, u64> = Drops::of(before).iter().map(|d| (d.reason, d.count())).collect();
    let mut grown: Vec<_> = Drops::of(after)
        .iter()
        .map(|d| (d.reason, d.count().saturating_sub(old.get(&d.reason).copied().unwrap_or(0))))
        .filter(|(_, count)| *count > 0)
        .collect();
    grown.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if grown.is_empty() {
        return vec![Finding::ok("drops", format!("none in {seconds} s"))];
    }
    let finding = |(reason, count): &(Reason, u64)| {
        let rate = (*count).div_ceil(seconds);
        let finding = format!("{reason}, {rate} packets per second: {}", reason.meaning().trim());
        Finding::warning("drops", finding, reason.advice())
    };
    grown.iter().map(finding).collect()
}
