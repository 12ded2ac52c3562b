//! The maps of the overload filter.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{Ipv6Prefix, PortRange};
use crate::device::bpf::{Kind, Map};
use crate::device::steer::maps::{Masks, room};
use crate::ownership::Owners;

/// Number of token buckets for hosts and sites without a port block; a power of two.
pub(super) const BUCKETS: usize = 8192;
const _: () = assert!(BUCKETS.is_power_of_two());
/// Maximum number of known hosts and port ranges. Others count as unknown.
const KNOWN: usize = 1 << 18;
/// First word of the key of a range of IPv4 ports. No IPv6 source begins with it.
pub(super) const V4: i32 = -1;

/// A host, or 256 ports of an IPv4 address.
type Key = [u8; 16];

/// The maps.
#[derive(Debug)]
pub(super) struct Maps {
    /// Client prefix to the mask of its hosts.
    pub(super) zones: Map,
    /// Host or port range to its virtual time.
    pub(super) known: Map,
    /// Hash of an unknown host or site to its virtual time.
    pub(super) buckets: Map,
    masks: Masks,
    /// Number of port blocks and static bindings of each key in `known`.
    uses: HashMap<Key, u32>,
    /// The keys of the static bindings.
    statics: Vec<Key>,
}

impl Maps {
    /// Creates empty maps.
    pub(super) fn new(owners: &Owners) -> io::Result<Self> {
        Ok(Self {
            zones: Map::new(Kind::Lpm, 20, 16, room(owners.zones().len()))?,
            known: Map::new(Kind::SparseHash, 16, 8, KNOWN)?,
            buckets: Map::new(Kind::Array, 4, 8, BUCKETS)?,
            masks: Masks::default(),
            uses: HashMap::new(),
            statics: Vec::new(),
        })
    }

    /// Updates zones and static bindings.
    pub(super) fn fill(&mut self, owners: &Owners) -> io::Result<()> {
        self.masks.fill(&self.zones, owners)?;
        let new: Vec<_> = owners.statics().map(|(_, mapped, _)| port_key(mapped.addr, mapped.port)).collect();
        new.iter().for_each(|key| self.learn(*key));
        for old in std::mem::replace(&mut self.statics, new) {
            self.forget(old);
        }
        Ok(())
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
