//! Counters by zone and outcome, and by upstream. All threads read and write them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::addr::ZoneId;
use crate::dns64::Outcome;
use crate::time::Instant;

/// Upper bounds of the wait histogram, in milliseconds. One more bucket counts longer waits.
pub const WAIT_BUCKETS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 900, 2_000, 5_000];

/// Counters of one zone, or of clients in no zone.
#[derive(Debug)]
pub struct ZoneCounters {
    outcomes: [AtomicU64; Outcome::COUNT],
    truncated: AtomicU64,
    cached_answers: AtomicU64,
    waits: [AtomicU64; WAIT_BUCKETS.len() + 1],
    waited: AtomicU64,
}

impl Default for ZoneCounters {
    fn default() -> Self {
        Self {
            outcomes: core::array::from_fn(|_| AtomicU64::new(0)),
            truncated: AtomicU64::new(0),
            cached_answers: AtomicU64::new(0),
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

    /// Answers sent without records and with TC, because they were too long.
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// Queries answered from the answer cache.
    pub fn cached_answers(&self) -> u64 {
        self.cached_answers.load(Ordering::Relaxed)
    }

    /// Histogram of the time that queries waited for an upstream: one number for each of [`WAIT_BUCKETS`],
    /// and one for longer waits.
    pub fn waits(&self) -> [u64; WAIT_BUCKETS.len() + 1] {
        core::array::from_fn(|class| self.waits[class].load(Ordering::Relaxed))
    }

    /// Sum of the waits.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// Counts a query that ended in `outcome`.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer sent without records and with TC.
    pub fn count_truncated(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_cached_answer(&self) {
        self.cached_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_wait(&self, elapsed: Duration) {
        let millis = u64::try_from(elapsed.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let class = WAIT_BUCKETS.iter().position(|end| millis <= *end).unwrap_or(WAIT_BUCKETS.len());
        self.waits[class].fetch_add(1, Ordering::Relaxed);
        self.waited.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Least time between two log lines about an upstream.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Counters of one upstream.
#[derive(Debug, Default)]
pub struct UpstreamCounters {
    queries: AtomicU64,
    replies: AtomicU64,
    timeouts: AtomicU64,
    unmatched: AtomicU64,
    tcp_retries: AtomicU64,
    hedges: AtomicU64,
    srtt_micros: AtomicU64,
    demoted: AtomicBool,
    /// When to log its next error, in ns.
    log_at: AtomicU64,
}

impl UpstreamCounters {
    /// Name, help text and value of each monotonic counter.
    pub fn all(&self) -> [(&'static str, &'static str, u64); 6] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("queries", "Queries sent", read(&self.queries)),
            ("replies", "Replies received", read(&self.replies)),
            ("timeouts", "Queries that timed out", read(&self.timeouts)),
            ("unmatched", "Messages that match no query", read(&self.unmatched)),
            (
                "tcp_retries",
                "Queries repeated over TCP after a truncated or suspicious reply",
                read(&self.tcp_retries),
            ),
            ("hedges", "Queries sent while another upstream was slow to reply", read(&self.hedges)),
        ]
    }

    /// Smoothed response time; zero before the first reply.
    pub fn srtt(&self) -> Duration {
        Duration::from_micros(self.srtt_micros.load(Ordering::Relaxed))
    }

    /// Whether the upstream is used last, after too many timeouts.
    pub fn is_demoted(&self) -> bool {
        self.demoted.load(Ordering::Relaxed)
    }

    /// Whether to log an error of the upstream now: once a minute.
    pub(super) fn may_log(&self, now: Instant) -> bool {
        let (at, now) = (self.log_at.load(Ordering::Relaxed), now.as_nanos());
        let next = now.saturating_add(LOG_INTERVAL.as_nanos() as u64);
        now >= at && self.log_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn count_query(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reply(&self, srtt: Duration) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        self.srtt_micros.store(u64::try_from(srtt.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.demoted.store(false, Ordering::Relaxed);
    }

    pub(super) fn count_timeout(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unmatched(&self) {
        self.unmatched.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_tcp_retry(&self) {
        self.tcp_retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_demoted(&self, demoted: bool) {
        self.demoted.store(demoted, Ordering::Relaxed);
    }
}

/// All counters of the resolver. A zone's counters remain when the zone is removed, so that no counter
/// decreases.
#[derive(Debug, Default)]
pub struct Counters {
    rows: RwLock<BTreeMap<Option<ZoneId>, Arc<ZoneCounters>>>,
    upstreams: RwLock<BTreeMap<SocketAddr, Arc<UpstreamCounters>>>,
    lost_answers: AtomicU64,
    lost_queries: AtomicU64,
    refused_connections: AtomicU64,
    evicted_connections: AtomicU64,
}

/// The row of `key`, created if absent.
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
    /// The counters of a zone, created if absent; `None` is for clients in no zone.
    pub fn zone(&self, zone: Option<ZoneId>) -> Arc<ZoneCounters> {
        row(&self.rows, zone)
    }

    /// The counters of all zones.
    pub fn rows(&self) -> Vec<(Option<ZoneId>, Arc<ZoneCounters>)> {
        all(&self.rows)
    }

    /// Queries that ended in `outcome`, over all zones.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.rows().iter().map(|(_, row)| row.outcome(outcome)).sum()
    }

    /// The counters of an upstream, created if absent.
    pub fn upstream(&self, addr: SocketAddr) -> Arc<UpstreamCounters> {
        row(&self.upstreams, addr)
    }

    /// The counters of all upstreams used so far.
    pub fn upstreams(&self) -> Vec<(SocketAddr, Arc<UpstreamCounters>)> {
        all(&self.upstreams)
    }

    /// Datagrams that the kernel dropped because a listener's receive buffer was full, as far as threads noticed.
    pub fn lost_queries(&self) -> u64 {
        self.lost_queries.load(Ordering::Relaxed)
    }

    /// Answers that the kernel did not accept.
    pub fn lost_answers(&self) -> u64 {
        self.lost_answers.load(Ordering::Relaxed)
    }

    /// Connections closed immediately because a limit was reached.
    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Ordering::Relaxed)
    }

    /// Idle connections closed for a new one because a limit was reached.
    pub fn evicted_connections(&self) -> u64 {
        self.evicted_connections.load(Ordering::Relaxed)
    }

    pub(super) fn count_overflow(&self, datagrams: u32) {
        if datagrams > 0 {
            self.lost_queries.fetch_add(datagrams.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn count_lost(&self, answers: usize) {
        self.lost_answers.fetch_add(answers as u64, Ordering::Relaxed);
    }

    pub(super) fn count_evicted_connection(&self, is_evicted: bool) {
        self.evicted_connections.fetch_add(u64::from(is_evicted), Ordering::Relaxed);
    }

    pub(super) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_logged_once_a_minute() {
        let upstream = UpstreamCounters::default();
        let logged: Vec<_> = (5..200).filter(|at| upstream.may_log(Instant::from_secs(*at))).collect();
        assert_eq!(logged, [5, 65, 125, 185]);
    }

    #[test]
    fn waits_are_counted_by_bucket() {
        let row = ZoneCounters::default();
        for micros in [10, 1_000, 1_001, 899_999, 900_000, 900_001, 60_000_000] {
            row.count_wait(Duration::from_micros(micros));
        }
        let mut want = [0; WAIT_BUCKETS.len() + 1];
        (want[0], want[1], want[9], want[10], want[12]) = (2, 1, 2, 1, 1);
        assert_eq!(row.waits(), want);
    }
}
