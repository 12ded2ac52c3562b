//! `gate64 lab probe` and `gate64 lab listen`: test UDP through the gateway: replies, mapped address,
//! inbound reachability.
//!
//! Separate processes, since they run in other namespaces. Each result is a line on standard output.

use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::LabError;
use crate::output::outln;

/// Payload to which the echo server replies with the sender's address and port.
pub(super) const WHO: &[u8] = b"who?";
/// UDP port of the echo server.
pub(super) const ECHO_PORT: u16 = 3478;
/// Attempts before a datagram counts as lost. The first may be lost while the sender learns the path
/// MTU.
const ATTEMPTS: u32 = 4;
const REPLY_TIMEOUT: Duration = Duration::from_millis(500);

fn socket(bind: SocketAddr) -> Result<UdpSocket, LabError> {
    let socket = UdpSocket::bind(bind).map_err(LabError::io(format!("UDP {bind}")))?;
    socket.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(LabError::io("read timeout"))?;
    Ok(socket)
}

/// Sends `data` and returns the first reply that `matches` accepts; `None` after all attempts. Skips
/// other replies, such as late ones to earlier datagrams.
fn exchange(
    socket: &UdpSocket,
    to: SocketAddr,
    data: &[u8],
    matches: impl Fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, LabError> {
    let mut buffer = vec![0; 65_535];
    for _ in 0..ATTEMPTS {
        match socket.send_to(data, to) {
            Ok(_) => {}
            // A pending ICMP error of an earlier datagram, or a path MTU just learnt.
            Err(e)
                if e.kind() == io::ErrorKind::ConnectionRefused
                    || e.raw_os_error() == Some(libc::EMSGSIZE) =>
            {
                continue;
            }
            Err(e) => return Err(LabError::io(format!("sending to {to}"))(e)),
        }
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if from == to && matches(&buffer[..count]) {
                buffer.truncate(count);
                return Ok(Some(buffer));
            }
        }
    }
    Ok(None)
}

/// Sends datagrams of `sizes` bytes to each target and compares the replies. Without sizes, asks each
/// target for the mapped address. Uses one socket for all.
pub(super) fn probe(
    bind: SocketAddr,
    targets: &[SocketAddr],
    sizes: Option<(usize, usize)>,
) -> Result<(), LabError> {
    let socket = socket(bind)?;
    for to in targets {
        let Some((first, last)) = sizes else {
            let seen = exchange(&socket, *to, WHO, |_| true)?;
            outln!(
                "seen {}",
                seen.map_or_else(|| "nothing".to_owned(), |s| String::from_utf8_lossy(&s).into_owned())
            );
            continue;
        };
        let wrong = (first..=last).try_fold(Vec::new(), |mut wrong, size| {
            let data: Vec<u8> = (0..size).map(|at| (at ^ (at >> 8) ^ size) as u8).collect();
            if exchange(&socket, *to, &data, |answer| answer == data)?.is_none() {
                wrong.push(size);
            }
            Ok::<_, LabError>(wrong)
        })?;
        outln!("sizes {first} to {last}: {} wrong {wrong:?}", wrong.len());
    }
    Ok(())
}

/// Prints the mapped address that `server` sees, then echoes datagrams until the process is killed.
pub(super) fn listen(bind: SocketAddr, server: SocketAddr) -> Result<(), LabError> {
    let socket = socket(bind)?;
    let seen = exchange(&socket, server, WHO, |_| true)?.unwrap_or_else(|| b"nothing".to_vec());
    outln!("seen {}", String::from_utf8_lossy(&seen));
    io::stdout().flush().map_err(LabError::io("standard output"))?;
    let mut buffer = vec![0; 65_535];
    loop {
        if let Ok((count, from)) = socket.recv_from(&mut buffer) {
            // Send errors are ignored: the peer retries.
            let _ = socket.send_to(&buffer[..count], from);
        }
    }
}
