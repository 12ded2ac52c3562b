//! An attempt in flight.

use crate::dns64::Transmit;
use crate::time::Instant;

/// An attempt in flight.
#[derive(Clone, Debug)]
pub(in crate::resolver) struct Attempt {
    pub(in crate::resolver) transmit: Transmit,
    pub(in crate::resolver) sent_at: Instant,
    /// Resent because the upstream renewed its cookie.
    pub(super) retried: bool,
    /// Resent without an OPT record because the upstream rejected it.
    pub(super) without_edns: bool,
    /// A copy of a query, sent to notice the return of a demoted upstream. Its reply is not used.
    pub(super) is_probe: bool,
}

impl Attempt {
    pub(super) const fn new(now: Instant, transmit: Transmit) -> Self {
        Self { transmit, sent_at: now, retried: false, without_edns: false, is_probe: false }
    }
}
