//! Errors of the laboratory.

use std::io;

/// Why the laboratory could not be built, or why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces and devices need root.
    #[error("the lab creates network namespaces and devices: run it as root")]
    NotRoot,
    /// A program that the lab calls is not installed.
    #[error("`{program}` is not installed (Debian package {package})")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program could not be started, or a file could not be written.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A program failed or exceeded its time limit.
    #[error("`{command}` failed ({status}): {output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// Its output.
        output: String,
    },
    /// A condition did not become true in time.
    #[error("timed out after {seconds} s: {what}")]
    Timeout {
        /// The condition.
        what: String,
        /// The timeout in seconds.
        seconds: u64,
    },
    /// A step of the demonstration had another result than expected.
    #[error("{0}")]
    DemoFailed(String),
}

impl LabError {
    /// Wraps an operating system error with the operation that failed.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
