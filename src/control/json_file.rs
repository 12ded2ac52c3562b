//! Small JSON files in the state directory.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::atomic_file;

/// Reads a file. `None` if there is none, or if it is unreadable or damaged, with a warning.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return None,
        Err(why) => {
            tracing::warn!("{}: {why}", path.display());
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|why| tracing::warn!("{}: {why}; counted as empty", path.display()))
        .ok()
}

/// Replaces a file.
///
/// # Errors
/// The error of the file system; the old file is unchanged.
pub(super) fn replace(path: &Path, content: &impl Serialize) -> io::Result<()> {
    atomic_file::replace(path, &serde_json::to_vec(content)?)
}
