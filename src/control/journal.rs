//! Journal of changes to this host that outlive a killed gateway.
//!
//! Each change is recorded before it is made, so that the journal is complete even after `kill -9`. It omits
//! routes and neighbours of the gate64 device, which vanish with the device. A start with a new
//! device, an orderly exit without `--fd-store`, and `gate64 cleanup` undo the changes, the last one first. With
//! `--fd-store` the next gateway takes them over. An orderly exit leaves the unreachable routes.
//!
//! The file is not trusted: it belongs to the user of the service, and root runs `gate64 cleanup`. Entries that
//! gate64 cannot have written are ignored, and no path in the directory is followed out of it. Neither is a
//! journal of another boot used.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::atomic_file;
use super::netlink::{Destination, Netlink};
use super::nft;
use super::sysctl::{self, Tree};

/// A change to this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// A new value of a sysctl.
    Sysctl {
        /// Path below /proc/sys.
        key: String,
        /// Old value.
        before: String,
        /// New value.
        after: String,
    },
    /// A proxy neighbour on an interface.
    Proxy {
        /// Name of the interface.
        interface: String,
        /// The address.
        addr: IpAddr,
    },
    /// An address assigned to an interface.
    Address {
        /// Name of the interface.
        interface: String,
        /// The address.
        addr: IpAddr,
        /// Prefix length.
        len: u8,
    },
    /// An unreachable route. It stays when the gateway stops.
    Unreachable {
        /// First address of the destination.
        addr: IpAddr,
        /// Prefix length.
        len: u8,
    },
    /// An nftables table.
    Table {
        /// Name, in the family `ip`.
        name: String,
    },
}

/// Which changes to undo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// All.
    All,
    /// All except those that stand in for a stopped gateway: the unreachable routes.
    Stop,
}

impl Change {
    /// Whether the change stays when the gateway stops.
    const fn outlasts_stop(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether gate64 can have made this change.
    fn is_known(&self) -> bool {
        match self {
            Self::Sysctl { key, before, after } => sysctl::is_known(key, [before, after]),
            Self::Proxy { interface, addr } => sysctl::is_interface(interface) && is_of_host(*addr),
            Self::Address { interface, addr, len } => {
                let whole = if addr.is_ipv4() { 32 } else { 128 };
                sysctl::is_interface(interface) && *len == whole && is_of_host(*addr)
            }
            Self::Unreachable { addr, len } => {
                (1..=if addr.is_ipv4() { 32 } else { 128 }).contains(len) && is_of_host(*addr)
            }
            Self::Table { name } => nft::is_table(name),
        }
    }
}

/// Whether the address can be one of a host.
const fn is_of_host(addr: IpAddr) -> bool {
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast())
}

/// Why the journal could not be opened or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}; gate64 changes nothing on this host without a journal")]
pub(crate) struct JournalError {
    /// Path of the file.
    pub(crate) path: PathBuf,
    /// Error of the operating system.
    pub(crate) why: io::Error,
}

/// Content of the file.
#[derive(Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Boot ID. Changes do not survive a reboot.
    boot: String,
    /// Inode of the network namespace in which the changes were made.
    namespace: u64,
    changes: Vec<Change>,
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// Locked while the journal is open: two gateways must not undo each other's changes.
    _lock: fs::File,
    record: Record,
}

const FILE: &str = "changes.json";
/// Maximum size of the file. The largest record, 1,024 proxies on each of some interfaces, has far less.
const MAX_FILE: u64 = 4 << 20;

