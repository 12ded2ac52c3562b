//! Metrics of the process, by the names that Prometheus prescribes to client libraries.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::families::gauge;

/// Figures of this process from `/proc/self`, each `None` if it could not be read.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_descriptors: Option<u64>,
    most_descriptors: Option<u64>,
    threads: Option<u64>,
}

/// Ticks per second in `/proc`: a constant of the kernel's interface (`USER_HZ`).
const TICKS: f64 = 100.0;

impl Process {
    pub(super) fn read() -> Self {
        let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let mut process = Self::parse(&file("stat"), &file("status"), &file("limits"));
        process.start_seconds = boot_seconds().zip(process.start_seconds).map(|(boot, after)| boot + after);
        process.open_descriptors = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        process
    }

    /// Reads the texts of `/proc/self/stat`, `status` and `limits`; `start_seconds` counts from the boot.
    fn parse(stat: &str, status: &str, limits: &str) -> Self {
        // The name of the program can contain spaces and parentheses. The first field after it is the third.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok());
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        let descriptors = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) as f64 / TICKS),
            start_seconds: ticks(22).map(|ticks| ticks as f64 / TICKS),
            resident_bytes: kib("VmRSS:").map(|kib| kib << 10),
            virtual_bytes: kib("VmSize:").map(|kib| kib << 10),
            open_descriptors: None,
            most_descriptors: descriptors.and_then(|line| line.split_whitespace().next()?.parse().ok()),
            threads: kib("Threads:"),
        }
    }
}

/// Unix time of the boot.
fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = self.cpu_seconds {
            let help = "CPU time of the process, user and system, in seconds";
            encoder
                .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        if let Some(seconds) = self.start_seconds {
            let help = "Unix time of the start of the process in seconds";
            encoder
                .encode_descriptor("process_start_time_seconds", help, None, MetricType::Gauge)?
                .encode_gauge(&seconds)?;
        }
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory in bytes", self.resident_bytes),
            ("process_virtual_memory_bytes", "Virtual memory in bytes", self.virtual_bytes),
            ("process_open_fds", "Open file descriptors", self.open_descriptors),
            ("process_max_fds", "Maximum number of open file descriptors", self.most_descriptors),
            ("process_threads", "Threads", self.threads),
        ] {
            if let Some(value) = value {
                gauge(&mut encoder, name, help)?.lone_gauge(value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_proc() {
        let stat = "1 (gate 64) (x)) S 1 1 1 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 7 0 4200 9 9 18446744073709551615";
        let status = "Name:\tgate64\nVmSize:\t  2048 kB\nVmRSS:\t     512 kB\nThreads:\t7\n";
        let limits =
            "Max cpu time              unlimited\nMax open files            65536      65536     files\n";
        let process = Process::parse(stat, status, limits);
        let expected = Process {
            cpu_seconds: Some(4.0),
            start_seconds: Some(42.0),
            resident_bytes: Some(512 << 10),
            virtual_bytes: Some(2 << 20),
            open_descriptors: None,
            most_descriptors: Some(65536),
            threads: Some(7),
        };
        assert_eq!(process, expected);
        assert_eq!(Process::parse("", "", ""), Process::default());
        let real = Process::read();
        assert!(real.open_descriptors.is_some_and(|n| n > 2), "{real:?}");
        assert!(real.start_seconds.is_some_and(|s| s > 1e9), "{real:?}");
    }
}
