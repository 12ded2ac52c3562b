//! Who a packet belongs to: the worker, the zone and the host in it.

use core::net::Ipv6Addr;

use super::Ipv6Prefix;

/// Number of a worker: each owns one device queue and one translator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct WorkerId(pub u8);

/// Number of a zone, stable while the program runs: a reload keeps it as long as the zone's name
/// stays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ZoneId(pub u16);

/// A host as quotas, port blocks, logs and DNS see it: an IPv6 prefix in a zone.
///
/// The length is the zone's host prefix length: 128 where an address is a host, 64 where each host
/// has a prefix of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HostKey {
    /// The zone the host is in.
    pub zone: ZoneId,
    /// Its prefix.
    pub prefix: Ipv6Prefix,
}

impl HostKey {
    /// The host that `addr` belongs to in a zone whose hosts are prefixes of length `host_len`.
    pub const fn new(zone: ZoneId, addr: Ipv6Addr, host_len: u8) -> Self {
        Self { zone, prefix: Ipv6Prefix::holding(addr, host_len) }
    }
}
