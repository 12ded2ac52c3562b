//! The maps of the overload filter.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{Ipv4Prefix, Ipv6Prefix, PortRange};
use crate::device::bpf::{Kind, Map};
use crate::device::steer::maps::{prefix6, remove_stale, room};
use crate::nat64;
use crate::ownership::Owners;
use crate::siit::{self, Inside};

/// The hosts that the filter knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hosts<'a> {
    /// Workers and static bindings.
    pub(crate) owners: &'a Owners,
    /// Zones, with the prefix lengths of hosts and sites.
    pub(crate) zones: &'a [nat64::Zone],
    /// Stateless mappings.
    pub(crate) siit: Option<&'a siit::Settings>,
}

/// Number of token buckets for hosts and sites without a port block, and for mapped hosts; a power of two.
pub(super) const BUCKETS: usize = 8192;
const _: () = assert!(BUCKETS.is_power_of_two());
/// Maximum number of known hosts and port ranges. Others count as unknown.
const KNOWN: usize = 1 << 18;
/// First word of the key of a range of IPv4 ports. No IPv6 source begins with it.
pub(super) const V4: i32 = -1;

/// A host, or 256 ports of an IPv4 address.
type Key = [u8; 16];

/// Which address of a packet a prefix of mapped hosts applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(super) enum Side {
    Source6,
    Destination6,
    Source4,
    Destination4,
}

/// A key of the map of mapped prefixes: length, [`Side`], address.
type MappedKey = [u8; MAPPED_KEY];
/// Length of such a key in bytes.
pub(super) const MAPPED_KEY: usize = 24;
/// Bits of such a key in front of the address.
pub(super) const SIDE_BITS: u32 = 32;

/// The maps.
#[derive(Debug)]
pub(super) struct Maps {
    /// Client prefix to the masks of its hosts and of its sites.
    pub(super) zones: Map,
    /// Prefix of mapped hosts to the mask of such a host.
    pub(super) mapped: Map,
    /// Hash of a mapped host to its virtual time.
    pub(super) mapped_buckets: Map,
    /// Host or port range to its virtual time.
    pub(super) known: Map,
    /// Hash of an unknown host or site to its virtual time.
    pub(super) buckets: Map,
    clients: Vec<[u8; 20]>,
    mappings: Vec<MappedKey>,
    /// Number of port blocks and static bindings of each key in `known`.
    uses: HashMap<Key, u32>,
    /// The keys of the static bindings.
    statics: Vec<Key>,
}

impl Maps {
    /// Creates empty maps.
    pub(super) fn new(hosts: &Hosts<'_>) -> io::Result<Self> {
        Ok(Self {
            zones: Map::new(Kind::Lpm, 20, 32, room(hosts.owners.zones().len()))?,
            mapped: Map::new(Kind::Lpm, MAPPED_KEY, 16, room(mappings(hosts).count()))?,
            mapped_buckets: Map::new(Kind::Array, 4, 8, BUCKETS)?,
            known: Map::new(Kind::SparseHash, 16, 8, KNOWN)?,
            buckets: Map::new(Kind::Array, 4, 8, BUCKETS)?,
            clients: Vec::new(),
            mappings: Vec::new(),
            uses: HashMap::new(),
            statics: Vec::new(),
        })
    }

    /// Updates zones, mappings and static bindings.
    pub(super) fn fill(&mut self, hosts: &Hosts<'_>) -> io::Result<()> {
        self.fill_zones(hosts)?;
        self.fill_mapped(hosts)?;
        let new: Vec<_> =
            hosts.owners.statics().map(|(_, mapped, _)| port_key(mapped.addr, mapped.port)).collect();
        new.iter().for_each(|key| self.learn(*key));
        for old in std::mem::replace(&mut self.statics, new) {
            self.forget(old);
        }
        Ok(())
    }

    fn fill_zones(&mut self, hosts: &Hosts<'_>) -> io::Result<()> {
        let mut keys = Vec::new();
        for zone in hosts.zones {
            let masks = [zone.host_len, zone.site_len.min(zone.host_len)].map(|len| mask6(len).to_be_bytes());
            for clients in &zone.clients {
                let key = prefix6(*clients);
                self.zones.set(&key, masks.as_flattened())?;
                keys.push(key);
            }
        }
        let old = std::mem::replace(&mut self.clients, keys);
        remove_stale(&self.zones, &old, &self.clients)
    }