impl Journal {
    /// Opens the journal in `dir`, which is created if missing. An unreadable journal counts as empty, with a
    /// warning. So does one of another boot or network namespace, without a warning. Changes that gate64 cannot
    /// have made are ignored, with a warning.
    ///
    /// # Errors
    /// The directory cannot be created, or another process has locked the journal.
    pub(crate) fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE);
        fs::create_dir_all(dir).map_err(|why| JournalError { path: dir.to_owned(), why })?;
        let lock = lock(&dir.join("lock"))?;
        let here = Record { boot: boot(), namespace: namespace(), changes: Vec::new() };
        let mut record = match read(&path).map(|bytes| serde_json::from_slice::<Record>(&bytes)) {
            Ok(Ok(found)) if found.boot == here.boot && found.namespace == here.namespace => found,
            Ok(Ok(_)) => here,
            Ok(Err(why)) => {
                tracing::warn!("{}: {why}; treated as empty", path.display());
                here
            }
            Err(why) => {
                if why.kind() != io::ErrorKind::NotFound {
                    tracing::warn!("{}: {why}; treated as empty", path.display());
                }
                here
            }
        };
        let ignored = record.changes.extract_if(.., |change| !change.is_known()).count();
        if ignored > 0 {
            tracing::warn!("{}: ignored {ignored} changes that gate64 never makes", path.display());
        }
        Ok(Self { path, _lock: lock, record })
    }

    /// Whether `dir` has a journal. Opening one as root where there is none would leave a lock of root.
    pub(super) fn exists(dir: &Path) -> bool {
        fs::symlink_metadata(dir.join(FILE)).is_ok()
    }

    /// Whether a gateway has not stopped in an orderly way.
    pub(crate) fn is_from_killed_gateway(&self) -> bool {
        self.record.changes.iter().any(|change| !change.outlasts_stop())
    }

    /// Whether there is nothing to undo.
    pub(crate) fn is_empty(&self) -> bool {
        self.record.changes.is_empty()
    }

    /// The recorded changes, in order.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.record.changes
    }

    /// Records a change before it is made.
    ///
    /// # Errors
    /// The file cannot be written; then the change must not be made.
    pub(crate) fn record(&mut self, change: Change) -> Result<(), JournalError> {
        self.record_all([change])
    }

    /// Records changes before they are made, with one write.
    ///
    /// # Errors
    /// The file cannot be written; then none of them must be made.
    pub(crate) fn record_all(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<(), JournalError> {
        let before = self.record.changes.len();
        for change in changes {
            if !self.record.changes.contains(&change) {
                self.record.changes.push(change);
            }
        }
        if self.record.changes.len() > before { self.save() } else { Ok(()) }
    }

    /// Removes changes that were undone or not made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forget(&mut self, changes: &[Change]) -> Result<(), JournalError> {
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

    /// Undoes changes, the last one first; returns their number. Logs and forgets changes that cannot be
    /// undone, so that a second call does nothing.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) async fn undo(
        &mut self,
        extent: Extent,
        tree: &Tree,
        netlink: &Netlink,
    ) -> Result<usize, JournalError> {
        let undone = |change: &mut Change| extent == Extent::All || !change.outlasts_stop();
        let changes: Vec<_> = self.record.changes.extract_if(.., undone).collect();
        for change in changes.iter().rev() {
            undo(change, tree, netlink).await;
        }
        self.save()?;
        Ok(changes.len())
    }
}

/// Reads a regular file of at most [`MAX_FILE`] bytes, not through a symbolic link.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::OpenOptions::new().read(true).custom_flags(SAFE).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(MAX_FILE + 1).read_to_end(&mut bytes)? as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than a journal"));
    }
    Ok(bytes)
}

/// Flags for files in a directory of another user: no symbolic link, and no waiting on a FIFO.
pub(super) const SAFE: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Locks the journal. Retries, because a forked child holds the lock of its killed parent until it executes nft.
fn lock(path: &Path) -> Result<fs::File, JournalError> {
    const TRIES: u32 = 20;
    let failed = |why| JournalError { path: path.to_owned(), why };
    let open = |options: &mut fs::OpenOptions| options.custom_flags(SAFE).open(path);
    let file = match open(fs::OpenOptions::new().create(true).append(true)) {
        // A file of root, which has run a gateway by hand: reading is enough to lock it.
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => open(fs::OpenOptions::new().read(true)),
        opened => opened,
    };
    let file = file.map_err(failed)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::park_timeout(Duration::from_millis(10)),
            Err(fs::TryLockError::Error(why)) => return Err(failed(why)),
        }
    }
    Err(failed(io::Error::new(
        io::ErrorKind::WouldBlock,
        "another gateway is running with this state directory",
    )))
}

/// Undoes one change.
pub(super) async fn undo(change: &Change, tree: &Tree, netlink: &Netlink) {
    let result = match change {
        Change::Sysctl { key, before, after } => {
            tree.restore(key, before, after);
            Ok(())
        }
        Change::Proxy { interface, addr } => {
            netlink.remove_proxy(interface, *addr).await.map_err(|why| why.to_string())
        }
        Change::Address { interface, addr, len } => {
            netlink.remove_address(interface, *addr, *len).await.map_err(|why| why.to_string())
        }
        Change::Unreachable { addr, len } => {
            let to = Destination { addr: *addr, len: *len };
            netlink.remove_unreachable(to).await.map_err(|why| why.to_string())
        }
        Change::Table { name } => nft::remove(name).await.map_err(|why| why.to_string()),
    };
    if let Err(why) = result {
        tracing::warn!("{why}");
    }
}

