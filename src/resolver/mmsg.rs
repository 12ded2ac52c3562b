//! Datagrams in batches: one system call receives up to [`BATCH`] of them, or sends up to [`SEND_BATCH`].
//!
//! With [`request_destination`] set on a socket, the kernel reports the local address that each datagram
//! was sent to. [`Outgoing`] sends the answer from that address: a socket bound to `[::]` answers like
//! one bound to each address.
//!
//! nix receives; sending is our own, because no crate covers it. `nix::sys::socket::sendmmsg` takes one
//! list of control messages for the whole batch, but each answer has its own source address. It also
//! reports the number of datagrams sent only through an iterator over addresses that it never
//! initialises. `rustix::net::sendmmsg` has no packet information among its control messages.

use std::io::{self, IoSliceMut};
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};

/// Datagrams received by one call.
pub(super) const BATCH: usize = 32;
/// Datagrams per `sendmmsg` call.
const SEND_BATCH: usize = 64;
/// Longest datagram that is received whole, in bytes; a longer one is truncated, and then malformed.
const DATAGRAM: usize = 4_096;
/// Size of a control message with an `in6_pktinfo`, the larger of the two kinds sent.
const CONTROL: usize = 64;

/// The peer of a datagram and the local address that it was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Path {
    pub(super) peer: SocketAddr,
    /// Only on sockets with [`request_destination`].
    pub(super) local: Option<LocalAddress>,
}

/// A local address, and the interface that received the datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LocalAddress {
    addr: IpAddr,
    interface: u32,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Makes the kernel report the local address of each datagram.
pub(super) fn request_destination(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    let done = if v6 {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
    } else {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
    };
    done.map_err(io::Error::from)
}

/// Makes the kernel report how many datagrams the socket has dropped because its buffer was full.
pub(super) fn report_drops(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::RxqOvfl, &1).map_err(io::Error::from)
}

fn empty_header() -> libc::mmsghdr {
    #[expect(unsafe_code, reason = "libc has no constructor; padding differs by platform")]
    // SAFETY: zeros are a valid mmsghdr: null pointers and lengths of 0.
    unsafe {
        zeroed()
    }
}

/// Message headers for one socket.
///
/// Each socket needs its own: nix resets neither the address length nor the control length before a
/// call, so the previous call's lengths are the limits of the next. On one socket they are constant, except for the
/// report of dropped datagrams ([`report_drops`]): only a call with new headers receives it.
pub(super) struct Headers(MultiHeaders<SockaddrStorage>);

impl Headers {
    pub(super) fn new() -> Self {
        Self(MultiHeaders::preallocate(BATCH, Some(cmsg_space!(libc::in6_pktinfo, u32))))
    }
}

/// Buffers for received datagrams, shared by all sockets of a thread.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    /// Length and path of each datagram of the last call.
    received: Vec<(usize, Option<Path>)>,
    /// Datagrams that the socket had dropped when it queued those of the last call; 0 if the kernel did not report it.
    dropped: u32,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BATCH * DATAGRAM], received: Vec::with_capacity(BATCH), dropped: 0 }
    }

    /// Receives up to [`BATCH`] datagrams. Returns their number.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; otherwise the error of the socket.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, headers: &mut Headers) -> io::Result<usize> {
        self.received.clear();
        self.dropped = 0;
        let mut buffers = self.bytes.chunks_exact_mut(DATAGRAM);
        let mut slices: [_; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let flags = MsgFlags::MSG_DONTWAIT;
        for message in recvmmsg(socket.as_raw_fd(), &mut headers.0, &mut slices, flags, None)? {
            let mut local = None;
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::RxqOvfl(dropped) => self.dropped = self.dropped.max(dropped),
                    other => local = local.or_else(|| local_address(other)),
                }
            }
            let peer = message.address.as_ref().and_then(socket_address);
            self.received.push((message.bytes.min(DATAGRAM), peer.map(|peer| Path { peer, local })));
        }
        Ok(self.received.len())
    }

    /// Datagrams that the socket has dropped since it was opened, as of the last call. 0 if the kernel did not report
    /// it: only new [`Headers`] have room for the report.
    pub(super) const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The senders of the datagrams of the last call.
    pub(super) fn senders(&self) -> impl Iterator<Item = IpAddr> {
        self.received.iter().filter_map(|(_, path)| path.map(|path| path.peer.ip()))
    }

    /// The `n`th datagram of the last call.
    pub(super) fn datagram(&self, n: usize) -> &[u8] {
        &self.bytes[n * DATAGRAM..][..self.received[n].0]
    }

    /// The same, mutable.
    pub(super) fn datagram_mut(&mut self, n: usize) -> &mut [u8] {
        &mut self.bytes[n * DATAGRAM..][..self.received[n].0]
    }

    /// The path of the `n`th datagram; `None` if the kernel does not report it.
    pub(super) fn path(&self, n: usize) -> Option<Path> {
        self.received[n].1
    }
}

