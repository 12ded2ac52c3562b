//! What workers report.

use std::io;
use std::time::SystemTime;

use crate::translator::{Event, WorkerId};

/// An event with its worker and time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The worker that reports it.
    pub worker: WorkerId,
    /// When the worker reported it, at most one batch after it happened.
    pub at: SystemTime,
    /// What happened.
    pub event: Event,
}

/// Why a worker failed or recovered.
#[derive(Debug)]
pub enum Cause {
    /// It panicked and has ended. The others continue; its packets are lost.
    Panic(String),
    /// Its device fails. Reported once per series of failures; the worker keeps trying.
    Device(io::Error),
    /// Its device works again.
    Recovered,
}

/// A worker failed or recovered.
#[derive(Debug)]
pub struct Failure {
    /// The worker.
    pub worker: WorkerId,
    /// The cause.
    pub cause: Cause,
}
