//! A network namespace that is deleted on drop.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CommandLine, Daemon, LabError};

/// A named network namespace, created by `ip netns`. Dropping it kills its processes and deletes it.
///
/// Programs in it see the `resolv.conf` that [`resolver`](Self::resolver) writes.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates the namespace and brings its loopback device up. Duplicate address detection is off: the
    /// lab's addresses are unique, and a router with a tentative link-local address cannot resolve
    /// neighbours.
    ///
    /// # Errors
    /// The error of `ip`.
    pub fn new(name: String) -> Result<Self, LabError> {
        CommandLine::new(&format!("ip netns add {name}")).text()?;
        let namespace = Self { name };
        namespace.sysctl(&["net.ipv6.conf.default.accept_dad=0"])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name in `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command to run in it.
    pub fn run(&self, line: &str) -> CommandLine {
        CommandLine::new(line).within(&self.name)
    }

    /// Runs a command in it and returns its standard output.
    ///
    /// # Errors
    /// As [`CommandLine::text`].
    pub fn text(&self, line: &str) -> Result<String, LabError> {
        self.run(line).text()
    }

    /// Runs `ip` in it.
    ///
    /// # Errors
    /// The error of `ip`.
    pub fn ip(&self, line: &str) -> Result<String, LabError> {
        CommandLine::new(&format!("ip -n {} {line}", self.name)).text()
    }

    /// Starts a background program in it.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn daemon(&self, line: &str, log: &Path) -> Result<Daemon, LabError> {
        Daemon::start(&self.run(line), log)
    }

    /// Sets sysctls, written `key=value`.
    ///
    /// # Errors
    /// The error of `sysctl`.
    pub fn sysctl(&self, settings: &[&str]) -> Result<(), LabError> {
        self.text(&format!("sysctl -q -w {}", settings.join(" "))).map(drop)
    }

    /// Connects two namespaces with a veth pair and brings both ends up.
    ///
    /// # Errors
    /// The error of `ip`.
    pub fn join(&self, device: &str, peer: &Self, peer_device: &str) -> Result<(), LabError> {
        let (a, b) = (&self.name, &peer.name);
        CommandLine::new(&format!(
            "ip link add {device} netns {a} type veth peer name {peer_device} netns {b}"
        ))
        .text()?;
        self.ip(&format!("link set {device} up"))?;
        peer.ip(&format!("link set {peer_device} up"))?;
        Ok(())
    }

    /// Sets the name server for programs in the namespace. Names resolve by DNS only.
    ///
    /// # Errors
    /// If the files can't be written.
    pub fn resolver(&self, server: &str) -> Result<(), LabError> {
        let dir = etc(&self.name);
        let write = |file: &str, text: &str| {
            let path = dir.join(file);
            fs::write(&path, text).map_err(LabError::io(path.display().to_string()))
        };
        fs::create_dir_all(&dir).map_err(LabError::io(dir.display().to_string()))?;
        write("resolv.conf", &format!("nameserver {server}\noptions timeout:2 attempts:2\n"))?;
        write("nsswitch.conf", "hosts: files dns\n")?;
        write("hosts", "127.0.0.1 localhost\n::1 localhost\n")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Directory of files that `ip netns exec` mounts over /etc.
fn etc(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// Kills the processes in a namespace and deletes it. Ignores errors: the next start removes the rest.
pub(super) fn remove(name: &str) {
    if let Ok(pids) = CommandLine::new(&format!("ip netns pids {name}")).text() {
        let own = std::process::id().to_string();
        for pid in pids.split_whitespace().filter(|pid| *pid != own) {
            let _ = CommandLine::new(&format!("kill -KILL {pid}")).outcome();
        }
    }
    let _ = CommandLine::new(&format!("ip netns del {name}")).outcome();
    let _ = fs::remove_dir_all(etc(name));
    // Fails if another lab uses it.
    let _ = fs::remove_dir("/etc/netns");
}
