//! Runs a program to completion, within a time limit.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::LabError;

/// A command to run to completion.
#[derive(Clone, Debug)]
pub struct CommandLine {
    words: Vec<String>,
    netns: Option<String>,
    seconds: u64,
    input: Option<String>,
    env: Vec<(String, String)>,
}

/// The result of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Whether its exit code is 0.
    pub ok: bool,
    /// Its exit code; `None` if a signal killed it, as SIGKILL does after the time limit.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CommandLine {
    /// A program and its arguments, separated by spaces. Use [`arg`](Self::arg) for arguments with spaces.
    pub fn new(line: &str) -> Self {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Self { words, netns: None, seconds: 20, input: None, env: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.words.push(arg.into());
        self
    }

    /// Runs it in the network namespace `netns`.
    #[must_use]
    pub fn within(mut self, netns: &str) -> Self {
        self.netns = Some(netns.to_owned());
        self
    }

    /// Sets the time limit. Default 20 s; after it the program is killed.
    #[must_use]
    pub const fn limit(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets its standard input.
    #[must_use]
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// The command line.
    pub fn line(&self) -> String {
        self.words.join(" ")
    }

    /// The process to spawn, in its namespace; with the time limit if `bounded`.
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

    /// Runs it and returns its result, whatever its exit code.
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

    /// Runs it on the terminal without a time limit.
    ///
    /// # Errors
    /// [`LabError::Io`] if it can't be started.
    pub(super) fn interact(&self) -> Result<(), LabError> {
        self.command(false).status().map(drop).map_err(LabError::io(self.line()))
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// [`LabError::Failed`] with its output if its exit code is not 0; also those of
    /// [`outcome`](Self::outcome).
    pub fn text(&self) -> Result<String, LabError> {
        let outcome = self.outcome()?;
        if outcome.ok {
            return Ok(outcome.stdout);
        }
        let status = outcome.code.map_or_else(
            || format!("killed by a signal, perhaps after the limit of {} s", self.seconds),
            |c| c.to_string(),
        );
        let mut output = outcome.stdout;
        output.push_str(&outcome.stderr);
        Err(LabError::Failed { command: self.line(), status, output: output.trim().to_owned() })
    }
}

/// PATH with the directories of system programs, which may be missing from a user's PATH.
pub(super) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Checks that programs are installed.
///
/// # Errors
/// [`LabError::Missing`] with the first missing one.
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
    fn output_failure_and_time_limit() {
        assert_eq!(CommandLine::new("echo a b").text().unwrap(), "a b\n");
        assert_eq!(CommandLine::new("cat").input("hello").text().unwrap(), "hello");
        assert!(matches!(CommandLine::new("false").text(), Err(LabError::Failed { .. })));
        let killed = CommandLine::new("tail -f /dev/null").limit(1).outcome().unwrap();
        assert!(!killed.ok);
    }

    #[test]
    fn a_missing_program_is_named() {
        assert!(require(&[("sh", "dash")]).is_ok());
        let missing = require(&[("no-such-program", "no-such-package")]);
        assert_eq!(
            missing.unwrap_err().to_string(),
            "`no-such-program` is not installed (Debian package no-such-package)"
        );
    }
}
