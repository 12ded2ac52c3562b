//! The machine: its CPUs, its processes, and how it is described.

use std::fs;

/// How many CPUs there are.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The tester's CPU and the gateway's.
pub(crate) fn cpus() -> [usize; 2] {
    [0, 1 % count()]
}

/// The numbers of a process's threads.
pub(crate) fn threads(pid: u32) -> Vec<u32> {
    numbers(&format!("/proc/{pid}/task"))
}

fn numbers(dir: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Memory of a process in bytes, by its name in /proc/PID/status.
pub(crate) fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The machine in a line: processor, CPUs, kernel.
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

/// While it lives, this session goes before the others on the machine, so that they disturb its
/// figures less. On a machine with nothing else to do it changes nothing.
#[derive(Debug)]
pub(crate) struct Priority;

impl Priority {
    pub(crate) fn take() -> Self {
        // Not every kernel groups sessions.
        let _ = fs::write("/proc/self/autogroup", "-20");
        Self
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        let _ = fs::write("/proc/self/autogroup", "0");
    }
}
