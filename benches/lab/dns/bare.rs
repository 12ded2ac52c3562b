//! The upper limit for any server: one receive and one send per query, with a constant answer. Its cost is
//! the kernel's.

use std::io;
use std::net::UdpSocket;

use gate64::lab::LabError;

use crate::testbed::failed;

/// The argument that runs this program as the server.
pub(crate) const WORD: &str = "bare-udp";

/// A response without errors, recursion desired and available.
const FLAGS: [u8; 2] = [0x81, 0x80];
/// One answer: the question's name, AAAA, IN, 60 s, 2001:db8:64::198.51.100.80.
const ANSWER: [u8; 28] = [
    0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0, 198, 51,
    100, 80,
];

/// Answers queries to `addr` until the socket fails.
pub(crate) fn serve(addr: &str) -> Result<(), LabError> {
    answer_all(addr).map_err(failed(addr))
}

fn answer_all(addr: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(addr)?;
    let mut buffer = [0; 512 + ANSWER.len()];
    loop {
        let (len, from) = socket.recv_from(&mut buffer[..512])?;
        // Drops what follows the question. Ignores messages without a question.
        let Some(end) = end_of_question(&buffer[..len]) else { continue };
        buffer[2..4].copy_from_slice(&FLAGS);
        buffer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
        buffer[end..end + ANSWER.len()].copy_from_slice(&ANSWER);
        // The client may have disconnected.
        let _ = socket.send_to(&buffer[..end + ANSWER.len()], from);
    }
}

/// The end of the question.
fn end_of_question(query: &[u8]) -> Option<usize> {
    let mut at = 12;
    while *query.get(at)? != 0 {
        at += 1 + usize::from(query[at]);
    }
    Some(at + 5).filter(|end| *end <= query.len())
}
