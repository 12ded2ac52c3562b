//! UDP as applications use it: what comes back, what the far end sees of us, who reaches us.
//!
//! Programs of their own (`gate64 lab probe`, `gate64 lab listen`), since they run in other
//! namespaces. What they find is on standard output, a line each.

use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::LabError;

/// The question to which the echo server answers with the asker's address and port.
pub(super) const WHO: &[u8] = b"who?";
/// UDP port of the echo server.
pub(super) const ECHO_PORT: u16 = 3478;
/// How often a datagram is sent before it counts as lost. The first one of a size may be: the
/// sender has to learn the path MTU.
const TRIES: u32 = 4;
const PATIENCE: Duration = Duration::from_millis(500);

fn socket(bind: SocketAddr) -> Result<UdpSocket, LabError> {
    let socket = UdpSocket::bind(bind).map_err(LabError::io(format!("UDP {bind}")))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(LabError::io("read timeout"))?;
    Ok(socket)
}

/// Sends and waits for an answer of which `answers` says that it is one; `None` if none comes. Others
/// are passed over: a late answer to an earlier question is none to this one.
fn exchange(
    socket: &UdpSocket,
    to: SocketAddr,
    data: &[u8],
    answers: impl Fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, LabError> {
    let mut buffer = vec![0; 65_535];
    for _ in 0..TRIES {
        match socket.send_to(data, to) {
            Ok(_) => {}
            // What an earlier datagram's ICMP error left on the socket, or a path MTU just learnt.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused || e.raw_os_error() == Some(90) => {
                continue;
            }
            Err(e) => return Err(LabError::io(format!("sending to {to}"))(e)),
        }
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if from == to && answers(&buffer[..count]) {
                buffer.truncate(count);
                return Ok(Some(buffer));
            }
        }
    }
    Ok(None)
}

/// Sends datagrams of `sizes` bytes to each target and compares what comes back; without sizes,
/// asks each target who we are. One socket for all.
pub(super) fn probe(
    bind: SocketAddr,
    targets: &[SocketAddr],
    sizes: Option<(usize, usize)>,
) -> Result<(), LabError> {
    let socket = socket(bind)?;
    for to in targets {
        let Some((first, last)) = sizes else {
            let seen = exchange(&socket, *to, WHO, |_| true)?;
            println!(
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
        println!("sizes {first} to {last}: {} wrong {wrong:?}", wrong.len());
    }
    Ok(())
}

/// Says how `server` sees us, then echoes all that comes until it is ended.
pub(super) fn listen(bind: SocketAddr, server: SocketAddr) -> Result<(), LabError> {
    let socket = socket(bind)?;
    let seen = exchange(&socket, server, WHO, |_| true)?.unwrap_or_else(|| b"nothing".to_vec());
    println!("seen {}", String::from_utf8_lossy(&seen));
    io::stdout().flush().map_err(LabError::io("standard output"))?;
    let mut buffer = vec![0; 65_535];
    loop {
        if let Ok((count, from)) = socket.recv_from(&mut buffer) {
            // Whoever can't be answered asks again.
            let _ = socket.send_to(&buffer[..count], from);
        }
    }
}
