//! Zones whose servers never answer AAAA queries: nobody waits for them a second time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pending::PendingQuery;
use super::wire::{self, rr};
use crate::time::Instant;

/// How long a zone is remembered.
const MEMORY: Duration = Duration::from_secs(600);
/// Zones remembered; the one to be forgotten next goes when there would be more.
const MOST: usize = 1_024;

/// Zones by name (uncompressed, in small letters), and until when they are remembered.
#[derive(Debug, Default)]
pub(super) struct Broken(BTreeMap<Box<[u8]>, Instant>);

impl Broken {
    /// Remembers the zone that `reply`, an answer to a query for the SOA record of `name`, says the
    /// name is in. Which zone that is nobody else tells: positive answers don't.
    pub(super) fn learn(&mut self, now: Instant, name: &[u8], reply: &[u8]) {
        let Some(zone) = zone_in(reply).filter(|zone| zone.len() > 1 && holds(zone, name)) else { return };
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, until)| **until).map(|(zone, _)| zone.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(zone.into(), now + MEMORY);
    }

    /// Ends a wait for AAAA in a zone that is remembered.
    pub(super) fn hasten(&self, now: Instant, wait: &mut PendingQuery) {
        if !self.0.is_empty() && wait.waits_for_aaaa_of().is_some_and(|name| self.hold(now, &name)) {
            wait.patience = now;
        }
    }

    /// Whether `name` is in a zone that is remembered.
    pub(super) fn hold(&self, now: Instant, name: &[u8]) -> bool {
        let mut rest = name;
        while let Some((len, _)) = rest.split_first().filter(|_| !self.0.is_empty()) {
            if self.0.get(rest).is_some_and(|until| now < *until) {
                return true;
            }
            rest = rest.get(1 + usize::from(*len)..).unwrap_or_default();
        }
        false
    }

    /// Forgets what a AAAA answer disproves: the zone of a denial, or every zone that holds the owner
    /// of an address.
    pub(super) fn forgive(&mut self, reply: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        match wire::answers(reply).filter(|record| record.kind == rr::AAAA).last() {
            Some(record) => {
                let Some(name) = wire::name_at(reply, record.at) else { return };
                self.0.retain(|zone, _| !holds(zone, &name));
            }
            None => {
                let zone = zone_in(reply).unwrap_or_default();
                self.0.remove(&zone[..]);
            }
        }
    }
}

/// Whether `name` is `zone` or below it.
fn holds(zone: &[u8], name: &[u8]) -> bool {
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
