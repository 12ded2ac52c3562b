//! Names of lab resources, and removal of what a crashed run left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{CommandLine, namespace};

/// Prefix of all names.
const PREFIX: &str = "g64lab";

/// Prefix of the names of one lab: the ID of its process, and a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tag(String);

impl Tag {
    /// A unique tag.
    pub(super) fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{PREFIX}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The name of a part of the lab.
    pub(super) fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    /// The lab's directory.
    pub(super) fn dir(&self) -> PathBuf {
        std::env::temp_dir().join(&self.0)
    }
}

/// The ID of the process that created the resource of this name.
fn creator(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

/// Whether process `pid` runs and is a lab. Process IDs are reused.
fn is_lab(pid: u32) -> bool {
    let own = std::env::current_exe().ok();
    let theirs = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let stem = |path: &Option<PathBuf>| {
        let name = path.as_ref()?.file_name()?.to_str()?;
        Some(name.split('-').next().unwrap_or(name).trim_end_matches(" (deleted)").to_owned())
    };
    let theirs = stem(&theirs);
    theirs.is_some()
        && (theirs == stem(&own)
            || ["gate64", "integration", "lab"].iter().any(|known| theirs.as_deref() == Some(known)))
}

/// The names in a directory whose creators satisfy `selected`.
fn created_by(dir: &Path, selected: fn(u32) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|name| creator(name).is_some_and(selected)).collect()
}

/// Removes what crashed runs left behind: namespaces with their processes, and files. Returns the
/// removed names. Ignores errors; the next call tries again.
pub fn sweep() -> Vec<String> {
    remove_all(|pid| !is_lab(pid))
}

/// Removes all resources of this process.
pub(super) fn sweep_own() {
    remove_all(|pid| pid == std::process::id());
}

fn remove_all(selected: fn(u32) -> bool) -> Vec<String> {
    let mut removed = Vec::new();
    for name in created_by(Path::new("/run/netns"), selected) {
        namespace::remove(&name);
        removed.push(name);
    }
    for dir in [std::env::temp_dir(), PathBuf::from("/etc/netns")] {
        for name in created_by(&dir, selected) {
            kill_by_path(&dir.join(&name));
            let _ = fs::remove_dir_all(dir.join(&name));
            removed.push(name);
        }
    }
    removed
}

/// Kills the processes whose command line contains the directory of a lab.
fn kill_by_path(dir: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let needle = dir.display().to_string();
    let own = std::process::id();
    let pids = processes.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.filter(|pid| *pid != own) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&needle) {
            let _ = CommandLine::new(&format!("kill -KILL {pid}")).outcome();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_contains_its_creator() {
        let tag = Tag::fresh();
        assert_eq!(creator(&tag.name("zone")), Some(std::process::id()));
        assert_eq!(creator("g64lab-x-1-zone"), None);
        assert_eq!(creator("other-12-1"), None);
        assert!(is_lab(std::process::id()));
        assert!(!is_lab(u32::MAX));
    }
}
