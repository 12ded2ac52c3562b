//! Limits on concurrent queries or connections: in total and per client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dns64::Outcome;

#[derive(Debug, Default)]
struct State {
    total: usize,
    /// At most `total` entries, none of them zero.
    clients: HashMap<IpAddr, usize>,
    closed: bool,
}

/// Counts what is in progress and refuses what exceeds a limit.
#[derive(Debug, Default)]
pub(super) struct Admission {
    state: Mutex<State>,
    idle: Notify,
}

/// Permission for one query or connection, returned on drop.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Admission {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits one of `client`: at most `total` in all, and per client at most `per_client` and at most as
    /// many as are free. One flooding client thus gets half of the total, two get two thirds, and later
    /// clients are still admitted.
    ///
    /// # Errors
    /// [`Outcome::Busy`] or [`Outcome::BusyClient`] at a limit.
    pub(super) fn enter(
        self: &Arc<Self>,
        total: usize,
        per_client: usize,
        client: IpAddr,
    ) -> Result<Permit, Outcome> {
        let mut state = self.state();
        let free = total.saturating_sub(state.total);
        if state.closed || free == 0 {
            return Err(Outcome::Busy);
        }
        let of_client = state.clients.entry(client).or_default();
        if *of_client >= per_client.max(1).min(free) && *of_client > 0 {
            return Err(Outcome::BusyClient);
        }
        *of_client += 1;
        state.total += 1;
        Ok(Permit { admission: Arc::clone(self), client })
    }

    /// The number in progress.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.state().total
    }

    /// Admits nothing more, and waits until the last permit is returned.
    pub(super) async fn close(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let mut state = self.state();
                state.closed = true;
                if state.total == 0 {
                    return;
                }
            }
            idle.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.total -= 1;
        if let Some(count) = state.clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                state.clients.remove(&self.client);
            }
        }
        if state.total == 0 {
            self.admission.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number])
    }

    #[test]
    fn limits_hold_and_permits_are_returned() {
        let admission = Arc::new(Admission::default());
        let first = admission.enter(5, 2, client(1)).expect("free");
        let _second = admission.enter(5, 2, client(1)).expect("free");
        assert_eq!(admission.enter(5, 2, client(1)).expect_err("client's limit"), Outcome::BusyClient);
        let others: Vec<_> = (2..5).map(|n| admission.enter(5, 2, client(n)).expect("another")).collect();
        assert_eq!(admission.enter(5, 2, client(9)).expect_err("limit of all"), Outcome::Busy);
        drop(first);
        drop(others);
        assert!(admission.enter(5, 2, client(1)).is_ok());
        assert_eq!(admission.state().clients.len(), 1);
    }

    #[test]
    fn floods_leave_capacity_for_later_clients() {
        let admission = Arc::new(Admission::default());
        let mut permits = Vec::new();
        for flooder in 1..=8 {
            let before = permits.len();
            permits.extend((0..10_000).map_while(|_| admission.enter(4_096, 4_096, client(flooder)).ok()));
            assert!(permits.len() > before, "the {flooder}th flood gets something too");
        }
        assert!(permits.len() < 4_096);
        assert!(admission.enter(4_096, 4_096, client(100)).is_ok(), "and so does a quiet client");
    }
}
