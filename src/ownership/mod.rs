//! Which worker owns a host, a port range or a datagram. Workers share nothing.
//!
//! | packet | owner |
//! |---|---|
//! | IPv6, fragment or not | hash of the source masked to its zone's host prefix |
//! | IPv6 ICMP error | steered by its source, then handed over to the owner of the quoted destination |
//! | IPv4 fragment, the first included | hash of source, destination, protocol and identification |
//! | other IPv4, to a static binding | the worker of the binding's host |
//! | other IPv4, to a pool address | the table `owner[address][range of the port]` |
//! | IPv4 to an address outside every pool | hash of source and destination: that worker translates it without state |
//!
//! For an ICMP query the identifier is the port; for an ICMP error it is the mapped port in the quoted packet.
//!
//! # The hash
//! The steering program in the kernel computes the same hash from words of the packet, so these steps are
//! fixed. All numbers are unsigned 64-bit numbers; words have 32 bits in network order:
//!
//! 1. `h = seed`, zero-extended.
//! 2. For each word, in order: `h ^= word`, `h *= 0x9e3779b97f4a7c15` (the low 64 bits),
//!    `h ^= h >> 32`.
//! 3. `worker = ((h & 0xffff_ffff) * workers) >> 32`.
//!
//! The words of a host are the four of its masked address. The words of a datagram are source,
//! destination, and `protocol << 16 | identification`.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crate::addr::{HostKey, Ipv4Prefix, Ipv6Prefix, PortRange, Proto, Transport4, WorkerId};

/// Maximum number of workers.
pub const MAX_WORKERS: u8 = 64;
/// Port ranges of an address: 64 of 16 ports below 1024, 252 of 256 ports above.
pub const RANGES: usize = LOW_RANGES + 252;
/// Ranges below port 1024.
pub(crate) const LOW_RANGES: usize = 64;
/// The multiplier of the hash.
pub const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The index of the range that contains `port`, below [`RANGES`].
pub const fn range_of(port: u16) -> usize {
    if port < 1024 { port as usize / 16 } else { LOW_RANGES + port as usize / 256 - 4 }
}

/// The ports of `range`. The first range contains port 0, which must not be assigned.
///
/// # Panics
/// If `range` is not below [`RANGES`].
pub const fn ports_of(range: usize) -> PortRange {
    assert!(range < RANGES, "no such range");
    let (first, len) =
        if range < LOW_RANGES { (range * 16, 16) } else { ((range - LOW_RANGES + 4) * 256, 256) };
    PortRange::new(first as u16, (first + len - 1) as u16).expect("a range is not empty")
}

/// The offset of `port` in its range.
pub(crate) const fn offset_of(port: u16) -> usize {
    if port < 1024 { port as usize % 16 } else { port as usize % 256 }
}

/// The hash of the module's documentation, reduced to a worker ID.
///
/// `workers` is at least 1.
pub fn hash(seed: u32, words: &[u32], workers: u8) -> WorkerId {
    WorkerId(((u64::from(mix(seed, words)) * u64::from(workers)) >> 32) as u8)
}

/// Steps 1 and 2: the low 32 bits of `h`.
pub(crate) fn mix(seed: u32, words: &[u32]) -> u32 {
    let mut h = u64::from(seed);
    for word in words {
        h = (h ^ u64::from(*word)).wrapping_mul(MULTIPLIER);
        h ^= h >> 32;
    }
    h as u32
}

/// The owner of a port range.
///
/// It depends on the address, not on its position in a pool, so that a reload or restart that adds
/// addresses does not change the owners of the others.
pub const fn default_owner(addr: Ipv4Addr, range: usize, workers: u8) -> WorkerId {
    WorkerId((((addr.to_bits() as u64) + range as u64) % workers as u64) as u8)
}

/// The mapped address of a static binding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct MappedKey {
    addr: Ipv4Addr,
    port: u16,
    proto: Proto,
}

/// The parts of the settings that determine ownership.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Client prefixes, each with the prefix length of its hosts.
    pub clients: Vec<(Ipv6Prefix, u8)>,
    /// Prefixes of all pools; they may overlap.
    pub pools: Vec<Ipv4Prefix>,
    /// Static bindings: the IPv4 transport address, and the IPv6 address of its host.
    pub statics: Vec<(Proto, Transport4, Ipv6Addr)>,
}

/// The owner of every host, port range and datagram. All workers have equal copies.
#[derive(Clone, Debug)]
pub struct Owners {
    seed: u32,
    workers: u8,
    /// Client prefixes and their host lengths, the longest prefix first.
    zones: Box<[(Ipv6Prefix, u8)]>,
    /// The pools' addresses: prefixes that don't overlap, sorted, each with the index of its first
    /// address.
    pools: Box<[(Ipv4Prefix, usize)]>,
    /// Worker ID of `[address][range]`.
    ranges: Box<[u8]>,
    statics: Box<[(MappedKey, WorkerId)]>,
}

impl Owners {
    /// Builds the tables; [`default_owner`] gives the owner of every range.
    ///
    /// Takes [`RANGES`] bytes for each pool address. `workers` is at least 1.
    pub fn new(claims: &Claims, seed: u32, workers: u8) -> Self {
        let mut zones = claims.clients.clone();
        zones.sort_by_key(|(clients, _)| core::cmp::Reverse(clients.len()));
        let pools = index(claims.pools.iter().copied());
        let mut owners = Self {
            seed,
            workers: workers.max(1),
            zones: zones.into(),
            ranges: default_table(&pools, workers.max(1)),
            pools,
            statics: Box::default(),
        };
        let owned = |(proto, v4, host): &(Proto, Transport4, Ipv6Addr)| {
            (MappedKey { addr: v4.addr, port: v4.port, proto: *proto }, owners.source(*host))
        };
        let mut statics: Vec<_> = claims.statics.iter().map(owned).collect();
        statics.sort_unstable();
        owners.statics = statics.into();
        owners
    }

