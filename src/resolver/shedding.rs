//! Fair shares of a UDP socket that overflows: which queries are answered when more arrive than a thread can answer.
//!
//! The kernel drops what does not fit into the receive buffer, whoever sent it. So a thread whose socket overflows
//! reads faster than it answers: it drops the queries of those who have their share before it parses them.
//!
//! - Known clients come first: those whose query passed the rate limit and missed the answer cache before the overflow. In a batch with queries of others, one
//!   client has at most a quarter.
//! - New clients have an eighth of a batch per site. So an attacker who forges the addresses of one site displaces
//!   new clients of that site only.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::admission::Client;
use super::mmsg::BATCH;
use crate::addr::{HostKey, SiteKey};
use crate::time::Instant;

/// How long a thread sheds queries after its socket overflowed.
const HOLD: Duration = Duration::from_secs(1);
/// Queries of one client in a batch with queries of others.
const PER_CLIENT: usize = BATCH / 4;
/// Queries of a site's new clients in a batch.
const NEW_PER_SITE: usize = BATCH / 8;

/// Groups of known clients. Sites are spread over them: clients of a site replace only clients of the same group.
const GROUPS: usize = 32;
/// Clients of a group.
const GROUP: usize = 4_096;

/// Clients whose queries reached an engine. All threads share it.
pub(super) struct KnownClients {
    seed: RandomState,
    /// Part of the hash of each client; 0 is unused.
    tags: Box<[AtomicU32]>,
}

impl KnownClients {
    pub(super) fn new() -> Self {
        let tags = (0..GROUPS * GROUP).map(|_| AtomicU32::new(0)).collect();
        Self { seed: RandomState::new(), tags }
    }

    /// The two slots where a client may be, and its tag.
    fn slots(&self, client: Client) -> ([&AtomicU32; 2], u32) {
        let (site, addr) = (self.seed.hash_one(client.site) as usize, self.seed.hash_one(client.host));
        let start = site % GROUPS * GROUP;
        let slot = addr as usize % GROUP;
        ([&self.tags[start + slot], &self.tags[start + (slot ^ 1)]], (addr >> 32) as u32 | 1)
    }

    /// Whether this client is known. Rarely true for another client.
    pub(super) fn has(&self, client: Client) -> bool {
        let (slots, tag) = self.slots(client);
        slots.iter().any(|slot| slot.load(Ordering::Relaxed) == tag)
    }

    /// Remembers a client. It may replace one of the same group.
    pub(super) fn remember(&self, client: Client) {
        if self.has(client) {
            return;
        }
        let (slots, tag) = self.slots(client);
        let free = slots.iter().find(|slot| slot.load(Ordering::Relaxed) == 0);
        free.unwrap_or(&slots[(tag >> 1) as usize % 2]).store(tag, Ordering::Relaxed);
    }
}

/// Which queries of a batch are answered.
#[derive(Default)]
pub(super) struct Shedding {
    until: Instant,
    /// Whether the batch has queries of several clients.
    is_mixed: bool,
    /// Queries of the batch so far, by client and by site of new clients.
    clients: Vec<(HostKey, usize)>,
    sites: Vec<(SiteKey, usize)>,
}

/// Counts one more of `key`. Returns their number.
fn count<K: PartialEq>(counts: &mut Vec<(K, usize)>, key: K) -> usize {
    match counts.iter_mut().find(|(one, _)| *one == key) {
        Some((_, count)) => {
            *count += 1;
            *count
        }
        None => {
            counts.push((key, 1));
            1
        }
    }
}

impl Shedding {
    /// Begins a batch. `overflowed`: the socket has dropped datagrams since the last one.
    pub(super) fn begin<A: PartialEq>(
        &mut self,
        now: Instant,
        overflowed: bool,
        mut senders: impl Iterator<Item = A>,
    ) {
        if overflowed {
            self.until = now + HOLD;
        }
        if self.is_active(now) {
            let first = senders.next();
            self.is_mixed = senders.any(|sender| Some(&sender) != first.as_ref());
            self.clients.clear();
            self.sites.clear();
        }
    }

