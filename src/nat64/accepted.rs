//! What becomes of a packet that is not refused.

use crate::addr::WorkerId;
use crate::wire::batch::Verdict;

/// A [`Verdict`] without those of refused packets, which are a [`Refusal`](crate::xlat::Refusal) until the entry point
/// counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepted {
    /// Forward the packet in the buffer.
    Forward,
    /// Another worker processes it.
    HandOver(WorkerId),
    /// A table holds it; the buffer is empty.
    Hold,
}

impl From<Accepted> for Verdict {
    fn from(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Forward => Self::Forward,
            Accepted::HandOver(worker) => Self::HandOver(worker),
            Accepted::Hold => Self::Hold,
        }
    }
}
