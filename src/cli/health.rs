//! `gate64 health`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{Response, ask, failed};
use crate::observe::health::Health;
use crate::output::{out, outln};

/// Timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the checks of the gateway that listens on the admin socket `socket`. Fails if clients should use another
/// gateway.
pub(super) fn health(socket: &Path, json: bool) -> ExitCode {
    let body = match ask(socket, "GET /health", TIMEOUT) {
        Ok(Response { code: 200, body }) => body,
        Ok(Response { code, .. }) => {
            return failed(socket, &format!("unexpected answer: HTTP status {code}"));
        }
        Err(why) => return failed(socket, &format!("{why}; is gate64 running?")),
    };
    match serde_json::from_str::<Health>(&body) {
        Ok(health) => {
            if json {
                outln!("{body}");
            } else {
                out!("{health}");
            }
            if health.is_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => failed(socket, &format!("unexpected answer, perhaps of another gate64 version: {why}")),
    }
}
