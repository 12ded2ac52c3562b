//! Joins sessions with names and hosts.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::batch::{Batch, SessionCredit, ZoneName};
use super::sessions::{Change, Sessions};
use super::store::Store;
use super::zones::Zones;
use crate::addr::{HostKey, ZoneId};
use crate::dns64::AddressName;
use crate::observe::binding_log::Hosts;
use crate::reason::Reason;
use crate::resolver;

/// New sessions for which names are asked together.
const CHUNK: usize = 4096;
/// Most names of hosts that are kept.
const HOSTS: usize = 1 << 17;

/// What the ledger reads besides sessions.
pub trait Source: Send {
    /// The names under which hosts last received addresses.
    fn names_of(&self, of: Vec<(HostKey, Ipv4Addr)>) -> Vec<Option<AddressName>>;
    /// Names with queries since the last call, by zone.
    fn take_usage(&self) -> BTreeMap<ZoneId, Vec<resolver::Name>>;
    /// Packets of a zone that were dropped for a reason, since the start.
    fn drops(&self, zone: ZoneId, reason: Reason) -> u64;
    /// Live sessions and assigned ports of a zone.
    fn load(&self, zone: ZoneId) -> [u64; 2];
}

/// Credits that wait to be written.
pub(super) struct Credits<S> {
    source: S,
    zones: Zones,
    /// `None` if host identities are off.
    hosts: Option<Hosts>,
    host_names: HashMap<HostKey, Arc<str>>,
    /// Changes of sessions without a name, with their host.
    unnamed: Vec<(HostKey, ZoneName, Change)>,
    /// Dropped packets at the last collection.
    drops: BTreeMap<(ZoneId, Reason), u64>,
    pub(super) batch: Batch,
}

impl<S: Source> Credits<S> {
    pub(super) fn new(source: S, zones: Zones, hosts: Option<Hosts>) -> Self {
        let (host_names, unnamed, drops) = (HashMap::new(), Vec::new(), BTreeMap::new());
        Self { source, zones, hosts, host_names, unnamed, drops, batch: Batch::default() }
    }

    pub(super) fn set_zones(&mut self, zones: Zones) {
        self.zones = zones;
    }

    /// Credits a change, now or with the next [`finish`](Self::finish).
    pub(super) fn note(&mut self, now: u64, sessions: &mut Sessions, change: Change, store: &Store) {
        // A reload may have removed the zone.
        let Some((host, zone)) = self.zones.host_of(change.record.v6.addr) else { return };
        let zone = Arc::clone(zone);
        if change.unnamed.is_none() {
            let name = change.name.clone();
            self.credit(now, (host, zone), &change, (name, false));
            return;
        }
        self.unnamed.push((host, zone, change));
        if self.unnamed.len() >= CHUNK {
            self.finish(now, sessions, store);
        }
    }

    /// Asks for the names of sessions, and credits them.
    pub(super) fn finish(&mut self, now: u64, sessions: &mut Sessions, store: &Store) {
        let unnamed = std::mem::take(&mut self.unnamed);
        if unnamed.is_empty() {
            return;
        }
        let of = unnamed.iter().map(|(host, _, change)| (*host, change.record.remote.addr)).collect();
        let found = self.source.names_of(of).into_iter().chain(std::iter::repeat(None));
        for ((host, zone, change), found) in unnamed.into_iter().zip(found) {
            let addr = change.record.remote.addr;
            let (name, is_synthesized) = match found {
                Some(found) => {
                    let name: Arc<str> = found.name.into();
                    self.batch.remember(Arc::clone(&zone), addr, Arc::clone(&name), found.is_synthesized);
                    (Some(name), found.is_synthesized)
                }
                None => match self.remembered(now, &zone, addr, store) {
                    Some((name, is_synthesized)) => (Some(name), is_synthesized),
                    None => (None, false),
                },
            };
            if let (Some(at), Some(name)) = (change.unnamed, &name) {
                sessions.set_name(at, name);
            }
            self.credit(now, (host, zone), &change, (name, !is_synthesized));
        }
    }

    /// The name of an address in the database or the batch.
    fn remembered(
        &self,
        now: u64,
        zone: &ZoneName,
        addr: Ipv4Addr,
        store: &Store,
    ) -> Option<(Arc<str>, bool)> {
        let key = (Arc::clone(zone), addr);
        let waiting = self.batch.addresses.get(&key).cloned();
        waiting.or_else(|| {
            store.name_of(now, zone, addr).map(|(name, is_synthesized)| (name.into(), is_synthesized))
        })
    }

    fn credit(
        &mut self,
        now: u64,
        (host, zone): (HostKey, ZoneName),
        change: &Change,
        (name, is_local): (Option<Arc<str>>, bool),
    ) {
        let record = &change.record;
        // The client of a session that began on the IPv4 side chose no destination.
        let is_local = is_local && change.traffic.sessions > 0 && !record.inbound;
        let credit = SessionCredit {
            zone,
            host: self.host_name(host),
            name,
            destination: (record.remote.addr, record.proto, port_of(record)),
            traffic: change.traffic,
            is_local,
        };
        self.batch.credit(now, credit);
    }

    fn host_name(&mut self, host: HostKey) -> Option<Arc<str>> {
        let hosts = self.hosts.as_ref()?;
        if self.host_names.len() >= HOSTS && !self.host_names.contains_key(&host) {
            self.host_names.clear();
        }
        Some(Arc::clone(self.host_names.entry(host).or_insert_with(|| hosts.name(host).into())))
    }

    /// Collects queries, dropped packets and load. `now` is in Unix seconds.
    pub(super) fn collect(&mut self, now: u64) {
        for (id, names) in self.source.take_usage() {
            let Some(zone) = self.zones.name(id).cloned() else { continue };
            for usage in names {
                let ago = |time: std::time::Duration| now.saturating_sub(time.as_secs());
                let seen = (ago(usage.last), ago(usage.last));
                let key = (Arc::clone(&zone), usage.name.into());
                self.batch.credit_queries(key, usage.ipv6_support, usage.alias, usage.times, seen);
            }
        }
        for zone in self.zones.iter() {
            self.batch.note_load(&zone.name, self.source.load(zone.id));
            if let Some(sums) = self.batch.zones.get_mut(&zone.name) {
                sums.capacity = zone.capacity;
                sums.programme.clone_from(&zone.programme);
            }
            for reason in Reason::ALL {
                let count = self.source.drops(zone.id, reason);
                let before = self.drops.insert((zone.id, reason), count).unwrap_or(0);
                if count > before {
                    *self.batch.drops.entry((Arc::clone(&zone.name), reason.name())).or_default() +=
                        count - before;
                }
            }
        }
    }
}

/// The port of a session's server. ICMP has none.
fn port_of(record: &crate::translator::SessionRecord) -> u16 {
    match record.proto {
        crate::addr::Proto::Tcp | crate::addr::Proto::Udp => record.remote.port,
        crate::addr::Proto::Icmp => 0,
    }
}
