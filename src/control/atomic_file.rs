//! Replaces a file atomically.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces the content of `path`. After a crash of the process or host, the file has the old or the new content.
///
/// `tempfile` would add a dependency for the random name only: the journal's lock excludes a second writer, and a
/// fixed name leaves at most one file behind. Its `persist` does not sync the directory either.
///
/// # Errors
/// The error of the file system; the old file is unchanged.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        // The rename is durable only once the directory is.
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
