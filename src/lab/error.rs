//! What can go wrong in the laboratory.

use std::io;

/// Why the laboratory could not be built, or a step in it did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces and devices need root.
    #[error("the lab makes network namespaces and devices: it needs root")]
    NotRoot,
    /// A program that the lab calls is not installed.
    #[error("`{program}` is not installed (Debian package {package})")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program could not be started, or a file not be written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with a failure, or was ended because it took too long.
    #[error("`{command}` ended with {status}: {output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed last.
        output: String,
    },
    /// A condition did not come true in time.
    #[error("waited {seconds} s in vain: {what}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
    },
    /// A step of the story came out differently.
    #[error("{0}")]
    Story(String),
}

impl LabError {
    /// Wraps an error of the system with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
