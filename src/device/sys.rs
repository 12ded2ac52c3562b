//! The system calls of the packet path that std does not wrap.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
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

/// Sleeps until one of `fds` is readable or broken; which. `None` sleeps for ever. An interrupted
/// sleep counts as one in which nothing happened.
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
