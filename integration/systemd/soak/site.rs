//! The gateway under test, as seen from its own host: unit, process, device, status, log.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use gate64::lab::{CommandLine, Deadline, LabError, until};
use serde_json::Value;

use super::super::wrong;

const UNIT: &str = "gate64.service";
pub(super) const CONFIG: &str = "/run/lab/gate64.toml";
const SOCKET: &str = "/run/gate64/admin.sock";

/// What must not change, or must.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    /// Process ID of the gateway; 0 if it does not run.
    pub(super) process: u32,
    /// Index of the device; 0 if it does not exist.
    pub(super) device: u32,
}

/// Runs a command line in the gateway's namespace.
pub(super) fn run(line: &str) -> Result<String, LabError> {
    CommandLine::new(line).limit(60).text()
}

/// A property of the unit.
pub(super) fn property(name: &str) -> String {
    run(&format!("systemctl show -p {name} --value {UNIT}")).unwrap_or_default().trim().to_owned()
}

/// The present process and device.
pub(super) fn identity() -> Identity {
    let index = fs::read_to_string("/sys/class/net/gate64/ifindex").unwrap_or_default();
    Identity {
        process: property("MainPID").parse().unwrap_or_default(),
        device: index.trim().parse().unwrap_or_default(),
    }
}

/// Waits until another process than `before` runs and is ready.
pub(super) fn until_restarted(before: Identity) -> Result<(), LabError> {
    until(Deadline::ample(), "a new process", || {
        let process = identity().process;
        process != 0 && process != before.process && property("ActiveState") == "active"
    })
}

/// The status as JSON; null if the gateway does not respond.
pub(super) fn status() -> Value {
    let answer = ask("GET /status").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(&answer).unwrap_or_default()
}

/// Repairs so far, by part.
pub(super) fn repairs(status: &Value) -> Vec<(String, u64)> {
    let all = status["host"]["repairs"].as_object().cloned().unwrap_or_default();
    all.into_iter().map(|(part, count)| (part, count.as_u64().unwrap_or_default())).collect()
}

/// Packets that the workers have read so far.
pub(super) fn received(status: &Value) -> u64 {
    let workers = status["workers"].as_array();
    workers.into_iter().flatten().filter_map(|worker| worker["received"].as_u64()).sum()
}

/// Sends one request to the admin socket. Returns code and body.
pub(super) fn ask(request: &str) -> io::Result<(u16, String)> {
    let answer = send(format!("{request} HTTP/1.0\r\nHost: gate64\r\n\r\n").as_bytes(), false)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no HTTP"))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(|| io::Error::other("no code"))?, body.to_owned()))
}

/// Sends any bytes to the admin socket, and closes this direction if they `end`. Returns the answer, which is empty if
/// the gateway only closes the connection.
pub(super) fn send(bytes: &[u8], end: bool) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // It may close the connection before it has read everything.
    let _ = stream.write_all(bytes);
    if end {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(why) if why.kind() != io::ErrorKind::ConnectionReset => Err(why),
        _ => Ok(answer),
    }
}

/// Reloads by the admin socket. Returns the HTTP code.
pub(super) fn reload() -> Result<u16, LabError> {
    ask("POST /reload").map(|(code, _)| code).map_err(|why| wrong(format!("reload: {why}")))
}

/// Begins again after a fault that the gateway did not survive.
pub(super) fn start_again() -> Result<(), LabError> {
    run("systemctl restart gate64.service").map(drop)
}

/// Resident memory of a process in KiB.
pub(super) fn memory(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// The lines that the gateway has logged since the last call.
pub(super) fn logged() -> String {
    run(&format!(
        "journalctl -u {UNIT} -o short-monotonic --no-hostname --no-pager -q --cursor-file=/run/lab/cursor"
    ))
    .unwrap_or_default()
}

/// Writes a file.
pub(super) fn write(path: &str, text: impl AsRef<[u8]>) -> Result<(), LabError> {
    fs::write(path, text).map_err(|why| wrong(format!("{path}: {why}")))
}
