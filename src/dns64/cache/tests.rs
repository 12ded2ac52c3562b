//! The cache by itself: limits and eviction.

use super::*;
use crate::addr::{HostKey, ZoneId};
use crate::dns64::Transport;
use crate::dns64::query::Query;
use crate::dns64::wire::rr;

const NOW: Instant = Instant::from_secs(100);

fn cache(bytes: usize) -> Cache {
    Cache::new(CacheLimits { bytes, ..CacheLimits::default() }, Seed(64))
}

fn key(name: &str, kind: u16) -> Key {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(wire::name_of(name).expect("a name"));
    message.extend([0, 1, 0, 1]);
    let query = Query::read(&message, Transport::Udp).expect("a query");
    Key::new(&query, query.name(), kind)
}

/// A reply with one record: A for A, else a SOA record as from a real server, names compressed.
fn reply(key: &Key) -> Vec<u8> {
    let is_a = key.kind == rr::A;
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, u8::from(!is_a), 0, 0];
    message.extend_from_slice(&key.name);
    message.extend_from_slice(&key.kind.to_be_bytes());
    message.extend([0, 1]);
    if is_a {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51, 100, 7]);
    } else {
        let data = [&b"\x02ns\xc0\x10\x05admin\xc0\x10"[..], &[0, 0, 0, 60].repeat(5)].concat();
        message.extend([0xc0, 16, 0, 6, 0, 1, 0, 0, 1, 44, 0, data.len() as u8]);
        message.extend(data);
    }
    message
}

fn site(number: u32) -> SiteKey {
    HostKey::new(ZoneId(0), (u128::from(number) << 64).into(), 128).site(64)
}

fn knows(cache: &mut Cache, name: &str) -> bool {
    // Reads without a query, which would change the group.
    let key = key(name, rr::A);
    cache.index(&key.name).is_some_and(|index| cache.entries[index as usize].1.find(&key).is_some())
}

#[test]
fn bytes_per_name() {
    let mut cache = cache(1 << 30);
    for number in 0..2_000 {
        for kind in [rr::A, rr::AAAA] {
            let key = key(&format!("www{number}.some-agency{number}.gov.example"), kind);
            assert!(cache.store(NOW, &key, site(0), &reply(&key)).is_some());
        }
    }
    assert_eq!(cache.names(), 2_000);
    let each = cache.bytes() / 2_000;
    assert!(each < 320, "{each} bytes per name with A and a negative AAAA answer");
}

#[test]
fn the_byte_limit_holds() {
    let mut cache = cache(20_000);
    for number in 0..3_000_u32 {
        let key = key(&format!("n{number}.example"), if number % 3 == 0 { rr::AAAA } else { rr::A });
        let site = site(number % 100);
        match number % 5 {
            0 => cache.store_failure(NOW, &key, site, Failure::NoReply),
            _ => _ = cache.store(NOW, &key, site, &reply(&key)),
        }
        cache.get(NOW, &key, site);
        assert!(cache.bytes() <= 20_000);
        assert_eq!(cache.names() + cache.free.len(), cache.entries.len());
    }
    assert!(cache.names() > 20);
    cache.set(CacheLimits { bytes: 0, ..CacheLimits::default() });
    assert_eq!((cache.names(), cache.bytes()), (0, 0));
}

#[test]
fn a_flood_of_random_names_evicts_only_its_own() {
    let mut cache = cache(400_000);
    let flooder = site(1_000);
    // Each name belongs to another site: none of them shares the flooder's list.
    for number in 0..200 {
        let key = key(&format!("wanted{number}.example"), rr::A);
        cache.store(NOW, &key, site(number), &reply(&key));
    }
    for number in 0..50_000 {
        let key = key(&format!("r{number}.flood.example"), rr::A);
        cache.store(NOW, &key, flooder, &reply(&key));
        // Querying twice does not help the flooder.
        cache.get(NOW, &key, flooder);
    }
    assert!((0..200).all(|n| knows(&mut cache, &format!("wanted{n}.example"))));
    assert!(cache.bytes() > 390_000, "it uses space that other groups do not need");
}

#[test]
fn shared_names_outlive_names_queried_once() {
    let mut cache = cache(100_000);
    let common = key("portal.gov.example", rr::A);
    cache.store(NOW, &common, site(0), &reply(&common));
    cache.get(NOW, &common, site(1));
    for number in 0..20_000 {
        let key = key(&format!("x{number}.example"), rr::A);
        cache.store(NOW, &key, site(number % 4), &reply(&key));
    }
    assert!(knows(&mut cache, "portal.gov.example"));
}

#[test]
fn malformed_replies_are_not_cached() {
    let mut cache = cache(100_000);
    let key = key("x.example", rr::A);
    let whole = reply(&key);
    for end in 0..whole.len() {
        assert_eq!(cache.store(NOW, &key, site(0), &whole[..end]), None, "cut at {end}");
    }
    assert_eq!(cache.names(), 0);
    let mut odd = whole.clone();
    odd[whole.len() - 10] = 0x80; // a TTL over 2^31
    assert_eq!(cache.store(NOW, &key, site(0), &odd), Some(0));
    assert_eq!(cache.store(NOW, &key, site(0), &whole), Some(300));
    assert_eq!(cache.store(NOW, &key, site(0), &odd), Some(0));
    assert!(
        cache.get(NOW, &key, site(0)).fresh.is_none(),
        "an answer that must not be cached removes the old one"
    );
}

#[test]
fn failures_without_end_are_remembered_for_300_s() {
    for failure in [1, 4, 5, 300, 4_000, u32::MAX] {
        let mut cache = Cache::new(CacheLimits { failure, ..CacheLimits::default() }, Seed(64));
        let key = key("x.example", rr::A);
        let mut now = 100;
        for times in 0..600 {
            let is_failing =
                |cache: &mut Cache, at| cache.get(Instant::from_secs(at), &key, site(0)).failing.is_some();
            assert!(!is_failing(&mut cache, now));
            cache.store_failure(Instant::from_secs(now), &key, site(0), Failure::NoReply);
            let holds = (u64::from(failure) << times.min(16)).min(300);
            assert!(is_failing(&mut cache, now + holds - 1), "{failure} s, {times} times");
            now += holds;
        }
    }
}
