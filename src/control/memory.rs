//! Memory that the limits of the configuration promise, compared with what this process may use.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::dns64;
use crate::nat64::TableBytes;
use crate::observe::ledger;
use crate::worker;

/// Memory for a TCP connection of DNS64: the longest message.
const CONNECTION: u64 = 64 << 10;
/// Memory for a pending query of DNS64: a message and its state.
const QUERY: u64 = 4 << 10;

/// Parts of the memory that a configuration takes at most, in bytes, the same each time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Memory(Vec<(&'static str, u64)>);

impl Memory {
    /// The maximum of all tables, buffers and caches.
    pub(crate) fn of(config: &Config) -> Self {
        let workers = config.host.workers.max(1);
        let count = u64::from(workers);
        let ranges = config.nat64.pools.iter().flat_map(|pool| &pool.ranges);
        let addresses = ranges.map(|(prefix, _)| prefix.size()).sum();
        let limits = config.worker_limits(workers);
        let mut tables = TableBytes::of(&limits, addresses);
        if config.nat64.log_sessions {
            tables = tables.with_session_log(&limits);
        }
        let mut parts = vec![
            ("sessions", count * tables.sessions),
            ("bindings", count * tables.bindings),
            ("blocks", count * tables.blocks),
            ("hosts", count * tables.hosts),
            ("fragments and SYNs", count * tables.others),
            ("packet buffers", count * worker::buffer_bytes(workers)),
        ];
        if config.ledger.is_enabled {
            parts.push(("ledger", ledger::memory(config.nat64.limits.sessions)));
        }
        parts.extend(config.dns64.iter().flat_map(|dns| of_dns(&dns.settings)));
        Self(parts)
    }

    /// The sum, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Checks that the sum is within the limit of this process.
    ///
    /// # Errors
    /// What to change.
    pub(crate) fn check(&self, limit: Option<&MemoryLimit>) -> Result<(), String> {
        let total = self.total();
        match limit {
            Some(limit) if total > limit.bytes => Err(format!(
                "tables and caches take up to {}, but {limit}: lower [limits] and cache_bytes, or raise that limit \
                 (or write memory = \"ignore\" in [host])",
                Mebibytes(total)
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// A warning if the sum is above the memory of this machine.
    pub(crate) fn warning(&self, machine: Option<u64>) -> Option<String> {
        let (total, machine) = (self.total(), machine?);
        (total > machine).then(|| {
            format!(
                "tables and caches take up to {}, but this machine has {}: when they fill, the kernel ends gate64",
                Mebibytes(total),
                Mebibytes(machine)
            )
        })
    }
}

fn of_dns(settings: &dns64::Settings) -> [(&'static str, u64); 2] {
    let network = &settings.network;
    let answers = network.threads.max(1) * network.answer_cache_bytes;
    let clients = network.connections as u64 * CONNECTION + settings.limits.in_flight as u64 * QUERY;
    [("DNS64 caches", (settings.cache_limits.bytes + answers) as u64), ("DNS64 clients", clients)]
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {}:", Mebibytes(self.total()))?;
        for (at, (what, bytes)) in self.0.iter().enumerate() {
            write!(f, "{} {what} {}", if at > 0 { "," } else { "" }, Mebibytes(*bytes))?;
        }
        Ok(())
    }
}

/// Shows bytes in MiB, rounded up.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

/// A limit on the memory of this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemoryLimit {
    bytes: u64,
    /// Where it is set.
    what: String,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} allows {}", self.what, Mebibytes(self.bytes))
    }
}

impl MemoryLimit {
    /// The lowest limit: memory.max of the control group and its parents (cgroup v2), or RLIMIT_AS.
    pub(crate) fn of_this_process() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let groups = Self::of_groups(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"));
        let addresses = Self::of_addresses(&read("/proc/self/limits"));
        groups.into_iter().chain(addresses).min_by_key(|limit| limit.bytes)
    }

    /// The lowest limit of the groups in `membership`, the content of /proc/self/cgroup.
    fn of_groups(root: &Path, membership: &str) -> Option<Self> {
        let own = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let own = root.join(own);
        let groups = own.ancestors().take_while(|group| group.starts_with(root)).map(Path::to_owned);
        let limit = |group: PathBuf| {
            let file = group.join("memory.max");
            let bytes = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
            Some(Self { bytes, what: file.display().to_string() })
        };
        groups.filter_map(limit).min_by_key(|limit| limit.bytes)
    }

