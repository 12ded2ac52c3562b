//! `gate64 cleanup`: undoes the changes of a stopped or killed gateway.

use std::io;
use std::path::{Path, PathBuf};

use super::journal::Journal;
use super::logging;
use super::netlink::Netlink;
use super::state_dir;
use super::sysctl::Tree;
use crate::config::{STATE_DIR, lenient};

pub(crate) use super::journal::Extent;

/// The state directory of a configuration file. Other errors in the file are ignored: they must not prevent the
/// cleanup.
pub(crate) fn state_dir_of(config: &Path) -> PathBuf {
    lenient::path(config, "host", "state_dir").unwrap_or_else(|| PathBuf::from(STATE_DIR))
}

/// Undoes the changes in the journal of `dir`; returns their number. A second call does nothing. The
/// caller may be root, and `dir` of another user.
///
/// # Errors
/// A running gateway has locked the journal, or it cannot be removed.
pub(crate) fn cleanup(dir: &Path, extent: Extent) -> io::Result<usize> {
    logging::init();
    if !Journal::exists(dir) {
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut journal = Journal::open(dir).map_err(io::Error::other)?;
        if journal.is_empty() {
            return Ok(0);
        }
        let undone = journal.undo(extent, &Tree::kernel(), &Netlink::open()?).await.map_err(io::Error::other);
        state_dir::hand_over(dir);
        undone
    })
}

#[cfg(test)]
mod tests {
    use super::super::journal;
    use super::*;

    #[test]
    fn the_state_directory_of_an_invalid_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "[host]\nstate_dir = \"/srv/state\"\nnonsense = 1\n").expect("written");
        assert_eq!(state_dir_of(&file), Path::new("/srv/state"));
        std::fs::write(&file, "[host\n").expect("written");
        assert_eq!(state_dir_of(&file), Path::new(STATE_DIR));
        assert_eq!(state_dir_of(&dir.path().join("absent")), Path::new(STATE_DIR));
    }

    #[test]
    fn a_forged_journal_writes_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "before").expect("written");
        let key = format!("../..{}", victim.display());
        journal::tests::write(dir.path(), vec![journal::tests::sysctl(&key, "forged", "before")]);
        assert_eq!(cleanup(dir.path(), Extent::All).expect("nothing to do"), 0);
        assert_eq!(std::fs::read_to_string(&victim).expect("there"), "before");
    }

    #[test]
    fn a_missing_or_empty_state_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(cleanup(&dir.path().join("absent"), Extent::All).expect("nothing to do"), 0);
        assert_eq!(cleanup(dir.path(), Extent::All).expect("nothing to do"), 0);
    }
}
