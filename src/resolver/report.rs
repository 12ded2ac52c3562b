//! What the engines know, gathered from all threads: their caches, and the ledger of names.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::thread::Command;
use crate::addr::ZoneId;
use crate::dns64::{Engine, Reach, Settings};
use crate::time::Instant;

/// What the engines know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Names in the caches.
    pub cached_names: usize,
    /// Bytes that they take.
    pub cached_bytes: usize,
    /// The ledger, by zone.
    pub zones: BTreeMap<ZoneId, ZoneReport>,
}

/// The ledger of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ZoneReport {
    /// How many names there are, by how they can be reached.
    pub reach: BTreeMap<Reach, u64>,
    /// The names, the most asked for first; perhaps not all.
    pub names: Vec<Name>,
}

/// A name in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The name.
    pub name: String,
    /// How it can be reached.
    pub reach: Reach,
    /// Where its addresses are, if it is an alias.
    pub alias: Option<String>,
    /// How many times it was asked for.
    pub times: u64,
    /// How long ago it was asked for first.
    pub first: Duration,
    /// How long ago it was asked for last.
    pub last: Duration,
}

/// Asks the threads of a resolver. Good for as long as it runs.
#[derive(Clone, Debug)]
pub struct Reporter(pub(super) Vec<mpsc::UnboundedSender<Command>>);

impl Reporter {
    /// What the engines know at present, with at most `most` names of each zone. A thread that has
    /// ended says nothing.
    pub async fn report(&self, most: usize) -> Report {
        let mut whole = Report::default();
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::Report(most, to)).is_ok()
                && let Ok(part) = from.await
            {
                whole.add(part);
            }
        }
        for zone in whole.zones.values_mut() {
            zone.keep(most);
        }
        whole
    }
}

impl Report {
    /// What one engine knows.
    pub(super) fn of<T>(engine: &Engine<T>, settings: &Settings, now: Instant, most: usize) -> Self {
        let (cached_names, cached_bytes) = engine.cached();
        let zone = |id| {
            let names = engine.names(id).map(|(name, asked)| Name {
                name,
                reach: asked.reach,
                alias: asked.alias,
                times: asked.times,
                first: now.since(asked.first),
                last: now.since(asked.last),
            });
            let mut zone = ZoneReport { reach: engine.reach(id), names: names.collect() };
            zone.keep(most);
            zone
        };
        let zones = settings.zones.iter().map(|z| (z.id, zone(z.id))).collect();
        Self { cached_names, cached_bytes, zones }
    }

    fn add(&mut self, other: Self) {
        self.cached_names += other.cached_names;
        self.cached_bytes += other.cached_bytes;
        for (id, part) in other.zones {
            let whole = self.zones.entry(id).or_default();
            part.reach.into_iter().for_each(|(reach, count)| *whole.reach.entry(reach).or_default() += count);
            // A name belongs to one thread.
            whole.names.extend(part.names);
        }
    }
}

impl ZoneReport {
    fn keep(&mut self, most: usize) {
        self.names.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.name.cmp(&b.name)));
        self.names.truncate(most);
    }
}
