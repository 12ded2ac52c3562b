//! `gate64 status`.

use std::path::Path;
use std::process::ExitCode;

use super::admin::fetch;
use crate::observe::status::Status;
use crate::output::{out, outln};

/// Shows the state of the gateway that listens on the admin socket `socket`.
pub(super) fn status(socket: &Path, json: bool) -> ExitCode {
    let (status, body) = match fetch::<Status>(socket, "/status") {
        Ok(fetched) => fetched,
        Err(code) => return code,
    };
    if json {
        outln!("{body}");
    } else {
        out!("{status}");
    }
    ExitCode::SUCCESS
}
