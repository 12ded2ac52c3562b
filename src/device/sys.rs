//! The system calls of the packet path that std does not wrap.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::time::Duration;

/// A new event counter: non-blocking, closed on exec.
pub(super) fn eventfd() -> io::Result<File> {
    #[expect(unsafe_code, reason = "std has no eventfd")]
    // SAFETY: the call takes no pointer; the descriptor it returns is new and owned by nobody else.
    unsafe {
        match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(File::from_raw_fd(fd)),
        }
    }
}

/// Waits until one of `fds` is readable or has an error; returns which. Without a timeout it waits
/// indefinitely. An interrupted wait returns all false.
pub(super) fn poll<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    // A negative descriptor is skipped by the kernel.
    let mut list = fds.map(|fd| libc::pollfd {
        fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    let limit = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    #[expect(unsafe_code, reason = "std has no poll")]
    // SAFETY: `list` is a valid array of N entries and lives through the call; `limit` is null or
    // points to a timespec that does; the descriptors are borrowed for as long.
    let done = unsafe { libc::ppoll(list.as_mut_ptr(), N as libc::nfds_t, limit, std::ptr::null()) };
    if done < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok([false; N]) } else { Err(error) };
    }
    Ok(list.map(|p| p.revents != 0))
}

/// The argument of interface ioctls: a name and one number.
fn request(name: &str, value: libc::__c_anonymous_ifr_ifru) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is not an interface name (1 to 15 bytes)"),
        ));
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(libc::ifreq { ifr_name, ifr_ifru: value })
}

fn check(done: libc::c_int) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Attaches an open `/dev/net/tun` as a queue of the interface `name`; the first queue creates the
/// interface. Returns the interface's name, in which the kernel has replaced `%d` by a number.
pub(super) fn attach_queue(node: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> io::Result<String> {
    let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: flags as libc::c_short };
    let mut request = request(name, flags)?;
    #[expect(unsafe_code, reason = "std has no ioctl")]
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives through the call.
    check(unsafe { libc::ioctl(node.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let name = request.ifr_name.iter().take_while(|&&c| c != 0).map(|&c| char::from(c as u8));
    Ok(name.collect())
}

/// Sets the offloads of the queue's interface (`TUN_F_*`).
pub(super) fn set_offloads(queue: BorrowedFd<'_>, mask: libc::c_uint) -> io::Result<()> {
    #[expect(unsafe_code, reason = "std has no ioctl")]
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(mask)) })
}

/// Sets the length of each queue of an interface, in packets.
pub(super) fn set_queue_len(name: &str, packets: u16) -> io::Result<()> {
    let request = request(name, libc::__c_anonymous_ifr_ifru { ifru_metric: packets.into() })?;
    // The ioctl names the interface, so any socket serves.
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    #[expect(unsafe_code, reason = "std has no ioctl")]
    // SAFETY: SIOCSIFTXQLEN reads one ifreq, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFTXQLEN, &raw const request) })
}

/// Attaches a BPF program that selects the queue of each packet on the queue's interface.
pub(super) fn set_steering(queue: impl AsFd, program: RawFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "std has no ioctl")]
    // SAFETY: TUNSETSTEERINGEBPF reads one int, which lives through the call.
    check(unsafe { libc::ioctl(queue.as_fd().as_raw_fd(), libc::TUNSETSTEERINGEBPF, &raw const program) })
}

/// Moves the calling thread to a new network namespace, with only a loopback interface that is down.
#[cfg(test)]
pub(super) fn leave_network() -> io::Result<()> {
    #[expect(unsafe_code, reason = "std has no unshare")]
    // SAFETY: the call takes no pointer; CLONE_NEWNET concerns only the calling thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}
