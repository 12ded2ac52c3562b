//! The state directory of the unit's user, in which root runs and cleans up, too.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use super::journal;

/// User and group of a state directory that is not root's. The process is root, or the directory is its own.
pub(super) fn owner(dir: &Path) -> Option<(u32, u32)> {
    let metadata = fs::metadata(dir).ok()?;
    (metadata.uid() != 0).then(|| (metadata.uid(), metadata.gid()))
}

/// Gives root's files in a state directory to the owner of the directory, so that the unit can read and replace them.
/// Of no effect without root.
pub(super) fn hand_over(dir: &Path) {
    let Some(owner) = owner(dir) else { return };
    for directory in [dir.to_owned(), dir.join("binding_log")] {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if let Err(why) = hand_over_file(&entry.path(), owner) {
                tracing::debug!("{}: {why}", entry.path().display());
            }
        }
    }
}

/// Changes the owner of a regular file of root. The owner of the directory could have put a link there, symbolic or
/// not.
fn hand_over_file(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let file: File = OpenOptions::new().read(true).custom_flags(journal::SAFE).open(path)?;
    let metadata = file.metadata()?;
    let is_own = metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == 0;
    if is_own { fchown(&file, Some(user), Some(group)) } else { Ok(()) }
}