    /// Whether queries are shed.
    pub(super) fn is_active(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Whether to answer one more query of this client.
    pub(super) fn admits(&mut self, now: Instant, known: &KnownClients, client: Client) -> bool {
        if !self.is_active(now) {
            return true;
        }
        let of_client = count(&mut self.clients, client.host);
        if known.has(client) {
            return !self.is_mixed || of_client <= PER_CLIENT;
        }
        count(&mut self.sites, client.site) <= NEW_PER_SITE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_secs(10);

    /// How many queries of each of these clients pass in one batch.
    fn passing(known: &KnownClients, batch: &[Client], which: impl Fn(&Client) -> bool) -> usize {
        let mut shedding = Shedding::default();
        shedding.begin(T0, true, batch.iter().map(|client| client.host));
        let passed = batch.iter().filter(|client| shedding.admits(T0, known, **client));
        passed.filter(|client| which(client)).count()
    }

    #[test]
    fn nothing_is_shed_without_an_overflow() {
        let (known, mut shedding) = (KnownClients::new(), Shedding::default());
        shedding.begin(T0, false, std::iter::empty::<()>());
        assert!((0..100).all(|n| shedding.admits(T0, &known, Client::numbered(1, n))));
        shedding.begin(T0, true, std::iter::empty::<()>());
        assert!((0..100).any(|n| !shedding.admits(T0, &known, Client::numbered(1, n))));
        shedding.begin(T0 + HOLD, false, std::iter::empty::<()>());
        assert!((0..100).all(|n| shedding.admits(T0 + HOLD, &known, Client::numbered(1, n))), "it has ended");
    }

    #[test]
    fn known_clients_come_before_new_ones_of_their_site() {
        let known = KnownClients::new();
        let friend = Client::numbered(1, 1);
        known.remember(friend);
        let mut batch: Vec<_> = (100..130).map(|n| Client::numbered(1, n)).collect();
        batch.extend([friend; 2]);
        assert_eq!(passing(&known, &batch, |client| *client == friend), 2);
        assert_eq!(passing(&known, &batch, |client| *client != friend), NEW_PER_SITE);
    }

    #[test]
    fn new_clients_of_another_site_are_answered() {
        let known = KnownClients::new();
        let mut batch: Vec<_> = (100..130).map(|n| Client::numbered(1, n)).collect();
        batch.extend([Client::numbered(2, 1), Client::numbered(3, 1)]);
        assert_eq!(passing(&known, &batch, |client| client.site != batch[0].site), 2);
    }

    #[test]
    fn a_known_client_that_floods_leaves_room_for_others() {
        let known = KnownClients::new();
        let (flooder, other) = (Client::numbered(1, 1), Client::numbered(1, 2));
        [flooder, other].into_iter().for_each(|client| known.remember(client));
        let mut batch = vec![flooder; 31];
        batch.push(other);
        assert_eq!(passing(&known, &batch, |client| *client == flooder), PER_CLIENT);
        assert_eq!(passing(&known, &batch, |client| *client == other), 1);
        assert_eq!(passing(&known, &[flooder; 32], |_| true), 32, "alone it may send as much as is answered");
    }

    #[test]
    fn hosts_of_a_floor_are_remembered_and_others_of_the_group_are_not_evicted() {
        let known = KnownClients::new();
        (0..800).for_each(|n| known.remember(Client::numbered(1, n)));
        let remembered = (0..800).filter(|n| known.has(Client::numbered(1, *n))).count();
        assert!(remembered > 750, "{remembered}");
        let before = (0..800).filter(|n| known.has(Client::numbered(1, *n))).count();
        let group = |site| known.seed.hash_one(Client::numbered(site, 0).site) as usize % GROUPS;
        let other = (2..).find(|site| group(*site) != group(1)).expect("another group");
        (0..60_000).for_each(|n| known.remember(Client::numbered(other, n)));
        assert_eq!((0..800).filter(|n| known.has(Client::numbered(1, *n))).count(), before);
    }
}
