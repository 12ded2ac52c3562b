//! Descriptors that the service manager kept for this process over a restart (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sys;

/// Whether the descriptors were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors with their names; none from the second call on.
///
/// # Errors
/// The environment of the process is malformed, or a descriptor is not open.
pub(crate) fn take() -> io::Result<Vec<(String, OwnedFd)>> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    // It checks that each descriptor is open, by setting its close-on-exec flag.
    let all = sd_notify::listen_fds_with_names()?;
    Ok(all.map(|(fd, name)| (name, sys::received(fd))).collect())
}
