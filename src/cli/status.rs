//! `gate64 status`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{Response, ask, failed};
use crate::observe::status::Status;
use crate::output::{out, outln};

/// Timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Shows the state of the gateway that listens on the admin socket `socket`.
pub(super) fn status(socket: &Path, json: bool) -> ExitCode {
    match ask(socket, "GET /status", TIMEOUT) {
        Ok(Response { code: 200, body }) if json => {
            outln!("{body}");
            ExitCode::SUCCESS
        }
        Ok(Response { code: 200, body }) => match serde_json::from_str::<Status>(&body) {
            Ok(status) => {
                out!("{status}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                failed(socket, &format!("unexpected answer, perhaps of another gate64 version: {why}"))
            }
        },
        Ok(Response { code, .. }) => failed(socket, &format!("unexpected answer: HTTP status {code}")),
        Err(why) => failed(socket, &format!("{why}; is gate64 running?")),
    }
}
