//! Waking a worker that sleeps in its device.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use super::sys;

/// Wakes one worker; shared by all threads that send to it.
///
/// The worker announces its sleep ([`arm`](Self::arm)), checks its queues once more, and sleeps.
/// A sender first queues its item and then calls [`wake`](Self::wake), which makes a system call only
/// if the worker sleeps. No wake-up is lost.
#[derive(Debug)]
pub struct Waker {
    event: File,
    asleep: AtomicBool,
}

impl Waker {
    /// A waker for one worker.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: sys::eventfd()?, asleep: AtomicBool::new(false) })
    }

    /// Wakes the worker if it sleeps or is about to.
    pub fn wake(&self) {
        // Orders the sender's queue write before the load of the flag; pairs with the fence in `arm`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only if the counter is at its limit, and then the worker wakes anyway.
            let _ = (&self.event).write(&1u64.to_ne_bytes());
        }
    }

    /// Announces a sleep. Check for work after this and before [`sleep`](Self::sleep).
    pub fn arm(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Withdraws the announcement.
    pub fn disarm(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Sleeps until `device` is readable, [`wake`](Self::wake) is called, or `timeout` elapses.
    ///
    /// # Errors
    /// The error of `ppoll`, except an interruption.
    pub fn sleep(&self, device: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<()> {
        if sys::poll(self.event.as_fd(), device, timeout)? {
            // Resets the counter. Only this thread reads it, so the read cannot fail.
            let _ = (&self.event).read(&mut [0; 8]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_after_arm_is_never_lost() {
        let waker = Waker::new().expect("eventfd");
        waker.arm();
        waker.wake();
        waker.sleep(None, None).expect("returns at once");
        assert!(!waker.asleep.load(Ordering::Relaxed));
    }

    #[test]
    fn an_awake_worker_costs_no_event() {
        let waker = Waker::new().expect("eventfd");
        waker.wake();
        let mut counter = [0; 8];
        assert_eq!(
            (&waker.event).read(&mut counter).expect_err("no event").kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_thread_asleep_is_woken() {
        let waker = std::sync::Arc::new(Waker::new().expect("eventfd"));
        let other = waker.clone();
        waker.arm();
        let thread = std::thread::spawn(move || other.wake());
        waker.sleep(None, None).expect("woken");
        thread.join().expect("no panic");
    }
}
