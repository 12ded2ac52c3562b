//! The record of changes to the host that would outlive a killed gateway.
//!
//! A change is written down before it is made, so that after `kill -9` nothing is left that is not
//! in the record. Routes and addresses of the own device are not in it: they end with the device.
//! The record is undone from its end at every start, at every orderly end, and by `gate64 cleanup`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::atomic_file;
use super::netlink::Netlink;
use super::nft;
use super::sysctl::Tree;

/// A change to the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A kernel setting was given another value.
    Sysctl {
        /// Its path below /proc/sys.
        key: String,
        /// What it was.
        before: String,
        /// What it is.
        after: String,
    },
    /// The kernel answers for an address on an interface.
    Proxy {
        /// The interface.
        interface: String,
        /// The address.
        addr: IpAddr,
    },
    /// An interface was given an address.
    Address {
        /// The interface.
        interface: String,
        /// The address.
        addr: IpAddr,
        /// The length of its prefix.
        len: u8,
    },
    /// An nftables table of ours.
    Table {
        /// Its name, in the family `ip`.
        name: String,
    },
}

/// Why the record can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}; no change is made to the host without a record of it")]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub why: io::Error,
}

/// The file's content.
#[derive(Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Identifies the boot: another one has no changes of ours left.
    boot: String,
    /// Identifies the network namespace, which the changes are in.
    namespace: u64,
    changes: Vec<Change>,
}

/// The record.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Held as long as the record is: two gateways must not undo each other's changes.
    _lock: fs::File,
    record: Record,
}

const FILE: &str = "changes.json";

impl Journal {
    /// Reads the record in `dir`, which is made if it is not there. An unreadable record counts as
    /// an empty one, with a warning; so does one of another boot or another network namespace.
    ///
    /// # Errors
    /// If the directory can't be made, or another process holds the record.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE);
        fs::create_dir_all(dir).map_err(|why| JournalError { path: dir.to_owned(), why })?;
        let lock = lock(&dir.join("lock"))?;
        let here = Record { boot: boot(), namespace: namespace(), changes: Vec::new() };
        let record = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Record>(&bytes) {
                Ok(found) if found.boot == here.boot && found.namespace == here.namespace => found,
                Ok(_) => here,
                Err(why) => {
                    tracing::warn!("{}: {why}; counted as empty", path.display());
                    here
                }
            },
            Err(_) => here,
        };
        Ok(Self { path, _lock: lock, record })
    }

    /// Whether there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        self.record.changes.is_empty()
    }

    /// What is recorded, in the order in which it was done.
    pub fn changes(&self) -> &[Change] {
        &self.record.changes
    }

    /// Records a change that is about to be made.
    ///
    /// # Errors
    /// If the file can't be written; then the change must not be made.
    pub fn record(&mut self, change: Change) -> Result<(), JournalError> {
        self.record_all([change])
    }

    /// Records changes that are about to be made, with one write.
    ///
    /// # Errors
    /// If the file can't be written; then none of them must be made.
    pub fn record_all(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), JournalError> {
        let before = self.record.changes.len();
        for change in changes {
            if !self.record.changes.contains(&change) {
                self.record.changes.push(change);
            }
        }
        if self.record.changes.len() > before { self.save() } else { Ok(()) }
    }

    /// Forgets changes that were undone or were not made after all.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn forget(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let before = self.record.changes.len();
        self.record.changes.retain(|known| !changes.contains(known));
        if self.record.changes.len() < before { self.save() } else { Ok(()) }
    }

    /// Replaces the file, or removes it if no change is left.
    fn save(&self) -> Result<(), JournalError> {
        let failed = |why| JournalError { path: self.path.clone(), why };
        if self.record.changes.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => Err(failed(why)),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(&self.record).map_err(|why| failed(why.into()))?;
        atomic_file::replace(&self.path, &text).map_err(failed)
    }

    /// Undoes everything, the last change first. How many there were. What can't be undone is logged
    /// and forgotten, so that doing this twice does no more than doing it once.
    ///
    /// # Errors
    /// If the file can't be removed afterwards.
    pub async fn undo(&mut self, tree: &Tree, netlink: &Netlink) -> Result<usize, JournalError> {
        let changes = std::mem::take(&mut self.record.changes);
        for change in changes.iter().rev() {
            undo(change, tree, netlink).await;
        }
        self.save()?;
        Ok(changes.len())
    }
}

/// Takes the lock. A child on its way to become another program (nft) holds its parent's lock for a
/// moment, so that one try is not enough after a gateway was killed.
fn lock(path: &Path) -> Result<fs::File, JournalError> {
    const TRIES: u32 = 20;
    let failed = |why| JournalError { path: path.to_owned(), why };
    let file = fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::park_timeout(Duration::from_millis(10)),
            Err(fs::TryLockError::Error(why)) => return Err(failed(why)),
        }
    }
    Err(failed(io::Error::new(io::ErrorKind::WouldBlock, "another gateway is running here")))
}

/// Undoes one change.
pub(super) async fn undo(change: &Change, tree: &Tree, netlink: &Netlink) {
    let result = match change {
        Change::Sysctl { key, before, after } => {
            tree.put_back(key, before, after);
            Ok(())
        }
        Change::Proxy { interface, addr } => {
            netlink.remove_proxy(interface, *addr).await.map_err(|why| why.to_string())
        }
        Change::Address { interface, addr, len } => {
            netlink.remove_address(interface, *addr, *len).await.map_err(|why| why.to_string())
        }
        Change::Table { name } => nft::remove(name).await.map_err(|why| why.to_string()),
    };
    if let Err(why) = result {
        tracing::warn!("{why}");
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map(|meta| meta.ino()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(n: u8) -> Change {
        Change::Proxy { interface: "eth0".to_owned(), addr: IpAddr::from([192, 0, 2, n]) }
    }

    #[test]
    fn what_was_recorded_is_there_after_a_crash() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::open(dir.path()).expect("new");
        assert!(journal.is_empty());
        journal.record(change(1)).expect("written");
        journal.record(change(2)).expect("written");
        journal.record(change(1)).expect("written");
        drop(journal);
        let mut journal = Journal::open(dir.path()).expect("read");
        assert_eq!(journal.changes(), [change(1), change(2)]);
        journal.forget(&[change(1)]).expect("written");
        assert!(dir.path().join(FILE).exists());
        journal.forget(&[change(2)]).expect("written");
        assert!(!dir.path().join(FILE).exists(), "an empty record is no file");
    }

    #[test]
    fn two_gateways_do_not_share_a_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Journal::open(dir.path()).expect("new");
        let second = Journal::open(dir.path()).expect_err("locked");
        assert!(second.to_string().contains("another gateway is running"), "{second}");
        drop(first);
        assert!(Journal::open(dir.path()).is_ok());
    }

    #[test]
    fn a_record_of_another_boot_or_a_broken_one_is_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        let other = Record { boot: "other".to_owned(), namespace: namespace(), changes: vec![change(1)] };
        fs::write(&file, serde_json::to_vec(&other).expect("json")).expect("written");
        assert!(Journal::open(dir.path()).expect("read").is_empty());
        fs::write(&file, b"{ \"boot\": ").expect("written");
        assert!(Journal::open(dir.path()).expect("read").is_empty());
    }
}
