//! The limit: one receive and one send a query, and no thought between them. What a server takes beyond
//! it is its own; what this takes is the kernel's, and each of them pays it.

use std::net::UdpSocket;

use gate64::lab::LabError;

use crate::bed::failed;

/// The word on the command line that makes this program the server.
pub(crate) const WORD: &str = "bare-udp";

/// A response without errors, recursion desired and available.
const FLAGS: [u8; 2] = [0x81, 0x80];
/// One answer: the question's name, AAAA, IN, 60 s, 2001:db8:64::198.51.100.80.
const ANSWER: [u8; 28] = [
    0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0, 198, 51,
    100, 80,
];

/// Answers all that comes to `addr`, for ever.
pub(crate) fn serve(addr: &str) -> Result<(), LabError> {
    let what = || failed(addr);
    let socket = UdpSocket::bind(addr).map_err(what())?;
    let mut buffer = [0; 512 + ANSWER.len()];
    loop {
        let (len, from) = socket.recv_from(&mut buffer[..512]).map_err(what())?;
        let answer = &mut buffer[..len + ANSWER.len()];
        if let Some(counts) = answer.get_mut(2..8) {
            counts[..2].copy_from_slice(&FLAGS);
            counts[5] = 1;
        }
        answer[len..].copy_from_slice(&ANSWER);
        // Who asked may have gone.
        let _ = socket.send_to(answer, from);
    }
}
