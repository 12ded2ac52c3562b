//! What an engine knows of the upstreams: their last replies, and the budget of hedges, which are queries to a
//! second upstream before the first one has timed out.

use std::collections::BTreeMap;

use crate::time::Instant;

/// What an engine knows of the upstreams.
#[derive(Debug, Default)]
pub(super) struct UpstreamState {
    /// Time of the last reply, by upstream group in the settings.
    pub(super) last_replies: BTreeMap<usize, Instant>,
    pub(super) hedges: HedgeBudget,
}

/// One hedge for this many upstream queries.
const QUERIES_PER_HEDGE: u32 = 32;
/// Largest number of hedges saved up.
const MAX_SAVED: u32 = 8;

/// Bounds hedges to about 3 % of the upstream queries.
#[derive(Debug, Default)]
pub(super) struct HedgeBudget {
    /// In parts of a hedge: [`QUERIES_PER_HEDGE`] make one.
    saved: u32,
}

impl HedgeBudget {
    /// Records an upstream query.
    pub(super) fn earn(&mut self) {
        self.saved = (self.saved + 1).min(MAX_SAVED * QUERIES_PER_HEDGE);
    }

    /// Whether to send a hedge now.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.saved.checked_sub(QUERIES_PER_HEDGE);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_are_a_few_per_cent_of_the_queries() {
        let mut budget = HedgeBudget::default();
        assert!(!budget.spend(), "none at first");
        let hedges = (0..10_000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(hedges.count(), 312);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 8, "a burst after a quiet time");
    }
}
