//! `gate64 reload`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{Response, ask, failed};
use super::constants::USAGE;
use super::exit;
use crate::observe::admin::INVALID;
use crate::observe::dry_run::DryRun;
use crate::output::{errln, out, outln};

/// Timeout of the request. Workers and resolver switch within a second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reloads the gateway that listens on the admin socket `socket`, and waits for the result.
pub(super) fn reload(socket: &Path) -> ExitCode {
    match request(socket, "POST /reload") {
        Ok(done) => {
            outln!("{done}");
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Prints what a reload would change. Fails if the gateway would refuse it.
pub(super) fn dry_run(socket: &Path, json: bool) -> ExitCode {
    let body = match request(socket, "POST /reload/dry-run") {
        Ok(body) => body,
        Err(code) => return code,
    };
    match serde_json::from_str::<DryRun>(&body) {
        Ok(found) => {
            if json {
                outln!("{body}");
            } else {
                out!("{found}");
            }
            if found.conflicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => failed(socket, &format!("unexpected answer, perhaps of another gate64 version: {why}")),
    }
}

/// Sends a request and waits for the result; prints why it failed.
fn request(socket: &Path, request: &str) -> Result<String, ExitCode> {
    match ask(socket, request, TIMEOUT) {
        Ok(Response { code: 200, body }) => Ok(body),
        Ok(Response { code, body }) if code == INVALID.as_u16() => {
            errln!("{body}");
            Err(ExitCode::from(USAGE))
        }
        Ok(Response { body, .. }) => Err(exit::fail(body)),
        Err(why) => Err(failed(socket, &format!("{why}; is gate64 running?"))),
    }
}