    fn fill_mapped(&mut self, hosts: &Hosts<'_>) -> io::Result<()> {
        let mut keys = Vec::new();
        for (key, mask) in mappings(hosts) {
            self.mapped.set(&key, &mask.to_be_bytes())?;
            keys.push(key);
        }
        let old = std::mem::replace(&mut self.mappings, keys);
        remove_stale(&self.mapped, &old, &self.mappings)
    }

    /// Notes a port block of a host.
    pub(super) fn assigned(&mut self, host: Ipv6Prefix, addr: Ipv4Addr, ports: PortRange) {
        keys(host, addr, ports).for_each(|key| self.learn(key));
    }

    /// Notes the end of a port block.
    pub(super) fn released(&mut self, host: Ipv6Prefix, addr: Ipv4Addr, ports: PortRange) {
        keys(host, addr, ports).for_each(|key| self.forget(key));
    }

    /// A host that does not fit in the map counts as unknown.
    fn learn(&mut self, key: Key) {
        let uses = self.uses.entry(key).or_default();
        *uses += 1;
        if *uses == 1
            && let Err(why) = self.known.set(&key, &[0; 8])
        {
            tracing::debug!("overload filter: {why}");
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(uses) = self.uses.get_mut(&key) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&key);
            if let Err(why) = self.known.remove(&key) {
                tracing::debug!("overload filter: {why}");
            }
        }
    }
}

fn mask6(len: u8) -> u128 {
    Ipv6Prefix::containing(Ipv6Addr::UNSPECIFIED, len).mask()
}

/// The prefixes of the inside hosts of stateless translation in packets from both sides, and the mask of a host.
fn mappings(hosts: &Hosts<'_>) -> impl Iterator<Item = (MappedKey, u128)> {
    let inside = hosts.siit.map_or(Inside::V6, |siit| siit.inside);
    let (side6, side4) = match inside {
        Inside::V6 => (Side::Source6, Side::Destination4),
        Inside::V4 => (Side::Destination6, Side::Source4),
    };
    hosts.siit.into_iter().flat_map(pairs).flat_map(move |(v4, v6)| {
        // Bits after those of the IPv4 address are the same host's.
        let host = mask6(v6.len() + (32 - v4.len()));
        let narrow = u128::from(v4.addr().to_bits()) << 96;
        let key4 = mapped_key(side4, v4.len(), narrow.to_be_bytes());
        [(mapped_key(side6, v6.len(), v6.addr().octets()), host), (key4, u128::MAX)]
    })
}

/// The prefixes of the inside hosts, by explicit mapping and by RFC 6052.
fn pairs(siit: &siit::Settings) -> impl Iterator<Item = (Ipv4Prefix, Ipv6Prefix)> {
    let explicit = siit.eams.iter().map(|eam| (eam.v4(), eam.v6()));
    let prefix = siit.hosts_pref64.or(siit.pref64);
    let embedded = siit.hosts.iter().filter_map(move |hosts| Some((*hosts, prefix?.covering(*hosts))));
    explicit.chain(embedded)
}

fn mapped_key(side: Side, len: u8, addr: [u8; 16]) -> MappedKey {
    let mut key = [0; MAPPED_KEY];
    key[..4].copy_from_slice(&(SIDE_BITS + u32::from(len)).to_ne_bytes());
    key[4..8].copy_from_slice(&(side as i32).to_ne_bytes());
    key[8..].copy_from_slice(&addr);
    key
}

/// The keys of a port block: its host, and its ports.
fn keys(host: Ipv6Prefix, addr: Ipv4Addr, ports: PortRange) -> impl Iterator<Item = Key> {
    let ranges = (ports.first() >> 8..=ports.last() >> 8).map(move |range| port_key(addr, range << 8));
    std::iter::once(host_key(host.addr())).chain(ranges)
}

const fn host_key(host: Ipv6Addr) -> Key {
    host.octets()
}

/// The key of the 256 ports around `port`.
fn port_key(addr: Ipv4Addr, port: u16) -> Key {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&V4.to_ne_bytes());
    key[8..12].copy_from_slice(&addr.octets());
    key[12..].copy_from_slice(&u32::from(port >> 8).to_ne_bytes());
    key
}
