//! Credits not yet in the database.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::addr::Proto;
use crate::dns64::Ipv6Support;

/// Most entries of a batch in each table. More are counted as lost details; sums by zone and hour stay exact.
const ENTRIES: usize = 1 << 18;

/// Largest memory of a batch and of SQLite's cache, in bytes: about 200 bytes per entry of the five large tables.
pub(super) const MEMORY: u64 = 5 * 200 * ENTRIES as u64 + (8 << 20);

/// Sessions and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Traffic {
    /// New sessions.
    pub(super) sessions: u64,
    /// Bytes to servers and from servers, as counted by the translator.
    pub(super) bytes: [u64; 2],
}

impl Traffic {
    /// Bytes of both directions.
    pub(super) const fn total_bytes(&self) -> u64 {
        self.bytes[0].saturating_add(self.bytes[1])
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.bytes[0] += other.bytes[0];
        self.bytes[1] += other.bytes[1];
    }
}

/// Queries and sessions of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NameCredit {
    /// `None` if no AAAA query was answered.
    pub(super) support: Option<Ipv6Support>,
    pub(super) alias: Option<String>,
    pub(super) queries: u64,
    pub(super) traffic: Traffic,
    /// Unix seconds.
    pub(super) seen: (u64, u64),
}

/// Sessions of a literal, with the first and last Unix second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LiteralCredit {
    pub(super) traffic: Traffic,
    pub(super) seen: (u64, u64),
}

/// Sessions of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct HostCredit {
    pub(super) traffic: Traffic,
    /// Sessions to addresses that DNS64 synthesized for no host of the zone.
    pub(super) local_sessions: u64,
    /// Sessions to resolvers.
    pub(super) bypass_sessions: u64,
}

/// Sums of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ZoneCredit {
    pub(super) traffic: Traffic,
    pub(super) literals: Traffic,
    /// Queries of native names, names with A records only, and names with broken AAAA.
    pub(super) queries: [u64; 3],
    /// Largest numbers of live sessions and of assigned ports.
    pub(super) peak: [u64; 2],
    /// Limit of live sessions, of all zones together, and ports of pool4.
    pub(super) capacity: [u64; 2],
    /// Programme whose targets apply.
    pub(super) programme: Option<Arc<str>>,
}

/// A zone by name.
pub(super) type ZoneName = Arc<str>;

/// Credits since the last write.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) names: BTreeMap<(ZoneName, Arc<str>), NameCredit>,
    pub(super) name_hosts: BTreeSet<(ZoneName, Arc<str>, Arc<str>)>,
    pub(super) literals: BTreeMap<(ZoneName, Ipv4Addr, Proto, u16), LiteralCredit>,
    pub(super) hosts: BTreeMap<(ZoneName, Arc<str>), HostCredit>,
    pub(super) zones: BTreeMap<ZoneName, ZoneCredit>,
    pub(super) drops: BTreeMap<(ZoneName, &'static str), u64>,
    /// Names of addresses, and whether an AAAA record was synthesized.
    pub(super) addresses: BTreeMap<(ZoneName, Ipv4Addr), (Arc<str>, bool)>,
    /// Entries for which there was no room.
    pub(super) lost: u64,
}

/// A session's traffic since the last reading, joined with its name.
pub(super) struct SessionCredit {
    pub(super) zone: ZoneName,
    /// `None` if host identities are off.
    pub(super) host: Option<Arc<str>>,
    /// `None` for a literal.
    pub(super) name: Option<Arc<str>>,
    pub(super) destination: (Ipv4Addr, Proto, u16),
    pub(super) traffic: Traffic,
    /// Whether the session is a new one to an address that DNS64 synthesized for no host of the zone.
    pub(super) is_local: bool,
}

/// The entry of a key, unless the table is full.
fn entry<'a, K: Ord, V>(
    table: &'a mut BTreeMap<K, V>,
    key: K,
    lost: &mut u64,
    make: impl FnOnce() -> V,
) -> Option<&'a mut V> {
    if table.len() >= ENTRIES && !table.contains_key(&key) {
        *lost += 1;
        return None;
    }
    Some(table.entry(key).or_insert_with(make))
}

