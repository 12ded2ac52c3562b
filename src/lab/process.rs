//! Programs that run on until their guard is dropped.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use super::{Deadline, LabError, Run, until};

/// A program in the background; dropping it ends it, first kindly.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    line: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts `run`; what it prints goes to the file `log`.
    ///
    /// # Errors
    /// [`LabError::Io`] if it can't be started or the log not be made.
    pub fn start(run: &Run, log: &Path) -> Result<Self, LabError> {
        let out = File::create(log).map_err(LabError::io(log.display().to_string()))?;
        let err = out.try_clone().map_err(LabError::io(log.display().to_string()))?;
        let child = run
            .command(false)
            // Ctrl-C is for whoever runs the lab, who then ends its daemons in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(LabError::io(run.line()))?;
        Ok(Self { child, line: run.line(), log: log.to_owned() })
    }

    /// Its process id. `ip netns exec` replaces itself, so this is the program's own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// With the program's log, if it ends before or the deadline passes.
    pub fn ready(
        &mut self,
        deadline: Deadline,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), LabError> {
        let waited = until(deadline, what, || !self.alive() || condition(self));
        if waited.is_ok() && self.alive() {
            return Ok(());
        }
        let status = if self.alive() { format!("no sign of: {what}") } else { "an early end".to_owned() };
        Err(LabError::Failed { command: self.line.clone(), status, output: self.log() })
    }

    /// Sends it a signal by name: `TERM`, `HUP`, `KILL`.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, name: &str) -> Result<(), LabError> {
        Run::new(&format!("kill -{name} {}", self.pid())).text().map(drop)
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// [`LabError::Late`] if it has not ended before the deadline.
    pub fn end(&mut self, signal: &str, deadline: Deadline) -> Result<ExitStatus, LabError> {
        if self.alive() {
            self.signal(signal)?;
        }
        let what = format!("{} ends by SIG{signal}", self.line);
        until(deadline, &what, || !self.alive())?;
        self.child.wait().map_err(LabError::io(self.line.clone()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.end("TERM", Deadline::after(5)).is_err() {
            // Whatever hangs at its end must not outlive the lab; a failure to kill means it is gone.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
