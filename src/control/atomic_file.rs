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
    // Never through a symbolic link, which the owner of the directory can leave for root.
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut file = File::create_new(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        // The rename is durable only once the directory is.
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, victim) = (dir.path().join("changes.json"), dir.path().join("victim"));
        fs::write(&victim, "precious").expect("written");
        for link in [&path, &path.with_extension("new")] {
            std::os::unix::fs::symlink(&victim, link).expect("linked");
        }
        replace(&path, b"text").expect("replaced");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert_eq!(fs::read_to_string(&path).expect("there"), "text");
        assert!(!fs::symlink_metadata(&path).expect("there").is_symlink());
    }
}
