//! Names that tell whose they are, and the removal of what a crashed run left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Run, namespace};

/// What every name of the laboratory begins with.
const MARK: &str = "g64lab";

/// The beginning of the names of one laboratory: the process that made it, and a number in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tag(String);

impl Tag {
    /// A tag that no other laboratory has.
    pub(super) fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{MARK}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The name of one part.
    pub(super) fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    /// The directory for files.
    pub(super) fn dir(&self) -> PathBuf {
        std::env::temp_dir().join(&self.0)
    }
}

/// The process that made what bears this name.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(MARK)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

/// Whether a process of this number lives and can be a laboratory: numbers are used again.
fn lives(pid: u32) -> bool {
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

/// The names in a directory whose makers are to be swept.
fn made_by(dir: &Path, swept: fn(u32) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|name| maker(name).is_some_and(swept)).collect()
}

/// Removes what runs that crashed have left: their namespaces with the processes in them, and
/// their files. Returns the names of what was removed. What can't be removed is tried again the
/// next time.
pub fn sweep() -> Vec<String> {
    remove_all(|pid| !lives(pid))
}

/// Removes what this very process has made, when a signal ends it.
pub(super) fn sweep_own() {
    remove_all(|pid| pid == std::process::id());
}

fn remove_all(swept: fn(u32) -> bool) -> Vec<String> {
    let mut removed = Vec::new();
    for name in made_by(Path::new("/run/netns"), swept) {
        namespace::remove(&name);
        removed.push(name);
    }
    for dir in [std::env::temp_dir(), PathBuf::from("/etc/netns")] {
        for name in made_by(&dir, swept) {
            end_by_path(&dir.join(&name));
            let _ = fs::remove_dir_all(dir.join(&name));
            removed.push(name);
        }
    }
    removed
}

/// Ends processes that were started from a directory of the laboratory: they name it in their
/// command line.
fn end_by_path(dir: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let needle = dir.display().to_string();
    let own = std::process::id();
    let pids = processes.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.filter(|pid| *pid != own) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&needle) {
            let _ = Run::new(&format!("kill -KILL {pid}")).outcome();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_maker() {
        let tag = Tag::fresh();
        assert_eq!(maker(&tag.name("zone")), Some(std::process::id()));
        assert_eq!(maker("g64lab-x-1-zone"), None);
        assert_eq!(maker("other-12-1"), None);
        assert!(lives(std::process::id()));
        assert!(!lives(u32::MAX));
    }
}
