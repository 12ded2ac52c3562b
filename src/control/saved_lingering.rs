//! Saved lingering prefixes: removed pref64s that are still translated, also after a restart.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::gateway::Lingering;
use super::json_file;
use crate::addr::Pref64;
use crate::config::Config;
use crate::observe::unix_seconds;

const FILE: &str = "lingering.json";

/// A lingering prefix in the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    zone: String,
    pref64: String,
    /// Unix time in seconds.
    until: u64,
}

/// Reads the prefixes that linger at `now`, in both clocks. Time that is left is at most `linger`: the wall clock may
/// have been set back.
pub(super) fn read(config: &Config, (now, wall): (Instant, SystemTime)) -> Vec<Lingering> {
    let entries: Vec<Entry> = json_file::read(&path(config)).unwrap_or_default();
    let lingering = |entry: Entry| {
        let left = Duration::from_secs(entry.until.saturating_sub(unix_seconds(wall))).min(config.linger);
        let pref64: Pref64 = entry.pref64.parse().ok()?;
        (left > Duration::ZERO).then(|| Lingering { zone: entry.zone, pref64, until: now + left })
    };
    entries.into_iter().filter_map(lingering).collect()
}

/// Replaces the file.
pub(super) fn save(config: &Config, lingering: &[Lingering], (now, wall): (Instant, SystemTime)) {
    let path = path(config);
    let entry = |l: &Lingering| {
        let left = l.until.saturating_duration_since(now);
        Entry { zone: l.zone.clone(), pref64: l.pref64.to_string(), until: unix_seconds(wall + left) }
    };
    let entries: Vec<_> = lingering.iter().map(entry).collect();
    let saved = match (entries.is_empty(), path.exists()) {
        (true, false) => Ok(()),
        (true, true) => fs::remove_file(&path),
        (false, _) => json_file::replace(&path, &entries),
    };
    if let Err(why) = saved {
        tracing::warn!("{}: {why}; a restart will end the translation of removed prefixes", path.display());
    }
}

fn path(config: &Config) -> PathBuf {
    config.host.state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;
    use std::time::UNIX_EPOCH;

    use crate::config::tests::{FakeHost, load_on};

    #[test]
    fn prefixes_linger_for_the_rest_of_their_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config =
            load_on(include_str!("../../configs/nat64.toml"), &FakeHost::new()).expect("a good file");
        config.host.state_dir = dir.path().to_owned();
        let (now, wall) = (clock::monotonic(), UNIX_EPOCH + Duration::from_secs(1000));
        let at = |secs| (now, wall + Duration::from_secs(secs));
        let until = now + Duration::from_secs(600);
        let entry =
            Lingering { zone: "a".to_owned(), pref64: "2001:db8:65::/96".parse().expect("literal"), until };
        assert_eq!(read(&config, at(0)), []);
        save(&config, std::slice::from_ref(&entry), at(0));
        assert_eq!(read(&config, at(0)), std::slice::from_ref(&entry));
        let later = read(&config, at(500));
        assert_eq!(later[0].until, now + Duration::from_secs(100));
        assert_eq!(read(&config, at(600)), []);
        config.linger = Duration::from_secs(60);
        assert_eq!(read(&config, at(0))[0].until, now + Duration::from_secs(60));
        save(&config, &[], at(0));
        assert!(!dir.path().join(FILE).exists());
    }
}
