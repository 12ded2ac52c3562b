//! The maps of the steering program, filled from [`Owners`].

use std::io;

use crate::addr::Proto;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Transport4};
use crate::device::bpf::{Kind, Map};
use crate::ownership::{Owners, RANGES};

/// Minimum capacity of a map. Maps have twice the initial entries, for later reloads.
const MIN_ENTRIES: usize = 64;

/// The four maps.
#[derive(Debug)]
pub(super) struct Maps {
    /// Client prefix to the mask of its hosts.
    pub(super) zones: Map,
    /// Pool prefix to its first address and the row of that address.
    pub(super) pools: Map,
    /// Row of a pool address to the worker of each of its port ranges.
    pub(super) rows: Map,
    /// Mapped address, port and protocol of a static binding to its worker.
    pub(super) statics: Map,
    masks: Masks,
    keys: Keys,
}

/// The keys in a map of client prefixes.
#[derive(Debug, Default)]
struct Masks(Vec<[u8; 20]>);

/// The current keys of the maps.
#[derive(Debug, Default)]
struct Keys {
    pools: Vec<[u8; 8]>,
    statics: Vec<[u8; 8]>,
}

/// Capacity of a map for `entries` entries at the start.
pub(in crate::device) const fn room(entries: usize) -> usize {
    if entries < MIN_ENTRIES / 2 { MIN_ENTRIES } else { entries * 2 }
}

impl Maps {
    /// Creates empty maps with capacity for twice the entries of `owners`.
    pub(super) fn new(owners: &Owners) -> io::Result<Self> {
        Ok(Self {
            zones: Map::new(Kind::Lpm, 20, 16, room(owners.zones().len()))?,
            pools: Map::new(Kind::Lpm, 8, 8, room(owners.pools().len()))?,
            rows: Map::new(Kind::Array, 4, RANGES, room(owners.table().len() / RANGES))?,
            statics: Map::new(Kind::Hash, 8, 4, room(owners.statics().len()))?,
            masks: Masks::default(),
            keys: Keys::default(),
        })
    }

    /// Updates the maps to `owners`. Meanwhile packets may go to the wrong worker, which hands them over.
    pub(super) fn fill(&mut self, owners: &Owners) -> io::Result<()> {
        let mut keys = Keys::default();
        for (row, ranges) in owners.table().chunks_exact(RANGES).enumerate() {
            self.rows.set(&(row as u32).to_ne_bytes(), ranges)?;
        }
        for (net, first) in owners.pools() {
            let value = [net.addr().to_bits().to_ne_bytes(), (*first as u32).to_ne_bytes()];
            let key = prefix4(*net);
            self.pools.set(&key, value.as_flattened())?;
            keys.pools.push(key);
        }
        self.masks.fill(&self.zones, owners)?;
        for (proto, mapped, worker) in owners.statics() {
            let key = static_key(proto, mapped);
            self.statics.set(&key, &u32::from(worker.0).to_ne_bytes())?;
            keys.statics.push(key);
        }
        let old = std::mem::replace(&mut self.keys, keys);
        remove_stale(&self.pools, &old.pools, &self.keys.pools)?;
        remove_stale(&self.statics, &old.statics, &self.keys.statics)
    }
}

impl Masks {
    /// Updates `map`, from client prefix to the mask of its hosts.
    fn fill(&mut self, map: &Map, owners: &Owners) -> io::Result<()> {
        let mut keys = Vec::new();
        // In reverse: if a prefix occurs twice, the first one wins, as in `Owners`.
        for (net, host_len) in owners.zones().iter().rev() {
            let key = prefix6(*net);
            let mask = Ipv6Prefix::containing(net.addr(), *host_len).mask();
            map.set(&key, &mask.to_be_bytes())?;
            keys.push(key);
        }
        let old = std::mem::replace(&mut self.0, keys);
        remove_stale(map, &old, &self.0)
    }
}

/// Removes the keys of `old` that are not in `new`.
pub(in crate::device) fn remove_stale<const N: usize>(
    map: &Map,
    old: &[[u8; N]],
    new: &[[u8; N]],
) -> io::Result<()> {
    let new: std::collections::HashSet<_> = new.iter().collect();
    old.iter().filter(|key| !new.contains(key)).try_for_each(|key| map.remove(key))
}

fn prefix4(net: Ipv4Prefix) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&u32::from(net.len()).to_ne_bytes());
    key[4..].copy_from_slice(&net.addr().octets());
    key
}

/// A key of a map of IPv6 prefixes.
pub(in crate::device) fn prefix6(net: Ipv6Prefix) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&u32::from(net.len()).to_ne_bytes());
    key[4..].copy_from_slice(&net.addr().octets());
    key
}

fn static_key(proto: Proto, mapped: Transport4) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&mapped.addr.octets());
    key[4..6].copy_from_slice(&mapped.port.to_ne_bytes());
    key[6..].copy_from_slice(&(proto as u16).to_ne_bytes());
    key
}
