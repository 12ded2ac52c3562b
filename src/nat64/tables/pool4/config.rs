//! What can be assigned, and to whom.

use crate::addr::{Proto, Transport4, ZoneId};
use crate::nat64::settings::{Pairing, Pool};
use crate::ownership::Owners;

/// The pool of a zone, and how its hosts share it.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct ZonePool {
    /// The zone.
    pub(in crate::nat64) id: ZoneId,
    /// Index of its pool.
    pub(in crate::nat64) pool: usize,
    /// Maximum part of the pool, in percent.
    pub(in crate::nat64) share: u8,
    /// Prefix length of its sites.
    pub(in crate::nat64) site_len: u8,
}

/// What can be assigned, and to whom. Only a reload changes it.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct PoolConfig {
    /// Ownership of hosts and port ranges.
    pub(in crate::nat64) owners: Owners,
    /// Addresses and ports of each pool.
    pub(in crate::nat64) pools: Vec<Pool>,
    /// The pool of each zone.
    pub(in crate::nat64) zones: Vec<ZonePool>,
    /// Mapped addresses of static bindings.
    pub(in crate::nat64) statics: Vec<(Proto, Transport4)>,
    /// Whether a host may have ports of several addresses.
    pub(in crate::nat64) pairing: Pairing,
}

impl PoolConfig {
    /// Index of a zone.
    pub(super) fn zone(&self, zone: ZoneId) -> Option<usize> {
        self.zones.iter().position(|entry| entry.id == zone)
    }
}
