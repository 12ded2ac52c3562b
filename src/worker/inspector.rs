//! Inspection of running workers from other threads.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc as commands;

use tokio::sync::oneshot;

use super::inbox::Inbox;
use super::run::Command;
use super::survey::Survey;
use super::trace::{Queue, Trace, TraceFilter, Tracer};
use crate::translator::{AddressUsage, Ending, PoolSurvey, ReloadSurvey, Settings, WorkerId};

/// Sessions and bindings that new settings would end, by [`Ending`], over all workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndingCounts {
    /// Sessions.
    pub sessions: [u64; Ending::COUNT],
    /// Bindings.
    pub bindings: [u64; Ending::COUNT],
}

/// Usage of pool4 over all workers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolUsage {
    /// Usage by address, sorted.
    pub addresses: Vec<AddressUsage>,
    /// Hosts by number of their zone.
    pub hosts: Vec<u64>,
}

/// Inspects all workers.
#[derive(Clone, Debug)]
pub struct Inspector {
    workers: Vec<commands::Sender<Command>>,
    inboxes: Arc<[Inbox]>,
}

impl Inspector {
    pub(super) const fn new(workers: Vec<commands::Sender<Command>>, inboxes: Arc<[Inbox]>) -> Self {
        Self { workers, inboxes }
    }

    /// Surveys the usage of pool4.
    ///
    /// # Errors
    /// The first worker that has ended, was reconfigured meanwhile, or makes too many surveys.
    pub async fn pool(&self) -> Result<PoolUsage, WorkerId> {
        let mut usage = PoolUsage::default();
        let mut addresses: BTreeMap<Ipv4Addr, AddressUsage> = BTreeMap::new();
        let begin = self.workers.iter().map(|_| |done| Survey::Pool(PoolSurvey::default(), done));
        for survey in self.survey(begin).await? {
            for of_worker in survey.addresses {
                addresses.entry(of_worker.addr).and_modify(|sum| add(sum, &of_worker)).or_insert(of_worker);
            }
            usage.hosts.resize(usage.hosts.len().max(survey.hosts.len()), 0);
            usage.hosts.iter_mut().zip(survey.hosts).for_each(|(sum, hosts)| *sum += u64::from(hosts));
        }
        usage.addresses = addresses.into_values().collect();
        Ok(usage)
    }

    /// Surveys what new settings of the workers would end.
    ///
    /// # Errors
    /// As [`pool`](Self::pool).
    pub async fn reload(&self, settings: Vec<Settings>) -> Result<EndingCounts, WorkerId> {
        let begin = settings.into_iter().map(|settings| {
            let survey = Box::new(ReloadSurvey::new(settings.rules, settings.nat64));
            |done| Survey::Reload(survey, done)
        });
        let mut sum = EndingCounts::default();
        for survey in self.survey(begin).await? {
            for ending in 0..Ending::COUNT {
                sum.sessions[ending] += survey.sessions[ending];
                sum.bindings[ending] += survey.bindings[ending];
            }
        }
        Ok(sum)
    }

    /// Begins to follow packets. Replaces an earlier trace.
    pub fn trace(&self, filter: &TraceFilter) -> Trace {
        let each = self.workers.iter().zip(self.inboxes.iter()).map(|(worker, inbox)| {
            let queue = Arc::new(Queue::new());
            let tracer = Box::new(Tracer::new(filter.clone(), Arc::clone(&queue)));
            // A worker that has ended drops the command.
            let _ = worker.send(Command::Trace(tracer));
            inbox.waker().wake();
            queue
        });
        Trace::new(each.collect())
    }

    /// Requests a survey from each worker and waits for all.
    async fn survey<T, F>(&self, begin: impl Iterator<Item = F>) -> Result<Vec<T>, WorkerId>
    where
        F: FnOnce(oneshot::Sender<T>) -> Survey,
    {
        let mut waiting = Vec::with_capacity(self.workers.len());
        for ((worker, inbox), begin) in self.workers.iter().zip(self.inboxes.iter()).zip(begin) {
            let (done, result) = oneshot::channel();
            // A worker that has ended drops the command and with it `done`.
            let _ = worker.send(Command::Survey(begin(done)));
            inbox.waker().wake();
            waiting.push(result);
        }
        let mut results = Vec::with_capacity(waiting.len());
        for (index, result) in waiting.into_iter().enumerate() {
            // There are at most `MAX_WORKERS`.
            results.push(result.await.map_err(|_| WorkerId(index as u8))?);
        }
        Ok(results)
    }
}

/// Adds another worker's share of an address.
fn add(sum: &mut AddressUsage, other: &AddressUsage) {
    sum.ports += other.ports;
    sum.assigned += other.assigned;
    sum.blocks += other.blocks;
    sum.empty_blocks += other.empty_blocks;
    sum.hosts += other.hosts;
    for proto in 0..3 {
        sum.used[proto] += other.used[proto];
        sum.quarantined[proto] += other.quarantined[proto];
    }
}
