//! Programs run to their end, never longer than they may.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::LabError;

/// A program to be run to its end.
#[derive(Clone, Debug)]
pub struct Run {
    words: Vec<String>,
    netns: Option<String>,
    seconds: u64,
    input: Option<String>,
    env: Vec<(String, String)>,
}

/// What a program said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Whether it ended with exit code 0.
    pub ok: bool,
    /// Its exit code; `None` if a signal ended it, as happens after the time limit.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// The program and its arguments, divided by blanks. Arguments with blanks go to [`arg`](Self::arg).
    pub fn new(line: &str) -> Self {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Self { words, netns: None, seconds: 20, input: None, env: Vec::new() }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.words.push(arg.into());
        self
    }

    /// Runs inside the network namespace of this name.
    #[must_use]
    pub fn within(mut self, netns: &str) -> Self {
        self.netns = Some(netns.to_owned());
        self
    }

    /// Ends it after so many seconds; 20 if not said.
    #[must_use]
    pub const fn limit(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Text for its standard input.
    #[must_use]
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// The command line, as one would type it.
    pub fn line(&self) -> String {
        self.words.join(" ")
    }

    /// The process to be spawned: the words alone, or behind `ip netns exec`.
    pub(super) fn command(&self, bounded: bool) -> Command {
        let mut words: Vec<String> = Vec::with_capacity(self.words.len() + 8);
        if let Some(netns) = &self.netns {
            words.extend(["ip", "netns", "exec", netns].map(str::to_owned));
        }
        if bounded {
            let limit = self.seconds.to_string();
            words.extend(["timeout", "-s", "KILL", &limit].map(str::to_owned));
        }
        words.extend(self.words.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("LC_ALL", "C").env("PATH", search_path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it, whatever its exit code.
    ///
    /// # Errors
    /// [`LabError::Io`] if it can't be started.
    pub fn outcome(&self) -> Result<Outcome, LabError> {
        let io = || LabError::io(self.line());
        let mut command = self.command(true);
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(io())?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), &self.input) {
            pipe.write_all(text.as_bytes()).map_err(io())?;
        }
        let output = child.wait_with_output().map_err(io())?;
        Ok(Outcome {
            ok: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it on our own terminal, for as long as it takes.
    ///
    /// # Errors
    /// [`LabError::Io`] if it can't be started.
    pub(super) fn interact(&self) -> Result<(), LabError> {
        self.command(false).status().map(drop).map_err(LabError::io(self.line()))
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// [`LabError::Failed`] with what it printed if its exit code is not 0; else as
    /// [`outcome`](Self::outcome).
    pub fn text(&self) -> Result<String, LabError> {
        let outcome = self.outcome()?;
        if outcome.ok {
            return Ok(outcome.stdout);
        }
        let status =
            outcome.code.map_or_else(|| format!("a signal ({} s?)", self.seconds), |c| c.to_string());
        let mut output = outcome.stdout;
        output.push_str(&outcome.stderr);
        Err(LabError::Failed { command: self.line(), status, output: output.trim().to_owned() })
    }
}

/// The search path with the directories of system programs, which a login without root may lack.
pub(super) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Makes sure that programs are installed, before anything is built.
///
/// # Errors
/// [`LabError::Missing`] names the first that is not.
pub(super) fn require(programs: &[(&'static str, &'static str)]) -> Result<(), LabError> {
    let path = search_path();
    for &(program, package) in programs {
        let found = path.split(':').any(|dir| std::path::Path::new(dir).join(program).is_file());
        if !found {
            return Err(LabError::Missing { program, package });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_speaks_fails_and_is_ended() {
        assert_eq!(Run::new("echo a b").text().unwrap(), "a b\n");
        assert_eq!(Run::new("cat").input("hello").text().unwrap(), "hello");
        assert!(matches!(Run::new("false").text(), Err(LabError::Failed { .. })));
        let ended = Run::new("tail -f /dev/null").limit(1).outcome().unwrap();
        assert!(!ended.ok);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(require(&[("sh", "dash")]).is_ok());
        let missing = require(&[("no-such-program", "no-such-package")]);
        assert_eq!(
            missing.unwrap_err().to_string(),
            "`no-such-program` is not installed (Debian package no-such-package)"
        );
    }
}
