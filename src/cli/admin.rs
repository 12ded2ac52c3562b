//! Requests to the admin socket of a running gateway.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::constants::CONFIG;
use super::exit;
use crate::config::{ADMIN_SOCKET, lenient};

// Which gateway to ask. Not a doc comment: clap would show it in place of the command's.
#[derive(clap::Args, Debug)]
pub(super) struct AdminSocket {
    /// Configuration file of the gateway; gate64 reads the path of the admin socket from it.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// Path of the admin socket.
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

impl AdminSocket {
    /// The path of its admin socket.
    pub(super) fn path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| socket_of(&self.config))
    }
}

/// A response: HTTP status code and body.
pub(super) struct Response {
    pub(super) code: u16,
    pub(super) body: String,
}

/// Path of the admin socket in a configuration file; the default path if the file is unreadable or not valid TOML.
fn socket_of(config: &Path) -> PathBuf {
    lenient::path(config, "observe", "admin").unwrap_or_else(|| PathBuf::from(ADMIN_SOCKET))
}

/// Sends one HTTP/1.0 request, for example `GET /status`.
///
/// # Errors
/// No gateway listens there, or it does not respond within `timeout`.
pub(super) fn ask(socket: &Path, request: &str, timeout: Duration) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("{request} HTTP/1.0\r\nHost: gate64\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other(answer.lines().next().unwrap_or("no answer").to_owned()))
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { code, body: body.to_owned() })
}

/// Timeout of a request for the state of the gateway.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Requests a JSON document from the gateway that listens on the admin socket `socket`; returns its text, too.
///
/// # Errors
/// No gateway listens there, or its answer is not such a document; prints why.
pub(super) fn fetch<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<(T, String), ExitCode> {
    match ask(socket, &format!("GET {path}"), TIMEOUT) {
        Ok(Response { code: 200, body }) => match serde_json::from_str(&body) {
            Ok(parsed) => Ok((parsed, body)),
            Err(why) => {
                Err(failed(socket, &format!("unexpected answer, perhaps of another gate64 version: {why}")))
            }
        },
        Ok(Response { code, .. }) => Err(failed(socket, &format!("unexpected answer: HTTP status {code}"))),
        Err(why) => Err(failed(socket, &format!("{why}; is gate64 running?"))),
    }
}

/// Reports that the gateway did not respond.
pub(super) fn failed(socket: &Path, why: &str) -> ExitCode {
    exit::fail(format_args!("{}: {why}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_code_and_a_body() {
        let response =
            parse("HTTP/1.0 422 Unprocessable Entity\r\ncontent-length: 3\r\n\r\nbad").expect("valid");
        assert_eq!((response.code, response.body.as_str()), (422, "bad"));
        for wrong in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 x\r\n\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_socket_is_that_of_the_configuration_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("gate64.toml");
        assert_eq!(socket_of(&path), Path::new(ADMIN_SOCKET), "no file");
        std::fs::write(&path, "[observe]\nadmin = \"/run/other.sock\"\n").expect("written");
        assert_eq!(socket_of(&path), Path::new("/run/other.sock"));
    }
}
