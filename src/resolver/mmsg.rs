//! Datagrams in batches: one system call receives or sends up to [`BATCH`] of them.
//!
//! With [`request_destination`] set on a socket the kernel says which of our addresses a datagram
//! was sent to, and [`Outgoing`] has the answer leave from there: a socket bound to `[::]` answers like
//! one bound to each address.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Datagrams taken by one call.
pub(super) const BATCH: usize = 32;
/// Datagrams given to one call that sends.
const SENT: usize = 64;
/// Longest datagram that is read whole; a longer one is cut, and then malformed.
const DATAGRAM: usize = 4_096;
/// Room for one control message with an `in6_pktinfo`, the larger of the two that we use.
const CONTROL: usize = 64;

/// Where a datagram came from and which of our addresses it was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Path {
    pub(super) peer: SocketAddr,
    /// Only on sockets that [ask for it](request_destination).
    pub(super) local: Option<LocalAddress>,
}

/// One of our addresses, and the interface a datagram came in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LocalAddress {
    addr: IpAddr,
    interface: u32,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Buffers that datagrams are received into; made once and used again.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    /// Point into the other fields, none of which is ever resized.
    headers: Vec<libc::mmsghdr>,
    /// How many of the headers the last call has written to.
    count: usize,
}

/// Has the kernel say of each datagram which address it was sent to.
pub(super) fn request_destination(socket: &socket2::Socket, v6: bool) -> io::Result<()> {
    let (level, name) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) };
    let on: libc::c_int = 1;
    #[expect(unsafe_code, reason = "socket2 has no call for this option")]
    // SAFETY: the kernel reads one int, which ttl_offsets through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_header() -> libc::mmsghdr {
    #[expect(unsafe_code, reason = "libc has no constructor; padding differs by platform")]
    // SAFETY: of an mmsghdr all zeros are a valid value: null pointers and lengths of 0.
    unsafe {
        zeroed()
    }
}

fn empty_name() -> libc::sockaddr_storage {
    #[expect(unsafe_code, reason = "libc has no constructor; padding differs by platform")]
    // SAFETY: all zeros are a sockaddr_storage of the family AF_UNSPEC.
    unsafe {
        zeroed()
    }
}

impl Incoming {
    pub(super) fn new() -> Self {
        let mut new = Self {
            bytes: vec![0; BATCH * DATAGRAM],
            names: vec![empty_name(); BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            vectors: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: DATAGRAM }; BATCH],
            headers: vec![empty_header(); BATCH],
            count: BATCH,
        };
        let places = new.bytes.chunks_exact_mut(DATAGRAM).zip(&mut new.names).zip(&mut new.controls);
        let headers = new.headers.iter_mut().zip(&mut new.vectors);
        for ((header, vector), ((bytes, name), control)) in headers.zip(places) {
            vector.iov_base = bytes.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        }
        new
    }

    /// Receives what is there, at most [`BATCH`] datagrams; how many.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing; what the socket has to report otherwise.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for header in &mut self.headers[..self.count] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL;
        }
        self.count = 0;
        #[expect(unsafe_code, reason = "std receives one datagram a call")]
        // SAFETY: each header points to a buffer, a name and a control buffer of its own, which
        // live in `self` at fixed places, with their true lengths.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        self.count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.count)
    }

    fn len(&self, n: usize) -> usize {
        (self.headers[n].msg_len as usize).min(DATAGRAM)
    }

    /// The `n`th datagram of the last call.
    pub(super) fn datagram(&self, n: usize) -> &[u8] {
        &self.bytes[n * DATAGRAM..][..self.len(n)]
    }

    /// The same, to be changed in place.
    pub(super) fn datagram_mut(&mut self, n: usize) -> &mut [u8] {
        let len = self.len(n);
        &mut self.bytes[n * DATAGRAM..][..len]
    }

    /// Where the `n`th datagram came from; `None` if the kernel does not say.
    pub(super) fn path(&self, n: usize) -> Option<Path> {
        let peer = read_name(&self.names[n])?;
        let controlled = self.headers[n].msg_hdr.msg_controllen.min(CONTROL);
        let local = read_control(&self.controls[n].0[..controlled]);
        Some(Path { peer, local })
    }
}

/// An address as the kernel wrote it.
fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let family = libc::c_int::from(name.ss_family);
    #[expect(unsafe_code, reason = "the family says which of the kernel's structures it is")]
    // SAFETY: a sockaddr_storage is large and aligned enough for every sockaddr, and each of the two
    // is valid for all bits.
    unsafe {
        let name = &raw const *name;
        if family == libc::AF_INET6 {
            let v6 = &*name.cast::<libc::sockaddr_in6>();
            let addr = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let (port, scope) = (u16::from_be(v6.sin6_port), v6.sin6_scope_id);
            return Some(SocketAddrV6::new(addr, port, 0, scope).into());
        }
        (family == libc::AF_INET).then(|| {
            let v4 = &*name.cast::<libc::sockaddr_in>();
            let addr = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            SocketAddrV4::new(addr, u16::from_be(v4.sin_port)).into()
        })
    }
}

