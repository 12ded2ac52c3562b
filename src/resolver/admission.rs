//! How many exchanges may be in flight, of all and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dns64::{Limits, Outcome};

#[derive(Debug, Default)]
struct State {
    total: usize,
    /// Has at most `total` entries, none of them zero.
    clients: HashMap<IpAddr, usize>,
    closed: bool,
}

/// Counts what is in flight and refuses what would be too much.
#[derive(Debug, Default)]
pub(super) struct Admission {
    state: Mutex<State>,
    idle: Notify,
}

/// The right to one exchange, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Admission {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits one exchange of `client`.
    ///
    /// # Errors
    /// [`Outcome::Busy`] or [`Outcome::BusyClient`] at a limit.
    pub(super) fn enter(self: &Arc<Self>, limits: Limits, client: IpAddr) -> Result<Permit, Outcome> {
        let mut state = self.state();
        if state.closed || state.total >= limits.in_flight {
            return Err(Outcome::Busy);
        }
        let of_client = state.clients.entry(client).or_default();
        if *of_client >= limits.in_flight_per_client.max(1) {
            return Err(Outcome::BusyClient);
        }
        *of_client += 1;
        state.total += 1;
        Ok(Permit { admission: Arc::clone(self), client })
    }

    /// How many exchanges there are.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.state().total
    }

    /// Admits nobody any more, and waits until the last exchange has ended.
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

    #[test]
    fn limits_hold_and_permits_come_back() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { in_flight: 3, in_flight_per_client: 2, ..Limits::default() };
        let one: IpAddr = "2001:db8::1".parse().expect("literal");
        let two: IpAddr = "2001:db8::2".parse().expect("literal");
        let first = admission.enter(limits, one).expect("free");
        let _second = admission.enter(limits, one).expect("free");
        assert_eq!(admission.enter(limits, one).expect_err("client's limit"), Outcome::BusyClient);
        let _third = admission.enter(limits, two).expect("another client");
        assert_eq!(admission.enter(limits, two).expect_err("limit of all"), Outcome::Busy);
        drop(first);
        assert!(admission.enter(limits, one).is_ok());
        assert_eq!(admission.state().clients.len(), 2);
    }
}
