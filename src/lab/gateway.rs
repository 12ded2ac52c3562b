//! Configures, starts and stops `gate64 run` in the gateway's namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::{Daemon, Deadline, LabError, Namespace};

/// The variable parts of the gateway's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayConfig {
    /// Lines of `[translator]` with the IPv4 side: `pool4` or mappings.
    pub pool: String,
    /// Worker threads.
    pub workers: u8,
    /// Whether to use the kernel's offloads.
    pub offloads: bool,
    /// Lines of `[dns64]`; without any, there is no such table.
    pub dns: String,
    /// Further lines and tables at the end.
    pub more: String,
}

impl Default for GatewayConfig {
    /// A pool in the provider's subnet, one worker, offloads.
    fn default() -> Self {
        Self {
            pool: "pool4 = [\"192.0.2.64/28\"]".to_owned(),
            workers: 1,
            offloads: true,
            dns: "listen = [\"[2001:db8:1::53]:53\"]\nupstreams = [\"198.51.100.53\"]".to_owned(),
            more: String::new(),
        }
    }
}

impl GatewayConfig {
    /// The text of the file. State and admin socket are in `dir`.
    pub fn text(&self, dir: &Path) -> String {
        let Self { pool, workers, offloads, dns, more } = self;
        let dir = dir.display();
        let dns64 = if dns.is_empty() { "" } else { "[dns64]\n" };
        format!(
            "[translator]\n\
             pref64 = \"2001:db8:64::/96\"\n\
             {pool}\n\n\
             {dns64}{dns}\n\n\
             [host]\n\
             workers = {workers}\n\
             offloads = {offloads}\n\
             state_dir = \"{dir}/state\"\n\n\
             [observe]\n\
             metrics = \"[::1]:6464\"\n\
             admin = \"{dir}/admin.sock\"\n\n\
             [[zone]]\n\
             name = \"lab\"\n\
             clients = [\"2001:db8:1::/48\"]\n\
             {more}\n"
        )
    }
}

/// A running gateway. Dropping it stops it.
#[derive(Debug)]
pub struct Gateway {
    daemon: Daemon,
    notify: UnixDatagram,
    config: PathBuf,
    dir: PathBuf,
}

impl Gateway {
    pub(super) fn start(
        program: &Path,
        namespace: &Namespace,
        dir: &Path,
        config: &GatewayConfig,
    ) -> Result<Self, LabError> {
        Self::with_file(program, namespace, dir, &config.text(dir))
    }

    /// Writes `text` to a configuration file in `dir` and starts `gate64 run` in `namespace`. Returns when
    /// the gateway reports `READY=1`.
    ///
    /// # Errors
    /// With its log, if it does not become ready within 15 s.
    pub fn with_file(
        program: &Path,
        namespace: &Namespace,
        dir: &Path,
        text: &str,
    ) -> Result<Self, LabError> {
        let file = dir.join("gate64.toml");
        fs::write(&file, text).map_err(LabError::io(file.display().to_string()))?;
        let socket = dir.join("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).map_err(LabError::io(socket.display().to_string()))?;
        // The gateway may no longer be root when it reports.
        let all = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&socket, all).map_err(LabError::io(socket.display().to_string()))?;
        notify.set_read_timeout(Some(Duration::from_millis(10))).map_err(LabError::io("notify socket"))?;
        let run = namespace
            .run(&format!("{} run --config {}", program.display(), file.display()))
            .env("NOTIFY_SOCKET", socket.display().to_string());
        let daemon = Daemon::start(&run, &dir.join("gate64.log"))?;
        let mut gateway = Self { daemon, notify, config: file, dir: dir.to_owned() };
        gateway.await_ready()?;
        Ok(gateway)
    }

    /// Waits for the next `READY=1`.
    fn await_ready(&mut self) -> Result<(), LabError> {
        let Self { daemon, notify, .. } = self;
        daemon.ready(Deadline::after(15), "READY=1 from the gateway", |_| {
            let mut text = [0; 4096];
            notify
                .recv(&mut text)
                .is_ok_and(|n| String::from_utf8_lossy(&text[..n]).lines().any(|line| line == "READY=1"))
        })
    }

    /// Writes a new configuration, sends SIGHUP and waits for `READY=1`.
    ///
    /// # Errors
    /// With its log, if it does not become ready within 15 s.
    pub fn reload(&mut self, config: &GatewayConfig) -> Result<(), LabError> {
        fs::write(&self.config, config.text(&self.dir))
            .map_err(LabError::io(self.config.display().to_string()))?;
        self.daemon.signal("HUP")?;
        self.await_ready()
    }

    /// Sends SIGHUP.
    ///
    /// # Errors
    /// If it has exited.
    pub fn hangup(&self) -> Result<(), LabError> {
        self.daemon.signal("HUP")
    }

    /// Stops it with SIGTERM and returns its log.
    ///
    /// # Errors
    /// If it does not exit within 15 s, or its exit code is not 0.
    pub fn stop(mut self) -> Result<String, LabError> {
        let status = self.daemon.end("TERM", Deadline::after(15))?;
        let log = self.daemon.log();
        if status.success() {
            return Ok(log);
        }
        Err(LabError::Failed { command: "gate64 run".to_owned(), status: status.to_string(), output: log })
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// [`LabError::Timeout`] if it has not exited before the deadline.
    pub fn exited(&mut self, deadline: Deadline) -> Result<ExitStatus, LabError> {
        self.daemon.exited(deadline)
    }

    /// Kills it with SIGKILL, so that it cannot clean up.
    ///
    /// # Errors
    /// If it does not exit within 5 s.
    pub fn kill(mut self) -> Result<(), LabError> {
        self.daemon.end("KILL", Deadline::after(5)).map(drop)
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Its resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }
}
