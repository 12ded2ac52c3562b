//! What the ledger reads from the running gateway.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::ledger::Source;
use super::view::View;
use crate::addr::{HostKey, ZoneId};
use crate::counters::Tally;
use crate::dns64::AddressName;
use crate::reason::Reason;
use crate::resolver;

/// Names, queries and counters of the running gateway, for the ledger.
pub struct LedgerSource {
    view: Arc<View>,
    /// Waits for the threads of the resolver.
    runtime: tokio::runtime::Runtime,
}

impl LedgerSource {
    /// Reads from the view of a gateway.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(view: Arc<View>) -> io::Result<Self> {
        Ok(Self { view, runtime: tokio::runtime::Builder::new_current_thread().build()? })
    }
}

impl Source for LedgerSource {
    fn names_of(&self, of: Vec<(HostKey, Ipv4Addr)>) -> Vec<Option<AddressName>> {
        match self.view.reporter() {
            Some(reporter) => self.runtime.block_on(reporter.names_of(of.into())),
            None => vec![None; of.len()],
        }
    }

    fn take_usage(&self) -> BTreeMap<ZoneId, Vec<resolver::Name>> {
        self.view.reporter().map(|reporter| self.runtime.block_on(reporter.take_usage())).unwrap_or_default()
    }

    fn drops(&self, zone: ZoneId, reason: Reason) -> u64 {
        self.view.sum(Some(zone), |counters| counters.drops(reason).read())
    }

    fn load(&self, zone: ZoneId) -> [u64; 2] {
        let sessions = self.view.sum(Some(zone), |counters| counters.sessions.iter().map(Tally::read).sum());
        [sessions, self.view.sum(Some(zone), |counters| counters.ports.read())]
    }
}