    /// RLIMIT_AS in the content of /proc/self/limits.
    fn of_addresses(limits: &str) -> Option<Self> {
        let soft = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
        let bytes = soft.split_whitespace().next()?.parse().ok()?;
        Some(Self { bytes, what: "RLIMIT_AS".to_owned() })
    }
}

/// Memory of this machine in bytes.
pub(crate) fn of_machine() -> Option<u64> {
    total_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{FakeHost, load_on};

    const MIB: u64 = 1 << 20;

    fn memory(more: &str) -> Memory {
        let text = format!(
            "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"192.0.2.64/28\"\n{more}\n\
             [[zone]]\nname = \"z\"\nclients = [\"2001:db8:1::/64\"]\n"
        );
        Memory::of(&load_on(&text, &FakeHost::new()).expect("a good file"))
    }

    #[test]
    fn every_limit_counts() {
        let base = memory("").total();
        let more = |text: &str| memory(text).total() - base;
        assert!((70_000_000..80_000_000).contains(&more("[limits]\nsessions = 2000000")));
        assert!((44_000_000..60_000_000).contains(&more("[limits]\nbindings = 2000000")));
        assert!((80_000_000..95_000_000).contains(&more("[limits]\nblocks = 131072")));
        assert!((4_000_000..20_000_000).contains(&more("[limits]\nhosts = 131072")));
        assert!((4 << 20..6 << 20).contains(&more("[limits]\nfragment_bytes = 8388608")));
        assert!(more("[host]\nworkers = 8") > 4 * 40 * MIB);
        let dns = |cache: u64| {
            more(&format!(
                "[dns64]\nlisten = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.53\"]\n\
                 threads = 1\ncache_bytes = {cache}\n"
            ))
        };
        assert_eq!(dns(100 * MIB) - dns(0), 100 * MIB);
        assert!(dns(0) >= 8 * MIB, "the answer cache");
    }

    #[test]
    fn a_lower_limit_is_an_error() {
        let memory = Memory(vec![("sessions", 100 * MIB), ("DNS64 caches", 64 * MIB)]);
        let limit = |bytes| MemoryLimit { bytes, what: "RLIMIT_AS".to_owned() };
        assert_eq!(memory.check(None), Ok(()));
        assert_eq!(memory.check(Some(&limit(164 * MIB))), Ok(()));
        let why = memory.check(Some(&limit(164 * MIB - 1))).expect_err("too low");
        assert!(
            why.starts_with("tables and caches take up to 164 MiB, but RLIMIT_AS allows 164 MiB"),
            "{why}"
        );
        assert_eq!(memory.to_string(), "at most 164 MiB: sessions 100 MiB, DNS64 caches 64 MiB");
        assert_eq!(memory.warning(Some(164 * MIB)), None);
        assert!(
            memory.warning(Some(163 * MIB)).is_some_and(|text| text.contains("this machine has 163 MiB"))
        );
        assert_eq!(memory.warning(None), None);
    }

    #[test]
    fn the_lowest_limit_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let leaf = root.path().join("a/b");
        fs::create_dir_all(&leaf).expect("created");
        let set = |group: &str, text: &str| {
            fs::write(root.path().join(group).join("memory.max"), text).expect("written");
        };
        let find =
            |membership: &str| MemoryLimit::of_groups(root.path(), membership).map(|limit| limit.bytes);
        assert_eq!(find("0::/a/b\n"), None);
        set("a/b", "max\n");
        assert_eq!(find("0::/a/b\n"), None);
        set("a", "5000\n");
        assert_eq!(find("0::/a/b\n"), Some(5000), "of the parent");
        set("a/b", "4000\n");
        assert_eq!(find("12:memory:/x\n0::/a/b\n"), Some(4000));
        assert_eq!(find("0::/\n"), None, "the root group has no limit");
        assert_eq!(find("12:memory:/a\n"), None, "cgroup v1");
    }

    #[test]
    fn the_kernel_s_files_are_understood() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max address space         268435456            unlimited            bytes     \n";
        assert_eq!(MemoryLimit::of_addresses(limits).map(|limit| limit.bytes), Some(256 * MIB));
        assert_eq!(MemoryLimit::of_addresses(&limits.replace("268435456", "unlimited")), None);
        assert_eq!(total_of("MemTotal:        1024 kB\nMemFree: 5 kB\n"), Some(MIB));
        assert!(of_machine().is_some_and(|bytes| bytes > 64 * MIB));
    }
}
