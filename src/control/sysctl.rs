//! Kernel settings: read, set, put back.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::journal::{Change, Journal, JournalError};
use crate::config::Sysctls;

/// Why a kernel setting can't be as it must.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// It is wrong and may not be changed, by the file or by the kernel.
    #[error("{name} is {found} and must be {wanted} ({why}); type: sysctl -w {name}=\"{wanted}\"")]
    Wrong {
        /// Its name, with dots.
        name: String,
        /// Its value.
        found: String,
        /// The value it must have.
        wanted: String,
        /// Why it was left as it is.
        why: String,
    },
    /// It can't be read.
    #[error("{name}: {why}")]
    Unreadable {
        /// Its name, with dots.
        name: String,
        /// What the system said.
        why: io::Error,
    },
    /// The change could not be recorded, so it was not made.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// IPv6 and IPv4 forwarding.
const FORWARDING: [&str; 2] = ["net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"];

/// Where kernel settings are: /proc/sys, or a directory that stands for it in tests.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

/// A setting and the value it must have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wanted {
    /// Its path below /proc/sys.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Wanted {
    /// `key` is the path below /proc/sys.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// The name as sysctl(8) takes it. A dot in an interface's name is written as a slash there.
fn name(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '/' => '.',
            '.' => '/',
            c => c,
        })
        .collect()
}

impl Tree {
    /// The kernel's.
    pub fn kernel() -> Self {
        Self(PathBuf::from("/proc/sys"))
    }

    /// A directory that stands for it.
    pub fn at(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// The value of a setting.
    ///
    /// # Errors
    /// If there is no such setting, or it can't be read.
    pub fn read(&self, key: &str) -> Result<String, SysctlError> {
        match fs::read_to_string(self.0.join(key)) {
            Ok(value) => Ok(value.trim_end().replace('\t', " ")),
            Err(why) => Err(SysctlError::Unreadable { name: name(key), why }),
        }
    }

    /// Writes a setting.
    ///
    /// # Errors
    /// What the kernel said: often that /proc/sys is read-only.
    pub fn write(&self, key: &str, value: &str) -> io::Result<()> {
        // No truncation: the kernel takes one write for the whole value.
        let mut file = fs::OpenOptions::new().write(true).open(self.0.join(key))?;
        // An empty value is a line too: the kernel ignores an empty write.
        io::Write::write_all(&mut file, format!("{value}\n").as_bytes())
    }

    /// The interfaces that listen to router advertisements and would no longer do so with
    /// forwarding on. To be set before forwarding is: an interface with `accept_ra` 1 loses at once
    /// the default route it has learnt.
    pub fn router_advertisements(&self, device: &str) -> Vec<Wanted> {
        if self.read(FORWARDING[0]).is_ok_and(|value| value != "0") {
            return Vec::new();
        }
        let skipped = ["all", "default", "lo", device];
        let others = self.interfaces().into_iter().filter(|name| !skipped.contains(&name.as_str()));
        let keys = others.map(|interface| format!("net/ipv6/conf/{interface}/accept_ra"));
        let listening = keys.filter(|key| self.read(key).is_ok_and(|value| value == "1"));
        listening.map(|key| Wanted::new(key, "2")).collect()
    }

    /// The settings without which nothing is forwarded.
    pub fn forwarding() -> [Wanted; 2] {
        FORWARDING.map(|key| Wanted::new(key, "1"))
    }

    /// The setting by which a proxy neighbour on an interface is answered for at once.
    pub fn proxy_delay((interface, addr): &(String, IpAddr)) -> Wanted {
        let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
        Wanted::new(format!("net/{family}/neigh/{interface}/proxy_delay"), "0")
    }

    /// What is wrong with a setting, if it is; says so only.
    pub fn look(&self, wanted: &Wanted) -> Option<String> {
        let found = self.read(&wanted.key).ok()?;
        let name = name(&wanted.key);
        (found != wanted.value).then(|| format!("{name} is {found} and must be {}", wanted.value))
    }

    fn interfaces(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join("net/ipv6/conf")) else { return Vec::new() };
        let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Sees to it that a setting of the host is as wanted, and records what it was.
    ///
    /// # Errors
    /// [`SysctlError::Wrong`] if it is not and may not be changed.
    pub fn ensure(&self, wanted: &Wanted, how: Sysctls, journal: &mut Journal) -> Result<(), SysctlError> {
        let found = self.read(&wanted.key)?;
        if found == wanted.value {
            return Ok(());
        }
        let wrong = |why: String| SysctlError::Wrong {
            name: name(&wanted.key),
            found: found.clone(),
            wanted: wanted.value.clone(),
            why,
        };
        match how {
            Sysctls::Check => Err(wrong("sysctls = \"check\" leaves it to you".to_owned())),
            Sysctls::Set => {
                let change = Change::Sysctl {
                    key: wanted.key.clone(),
                    before: found.clone(),
                    after: wanted.value.clone(),
                };
                journal.record(change)?;
                self.write(&wanted.key, &wanted.value).map_err(|why| wrong(why.to_string()))?;
                tracing::info!("{} was {found}, set to {}", name(&wanted.key), wanted.value);
                Ok(())
            }
        }
    }

    /// The settings of the translator's own device, which end with it, and whether it is of no use
    /// without.
    ///
    /// rp_filter: clients' answers come in on another interface than they go out on. accept_local:
    /// our ICMPv4 errors have an address of the host as their source. addr_gen_mode: a link-local
    /// address would make the kernel send multicast into the translator.
    pub fn of_device(device: &str) -> [(Wanted, bool); 7] {
        let v6 = |name: &str, value: &str| Wanted::new(format!("net/ipv6/conf/{device}/{name}"), value);
        let v4 = |name: &str, value: &str| Wanted::new(format!("net/ipv4/conf/{device}/{name}"), value);
        [
            (v6("addr_gen_mode", "1"), false),
            (v6("accept_ra", "0"), false),
            (v6("disable_ipv6", "0"), true),
            (v6("forwarding", "1"), true),
            (v4("forwarding", "1"), true),
            (v4("rp_filter", "0"), false),
            (v4("accept_local", "1"), false),
        ]
    }

    /// Sets a setting of our own device. With `sysctls = "check"` too: the device is ours.
    ///
    /// # Errors
    /// [`SysctlError::Wrong`] if the kernel does not let us and the value matters.
    pub fn own(&self, wanted: &Wanted) -> Result<(), SysctlError> {
        let found = self.read(&wanted.key)?;
        if found == wanted.value {
            return Ok(());
        }
        self.write(&wanted.key, &wanted.value).map_err(|why| SysctlError::Wrong {
            name: name(&wanted.key),
            found,
            wanted: wanted.value.clone(),
            why: why.to_string(),
        })
    }

    /// Puts a setting back if it still is as we left it. True if it did.
    pub fn put_back(&self, key: &str, before: &str, after: &str) -> bool {
        match self.read(key) {
            Ok(now) if now == after => match self.write(key, before) {
                Ok(()) => {
                    tracing::info!("{} put back to {before}", name(key));
                    true
                }
                Err(why) => {
                    tracing::warn!("{} can't be put back to {before}: {why}", name(key));
                    false
                }
            },
            // Changed by somebody else since, or gone with its interface.
            Ok(_) | Err(_) => false,
        }
    }
}
