//! Sockets to listen on.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps ready before they are accepted.
const BACKLOG: i32 = 256;

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Opens UDP and TCP on `addr`, which no interface need have yet (`IPV6_FREEBIND`): the gateway may
/// start before its address is there.
///
/// # Errors
/// An unspecified address, and whatever `bind` says; the text names the address.
pub(super) fn listen(addr: SocketAddr) -> io::Result<Pair> {
    if addr.ip().is_unspecified() {
        let text = format!("{addr}: name each address to listen on, or answers may leave from another one");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let in_words = |e: io::Error| io::Error::new(e.kind(), format!("{addr}: {e}"));
    let udp = bound(addr, Type::DGRAM, Protocol::UDP).map_err(in_words)?;
    // Port 0 means "any", but the same for both.
    let chosen = udp.local_addr()?.as_socket().unwrap_or(addr);
    let tcp = bound(chosen, Type::STREAM, Protocol::TCP).map_err(in_words)?;
    tcp.listen(BACKLOG).map_err(in_words)?;
    Ok(Pair { udp: udp.into(), tcp: tcp.into() })
}

fn bound(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    match addr {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Whether no interface has `addr` at present.
pub(super) fn is_absent(addr: SocketAddr) -> bool {
    let plain = UdpSocket::bind(SocketAddr::new(addr.ip(), 0));
    plain.is_err_and(|e| e.kind() == io::ErrorKind::AddrNotAvailable)
}
