//! An attempt in flight.

use crate::dns64::Transmit;
use crate::time::Instant;

/// An attempt in flight.
#[derive(Clone, Debug)]
pub(in crate::resolver) struct Exchange {
    pub(in crate::resolver) transmit: Transmit,
    pub(in crate::resolver) sent_at: Instant,
    /// Resent because the upstream renewed its cookie.
    pub(super) retried: bool,
    /// A copy of a query, sent to notice the return of a demoted upstream. Its reply is not used.
    pub(super) is_probe: bool,
}