/// Length of the header of a control message, which its data apply_settings.
const CMSG_HEADER: usize = size_of::<libc::cmsghdr>();

/// The packet information among the control messages; there is only ever one message.
fn read_control(bytes: &[u8]) -> Option<LocalAddress> {
    let number = |at: usize| Some(libc::c_int::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let level = number(CMSG_HEADER - 8)?;
    let kind = number(CMSG_HEADER - 4)?;
    let data = bytes.get(CMSG_HEADER..)?;
    if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_PKTINFO {
        let addr = Ipv6Addr::from(*data.first_chunk::<16>()?);
        let interface = u32::from_ne_bytes(*data.get(16..)?.first_chunk()?);
        return Some(LocalAddress { addr: addr.into(), interface });
    }
    (level == libc::IPPROTO_IP && kind == libc::IP_PKTINFO).then_some(())?;
    // ipi_ifindex, ipi_spec_dst, ipi_addr: the middle one is ours even if the packet was broadcast.
    let interface = u32::from_ne_bytes(*data.first_chunk()?);
    let addr = Ipv4Addr::from(*data.get(4..)?.first_chunk::<4>()?);
    Some(LocalAddress { addr: addr.into(), interface })
}

/// Writes the control message that chooses the source; its length.
fn write_control(local: LocalAddress, into: &mut Control) -> usize {
    let (level, kind, len) = match local.addr {
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20),
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, 12),
    };
    let bytes = &mut into.0;
    bytes.fill(0);
    // cmsg_len is a size_t, the other two are ints behind it.
    bytes[..size_of::<usize>()].copy_from_slice(&(CMSG_HEADER + len).to_ne_bytes());
    bytes[CMSG_HEADER - 8..CMSG_HEADER - 4].copy_from_slice(&level.to_ne_bytes());
    bytes[CMSG_HEADER - 4..CMSG_HEADER].copy_from_slice(&kind.to_ne_bytes());
    let data = &mut bytes[CMSG_HEADER..];
    match local.addr {
        IpAddr::V6(addr) => {
            data[..16].copy_from_slice(&addr.octets());
            // Only a link-local address needs its interface; for others the route decides.
            let interface = if addr.is_unicast_link_local() { local.interface } else { 0 };
            data[16..20].copy_from_slice(&interface.to_ne_bytes());
        }
        IpAddr::V4(addr) => data[4..8].copy_from_slice(&addr.octets()),
    }
    // CMSG_SPACE: rounded up to the size of a word.
    CMSG_HEADER + len.next_multiple_of(size_of::<usize>())
}

/// Datagrams that wait to be sent by one socket; their bytes lie behind each other.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    // What the kernel is shown, filled by `send` and used again.
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
    /// Adds one datagram, written by `write` behind what is there. If that says `false`, nothing is
    /// added.
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

    /// Sends all, and forgets all; how many the kernel did not take, and the last reason. A datagram that can't
    /// be sent now is lost, as datagrams are: whoever waits for it asks again.
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

    /// Writes a header for each datagram. They point into the other fields, which stay as they are
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
        let places = self.entries.iter().zip(&mut self.vectors).zip(&self.names).zip(&mut self.controls);
        for (((entry, vector), name), control) in places {
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

/// Sends the first of these datagrams, as many as the kernel takes at once.
fn send_some(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    #[expect(unsafe_code, reason = "std sends one datagram a call")]
    // SAFETY: `Outgoing::lay_out` has made each header point to bytes, a name and control bytes of
    // its `Outgoing`, with their true lengths, none of which has changed since; the kernel only
    // reads them.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len().min(SENT) as libc::c_uint,
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
        let mut incoming = Incoming::new();
        assert_eq!(incoming.receive(b.as_fd()).unwrap(), BATCH);
        assert_eq!(incoming.datagram(0), [0; 20]);
        assert_eq!(incoming.datagram(31), [32; 20]);
        assert_eq!(incoming.path(3), Some(Path { peer: a.local_addr().unwrap(), local: None }));
        assert_eq!(incoming.receive(b.as_fd()).unwrap(), 7);
        assert_eq!(incoming.receive(b.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
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
            let mut incoming = Incoming::new();
            assert_eq!(incoming.receive(server.as_fd()).unwrap(), 1);
            let path = incoming.path(0).expect("the kernel says");
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
        assert_eq!(Incoming::new().receive(b.as_fd()).unwrap(), 2);
    }
}