fn socket_address(addr: &SockaddrStorage) -> Option<SocketAddr> {
    let v6 = || addr.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6));
    v6().or_else(|| addr.as_sockaddr_in().map(|v4| SocketAddr::from(*v4)))
}

fn local_address(message: ControlMessageOwned) -> Option<LocalAddress> {
    match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let addr = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
            Some(LocalAddress { addr, interface: info.ipi6_ifindex })
        }
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            // Of the two addresses this one is local even if the datagram was broadcast.
            let addr = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into();
            Some(LocalAddress { addr, interface: info.ipi_ifindex.cast_unsigned() })
        }
        _ => None,
    }
}

/// Length of the header of a control message, in bytes. Its data follows.
const CMSG_HEADER: usize = size_of::<libc::cmsghdr>();

/// Writes the control message that sets the source address. Returns its length.
fn write_control(local: LocalAddress, into: &mut Control) -> usize {
    let (level, kind, len) = match local.addr {
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20),
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, 12),
    };
    let bytes = &mut into.0;
    bytes.fill(0);
    // cmsg_len is a size_t; cmsg_level and cmsg_type are ints after it.
    bytes[..size_of::<usize>()].copy_from_slice(&(CMSG_HEADER + len).to_ne_bytes());
    bytes[CMSG_HEADER - 8..CMSG_HEADER - 4].copy_from_slice(&level.to_ne_bytes());
    bytes[CMSG_HEADER - 4..CMSG_HEADER].copy_from_slice(&kind.to_ne_bytes());
    let data = &mut bytes[CMSG_HEADER..];
    match local.addr {
        IpAddr::V6(addr) => {
            data[..16].copy_from_slice(&addr.octets());
            // Only a link-local address needs its interface; the route determines it for others.
            let interface = if addr.is_unicast_link_local() { local.interface } else { 0 };
            data[16..20].copy_from_slice(&interface.to_ne_bytes());
        }
        IpAddr::V4(addr) => data[4..8].copy_from_slice(&addr.octets()),
    }
    // CMSG_SPACE: rounded up to the size of a word.
    CMSG_HEADER + len.next_multiple_of(size_of::<usize>())
}

/// Datagrams queued for one socket.
#[derive(Default)]
pub(super) struct Outgoing {
    /// The datagrams, stored back to back.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    // Arguments of the system call, filled by `lay_out` and reused.
    names: Vec<Option<socket2::SockAddr>>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

#[derive(Clone, Copy)]
struct Entry {
    end: usize,
    /// `None` on a connected socket.
    path: Option<Path>,
}

impl Outgoing {
    /// Queues the datagram that `write` appends. Queues nothing if `write` returns `false`.
    pub(super) fn push(&mut self, path: Option<Path>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let start = self.bytes.len();
        let written = write(&mut self.bytes);
        if written {
            self.entries.push(Entry { end: self.bytes.len(), path });
        } else {
            self.bytes.truncate(start);
        }
        written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sends all datagrams and clears the queue. Returns how many the kernel did not accept, and the last
    /// error. A datagram that cannot be sent now is lost; its receiver retries.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> (usize, Option<io::Error>) {
        let (mut lost, mut why) = (0, None);
        self.lay_out();
        let mut first = 0;
        while first < self.headers.len() {
            match send_some(socket, &mut self.headers[first..]) {
                Ok(0) => break,
                Ok(sent) => first += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    lost += 1;
                    why = Some(error);
                    first += 1;
                }
            }
        }
        self.entries.clear();
        self.bytes.clear();
        (lost, why)
    }

    /// Writes a header for each datagram. The headers point into the other fields, which do not change
    /// until all are sent.
    fn lay_out(&mut self) {
        let count = self.entries.len();
        self.names.clear();
        self.names.extend(self.entries.iter().map(|entry| entry.path.map(|path| path.peer.into())));
        self.controls.resize(count, Control([0; CONTROL]));
        self.vectors.clear();
        let mut start = 0;
        for entry in &self.entries {
            let bytes = &mut self.bytes[start..entry.end];
            self.vectors.push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
            start = entry.end;
        }
        self.headers.clear();
        let slots = self.entries.iter().zip(&mut self.vectors).zip(&self.names).zip(&mut self.controls);
        for (((entry, vector), name), control) in slots {
            let mut header = empty_header();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            if let Some(name) = name {
                header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = name.len();
            }
            if let Some(local) = entry.path.and_then(|path| path.local) {
                header.msg_hdr.msg_controllen = write_control(local, control);
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            }
            self.headers.push(header);
        }
    }
}

