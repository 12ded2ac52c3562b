//! `gate64 reload`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{Response, ask, failed};
use super::constants::USAGE;
use crate::observe::admin::INVALID;
use crate::output::{errln, outln};

/// Timeout of the request. Workers and resolver switch within a second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reloads the gateway that listens on the admin socket `socket`, and waits for the result.
pub(super) fn reload(socket: &Path) -> ExitCode {
    match ask(socket, "POST /reload", TIMEOUT) {
        Ok(Response { code: 200, body }) => {
            outln!("{body}");
            ExitCode::SUCCESS
        }
        Ok(Response { code, body }) if code == INVALID.as_u16() => {
            errln!("{body}");
            ExitCode::from(USAGE)
        }
        Ok(Response { body, .. }) => {
            errln!("gate64: {body}");
            ExitCode::FAILURE
        }
        Err(why) => failed(socket, &format!("{why}; is gate64 running?")),
    }
}
