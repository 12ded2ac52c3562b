//! DNS zones whose servers do not answer AAAA queries. Later queries do not wait for them again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pending::PendingQuery;
use super::wire::{self, rr};
use crate::time::Instant;

/// How long a DNS zone is remembered.
const LIFETIME: Duration = Duration::from_secs(600);
/// Maximum number of DNS zones. A further one replaces the one that expires first.
const MAX_ZONES: usize = 1_024;

/// Expiry by DNS zone name (uncompressed, lowercase).
#[derive(Debug, Default)]
pub(super) struct BrokenAaaaDnsZones(BTreeMap<Box<[u8]>, Instant>);

impl BrokenAaaaDnsZones {
    /// Remembers the DNS zone of `name`, taken from `reply` to an SOA query for it. Only a negative answer or
    /// an SOA record names the DNS zone; positive answers do not.
    pub(super) fn learn(&mut self, now: Instant, name: &[u8], reply: &[u8]) {
        let Some(zone) = zone_in(reply).filter(|zone| zone.len() > 1 && is_within(zone, name)) else {
            return;
        };
        if self.0.len() >= MAX_ZONES
            && let Some(oldest) = self.0.iter().min_by_key(|(_, until)| **until).map(|(zone, _)| zone.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(zone.into(), now + LIFETIME);
    }

    /// Ends the AAAA wait of a query in a remembered DNS zone.
    pub(super) fn end_aaaa_wait(&self, now: Instant, pending: &mut PendingQuery) {
        if !self.0.is_empty() && pending.unanswered_aaaa_owner().is_some_and(|name| self.contains(now, &name))
        {
            pending.aaaa_deadline = now;
        }
    }

    /// Whether `name` is in a remembered DNS zone.
    pub(super) fn contains(&self, now: Instant, name: &[u8]) -> bool {
        let mut rest = name;
        while let Some((len, _)) = rest.split_first().filter(|_| !self.0.is_empty()) {
            if self.0.get(rest).is_some_and(|until| now < *until) {
                return true;
            }
            rest = rest.get(1 + usize::from(*len)..).unwrap_or_default();
        }
        false
    }

    /// Forgets DNS zones that an AAAA reply disproves: the zone of a negative answer, or every zone that
    /// contains the owner of an address.
    pub(super) fn forget(&mut self, reply: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        match wire::answers(reply).filter(|record| record.kind == rr::AAAA).last() {
            Some(record) => {
                let Some(name) = wire::name_at(reply, record.at) else { return };
                self.0.retain(|zone, _| !is_within(zone, &name));
            }
            None => {
                let zone = zone_in(reply).unwrap_or_default();
                self.0.remove(&zone[..]);
            }
        }
    }
}

/// Whether `name` is the DNS zone `zone` or a subdomain of it.
fn is_within(zone: &[u8], name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        if rest == zone {
            return true;
        }
        let next = rest.first().and_then(|len| rest.get(1 + usize::from(*len)..));
        match next {
            Some(next) if !next.is_empty() => rest = next,
            _ => return false,
        }
    }
}

/// The owner of the first SOA record.
fn zone_in(reply: &[u8]) -> Option<Vec<u8>> {
    let start = wire::layout(reply)?.question.end;
    let soa = wire::records(reply, start).find(|record| record.kind == rr::SOA)?;
    wire::name_at(reply, soa.at)
}
