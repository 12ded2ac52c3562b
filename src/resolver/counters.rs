//! What the resolver counts, by zone and outcome. Written by any task, read by any.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::addr::ZoneId;
use crate::dns64::Outcome;

/// What is counted for one zone, or for clients that belong to none.
#[derive(Debug)]
pub struct ZoneCounters {
    outcomes: [AtomicU64; Outcome::COUNT],
    truncated: AtomicU64,
}

impl Default for ZoneCounters {
    fn default() -> Self {
        Self { outcomes: core::array::from_fn(|_| AtomicU64::new(0)), truncated: AtomicU64::new(0) }
    }
}

impl ZoneCounters {
    /// Queries that ended in `outcome`.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Answers that were too big and sent empty, with TC.
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// Counts a query that ended in `outcome`.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that was sent empty, with TC.
    pub fn count_truncated(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }
}

/// All that the resolver counts. Rows stay when their zone goes, so that no counter goes back.
#[derive(Debug, Default)]
pub struct Counters {
    rows: RwLock<BTreeMap<Option<ZoneId>, Arc<ZoneCounters>>>,
}

impl Counters {
    /// The row of a zone, made if there is none; `None` is for clients without a zone.
    pub fn zone(&self, zone: Option<ZoneId>) -> Arc<ZoneCounters> {
        if let Some(row) = self.rows.read().unwrap_or_else(PoisonError::into_inner).get(&zone) {
            return Arc::clone(row);
        }
        Arc::clone(self.rows.write().unwrap_or_else(PoisonError::into_inner).entry(zone).or_default())
    }

    /// All rows, by zone.
    pub fn rows(&self) -> Vec<(Option<ZoneId>, Arc<ZoneCounters>)> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(zone, row)| (*zone, Arc::clone(row))).collect()
    }

    /// Queries that ended in `outcome`, over all zones.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.rows().iter().map(|(_, row)| row.outcome(outcome)).sum()
    }
}
