//! Identifiers of workers, zones and hosts.

use core::net::Ipv6Addr;

use super::Ipv6Prefix;

/// Number of a worker. Each worker owns one device queue and one translator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct WorkerId(pub u8);

/// Number of a zone. A reload keeps it while the zone's name stays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ZoneId(pub u16);

/// A host: an IPv6 prefix in a zone. Quotas, port blocks, logs and DNS64 apply per host.
///
/// The length is the zone's host prefix length: 128 if each address is a host, 64 if each host has a /64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HostKey {
    /// Zone of the host.
    pub zone: ZoneId,
    /// Prefix of the host.
    pub prefix: Ipv6Prefix,
}

impl HostKey {
    /// The host of `addr` in a zone with host prefixes of length `host_len`.
    pub const fn new(zone: ZoneId, addr: Ipv6Addr, host_len: u8) -> Self {
        Self { zone, prefix: Ipv6Prefix::containing(addr, host_len) }
    }

    /// The site of this host in a zone with sites of length `site_len`. A host is its own site if `site_len` is
    /// longer than its prefix.
    pub const fn site(self, site_len: u8) -> SiteKey {
        let len = if site_len < self.prefix.len() { site_len } else { self.prefix.len() };
        SiteKey { zone: self.zone, prefix: Ipv6Prefix::containing(self.prefix.addr(), len) }
    }
}

/// A site: the routed IPv6 prefix that contains hosts, a /64 by default. Whoever controls one host of a site can
/// send from every address of it, so hosts compete within their site, and sites with each other (see
/// [`Usage`](super::Usage)).
///
/// A site ends at its zone: equal prefixes of two zones are two sites.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SiteKey {
    /// Zone of the site.
    pub zone: ZoneId,
    /// Prefix of the site.
    pub prefix: Ipv6Prefix,
}
