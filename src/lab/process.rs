//! Background programs that stop on drop.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use super::{CommandLine, Deadline, LabError, until};

/// A background program. Dropping it sends SIGTERM, then SIGKILL after 5 s.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    line: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts `run` with its output in the file `log`.
    ///
    /// # Errors
    /// [`LabError::Io`] if it can't be started or the log can't be created.
    pub fn start(run: &CommandLine, log: &Path) -> Result<Self, LabError> {
        let out = File::create(log).map_err(LabError::io(log.display().to_string()))?;
        let err = out.try_clone().map_err(LabError::io(log.display().to_string()))?;
        let child = run
            .command(false)
            // Ctrl-C must reach only the lab, which stops its daemons in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(LabError::io(run.line()))?;
        Ok(Self { child, line: run.line(), log: log.to_owned() })
    }

    /// Its process ID: `ip netns exec` replaces itself by the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it is running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// With the program's log, if it exits or the deadline passes first.
    pub fn ready(
        &mut self,
        deadline: Deadline,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), LabError> {
        let waited = until(deadline, what, || !self.is_running() || condition(self));
        if waited.is_ok() && self.is_running() {
            return Ok(());
        }
        let status = if self.is_running() {
            format!("timed out waiting for: {what}")
        } else {
            "exited early".to_owned()
        };
        Err(LabError::Failed { command: self.line.clone(), status, output: self.log() })
    }

    /// Sends it a signal by name: `TERM`, `HUP`, `KILL`.
    ///
    /// # Errors
    /// If it has exited.
    pub fn signal(&self, name: &str) -> Result<(), LabError> {
        CommandLine::new(&format!("kill -{name} {}", self.pid())).text().map(drop)
    }

    /// Sends a signal and waits for the exit.
    ///
    /// # Errors
    /// [`LabError::Timeout`] if it has not exited before the deadline.
    pub fn end(&mut self, signal: &str, deadline: Deadline) -> Result<ExitStatus, LabError> {
        if self.is_running() {
            self.signal(signal)?;
        }
        self.exited(deadline)
    }

    /// Waits for the exit.
    ///
    /// # Errors
    /// [`LabError::Timeout`] if it has not exited before the deadline.
    pub fn exited(&mut self, deadline: Deadline) -> Result<ExitStatus, LabError> {
        let what = format!("{} exits", self.line);
        until(deadline, &what, || !self.is_running())?;
        self.child.wait().map_err(LabError::io(self.line.clone()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.end("TERM", Deadline::after(5)).is_err() {
            // It must not outlive the lab. Killing fails only if it has exited.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
