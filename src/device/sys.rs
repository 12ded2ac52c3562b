//! The system calls of the packet path that std does not wrap.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

/// Longest wait, about 136 years: a larger number of seconds might not fit a `timespec`.
const MAX_WAIT: Duration = Duration::from_secs(u32::MAX as u64);

/// A new event counter: non-blocking, closed on exec.
pub(super) fn eventfd() -> io::Result<File> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    Ok(File::from(OwnedFd::from(EventFd::from_value_and_flags(0, flags)?)))
}

/// Waits until `event` or `device` is readable or has an error. Returns whether `event` is. Without a
/// timeout it waits indefinitely. An interrupted wait returns false.
pub(super) fn poll(
    event: BorrowedFd<'_>,
    device: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let mut fds = [event, device.unwrap_or(event)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match ppoll(&mut fds, timeout.map(|t| TimeSpec::from(t.min(MAX_WAIT))), None) {
        // Flags unknown to nix count as readable too.
        Ok(_) => Ok(fds[0].any().unwrap_or(true)),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
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

/// Calls an ioctl that reads or writes one `ifreq`: TUNSETIFF, TUNGETIFF, TUNSETQUEUE or SIOCSIFTXQLEN.
fn interface_ioctl(fd: BorrowedFd<'_>, number: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the ioctl macros of nix make unsafe functions")]
    // SAFETY: each of these requests reads or writes at most one ifreq, which lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), number, core::ptr::from_mut(request)) })
}

const fn flags(flags: libc::c_int) -> libc::__c_anonymous_ifr_ifru {
    libc::__c_anonymous_ifr_ifru { ifru_flags: flags as libc::c_short }
}

fn name_of(request: &libc::ifreq) -> String {
    request.ifr_name.iter().take_while(|&&c| c != 0).map(|&c| char::from(c as u8)).collect()
}

/// Attaches an open `/dev/net/tun` as a queue of the interface `name`; the first queue creates the
/// interface. Returns the interface's name, in which the kernel has replaced `%d` by a number.
pub(super) fn attach_queue(node: BorrowedFd<'_>, name: &str, of_queue: libc::c_int) -> io::Result<String> {
    let mut request = request(name, flags(of_queue))?;
    interface_ioctl(node, libc::TUNSETIFF, &mut request)?;
    Ok(name_of(&request))
}

/// Name of the interface of a queue; EBADFD if the interface was deleted.
pub(super) fn interface_of(queue: BorrowedFd<'_>) -> io::Result<String> {
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: flags(0) };
    interface_ioctl(queue, libc::TUNGETIFF, &mut request)?;
    Ok(name_of(&request))
}

/// Detaches a queue: the kernel puts no more packets into it.
pub(super) fn detach_queue(queue: BorrowedFd<'_>) -> io::Result<()> {
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: flags(libc::IFF_DETACH_QUEUE) };
    interface_ioctl(queue, libc::TUNSETQUEUE, &mut request)
}

/// A descriptor that the service manager passed to this process.
pub(super) fn received(fd: RawFd) -> OwnedFd {
    #[expect(unsafe_code, reason = "std takes over a descriptor only by an unsafe function")]
    // SAFETY: the service manager opened it for this process, and the caller takes each one once.
    unsafe {
        OwnedFd::from_raw_fd(fd)
    }
}

/// Sets the offloads of the queue's interface (`TUN_F_*`).
pub(super) fn set_offloads(queue: BorrowedFd<'_>, mask: libc::c_uint) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the ioctl macros of nix make unsafe functions")]
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(mask)) })
}

/// Sets the length of each queue of an interface, in packets.
pub(super) fn set_queue_len(name: &str, packets: u16) -> io::Result<()> {
    let mut request = request(name, libc::__c_anonymous_ifr_ifru { ifru_metric: packets.into() })?;
    // The ioctl names the interface, so any socket serves.
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    interface_ioctl(socket.as_fd(), libc::SIOCSIFTXQLEN, &mut request)
}

/// Attaches a BPF program that selects the queue of each packet on the queue's interface.
pub(super) fn set_steering(queue: impl AsFd, program: RawFd) -> io::Result<()> {
    set_program(queue.as_fd(), libc::TUNSETSTEERINGEBPF, program)
}

/// Attaches a BPF program that drops packets in front of the queues of the queue's interface.
pub(super) fn set_filter(queue: impl AsFd, program: RawFd) -> io::Result<()> {
    set_program(queue.as_fd(), libc::TUNSETFILTEREBPF, program)
}

fn set_program(queue: BorrowedFd<'_>, request: libc::Ioctl, program: RawFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the ioctl macros of nix make unsafe functions")]
    // SAFETY: both requests read one int, which lives through the call.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), request, &raw const program) })
}

/// The time of CLOCK_MONOTONIC in nanoseconds, as BPF programs read it.
pub(super) fn monotonic() -> u64 {
    // This clock exists on every Linux.
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap_or(TimeSpec::new(0, 0));
    u64::try_from(Duration::from(now).as_nanos()).unwrap_or(u64::MAX)
}

/// Moves the calling thread to a new network namespace, with only a loopback interface that is down.
#[cfg(test)]
pub(super) fn leave_network() -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?)
}
