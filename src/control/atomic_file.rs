//! Replaces a file as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a new file in the place of the one at `path`. After a crash, even of the host, the path
/// names either the old content or the new.
///
/// # Errors
/// What the file system says; the old file is unchanged then.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        // The new name itself is durable only with its directory.
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