/// Sends as many of these datagrams as the kernel accepts in one call.
fn send_some(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    #[expect(unsafe_code, reason = "no crate sends a batch with several source addresses")]
    // SAFETY: `Outgoing::lay_out` made each header point to bytes, a name and control bytes of its
    // `Outgoing`, with their lengths. None has changed since, and the kernel only reads them.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len().min(SEND_BATCH) as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn sends_and_receives_batches() {
        let (a, b) = (UdpSocket::bind("[::1]:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        let path = Path { peer: b.local_addr().unwrap(), local: None };
        let mut out = Outgoing::default();
        for n in 0..40u8 {
            out.push(Some(path), |bytes| {
                bytes.extend_from_slice(&[n; 20]);
                n != 7
            });
        }
        assert_eq!(out.send(a.as_fd()).0, 0);
        assert!(out.is_empty());
        let (mut incoming, mut headers) = (Incoming::new(), Headers::new());
        assert_eq!(incoming.receive(b.as_fd(), &mut headers).unwrap(), BATCH);
        assert_eq!(incoming.datagram(0), [0; 20]);
        assert_eq!(incoming.datagram(31), [32; 20]);
        assert_eq!(incoming.path(3), Some(Path { peer: a.local_addr().unwrap(), local: None }));
        assert_eq!(incoming.receive(b.as_fd(), &mut headers).unwrap(), 7);
        assert_eq!(incoming.receive(b.as_fd(), &mut headers).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_source_is_the_queried_address() {
        let cases = [("[::]:0", "::1", "[::1]:0"), ("0.0.0.0:0", "127.0.0.2", "127.0.0.1:0")];
        for (any, asked, from) in cases {
            let server = socket2::Socket::from(UdpSocket::bind(any).unwrap());
            request_destination(&server, any.starts_with('[')).unwrap();
            let server = UdpSocket::from(server);
            let port = server.local_addr().unwrap().port();
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            let client = UdpSocket::bind(from).unwrap();
            client.send_to(b"question", asked).unwrap();
            let (mut incoming, mut headers) = (Incoming::new(), Headers::new());
            assert_eq!(incoming.receive(server.as_fd(), &mut headers).unwrap(), 1);
            let path = incoming.path(0).expect("has a peer");
            assert_eq!(path.local.map(|local| local.addr), Some(asked.ip()));
            let mut out = Outgoing::default();
            out.push(Some(path), |bytes| {
                bytes.extend_from_slice(b"answer");
                true
            });
            assert_eq!(out.send(server.as_fd()).0, 0);
            let mut buffer = [0; 16];
            assert_eq!(client.recv_from(&mut buffer).unwrap(), (6, asked));
        }
    }

    #[test]
    fn the_kernel_reports_what_a_full_socket_dropped() {
        let (a, b) = (UdpSocket::bind("[::1]:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        report_drops(&b).unwrap();
        let b = socket2::Socket::from(b);
        b.set_recv_buffer_size(4_096).unwrap();
        let b = UdpSocket::from(b);
        b.set_nonblocking(true).unwrap();
        let to = b.local_addr().unwrap();
        let (mut incoming, mut headers) = (Incoming::new(), Headers::new());
        a.send_to(&[0; 20], to).unwrap();
        incoming.receive(b.as_fd(), &mut headers).unwrap();
        assert_eq!(incoming.dropped(), 0);
        (0..100).for_each(|_| assert_eq!(a.send_to(&[0; 20], to).unwrap(), 20));
        let mut queued = 0;
        while let Ok(count) = incoming.receive(b.as_fd(), &mut headers) {
            queued += count;
        }
        assert!(queued < 100, "{queued}");
        // A datagram reports the drops before it, to new headers.
        a.send_to(&[0; 20], to).unwrap();
        incoming.receive(b.as_fd(), &mut Headers::new()).unwrap();
        assert_eq!(incoming.dropped(), 100 - queued as u32);
    }

    #[test]
    fn a_failed_datagram_does_not_stop_the_batch() {
        let (a, b) = (UdpSocket::bind("[::1]:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        let good = Path { peer: b.local_addr().unwrap(), local: None };
        let bad = Path { peer: "192.0.2.1:9".parse().unwrap(), local: None };
        let mut out = Outgoing::default();
        for path in [bad, good, bad, good] {
            out.push(Some(path), |bytes| {
                bytes.push(1);
                true
            });
        }
        let (lost, why) = out.send(a.as_fd());
        assert_eq!(lost, 2);
        assert!(why.is_some());
        assert_eq!(Incoming::new().receive(b.as_fd(), &mut Headers::new()).unwrap(), 2);
    }
}
