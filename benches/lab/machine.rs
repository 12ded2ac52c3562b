//! The machine: CPUs, processes, description.

use std::fs;

/// Number of CPUs.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The tester's CPU and the gateway's.
pub(crate) fn cpus() -> [usize; 2] {
    [0, 1 % count()]
}

/// The thread IDs of a process.
pub(crate) fn threads(pid: u32) -> Vec<u32> {
    numbers(&format!("/proc/{pid}/task"))
}

fn numbers(dir: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A memory figure of a process in bytes; `name` is its field in /proc/PID/status.
pub(crate) fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The machine in one line: CPUs, processor, kernel.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    let guest = if field("flags").contains("hypervisor") { "virtual, " } else { "" };
    format!("{guest}{} CPUs, {}, Linux {kernel}", count(), field("model name"))
}

/// Raises the scheduling priority of this session until dropped, so that other load on the machine
/// disturbs the figures less.
#[derive(Debug)]
pub(crate) struct Priority;

impl Priority {
    pub(crate) fn take() -> Self {
        // Fails on kernels without autogroups.
        let _ = fs::write("/proc/self/autogroup", "-20");
        Self
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        let _ = fs::write("/proc/self/autogroup", "0");
    }
}
