//! `gate64 health`.

use std::path::Path;
use std::process::ExitCode;

use super::admin::fetch;
use crate::observe::health::Health;
use crate::output::{out, outln};

/// Prints the checks of the gateway that listens on the admin socket `socket`. Fails if clients should use another
/// gateway.
pub(super) fn health(socket: &Path, json: bool) -> ExitCode {
    let (health, body) = match fetch::<Health>(socket, "/health") {
        Ok(fetched) => fetched,
        Err(code) => return code,
    };
    if json {
        outln!("{body}");
    } else {
        out!("{health}");
    }
    if health.is_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
