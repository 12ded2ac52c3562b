//! System calls for rings shared with the kernel, namespaces and CPUs.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::thread;

fn check(done: libc::c_int) -> io::Result<libc::c_int> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

/// Runs `work` in a network namespace. A socket stays in the namespace where it was opened, so the result
/// can be used elsewhere.
pub(crate) fn within<T: Send>(netns: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let file = File::open(format!("/run/netns/{netns}"))?;
    let inside = || {
        #[expect(unsafe_code, reason = "std has no setns")]
        // SAFETY: the call takes no pointer and affects only this thread, which ends afterwards.
        check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) })?;
        work()
    };
    thread::scope(|scope| scope.spawn(inside).join().expect("work does not panic"))
}

/// Pins the calling thread to one CPU.
pub(crate) fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    let mut set = [0u64; 16];
    set[cpu / 64 % 16] = 1 << (cpu % 64);
    #[expect(unsafe_code, reason = "std has no sched_setaffinity")]
    // SAFETY: the mask has the given length of 128 bytes and is only read. 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<[u64; 16]>(), set.as_ptr().cast()) })?;
    Ok(())
}

/// A packet socket that receives frames of `protocol`; none if 0.
pub(crate) fn packet_socket(protocol: u16) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    #[expect(unsafe_code, reason = "std has no packet sockets")]
    // SAFETY: the call takes no pointer; the descriptor it returns is new and owned by nobody else.
    unsafe {
        let fd = check(libc::socket(libc::AF_PACKET, kind, i32::from(protocol.to_be())))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Sets an option of a socket to a plain value.
pub(crate) fn set_option<T: Copy>(socket: impl AsFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "std has no setsockopt")]
    // SAFETY: the pointer is to a value of the given length; the kernel only reads it.
    check(unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), length)
    })?;
    Ok(())
}

/// Frames that a packet socket dropped since the last call.
pub(crate) fn packet_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // Packets received, and packets dropped.
    let mut statistics = [0u32; 2];
    let mut length = size_of::<[u32; 2]>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "std has no getsockopt")]
    // SAFETY: the kernel writes at most `length` bytes, the size of the array.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    Ok(statistics[1])
}

/// Binds a packet socket to an interface of the calling thread's namespace.
pub(crate) fn bind_interface(socket: BorrowedFd<'_>, interface: &str, protocol: u16) -> io::Result<()> {
    let name = std::ffi::CString::new(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    #[expect(unsafe_code, reason = "std has no packet addresses")]
    // SAFETY: the name is zero-terminated. All-zero is a valid sockaddr_ll of the given length. Both are
    // only read.
    unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = index as i32;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        check(libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length))?;
    }
    Ok(())
}

/// Makes the kernel send the frames in a transmit ring.
pub(crate) fn send_ring(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[expect(unsafe_code, reason = "std has no send without a buffer")]
    // SAFETY: no buffer and no address is passed: the frames are in the socket's own ring.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
    };
    if sent < 0 {
        let error = io::Error::last_os_error();
        let full = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR));
        return if full { Ok(()) } else { Err(error) };
    }
    Ok(())
}

/// Waits until one of at most 16 sockets is readable or writable, for at most 0.1 s.
pub(crate) fn ready(sockets: &[impl AsFd], read: bool) -> io::Result<()> {
    let events = if read { libc::POLLIN } else { libc::POLLOUT };
    let mut list = [libc::pollfd { fd: -1, events, revents: 0 }; 16];
    for (entry, socket) in list.iter_mut().zip(sockets) {
        entry.fd = socket.as_fd().as_raw_fd();
    }
    #[expect(unsafe_code, reason = "std has no poll")]
    // SAFETY: `list` has 16 entries and lives through the call; a negative descriptor is skipped.
    check(unsafe { libc::poll(list.as_mut_ptr(), 16, 100) })?;
    Ok(())
}

/// Memory shared with the kernel, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Shared {
    start: NonNull<u8>,
    length: usize,
}

#[expect(unsafe_code, reason = "a pointer is not Send")]
// SAFETY: only this value and the kernel own the memory, as with a Box; the kernel is independent of
// threads.
unsafe impl Send for Shared {}

impl Shared {
    /// Maps the ring of a packet socket.
    pub(crate) fn map(socket: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "std has no mmap")]
        // SAFETY: without MAP_FIXED the new mapping does not overlap existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED) {
            Some(start) => Ok(Self { start, length }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// The status word at `at`, a multiple of four, which both sides read and write.
    pub(crate) fn status(&self, at: usize) -> &std::sync::atomic::AtomicU32 {
        assert!(at + 4 <= self.length && at.is_multiple_of(4), "a word of the ring");
        #[expect(unsafe_code, reason = "the word is shared with the kernel")]
        // SAFETY: the word is inside the mapping and aligned, since the mapping starts at a page. It is
        // only accessed atomically.
        unsafe {
            std::sync::atomic::AtomicU32::from_ptr(self.start.as_ptr().add(at).cast())
        }
    }

    /// The bytes from `at` on, after a status word that assigns the entry to user space.
    pub(crate) fn bytes(&mut self, at: usize, length: usize) -> &mut [u8] {
        assert!(at + length <= self.length, "bytes of the ring");
        #[expect(unsafe_code, reason = "the bytes lie in the ring")]
        // SAFETY: they are inside the mapping, which is borrowed mutably. The kernel does not access an
        // entry whose status assigns it to user space.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr().add(at), length)
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "std has no munmap")]
        // SAFETY: the range is the one that `map` mapped, and no reference to it outlives this value.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}

/// Flushes the connection tracking table of a namespace.
pub(crate) fn flush_conntrack(netns: &str) -> io::Result<()> {
    use socket2::{Domain, Protocol, Socket, Type};
    let netlink = Domain::from(libc::AF_NETLINK);
    let socket =
        within(netns, || Socket::new(netlink, Type::RAW, Some(Protocol::from(libc::NETLINK_NETFILTER))))?;
    // A header of 16 bytes (length, type, flags, sequence number, port), and no filter after it.
    let kind = (libc::NFNL_SUBSYS_CTNETLINK << 8 | DELETE) as u16;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut message = [0; 20];
    message[..4].copy_from_slice(&20u32.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    socket.send(&message)?;
    let mut answer = [std::mem::MaybeUninit::new(0); 64];
    socket.recv(&mut answer).map(drop)
}

/// `IPCTNL_MSG_CT_DELETE`.
const DELETE: i32 = 2;