    /// The seed of the hash.
    pub const fn seed(&self) -> u32 {
        self.seed
    }

    /// Number of workers, at least 1.
    pub const fn workers(&self) -> u8 {
        self.workers
    }

    /// The owner of a host.
    pub fn owner_of_host(&self, host: HostKey) -> WorkerId {
        self.prefix(host.prefix)
    }

    /// The owner of IPv6 packets from `addr`. Outside every zone, each address is a host.
    pub fn source(&self, addr: Ipv6Addr) -> WorkerId {
        // A linear search: not for the packet path.
        let zone = self.zones.iter().find(|(clients, _)| clients.contains(addr));
        self.prefix(Ipv6Prefix::containing(addr, zone.map_or(128, |(_, host_len)| *host_len)))
    }

    fn prefix(&self, prefix: Ipv6Prefix) -> WorkerId {
        let bits = prefix.addr().to_bits();
        hash(self.seed, &[96, 64, 32, 0].map(|shift| (bits >> shift) as u32), self.workers)
    }

    /// The owner of the fragments of an IPv4 datagram.
    pub fn datagram(&self, src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, id: u16) -> WorkerId {
        let last = u32::from(protocol) << 16 | u32::from(id);
        hash(self.seed, &[src.to_bits(), dst.to_bits(), last], self.workers)
    }

    /// The worker of an IPv4 packet to an address outside every pool. It is translated without state, or
    /// dropped.
    pub fn unowned(&self, src: Ipv4Addr, dst: Ipv4Addr) -> WorkerId {
        hash(self.seed, &[src.to_bits(), dst.to_bits()], self.workers)
    }

    /// The owner of unfragmented IPv4 packets to `mapped`; `None` if it is neither the mapped address of a
    /// static binding nor in a pool.
    pub fn owner_of(&self, proto: Proto, mapped: Transport4) -> Option<WorkerId> {
        let key = MappedKey { addr: mapped.addr, port: mapped.port, proto };
        if let Ok(at) = self.statics.binary_search_by_key(&key, |(at, _)| *at) {
            return Some(self.statics[at].1);
        }
        self.range(mapped.addr, range_of(mapped.port))
    }

    /// The owner of a port range; `None` if `addr` is not in a pool.
    ///
    /// # Panics
    /// If `range` is not below [`RANGES`].
    pub fn range(&self, addr: Ipv4Addr, range: usize) -> Option<WorkerId> {
        assert!(range < RANGES, "no such range");
        self.row(addr).map(|row| WorkerId(self.ranges[row.start + range]))
    }

    /// The pools' addresses: sorted prefixes that don't overlap, each with the row of its first address.
    pub fn pools(&self) -> &[(Ipv4Prefix, usize)] {
        &self.pools
    }

    /// The table: a row of [`RANGES`] worker IDs for each pool address.
    pub fn table(&self) -> &[u8] {
        &self.ranges
    }

    /// The client prefixes with their host lengths, the longest prefix first.
    pub fn zones(&self) -> &[(Ipv6Prefix, u8)] {
        &self.zones
    }

    /// The mapped addresses of static bindings and their owners, which override the table.
    pub fn statics(&self) -> impl ExactSizeIterator<Item = (Proto, Transport4, WorkerId)> {
        self.statics.iter().map(|(at, worker)| (at.proto, Transport4::new(at.addr, at.port), *worker))
    }

    fn row(&self, addr: Ipv4Addr) -> Option<Range<usize>> {
        let at = self.position(addr)? * RANGES;
        Some(at..at + RANGES)
    }

    /// The row of `addr` in the table; `None` if it is not in a pool.
    #[inline]
    pub(crate) fn position(&self, addr: Ipv4Addr) -> Option<usize> {
        let (net, first) = match &*self.pools {
            [only] => only,
            all => all.get(all.partition_point(|(net, _)| net.addr() <= addr).checked_sub(1)?)?,
        };
        net.contains(addr).then(|| first + (addr.to_bits() - net.addr().to_bits()) as usize)
    }
}

/// Sorts prefixes, removes those inside others, and numbers their addresses.
fn index(nets: impl Iterator<Item = Ipv4Prefix>) -> Box<[(Ipv4Prefix, usize)]> {
    let mut nets: Vec<_> = nets.collect();
    nets.sort_unstable_by_key(|net| (net.addr(), net.len()));
    nets.dedup_by(|inner, outer| outer.contains(inner.addr()));
    let mut first = 0;
    nets.into_iter()
        .map(|net| {
            let at = first;
            first += net.size() as usize;
            (net, at)
        })
        .collect()
}

fn default_table(pools: &[(Ipv4Prefix, usize)], workers: u8) -> Box<[u8]> {
    pools
        .iter()
        .flat_map(|(net, _)| net.addr().to_bits()..=net.last().to_bits())
        .flat_map(|addr| {
            (0..RANGES).map(move |range| default_owner(Ipv4Addr::from_bits(addr), range, workers).0)
        })
        .collect()
}

#[cfg(test)]
mod tests;
