//! The client: dnsperf on its own CPU.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use gate64::lab::{Lab, LabError};

use super::servers::{Running, SERVER};

/// The result of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadResult {
    /// Queries sent, and queries answered without SERVFAIL.
    pub(super) sent: f64,
    pub(super) answered: f64,
    pub(super) per_second: f64,
    /// CPU time of the server per answered query, in microseconds.
    pub(super) cpu: f64,
    /// Sorted response times in seconds; only with dnsperf's `-v`.
    pub(super) latencies: Vec<f64>,
}

/// A file of queries.
pub(super) struct Questions(PathBuf);

impl Questions {
    /// Writes AAAA queries for `name(n)`, with n below `count`.
    pub(super) fn write(lab: &Lab, count: usize, name: impl Fn(usize) -> String) -> Result<Self, LabError> {
        let mut text = String::new();
        for number in 0..count {
            let _ = writeln!(text, "{} AAAA", name(number));
        }
        let path = lab.dir().join("questions");
        fs::write(&path, text).map_err(|source| LabError::Io { what: path.display().to_string(), source })?;
        Ok(Self(path))
    }

    /// Sends the queries to `server`; `more` are further arguments of dnsperf.
    pub(super) fn ask(&self, lab: &Lab, server: &Running, more: &str) -> Result<LoadResult, LabError> {
        let line = format!(
            "taskset -c 1 dnsperf -s {SERVER} -p {} -a 2001:db8:1::1 -d {} -c 32 -T 1 {more}",
            server.server.port(),
            self.0.display()
        );
        let before = server.cpu();
        let output = lab.gateway.run(&line).limit(300).text()?;
        let spent = (server.cpu() - before) as f64 / 1e3;
        let number = |label: &str| -> f64 {
            let line = output.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
        };
        let codes = output.lines().find(|line| line.contains("Response codes:")).unwrap_or_default();
        let failed = codes.split_once("SERVFAIL ").and_then(|(_, rest)| rest.split_whitespace().next());
        let failed: f64 = failed.and_then(|word| word.parse().ok()).unwrap_or(0.0);
        let completed = number("Queries completed:");
        let latency = |line: &str| line.strip_prefix("> NOERROR")?.split_whitespace().last()?.parse().ok();
        let mut latencies: Vec<f64> = output.lines().filter_map(latency).collect();
        latencies.sort_by(f64::total_cmp);
        Ok(LoadResult {
            sent: number("Queries sent:"),
            answered: completed - failed,
            per_second: number("Queries per second:"),
            cpu: spent / completed.max(1.0),
            latencies,
        })
    }
}
