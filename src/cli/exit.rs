//! How commands end: what they print, and their exit code.

use std::fmt::Display;
use std::process::ExitCode;

use super::constants::USAGE;
use crate::config::LoadError;
use crate::output::{errln, outln};

/// Prints why a command failed.
pub(super) fn fail(why: impl Display) -> ExitCode {
    errln!("gate64: {why}");
    ExitCode::FAILURE
}

/// Ends a command; prints why it failed.
pub(super) fn end(result: Result<(), impl Display>) -> ExitCode {
    result.map_or_else(fail, |()| ExitCode::SUCCESS)
}

/// Prints the result of a command, or why it failed.
pub(super) fn print(result: Result<impl Display, impl Display>) -> ExitCode {
    end(result.map(|text| outln!("{text}")))
}

/// Prints why a configuration is refused. Errors of the file name their place themselves.
pub(super) fn refuse(why: &LoadError) -> ExitCode {
    match why {
        LoadError::Config(why) => errln!("{why}"),
        LoadError::Read { .. } => errln!("gate64: {why}"),
    }
    ExitCode::from(USAGE)
}
