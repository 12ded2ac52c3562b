//! Rate limits: queries per client, and answers per client and site. All threads share them.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::admission::Client;
use crate::dns64::Network;
use crate::time::Instant;

/// Sets of four buckets.
const SETS: usize = 4_096;

/// Answer bytes of one site, as a multiple of those of one client.
const CLIENTS_PER_SITE: u64 = 100;

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Hash of the key; 0 is unused.
    tag: u64,
    /// Time in ns at which the bucket is empty, at the configured rate.
    empty: u64,
}

/// Leaky buckets of one rate. Their number is fixed: a new key replaces the bucket of its set that has been
/// idle longest. A replaced key may send more, never less.
pub(super) struct Rate {
    seed: RandomState,
    sets: OnceLock<Vec<Mutex<[Bucket; 4]>>>,
    /// Nanoseconds per unit; 0 is no limit.
    each: AtomicU64,
}

impl Rate {
    pub(super) fn new(per_second: u64) -> Self {
        let rate = Self { seed: RandomState::new(), sets: OnceLock::new(), each: AtomicU64::new(0) };
        rate.set(per_second);
        rate
    }

    /// Changes the rate; the buckets keep their content.
    pub(super) fn set(&self, per_second: u64) {
        self.each.store(1_000_000_000u64.checked_div(per_second).unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether `units` more are within the rate. The burst is one second's worth.
    pub(super) fn allows(&self, now: Instant, whose: &impl Hash, units: u64) -> bool {
        let each = self.each.load(Ordering::Relaxed);
        if each == 0 {
            return true;
        }
        let tag = self.seed.hash_one(whose) | 1;
        let sets = self.sets.get_or_init(|| (0..SETS).map(|_| Mutex::default()).collect());
        let mut set = sets[(tag >> 32) as usize % SETS].lock().unwrap_or_else(PoisonError::into_inner);
        let index = set.iter().position(|bucket| bucket.tag == tag).unwrap_or_else(|| {
            let idle = (0..4).min_by_key(|n| set[*n].empty).unwrap_or(0);
            set[idle] = Bucket { tag, empty: 0 };
            idle
        });
        let now = now.as_nanos();
        let empty = set[index].empty.max(now).saturating_add(each.saturating_mul(units));
        let full = now + Duration::from_secs(1).as_nanos() as u64;
        if empty > full {
            return false;
        }
        set[index].empty = empty;
        true
    }
}

/// The rate limits of all clients.
pub(super) struct Rates {
    queries: Rate,
    /// Answers for one name.
    answers: Rate,
    /// Bytes of answers, by client and by site.
    bytes: Rate,
    site_bytes: Rate,
}

impl Rates {
    pub(super) fn new(network: &Network) -> Self {
        let rates = Self {
            queries: Rate::new(0),
            answers: Rate::new(0),
            bytes: Rate::new(0),
            site_bytes: Rate::new(0),
        };
        rates.set(network);
        rates
    }

    /// Applies new settings.
    pub(super) fn set(&self, network: &Network) {
        self.queries.set(network.queries_per_second.into());
        self.answers.set(network.responses_per_second.into());
        self.bytes.set(network.response_bytes_per_second.into());
        self.site_bytes.set(u64::from(network.response_bytes_per_second) * CLIENTS_PER_SITE);
    }

    /// Whether the client may send one more query.
    pub(super) fn allow_query(&self, now: Instant, client: Client) -> bool {
        self.queries.allows(now, &client.host, 1)
    }

    /// Whether the client, whose address may be forged, receives a whole answer of `len` bytes for the name
    /// with this hash.
    pub(super) fn allow_answer(&self, now: Instant, client: Client, name_hash: u64, len: usize) -> bool {
        let bytes = u64::try_from(len).unwrap_or(u64::MAX);
        self.answers.allows(now, &(client.host, name_hash), 1)
            && self.bytes.allows(now, &client.host, bytes)
            && self.site_bytes.allows(now, &client.site, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(site: u16, number: u16) -> Client {
        Client::numbered(site, number)
    }

    #[test]
    fn each_key_has_its_own_burst() {
        let rate = Rate::new(10);
        let now = Instant::from_secs(5);
        let allowed = (0..100).filter(|_| rate.allows(now, &1, 1)).count();
        assert_eq!(allowed, 10);
        assert!(rate.allows(now, &2, 1), "another has its own bucket");
        assert!(!rate.allows(Instant::from_millis(5_050), &1, 1));
        assert!(rate.allows(Instant::from_millis(5_101), &1, 1), "a tenth of a second is worth one");
        assert!(!rate.allows(Instant::from_millis(5_201), &1, 2));
        rate.set(0);
        assert!((0..100).all(|_| rate.allows(now, &1, 1)));
    }

    #[test]
    fn the_number_of_buckets_is_fixed() {
        let rate = Rate::new(1);
        for client in 0..100_000 {
            rate.allows(Instant::from_secs(1), &client, 1);
        }
        assert_eq!(rate.sets.get().map(Vec::len), Some(SETS));
    }

    #[test]
    fn the_default_rates_fit_a_floor() {
        let rates = Rates::new(&Network::default());
        let now = Instant::from_secs(5);
        // 800 hosts of one /64 query the same name five times within a second, and 40 other names each.
        for host in 0..800 {
            assert!((0..5).all(|_| rates.allow_answer(now, client(1, host), 64, 200)), "host {host}");
            assert!((0..40).all(|name| rates.allow_answer(now, client(1, host), name, 200)), "host {host}");
        }
    }

    #[test]
    fn addresses_of_one_host_prefix_share_a_rate() {
        let (network, now) =
            (Network { queries_per_second: 10, ..Network::default() }, Instant::from_secs(5));
        let rates = Rates::new(&network);
        let of_host = |number| {
            let addr = client(1, number).host.prefix.addr();
            let host = crate::addr::HostKey::new(crate::addr::ZoneId(0), addr, 64);
            Client { host, site: host.site(64) }
        };
        assert_eq!((0..100).filter(|n| rates.allow_query(now, of_host(*n))).count(), 10);
    }

    #[test]
    fn many_names_forged_in_the_name_of_one_client_are_bounded() {
        let rates = Rates::new(&Network::default());
        let (victim, now) = (client(1, 1), Instant::from_secs(5));
        let answers = (0..100_000).filter(|n| rates.allow_answer(now, victim, n % 100, 1_232)).count();
        let most = Network::default().response_bytes_per_second as usize;
        assert!(answers * 1_232 <= most && answers > 10, "{answers} answers");
        assert!(rates.allow_answer(now, client(1, 2), 1, 1_232), "its neighbour is not affected");
        // From all addresses of the site.
        let site: usize =
            (0..10_000).map(|n| usize::from(rates.allow_answer(now, client(2, n), 1, 1_232))).sum();
        assert!(site * 1_232 <= 100 * most, "{site} answers");
    }
}
