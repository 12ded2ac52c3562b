//! `gate64 run` and `gate64 cleanup`.

use std::path::Path;
use std::process::ExitCode;

use super::constants::{CONFIG, USAGE};
use super::exit;
use crate::control::cleanup;
use crate::control::lifecycle::{self, RunError};
use crate::output::{errln, outln};

/// Runs a gateway.
pub(super) fn run(config: &Path, fd_store: bool) -> ExitCode {
    match lifecycle::run(config, fd_store) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Load(why)) => exit::refuse(&why),
        Err(why @ RunError::Memory(_)) => {
            errln!("gate64: {why}");
            ExitCode::from(USAGE)
        }
        Err(why) => exit::fail(why),
    }
}

/// Undoes the changes that a stopped or killed gateway left on this host.
pub(super) fn clean(config: Option<&Path>, state_dir: Option<&Path>, after_stop: bool) -> ExitCode {
    let dir = match (state_dir, config) {
        (Some(dir), _) => dir.to_owned(),
        (None, Some(config)) => cleanup::state_dir_of(config),
        (None, None) => cleanup::state_dir_of(Path::new(CONFIG)),
    };
    let extent = if after_stop { cleanup::Extent::Stop } else { cleanup::Extent::All };
    match cleanup::cleanup(&dir, extent) {
        Ok(0) => {
            outln!("nothing to clean up");
            ExitCode::SUCCESS
        }
        Ok(changes) => {
            outln!("{changes} changes undone");
            ExitCode::SUCCESS
        }
        Err(why) => exit::fail(why),
    }
}