impl Batch {
    /// Credits a session.
    pub(super) fn credit(&mut self, now: u64, credit: SessionCredit) {
        let SessionCredit { zone, host, name, destination: (addr, proto, port), traffic, is_local } = credit;
        let sums = self.zones.entry(Arc::clone(&zone)).or_default();
        sums.traffic.add(traffic);
        if let Some(name) = &name {
            let make = || NameCredit {
                support: None,
                alias: None,
                queries: 0,
                traffic: Traffic::default(),
                seen: (now, now),
            };
            let key = (Arc::clone(&zone), Arc::clone(name));
            if let Some(row) = entry(&mut self.names, key, &mut self.lost, make) {
                row.traffic.add(traffic);
                row.seen = (row.seen.0.min(now), row.seen.1.max(now));
            }
        } else {
            sums.literals.add(traffic);
            let make = || LiteralCredit { traffic: Traffic::default(), seen: (now, now) };
            let key = (Arc::clone(&zone), addr, proto, port);
            if let Some(row) = entry(&mut self.literals, key, &mut self.lost, make) {
                row.traffic.add(traffic);
                row.seen.1 = row.seen.1.max(now);
            }
        }
        let Some(host) = host else { return };
        let key = (Arc::clone(&zone), Arc::clone(&host));
        if let Some(row) = entry(&mut self.hosts, key, &mut self.lost, HostCredit::default) {
            row.traffic.add(traffic);
            row.local_sessions += u64::from(is_local);
            row.bypass_sessions += traffic.sessions * u64::from(is_resolver(addr, proto, port));
        }
        if let Some(name) = name {
            if self.name_hosts.len() < ENTRIES {
                self.name_hosts.insert((zone, name, host));
            } else {
                self.lost += u64::from(!self.name_hosts.contains(&(zone, name, host)));
            }
        }
    }

    /// Credits queries for AAAA. `seen` is the time of the first and last one, in Unix seconds.
    pub(super) fn credit_queries(
        &mut self,
        (zone, name): (ZoneName, Arc<str>),
        support: Ipv6Support,
        alias: Option<String>,
        queries: u64,
        seen: (u64, u64),
    ) {
        self.zones.entry(Arc::clone(&zone)).or_default().queries[support as usize] += queries;
        let make =
            || NameCredit { support: None, alias: None, queries: 0, traffic: Traffic::default(), seen };
        if let Some(row) = entry(&mut self.names, (zone, name), &mut self.lost, make) {
            row.support = Some(support);
            row.alias = alias;
            row.queries += queries;
            row.seen = (row.seen.0.min(seen.0), row.seen.1.max(seen.1));
        }
    }

    /// Remembers the name of an address.
    pub(super) fn remember(&mut self, zone: ZoneName, addr: Ipv4Addr, name: Arc<str>, is_synthesized: bool) {
        let make = || (Arc::clone(&name), is_synthesized);
        if let Some(row) = entry(&mut self.addresses, (zone, addr), &mut self.lost, make) {
            *row = (name, is_synthesized);
        }
    }

    /// Notes the numbers of live sessions and of assigned ports of a zone.
    pub(super) fn note_load(&mut self, zone: &ZoneName, load: [u64; 2]) {
        let peak = &mut self.zones.entry(Arc::clone(zone)).or_default().peak;
        *peak = [peak[0].max(load[0]), peak[1].max(load[1])];
    }
}

/// IPv4 addresses of large public resolvers that serve DNS over HTTPS.
const RESOLVERS: [[u8; 4]; 22] = [
    [1, 0, 0, 1],
    [1, 0, 0, 2],
    [1, 0, 0, 3],
    [1, 1, 1, 1],
    [1, 1, 1, 2],
    [1, 1, 1, 3],
    [8, 8, 4, 4],
    [8, 8, 8, 8],
    [9, 9, 9, 9],
    [9, 9, 9, 10],
    [9, 9, 9, 11],
    [76, 76, 2, 0],
    [76, 76, 10, 0],
    [94, 140, 14, 14],
    [94, 140, 15, 15],
    [149, 112, 112, 9],
    [149, 112, 112, 10],
    [149, 112, 112, 11],
    [149, 112, 112, 112],
    [185, 228, 168, 9],
    [208, 67, 220, 220],
    [208, 67, 222, 222],
];

/// Whether a session bypasses DNS64: DNS over TLS or QUIC to any server, or DNS to a large public resolver.
fn is_resolver(addr: Ipv4Addr, proto: Proto, port: u16) -> bool {
    match (proto, port) {
        (Proto::Tcp | Proto::Udp, 853) => true,
        (Proto::Tcp | Proto::Udp, 53 | 443) => RESOLVERS.contains(&addr.octets()),
        (Proto::Tcp | Proto::Udp | Proto::Icmp, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_known_by_port_and_address() {
        let any = Ipv4Addr::new(192, 0, 2, 1);
        let known = Ipv4Addr::new(9, 9, 9, 9);
        for (addr, proto, port, expected) in [
            (any, Proto::Tcp, 853, true),
            (any, Proto::Udp, 853, true),
            (any, Proto::Icmp, 853, false),
            (any, Proto::Tcp, 443, false),
            (known, Proto::Tcp, 443, true),
            (known, Proto::Udp, 53, true),
            (known, Proto::Tcp, 80, false),
        ] {
            assert_eq!(is_resolver(addr, proto, port), expected, "{addr} {port}");
        }
        assert!(RESOLVERS.is_sorted(), "no resolver twice");
    }

    #[test]
    fn a_full_table_counts_what_it_loses() {
        let (mut table, mut lost) = (BTreeMap::new(), 0);
        for key in 0..ENTRIES + 3 {
            entry(&mut table, key, &mut lost, || ());
        }
        assert!(entry(&mut table, 0, &mut lost, || ()).is_some());
        assert_eq!((table.len(), lost), (ENTRIES, 3));
    }
}
