//! What the steering program looks up, and how it is kept equal to [`Owners`].

use std::io;

use super::bpf::{Kind, Map};
use crate::addr::Proto;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Transport4};
use crate::ownership::{BLOCKS, Owners};

/// Room for what a reload may add: twice what there is, and at least this.
const LEAST: usize = 64;

/// The four maps.
#[derive(Debug)]
pub(super) struct Maps {
    /// Client prefix to the mask of its hosts.
    pub(super) zones: Map,
    /// Pool prefix to its first address and that one's row.
    pub(super) pools: Map,
    /// Row of an address to the worker of each of its blocks.
    pub(super) rows: Map,
    /// Address, port and protocol of a static binding to its worker.
    pub(super) statics: Map,
    held: Keys,
}

/// The keys that are in the maps now.
#[derive(Debug, Default)]
struct Keys {
    zones: Vec<[u8; 20]>,
    pools: Vec<[u8; 8]>,
    statics: Vec<[u8; 8]>,
}

const fn room(entries: usize) -> usize {
    if entries < LEAST / 2 { LEAST } else { entries * 2 }
}

impl Maps {
    /// Empty maps with room for twice what `owners` has.
    pub(super) fn new(owners: &Owners) -> io::Result<Self> {
        Ok(Self {
            zones: Map::new(Kind::Lpm, 20, 16, room(owners.zones().len()))?,
            pools: Map::new(Kind::Lpm, 8, 8, room(owners.pools().len()))?,
            rows: Map::new(Kind::Array, 4, BLOCKS, room(owners.table().len() / BLOCKS))?,
            statics: Map::new(Kind::Hash, 8, 4, room(owners.statics().len()))?,
            held: Keys::default(),
        })
    }

    /// Makes the maps say what `owners` says. Meanwhile packets may go to the wrong worker, who
    /// hands them over.
    pub(super) fn fill(&mut self, owners: &Owners) -> io::Result<()> {
        let mut keys = Keys::default();
        for (row, blocks) in owners.table().chunks_exact(BLOCKS).enumerate() {
            self.rows.set(&(row as u32).to_ne_bytes(), blocks)?;
        }
        for (net, first) in owners.pools() {
            let value = [net.addr().to_bits().to_ne_bytes(), (*first as u32).to_ne_bytes()];
            let key = prefix4(*net);
            self.pools.set(&key, value.as_flattened())?;
            keys.pools.push(key);
        }
        // The shortest first, so that where one prefix is named twice the first one counts, as
        // there.
        for (net, host_len) in owners.zones().iter().rev() {
            let key = prefix6(*net);
            let mask = Ipv6Prefix::holding(net.addr(), *host_len).mask();
            self.zones.set(&key, &mask.to_be_bytes())?;
            keys.zones.push(key);
        }
        for (proto, place, worker) in owners.statics() {
            let key = static_key(proto, place);
            self.statics.set(&key, &u32::from(worker.0).to_ne_bytes())?;
            keys.statics.push(key);
        }
        let old = std::mem::replace(&mut self.held, keys);
        forget(&self.zones, &old.zones, &self.held.zones)?;
        forget(&self.pools, &old.pools, &self.held.pools)?;
        forget(&self.statics, &old.statics, &self.held.statics)
    }
}

/// Removes the keys that are no longer held.
fn forget<const N: usize>(map: &Map, old: &[[u8; N]], held: &[[u8; N]]) -> io::Result<()> {
    let held: std::collections::HashSet<_> = held.iter().collect();
    old.iter().filter(|key| !held.contains(key)).try_for_each(|key| map.remove(key))
}

fn prefix4(net: Ipv4Prefix) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&u32::from(net.len()).to_ne_bytes());
    key[4..].copy_from_slice(&net.addr().octets());
    key
}

fn prefix6(net: Ipv6Prefix) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&u32::from(net.len()).to_ne_bytes());
    key[4..].copy_from_slice(&net.addr().octets());
    key
}

fn static_key(proto: Proto, place: Transport4) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&place.addr.octets());
    key[4..6].copy_from_slice(&place.port.to_ne_bytes());
    key[6..].copy_from_slice(&(proto as u16).to_ne_bytes());
    key
}
