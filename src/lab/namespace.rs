//! One network namespace, gone when its guard is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Daemon, LabError, Run};

/// A network namespace with a name of its own, made by `ip netns`.
///
/// Programs run in it see the `resolv.conf` given by [`resolver`](Self::resolver).
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, its loopback device up. Addresses are good at once: none of the laboratory's
    /// is in use elsewhere, and a router whose link-local address is still looked for twice can't ask
    /// for its neighbours.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn new(name: String) -> Result<Self, LabError> {
        Run::new(&format!("ip netns add {name}")).text()?;
        let namespace = Self { name };
        namespace.sysctl(&["net.ipv6.conf.default.accept_dad=0"])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program to be run in it.
    pub fn run(&self, line: &str) -> Run {
        Run::new(line).within(&self.name)
    }

    /// Runs a program in it; its standard output.
    ///
    /// # Errors
    /// As [`Run::text`].
    pub fn text(&self, line: &str) -> Result<String, LabError> {
        self.run(line).text()
    }

    /// Runs `ip` on it.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, line: &str) -> Result<String, LabError> {
        Run::new(&format!("ip -n {} {line}", self.name)).text()
    }

    /// Starts a program in it that runs until its guard is dropped.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn daemon(&self, line: &str, log: &Path) -> Result<Daemon, LabError> {
        Daemon::start(&self.run(line), log)
    }

    /// Sets sysctls, written `key=value`.
    ///
    /// # Errors
    /// What `sysctl` says.
    pub fn sysctl(&self, settings: &[&str]) -> Result<(), LabError> {
        self.text(&format!("sysctl -q -w {}", settings.join(" "))).map(drop)
    }

    /// Joins two namespaces by a pair of devices, both up.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn join(&self, device: &str, peer: &Self, peer_device: &str) -> Result<(), LabError> {
        let (a, b) = (&self.name, &peer.name);
        Run::new(&format!("ip link add {device} netns {a} type veth peer name {peer_device} netns {b}"))
            .text()?;
        self.ip(&format!("link set {device} up"))?;
        peer.ip(&format!("link set {peer_device} up"))?;
        Ok(())
    }

    /// Gives programs in the namespace a name server, and names from DNS only.
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

/// Where `ip netns exec` looks for files to lay over /etc.
fn etc(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// Ends what runs in a namespace and takes it away. Nothing is reported: what is gone is gone, and
/// what is left is found by the next start.
pub(super) fn remove(name: &str) {
    if let Ok(pids) = Run::new(&format!("ip netns pids {name}")).text() {
        let own = std::process::id().to_string();
        for pid in pids.split_whitespace().filter(|pid| *pid != own) {
            let _ = Run::new(&format!("kill -KILL {pid}")).outcome();
        }
    }
    let _ = Run::new(&format!("ip netns del {name}")).outcome();
    let _ = fs::remove_dir_all(etc(name));
    // Only if no other laboratory uses it.
    let _ = fs::remove_dir("/etc/netns");
}
