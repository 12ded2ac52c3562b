//! What the resolver counts, by zone and outcome and by upstream. Written by any thread, read by any.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::addr::ZoneId;
use crate::dns64::Outcome;

/// Upper ends of the classes of waiting time, in milliseconds; what is longer is counted last.
pub const WAITS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 900, 2_000, 5_000];

/// What is counted for one zone, or for clients that belong to none.
#[derive(Debug)]
pub struct ZoneCounters {
    outcomes: [AtomicU64; Outcome::COUNT],
    truncated: AtomicU64,
    ready: AtomicU64,
    waits: [AtomicU64; WAITS.len() + 1],
    waited: AtomicU64,
}

impl Default for ZoneCounters {
    fn default() -> Self {
        Self {
            outcomes: core::array::from_fn(|_| AtomicU64::new(0)),
            truncated: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            waits: core::array::from_fn(|_| AtomicU64::new(0)),
            waited: AtomicU64::new(0),
        }
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

    /// Queries for which a whole answer was ready.
    pub fn ready(&self) -> u64 {
        self.ready.load(Ordering::Relaxed)
    }

    /// Queries that waited for an upstream, by how long: one number for each of [`WAITS`], and one for
    /// those that took longer.
    pub fn waits(&self) -> [u64; WAITS.len() + 1] {
        core::array::from_fn(|class| self.waits[class].load(Ordering::Relaxed))
    }

    /// How long all of them have waited.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// Counts a query that ended in `outcome`.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that was sent empty, with TC.
    pub fn count_truncated(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_wait(&self, took: Duration) {
        let millis = u64::try_from(took.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let class = WAITS.iter().position(|end| millis <= *end).unwrap_or(WAITS.len());
        self.waits[class].fetch_add(1, Ordering::Relaxed);
        self.waited.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What is counted of one upstream.
#[derive(Debug, Default)]
pub struct UpstreamCounters {
    asked: AtomicU64,
    answered: AtomicU64,
    unanswered: AtomicU64,
    strays: AtomicU64,
    again_by_tcp: AtomicU64,
    srtt_micros: AtomicU64,
    resting: AtomicBool,
}

impl UpstreamCounters {
    /// Name, help and number of all that only grows.
    pub fn all(&self) -> [(&'static str, &'static str, u64); 5] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("asked", "Questions sent", read(&self.asked)),
            ("answered", "Answers that came", read(&self.answered)),
            ("unanswered", "Questions without an answer in time", read(&self.unanswered)),
            ("strays", "Messages that answered nothing", read(&self.strays)),
            (
                "again_by_tcp",
                "Questions asked again over TCP: cut short, or in doubt",
                read(&self.again_by_tcp),
            ),
        ]
    }

    /// The smoothed time to an answer; zero before the first.
    pub fn srtt(&self) -> Duration {
        Duration::from_micros(self.srtt_micros.load(Ordering::Relaxed))
    }

    /// Whether it is asked last, having been silent too often.
    pub fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, srtt: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.srtt_micros.store(u64::try_from(srtt.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.resting.store(false, Ordering::Relaxed);
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stray(&self) {
        self.strays.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn again_by_tcp(&self) {
        self.again_by_tcp.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }
}

/// All that the resolver counts. Rows stay when their zone goes, so that no counter goes back.
#[derive(Debug, Default)]
pub struct Counters {
    rows: RwLock<BTreeMap<Option<ZoneId>, Arc<ZoneCounters>>>,
    upstreams: RwLock<BTreeMap<SocketAddr, Arc<UpstreamCounters>>>,
    lost_answers: AtomicU64,
    refused_connections: AtomicU64,
}

/// The row of `key`, made if there is none.
fn row<K: Ord + Copy, V: Default>(rows: &RwLock<BTreeMap<K, Arc<V>>>, key: K) -> Arc<V> {
    if let Some(row) = rows.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Arc::clone(row);
    }
    Arc::clone(rows.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
}

fn all<K: Ord + Copy, V>(rows: &RwLock<BTreeMap<K, Arc<V>>>) -> Vec<(K, Arc<V>)> {
    let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
    rows.iter().map(|(key, row)| (*key, Arc::clone(row))).collect()
}

impl Counters {
    /// The row of a zone, made if there is none; `None` is for clients without a zone.
    pub fn zone(&self, zone: Option<ZoneId>) -> Arc<ZoneCounters> {
        row(&self.rows, zone)
    }

    /// All rows, by zone.
    pub fn rows(&self) -> Vec<(Option<ZoneId>, Arc<ZoneCounters>)> {
        all(&self.rows)
    }

    /// Queries that ended in `outcome`, over all zones.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.rows().iter().map(|(_, row)| row.outcome(outcome)).sum()
    }

    /// The row of an upstream, made if there is none.
    pub fn upstream(&self, addr: SocketAddr) -> Arc<UpstreamCounters> {
        row(&self.upstreams, addr)
    }

    /// All upstreams that were ever asked.
    pub fn upstreams(&self) -> Vec<(SocketAddr, Arc<UpstreamCounters>)> {
        all(&self.upstreams)
    }

    /// Answers that the kernel did not take.
    pub fn lost_answers(&self) -> u64 {
        self.lost_answers.load(Ordering::Relaxed)
    }

    /// Connections closed at once because there were too many.
    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Ordering::Relaxed)
    }

    pub(super) fn count_lost(&self, answers: usize) {
        self.lost_answers.fetch_add(answers as u64, Ordering::Relaxed);
    }

    pub(super) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_fall_into_classes() {
        let row = ZoneCounters::default();
        for micros in [10, 1_000, 1_001, 899_999, 900_000, 900_001, 60_000_000] {
            row.count_wait(Duration::from_micros(micros));
        }
        let mut want = [0; WAITS.len() + 1];
        (want[0], want[1], want[9], want[10], want[12]) = (2, 1, 2, 1, 1);
        assert_eq!(row.waits(), want);
    }
}
