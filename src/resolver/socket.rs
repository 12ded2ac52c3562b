//! Listening sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::client_stream::ListenerKind;
use super::mmsg;
use super::thread::Sockets;

/// Maximum number of connections waiting for `accept`.
const BACKLOG: i32 = 256;
/// Receive buffer in bytes. The kernel may grant less.
const QUEUE: usize = 4 << 20;

/// Attempts to find a port that is free for both UDP and TCP, if the configured port is 0.
const PORT_ATTEMPTS: u32 = 16;

/// Opens `addr` once for each thread. No interface needs to have the address yet (`IPV6_FREEBIND`), so that
/// the gateway may start first. The kernel distributes datagrams and connections among the threads.
///
/// Port 0 means any port, the same for UDP and TCP and for all threads.
///
/// # Errors
/// The error of `bind`, with the address in its text.
pub(super) fn listen(
    addr: SocketAddr,
    listener_kind: ListenerKind,
    threads: usize,
) -> io::Result<(SocketAddr, Vec<Sockets>)> {
    retry_any_port(addr, || open(addr, listener_kind, threads))
        .map_err(|e| io::Error::new(e.kind(), format!("{addr}: {e}")))
}

/// With port 0, retries if the chosen port is in use: the kernel chooses a port that is free for UDP, and
/// another program may use it for TCP.
fn retry_any_port<T>(addr: SocketAddr, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut left = if addr.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        left -= 1;
        match open() {
            Err(e) if left > 0 && e.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

fn open(
    addr: SocketAddr,
    listener_kind: ListenerKind,
    threads: usize,
) -> io::Result<(SocketAddr, Vec<Sockets>)> {
    // With SO_REUSEPORT a second gateway could bind too; a probe without it detects the first one.
    let probe = bound(addr, Type::DGRAM, false)?;
    let chosen = probe.local_addr()?.as_socket().unwrap_or(addr);
    drop(bound(chosen, Type::STREAM, false)?);
    drop(probe);
    let each = (0..threads).map(|_| {
        let udp = (listener_kind == ListenerKind::Plain)
            .then(|| bound(chosen, Type::DGRAM, threads > 1))
            .transpose()?;
        let tcp = bound(chosen, Type::STREAM, threads > 1)?;
        tcp.listen(BACKLOG)?;
        Ok(Sockets { udp: udp.map(UdpSocket::from), tcp: tcp.into(), listener_kind })
    });
    Ok((chosen, each.collect::<io::Result<_>>()?))
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
        mmsg::report_drops(&socket)?;
        if addr.ip().is_unspecified() {
            mmsg::request_destination(&socket, addr.is_ipv6())?;
        }
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Whether no interface has `addr`.
pub(super) fn is_absent(addr: SocketAddr) -> bool {
    let plain = UdpSocket::bind(SocketAddr::new(addr.ip(), 0));
    plain.is_err_and(|e| e.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(addr: &str, mut results: Vec<io::Result<u8>>) -> (io::Result<u8>, usize) {
        let mut count = 0;
        results.reverse();
        let done = retry_any_port(addr.parse().expect("literal"), || {
            count += 1;
            results.pop().unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))
        });
        (done, count)
    }

    fn in_use() -> io::Result<u8> {
        Err(io::ErrorKind::AddrInUse.into())
    }

    #[test]
    fn a_port_in_use_is_tried_again_where_any_will_do() {
        let (done, count) = attempts("[::1]:0", vec![in_use(), in_use(), Ok(7)]);
        assert_eq!((done.ok(), count), (Some(7), 3));
        let (done, count) = attempts("[::1]:0", Vec::new());
        assert_eq!((done.unwrap_err().kind(), count), (io::ErrorKind::AddrInUse, 16), "but not for ever");
    }

    #[test]
    fn a_port_that_was_named_and_other_errors_are_not_tried_again() {
        let (done, count) = attempts("[::1]:53", vec![in_use(), Ok(7)]);
        assert_eq!((done.unwrap_err().kind(), count), (io::ErrorKind::AddrInUse, 1));
        let denied = Err(io::ErrorKind::PermissionDenied.into());
        let (done, count) = attempts("[::1]:0", vec![denied, Ok(7)]);
        assert_eq!((done.unwrap_err().kind(), count), (io::ErrorKind::PermissionDenied, 1));
    }

    #[test]
    fn any_port_is_the_same_for_all_threads_and_both_protocols() {
        let addr = "[::1]:0".parse().expect("literal");
        for listener_kind in [ListenerKind::Plain, ListenerKind::Tls] {
            let (chosen, sockets) = listen(addr, listener_kind, 2).expect("some port is free");
            assert_ne!(chosen.port(), 0);
            assert_eq!(sockets.len(), 2);
            for each in sockets {
                let udp = each.udp.map(|udp| udp.local_addr().expect("bound"));
                assert_eq!(udp, (listener_kind == ListenerKind::Plain).then_some(chosen));
                assert_eq!(each.tcp.local_addr().expect("bound"), chosen);
            }
        }
    }
}
