//! Limits on concurrent queries or connections: in total, per host, and fair between sites and between
//! the clients of a site.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::addr::{HostKey, Level, SiteKey, Usage};
use crate::dns64::{Outcome, Zone};

/// A client: its host and its site.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Client {
    pub(super) host: HostKey,
    pub(super) site: SiteKey,
}

impl Client {
    /// The client with this address in a zone.
    pub(super) fn new(zone: &Zone, addr: Ipv6Addr) -> Self {
        Self { host: zone.host_of(addr), site: zone.site_of(addr) }
    }

    /// A client of the site with this number.
    #[cfg(test)]
    pub(super) fn numbered(site: u16, number: u16) -> Self {
        let addr = Ipv6Addr::from([0x2001, 0xdb8, 0, site, 0, 0, 0, number]);
        let host = HostKey::new(crate::addr::ZoneId(0), addr, 128);
        Self { host, site: host.site(64) }
    }
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    /// Number in progress by host and by site, none of them zero.
    by_host: HashMap<HostKey, usize>,
    by_site: HashMap<SiteKey, usize>,
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
    client: Client,
}

/// The outcome of a query that a limit refuses.
pub(super) const fn refusal(level: Level) -> Outcome {
    match level {
        Level::Total => Outcome::Busy,
        Level::Site | Level::Host => Outcome::BusyClient,
    }
}

impl Admission {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits one of `client`: at most `total` in all and `per_client` of one address, with fair shares
    /// ([`Usage`]). A share is kept free for another site and another client, even if there is none yet: one
    /// flooding site gets half of the total, two get two thirds, and later sites are still admitted.
    ///
    /// # Errors
    /// The level whose limit is reached.
    pub(super) fn enter(
        self: &Arc<Self>,
        total: usize,
        per_client: usize,
        client: Client,
    ) -> Result<Permit, Level> {
        let mut state = self.state();
        let free = total.saturating_sub(state.total);
        if state.closed || free == 0 {
            return Err(Level::Total);
        }
        let of_client = state.by_host.get(&client.host).copied().unwrap_or(0);
        let of_site = state.by_site.get(&client.site).copied().unwrap_or(0);
        if of_client >= per_client.max(1) {
            return Err(Level::Host);
        }
        if of_site > 0 {
            // One unit of another site and one of another client of this site, as if both were there.
            let number = |count: usize| count as u64;
            Usage {
                total: number(total) + 2,
                used: number(state.total) + 2,
                site: number(of_site) + 1,
                host: number(of_client),
            }
            .admit()?;
        }
        state.total += 1;
        *state.by_host.entry(client.host).or_default() += 1;
        *state.by_site.entry(client.site).or_default() += 1;
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

fn decrement<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.total -= 1;
        decrement(&mut state.by_host, &self.client.host);
        decrement(&mut state.by_site, &self.client.site);
        if state.total == 0 {
            self.admission.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(site: u16, number: u16) -> Client {
        Client::numbered(site, number)
    }

    #[test]
    fn limits_hold_and_permits_are_returned() {
        let admission = Arc::new(Admission::default());
        let first = admission.enter(5, 2, client(1, 1)).expect("free");
        let _second = admission.enter(5, 2, client(2, 1)).expect("free");
        let others: Vec<_> = (3..6).map(|n| admission.enter(5, 2, client(n, 1)).expect("another")).collect();
        assert_eq!(admission.enter(5, 2, client(9, 1)).expect_err("limit of all"), Level::Total);
        drop((first, others));
        assert!(admission.enter(5, 2, client(9, 1)).is_ok());
        let counts = |state: MutexGuard<'_, State>| (state.by_host.len(), state.by_site.len());
        assert_eq!(counts(admission.state()), (1, 1), "only the second");
        let _twice: Vec<_> = (0..2).map(|_| admission.enter(100, 2, client(7, 1)).expect("free")).collect();
        assert_eq!(admission.enter(100, 2, client(7, 1)).expect_err("client's limit"), Level::Host);
        assert!(admission.enter(100, 2, client(7, 2)).is_ok(), "another client of the site");
    }

    #[test]
    fn addresses_of_one_host_prefix_share_a_limit() {
        let zone = |host_len| {
            let rules = crate::dns64::Rules { host_len, site_len: 48, ..Default::default() };
            let (clients, pref64) = (Vec::new(), Vec::new());
            Zone { id: crate::addr::ZoneId(0), name: String::new(), clients, pref64, rules }
        };
        let addr = |n: u16| Ipv6Addr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        for (host_len, entered) in [(64, 2), (128, 20)] {
            let (admission, zone) = (Arc::new(Admission::default()), zone(host_len));
            let all: Vec<_> =
                (0..20).map_while(|n| admission.enter(1_000, 2, Client::new(&zone, addr(n))).ok()).collect();
            assert_eq!(all.len(), entered, "hosts are /{host_len}");
        }
    }

    #[test]
    fn floods_leave_capacity_for_later_sites() {
        let admission = Arc::new(Admission::default());
        let mut permits = Vec::new();
        for flooder in 1..=8 {
            let before = permits.len();
            // From all addresses of the site.
            let flood = (0..10_000).map_while(|n| admission.enter(4_096, 256, client(flooder, n)).ok());
            permits.extend(flood);
            assert!(permits.len() > before, "the {flooder}th flood gets something too");
        }
        assert!(permits.len() < 4_096);
        assert!(admission.enter(4_096, 256, client(100, 1)).is_ok(), "and so does a quiet client");
    }

    #[test]
    fn a_flood_leaves_capacity_for_the_neighbours_of_its_site() {
        let admission = Arc::new(Admission::default());
        let permits: Vec<_> =
            (0..10_000).map_while(|_| admission.enter(4_096, 4_096, client(1, 1)).ok()).collect();
        assert!((1_000..2_000).contains(&permits.len()), "{}", permits.len());
        let neighbours: Vec<_> = (2..802).map(|n| admission.enter(4_096, 4_096, client(1, n))).collect();
        assert!(neighbours.iter().all(Result::is_ok), "800 neighbours, one query each");
    }
}
