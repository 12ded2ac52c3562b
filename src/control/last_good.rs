//! The last configuration that ran: a start uses it if the file is invalid or unreadable.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::gateway::ConfigFile;
use super::{atomic_file, journal};
use crate::config::{Config, HostInfo, LoadError, STATE_DIR, lenient};
use crate::observe::view::View;

/// Name in the state directory.
const FILE: &str = "last_good.toml";

/// Maximum size of the file.
const MAX_FILE: u64 = 16 << 20;

/// Where a configuration is from.
pub(super) struct Source {
    text: String,
    /// Why the file was refused, if this is the last good configuration.
    refused: Option<String>,
}

impl Source {
    /// Saves the configuration that runs, or reports that the file was refused.
    pub(super) fn publish(self, path: &Path, config: &Config, view: &View) -> ConfigFile {
        if self.refused.is_none() {
            save(config, &self.text);
        }
        view.report(|condition| condition.refused = self.refused);
        ConfigFile { path: path.to_owned(), text: self.text }
    }
}

/// Reads the file, or the last good configuration in its place.
///
/// # Errors
/// The file is refused, and there is no last good configuration for this host.
pub(super) fn load(path: &Path, host: &dyn HostInfo) -> Result<(Config, Source), LoadError> {
    let why = match read(path, host) {
        Ok((config, text)) => return Ok((config, Source { text, refused: None })),
        Err(why) => why,
    };
    let saved = state_dir_of(path).join(FILE);
    let Ok(text) = read_own(&saved) else { return Err(why) };
    match Config::parse(&saved.display().to_string(), &text, host) {
        Ok(config) => {
            tracing::error!("{why}");
            tracing::warn!("{} is refused; the last configuration that ran is in effect", path.display());
            // The first line names place and error.
            let reason = why.to_string().lines().next().unwrap_or_default().to_owned();
            Ok((config, Source { text, refused: Some(reason) }))
        }
        Err(_) => Err(why),
    }
}

/// Reads a file and its text.
///
/// # Errors
/// The file is unreadable or invalid.
pub(super) fn read(path: &Path, host: &dyn HostInfo) -> Result<(Config, String), LoadError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: name.clone(), source })?;
    let config = Config::parse(&name, &text, host)?;
    Ok((config, text))
}

/// Saves the text of a configuration that runs.
pub(super) fn save(config: &Config, text: &str) {
    let path = config.host.state_dir.join(FILE);
    let is_saved = read_own(&path).is_ok_and(|saved| saved == text);
    if !is_saved && let Err(why) = atomic_file::replace(&path, text.as_bytes()) {
        tracing::warn!("{}: {why}; a start with an invalid file will fail", path.display());
    }
}

/// Reads a file that only root or this user can have written: hooks in it run as this user.
fn read_own(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(journal::SAFE).open(path)?;
    let metadata = file.metadata()?;
    let owner = metadata.uid();
    let is_trusted = owner == 0 || Some(owner) == user();
    if !metadata.is_file() || !is_trusted || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "written by another user"));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// The effective user of this process.
fn user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The state directory: of the file as far as it is readable, else that of the service manager.
fn state_dir_of(path: &Path) -> PathBuf {
    let of_unit = || {
        let dirs = std::env::var_os("STATE_DIRECTORY")?;
        // Several directories are separated by colons.
        dirs.to_str()?.split(':').next().map(PathBuf::from)
    };
    lenient::path(path, "host", "state_dir").or_else(of_unit).unwrap_or_else(|| PathBuf::from(STATE_DIR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::FakeHost;

    #[test]
    fn a_refused_file_is_replaced_by_the_last_good_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("gate64.toml");
        let host = FakeHost::new();
        let state = format!("[host]\nstate_dir = \"{}\"\n", dir.path().display());
        let good = format!("{state}{}", include_str!("../../configs/nat64.toml"));
        std::fs::write(&path, format!("{state}nonsense = 1\n")).expect("written");
        assert!(load(&path, &host).is_err(), "nothing is saved");
        std::fs::write(&path, &good).expect("written");
        let (config, source) = load(&path, &host).expect("a good file");
        assert_eq!((source.refused, source.text.as_str()), (None, good.as_str()));
        save(&config, &source.text);
        std::fs::write(&path, format!("{state}nonsense = 1\n")).expect("written");
        let (again, source) = load(&path, &host).expect("the last good one");
        assert_eq!(again.zone_names, config.zone_names);
        assert!(source.refused.is_some());
        // Others could add hooks.
        let saved = dir.path().join(FILE);
        std::fs::set_permissions(&saved, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("set");
        assert!(load(&path, &host).is_err());
        std::fs::remove_file(&saved).expect("removed");
        assert!(load(&path, &host).is_err());
    }
}
