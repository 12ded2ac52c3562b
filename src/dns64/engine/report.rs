//! What the engine reports: names, clients' IPv6 support, failures, sizes.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use super::Engine;
use crate::addr::{HostKey, ZoneId};
use crate::dns64::ledger::{AddressName, Ipv6Support, NameUsage};
use crate::dns64::wire;
use crate::message;
use crate::time::Instant;

impl<T> Engine<T> {
    /// Names with addresses that clients of a zone have queried, in no order.
    pub fn names(&self, zone: ZoneId) -> impl Iterator<Item = (String, NameUsage)> {
        self.ledger.names(zone)
    }

    /// Number of such names by IPv6 support.
    pub fn ipv6_support(&self, zone: ZoneId) -> BTreeMap<Ipv6Support, u64> {
        self.ledger.count(zone)
    }

    /// The name under which the host last received `v4`, otherwise any host of its zone.
    pub fn name_of(&self, host: HostKey, v4: Ipv4Addr) -> Option<AddressName> {
        self.ledger.name_of(host, v4)
    }

    /// The names of a zone with queries since the last call. `times` counts only those.
    pub fn take_usage(&mut self, zone: ZoneId) -> Vec<(String, NameUsage)> {
        self.ledger.take_usage(zone)
    }

    /// The failures of a name that the engine remembers, as text.
    pub fn failures(&self, now: Instant, name: &str) -> Vec<String> {
        let Some(name) = wire::name_of(name) else { return Vec::new() };
        let text = |(kind, code, seconds): (u16, Option<u8>, u32)| {
            let kind = message::type_text(kind);
            let what = code.map_or_else(|| "no reply".to_owned(), |code| message::rcode_text(code.into()));
            format!("{kind}: {what}; not queried again for {seconds} s")
        };
        let mut all: Vec<_> = self.cache.failures(now, &name).into_iter().map(text).collect();
        if self.broken_aaaa.contains(now, &name) {
            all.push("AAAA: the servers of its DNS zone do not answer; not waited for".to_owned());
        }
        all
    }

    /// Number of names in the cache, and their bytes.
    pub fn cached(&self) -> (usize, usize) {
        (self.cache.names(), self.cache.bytes())
    }

    /// Number of pending client queries.
    pub fn pending(&self) -> usize {
        self.pending_queries.len()
    }
}
