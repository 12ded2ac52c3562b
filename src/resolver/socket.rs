//! Sockets to listen on.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::mmsg;
use super::stream::Speech;
use super::thread::Sockets;

/// Connections the kernel keeps ready before they are accepted.
const BACKLOG: i32 = 256;
/// Room for queries that wait to be read, in bytes. The kernel gives less if it must.
const QUEUE: usize = 4 << 20;

/// Opens `addr`, once for each thread, which no interface need have yet (`IPV6_FREEBIND`): the
/// gateway may start before its address is there. The kernel shares out what comes.
///
/// # Errors
/// Whatever `bind` says; the text names the address.
pub(super) fn listen(
    addr: SocketAddr,
    speech: Speech,
    threads: usize,
) -> io::Result<(SocketAddr, Vec<Sockets>)> {
    let in_words = |e: io::Error| io::Error::new(e.kind(), format!("{addr}: {e}"));
    // With SO_REUSEPORT a second gateway would not notice the first: without it, it does.
    let probe = bound(addr, Type::DGRAM, false).map_err(in_words)?;
    // Port 0 means "any", but the same for all.
    let chosen = probe.local_addr()?.as_socket().unwrap_or(addr);
    drop(probe);
    drop(bound(chosen, Type::STREAM, false).map_err(in_words)?);
    let each = (0..threads).map(|_| {
        let udp = (speech == Speech::Plain).then(|| bound(chosen, Type::DGRAM, threads > 1)).transpose()?;
        let tcp = bound(chosen, Type::STREAM, threads > 1)?;
        tcp.listen(BACKLOG)?;
        Ok(Sockets { udp: udp.map(UdpSocket::from), tcp: tcp.into(), speech })
    });
    Ok((chosen, each.collect::<io::Result<_>>().map_err(in_words)?))
}

fn bound(addr: SocketAddr, kind: Type, shared: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    match addr {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    } else {
        socket.set_recv_buffer_size(QUEUE)?;
        if addr.ip().is_unspecified() {
            mmsg::ask_for_destination(&socket, addr.is_ipv6())?;
        }
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Whether no interface has `addr` at present.
pub(super) fn is_absent(addr: SocketAddr) -> bool {
    let plain = UdpSocket::bind(SocketAddr::new(addr.ip(), 0));
    plain.is_err_and(|e| e.kind() == io::ErrorKind::AddrNotAvailable)
}
