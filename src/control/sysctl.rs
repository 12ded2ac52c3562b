//! Kernel settings: read, set, put back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::Sysctls;
use super::journal::{Change, Journal, JournalError};

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

/// Where kernel settings are: /proc/sys, or a directory that stands for it in tests.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

/// A setting and the value it must have.
#[derive(Clone, PartialEq, Eq, Debug)]
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

    /// The settings that forwarding needs, those of interfaces first: once forwarding is on, an
    /// interface with `accept_ra` 1 has lost the default route it learnt.
    ///
    /// # Errors
    /// If a setting can't be read.
    pub fn forwarding(&self, device: &str) -> Result<Vec<Wanted>, SysctlError> {
        let mut wanted = Vec::new();
        if self.read("net/ipv6/conf/all/forwarding")? == "0" {
            for interface in self.interfaces() {
                let key = format!("net/ipv6/conf/{interface}/accept_ra");
                let skipped = ["all", "default", "lo", device].contains(&interface.as_str());
                if !skipped && self.read(&key).is_ok_and(|value| value == "1") {
                    wanted.push(Wanted::new(key, "2"));
                }
            }
        }
        wanted.push(Wanted::new("net/ipv6/conf/all/forwarding", "1"));
        wanted.push(Wanted::new("net/ipv4/ip_forward", "1"));
        Ok(wanted)
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

    /// The settings of the translator's own device, which end with it.
    ///
    /// rp_filter: clients' answers come in on another interface than they go out on. accept_local:
    /// our ICMPv4 errors have an address of the host as their source. addr_gen_mode: a link-local
    /// address would make the kernel send multicast into the translator.
    pub fn of_device(device: &str) -> [Wanted; 6] {
        [
            Wanted::new(format!("net/ipv6/conf/{device}/addr_gen_mode"), "1"),
            Wanted::new(format!("net/ipv6/conf/{device}/accept_ra"), "0"),
            Wanted::new(format!("net/ipv6/conf/{device}/forwarding"), "1"),
            Wanted::new(format!("net/ipv4/conf/{device}/forwarding"), "1"),
            Wanted::new(format!("net/ipv4/conf/{device}/rp_filter"), "0"),
            Wanted::new(format!("net/ipv4/conf/{device}/accept_local"), "1"),
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
