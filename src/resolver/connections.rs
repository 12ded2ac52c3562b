//! Client connections: their number is limited by client and site, and an idle one makes room for a new one (RFC
//! 7766 §6.2.3).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::admission::{Admission, Client, Permit};
use crate::addr::Level;
use crate::time::Instant;

/// Activity of a connection with pending queries.
const BUSY: u64 = u64::MAX;

/// Limits on the number of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) total: usize,
    /// Of one client address.
    pub(super) per_client: usize,
}

/// When a connection was last used, and whether it is to close.
#[derive(Debug)]
struct Activity {
    /// Time of the last message in ns, or [`BUSY`].
    last: AtomicU64,
    evicted: Notify,
}

#[derive(Debug)]
struct Entry {
    client: Client,
    activity: Arc<Activity>,
    /// Returned at eviction, before the connection has closed.
    _permit: Permit,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
}

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    admission: Arc<Admission>,
    open: Mutex<Open>,
}

/// An open connection. Removed on drop.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    number: u64,
    activity: Arc<Activity>,
}

/// A connection was admitted.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) connection: Connection,
    /// Whether an idle connection was evicted for it.
    pub(super) has_evicted: bool,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection. At a limit, evicts the connection that has been idle longest: of the same client, of
    /// the same site, or of all, depending on the limit. `None` if none is idle.
    pub(super) fn admit(
        self: &Arc<Self>,
        now: Instant,
        limits: ConnectionLimits,
        client: Client,
    ) -> Option<Admitted> {
        let enter = || self.admission.enter(limits.total, limits.per_client, client);
        let mut has_evicted = false;
        let permit = enter().or_else(|level| {
            has_evicted = self.evict(level, client);
            if has_evicted { enter() } else { Err(level) }
        });
        let permit = permit.ok()?;
        let activity = Arc::new(Activity { last: AtomicU64::new(now.as_nanos()), evicted: Notify::new() });
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.entries.insert(number, Entry { client, activity: Arc::clone(&activity), _permit: permit });
        let connection = Connection { connections: Arc::clone(self), number, activity };
        Some(Admitted { connection, has_evicted })
    }

    /// Evicts the idlest connection that counts towards a limit. `false` if none is idle.
    fn evict(&self, level: Level, client: Client) -> bool {
        let mut open = self.open();
        let counts = |entry: &Entry| match level {
            Level::Total => true,
            Level::Site => entry.client.site == client.site,
            Level::Host => entry.client == client,
        };
        let last = |entry: &Entry| entry.activity.last.load(Ordering::Relaxed);
        let idle = open.entries.iter().filter(|(_, entry)| counts(entry) && last(entry) != BUSY);
        let Some(number) = idle.min_by_key(|(_, entry)| last(entry)).map(|(number, _)| *number) else {
            return false;
        };
        let Some(entry) = open.entries.remove(&number) else { return false };
        entry.activity.evicted.notify_one();
        true
    }

    /// Admits no further connection, and waits until none is open.
    pub(super) async fn close(&self) {
        self.admission.close().await;
    }
}

impl Connection {
    /// Records a message, and whether queries are pending.
    pub(super) fn record(&self, now: Instant, is_busy: bool) {
        self.activity.last.store(if is_busy { BUSY } else { now.as_nanos() }, Ordering::Relaxed);
    }

    /// Waits until the connection is to close.
    pub(super) async fn evicted(&self) {
        self.activity.evicted.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.open().entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(site: u16, number: u16) -> Client {
        Client::numbered(site, number)
    }

    const LIMITS: ConnectionLimits = ConnectionLimits { total: 8, per_client: 2 };

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    async fn is_evicted(connection: &Connection) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, connection.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_idlest_connection_of_the_client_is_evicted() {
        let all = Arc::new(Connections::default());
        let first = all.admit(at(1), LIMITS, client(1, 1)).expect("free").connection;
        let second = all.admit(at(2), LIMITS, client(1, 1)).expect("free").connection;
        let other = all.admit(at(0), LIMITS, client(2, 1)).expect("free").connection;
        first.record(at(3), false);
        let third = all.admit(at(4), LIMITS, client(1, 1)).expect("an idle one is evicted");
        assert!(third.has_evicted);
        assert_eq!(
            [is_evicted(&first).await, is_evicted(&second).await, is_evicted(&other).await],
            [false, true, false]
        );
        first.record(at(5), true);
        third.connection.record(at(5), true);
        assert!(all.admit(at(6), LIMITS, client(1, 1)).is_none(), "both have pending queries");
    }

    #[tokio::test]
    async fn when_all_are_taken_the_idlest_of_all_is_evicted() {
        let all = Arc::new(Connections::default());
        let open: Vec<_> =
            (0..8).map(|n| all.admit(at(n), LIMITS, client(n as u16, 1)).expect("free").connection).collect();
        assert!(all.admit(at(9), LIMITS, client(100, 1)).expect("evicts").has_evicted);
        for (number, connection) in open.iter().enumerate() {
            assert_eq!(is_evicted(connection).await, number == 0);
        }
        drop(open);
        assert_eq!(all.open().entries.len(), 0, "the last one was dropped at once");
    }
}