/// The boot ID as bytes; zero if the kernel has none.
pub(super) fn boot_id() -> [u8; 16] {
    let digits: String = boot().chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map(|meta| meta.ino()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes a journal of this boot and network namespace.
    pub(crate) fn write(dir: &Path, changes: Vec<Change>) {
        let record = Record { boot: boot(), namespace: namespace(), changes };
        fs::write(dir.join(FILE), serde_json::to_vec(&record).expect("json")).expect("written");
    }

    pub(crate) fn sysctl(key: &str, before: &str, after: &str) -> Change {
        Change::Sysctl { key: key.to_owned(), before: before.to_owned(), after: after.to_owned() }
    }

    fn change(n: u8) -> Change {
        Change::Proxy { interface: "eth0".to_owned(), addr: IpAddr::from([192, 0, 2, n]) }
    }

    #[test]
    fn recorded_changes_survive_a_crash() {
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
        assert!(!dir.path().join(FILE).exists(), "an empty journal has no file");
    }

    #[test]
    fn two_gateways_cannot_share_a_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Journal::open(dir.path()).expect("new");
        let second = Journal::open(dir.path()).expect_err("locked");
        assert!(second.to_string().contains("another gateway is running"), "{second}");
        drop(first);
        assert!(Journal::open(dir.path()).is_ok());
    }

    #[test]
    fn a_journal_of_another_boot_or_a_damaged_one_is_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        let other = Record { boot: "other".to_owned(), namespace: namespace(), changes: vec![change(1)] };
        fs::write(&file, serde_json::to_vec(&other).expect("json")).expect("written");
        assert!(Journal::open(dir.path()).expect("read").is_empty());
        fs::write(&file, b"{ \"boot\": ").expect("written");
        assert!(Journal::open(dir.path()).expect("read").is_empty());
    }

    #[test]
    fn changes_that_gate64_never_makes_are_ignored() {
        let on = |interface: &str, addr: &str, len| Change::Address {
            interface: interface.to_owned(),
            addr: addr.parse().expect("literal"),
            len,
        };
        let to = |addr: &str, len| Change::Unreachable { addr: addr.parse().expect("literal"), len };
        let table = |name: &str| Change::Table { name: name.to_owned() };
        let known = vec![
            change(1),
            sysctl("net/ipv6/conf/all/forwarding", "0", "1"),
            sysctl("net/ipv4/ip_forward", "0", "1"),
            sysctl("net/ipv6/conf/eth0.5/accept_ra", "1", "2"),
            sysctl("net/ipv4/neigh/eth0/proxy_delay", "80", "0"),
            sysctl("net/ipv4/ip_local_reserved_ports", "", "8080,40960-65535"),
            sysctl("net/netfilter/nf_conntrack_icmp_timeout", "30", "60"),
            on("eth0", "2001:db8:1::53", 128),
            to("2001:db8:64::", 96),
            to("192.0.2.64", 28),
            table("gate64"),
            table("gate64_nat_2"),
        ];
        let forged = [
            sysctl("../../etc/cron.d/job", "x", "y"),
            sysctl("/etc/passwd", "0", "1"),
            sysctl("net/ipv6/conf/../../../../etc/x/accept_ra", "0", "1"),
            sysctl("net/ipv6/conf/../accept_ra", "0", "1"),
            sysctl("net/ipv6/conf//accept_ra", "0", "1"),
            sysctl("kernel/core_pattern", "|/bin/sh", "core"),
            sysctl("kernel/modprobe", "/tmp/x", "/sbin/modprobe"),
            sysctl("net/ipv6/conf/all/forwarding", "|/bin/sh", "1"),
            sysctl("net/ipv6/conf/all/forwarding", "", "1"),
            sysctl("net/ipv4/ip_local_reserved_ports", "1\n2", "8080"),
            Change::Proxy { interface: "../x".to_owned(), addr: IpAddr::from([192, 0, 2, 1]) },
            on("eth0", "203.0.113.1", 24),
            on("lo", "::1", 128),
            on("eth0", "0.0.0.0", 32),
            on("a name of 16 byt", "192.0.2.1", 32),
            table("gate64; flush ruleset"),
            table("gate64_\ninclude \"/etc/shadow\""),
            to("::", 0),
            to("192.0.2.64", 33),
            table("filter"),
            table("gate64_"),
        ];
        let dir = tempfile::tempdir().expect("a directory");
        for change in forged {
            let both = known.iter().cloned().chain([change.clone()]).collect();
            write(dir.path(), both);
            assert_eq!(Journal::open(dir.path()).expect("read").changes(), known, "{change:?}");
        }
    }

    #[test]
    fn files_that_are_links_fifos_or_huge_are_not_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, other) = (dir.path().join(FILE), dir.path().join("other"));
        write(dir.path(), vec![change(1)]);
        fs::rename(&file, &other).expect("renamed");
        std::os::unix::fs::symlink(&other, &file).expect("linked");
        assert!(Journal::open(dir.path()).expect("read").is_empty());
        fs::remove_file(&file).expect("removed");
        assert!(std::process::Command::new("mkfifo").arg(&file).status().expect("installed").success());
        assert!(Journal::open(dir.path()).expect("read").is_empty());
        fs::remove_file(&file).expect("removed");
        let mut text = fs::read(&other).expect("there");
        text.resize(MAX_FILE as usize + 1, b' ');
        fs::write(&file, text).expect("written");
        assert!(Journal::open(dir.path()).expect("read").is_empty());
        let lock = dir.path().join("lock");
        fs::remove_file(&lock).expect("removed");
        std::os::unix::fs::symlink(dir.path().join("created"), &lock).expect("linked");
        Journal::open(dir.path()).expect_err("a link");
        assert!(!dir.path().join("created").exists());
    }
}
