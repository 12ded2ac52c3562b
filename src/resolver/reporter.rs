//! Collects reports of all threads.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::report::{Name, Report};
use super::thread::Command;
use crate::addr::{HostKey, ZoneId};
use crate::dns64::AddressName;

/// Queries the threads of a running resolver.
#[derive(Clone, Debug)]
pub struct Reporter(pub(super) Vec<mpsc::UnboundedSender<Command>>);

impl Reporter {
    /// The state of the engines, with at most `most` names per zone. Skips threads that have ended.
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

    /// The names under which hosts last received these addresses, in this order: the latest of all threads. Skips
    /// threads that have ended.
    pub async fn names_of(&self, of: Arc<[(HostKey, Ipv4Addr)]>) -> Vec<Option<AddressName>> {
        let mut all = vec![None; of.len()];
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::NamesOf(Arc::clone(&of), to)).is_err() {
                continue;
            }
            for (known, found) in all.iter_mut().zip(from.await.unwrap_or_default()) {
                *known = match (known.take(), found) {
                    (Some(known), Some(found)) => Some(AddressName::merge(known, found)),
                    (known, found) => known.or(found),
                };
            }
        }
        all
    }

    /// The names with queries since the last call, by zone; `times` counts only those. A name belongs to one thread,
    /// so it occurs once. Skips threads that have ended.
    pub async fn take_usage(&self) -> BTreeMap<ZoneId, Vec<Name>> {
        let mut all: BTreeMap<ZoneId, Vec<Name>> = BTreeMap::new();
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::TakeUsage(to)).is_ok() {
                for (zone, names) in from.await.unwrap_or_default() {
                    all.entry(zone).or_default().extend(names);
                }
            }
        }
        all
    }

    /// Returns once all threads have responded. Skips threads that have ended.
    pub async fn ping(&self) {
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::Ping(to)).is_ok() {
                // A thread that ends drops the sender.
                let _ = from.await;
            }
        }
    }

    /// The failures of a name that the engines remember, as text. Skips threads that have ended.
    pub async fn failures(&self, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        for thread in &self.0 {
            let (to, from) = oneshot::channel();
            if thread.send(Command::Failures(name.to_owned(), to)).is_ok() {
                all.extend(from.await.unwrap_or_default());
            }
        }
        all
    }
}
