//! `gate64 check`.

use std::path::Path;
use std::process::ExitCode;

use crate::control::config::Config;
use crate::control::surroundings::System;

/// Checks a file and shows what it means.
pub(super) fn check(path: &Path) -> ExitCode {
    let system = match System::look(None) {
        Ok(system) => system,
        Err(why) => {
            eprintln!("gate64: this host's addresses: {why}");
            return ExitCode::FAILURE;
        }
    };
    match Config::load(path, &system) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("warning: {warning}");
            }
            println!("{}: ok, {} zones", path.display(), config.zone_names.len());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(super::USAGE)
        }
    }
}
