//! `gate64 status`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::observe::status::Status;
use crate::output::{errln, out, outln};

/// Default path of the admin socket.
const SOCKET: &str = "/run/gate64/admin.sock";

/// Shows the state of a running gateway.
pub(super) fn status(config: Option<&Path>, socket: Option<&Path>, json: bool) -> ExitCode {
    let socket = match (socket, config) {
        (Some(socket), _) => socket.to_owned(),
        (None, Some(config)) => socket_of(config),
        (None, None) => PathBuf::from(SOCKET),
    };
    match ask(&socket) {
        Ok(body) if json => {
            outln!("{body}");
            ExitCode::SUCCESS
        }
        Ok(body) => match serde_json::from_str::<Status>(&body) {
            Ok(status) => {
                out!("{status}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                failed(&socket, &format!("unexpected answer, perhaps of another gate64 version: {why}"))
            }
        },
        Err(why) => failed(&socket, &format!("{why}; is gate64 running?")),
    }
}

fn failed(socket: &Path, why: &str) -> ExitCode {
    errln!("gate64: {}: {why}", socket.display());
    ExitCode::FAILURE
}

/// Path of the admin socket in a configuration file.
fn socket_of(config: &Path) -> PathBuf {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let admin = table.get("observe").and_then(|observe| observe.get("admin")).and_then(|path| path.as_str());
    PathBuf::from(admin.unwrap_or(SOCKET))
}

/// Sends one HTTP/1.0 request; returns the body of the response.
fn ask(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /status HTTP/1.0\r\nHost: gate64\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200") => {
            Ok(body.to_owned())
        }
        _ => Err(io::Error::other(answer.lines().next().unwrap_or("no answer").to_owned())),
    }
}
