//! Zones, pref64s and address rules, in a form for fast lookup.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::rules::Rules;
use crate::addr::{HostKey, Ipv4Prefix, Ipv6Prefix, Pref64, Proto, Transport4, ZoneId, special};
use crate::nat64::{HostLimits, Masquerade, Rate, Settings, Sharing, Zone};
use crate::reason::Reason;

/// Longest-prefix table: a sorted row per prefix length, the longest first.
///
/// Not [`Longest`](crate::addr::Longest): hashing cost 110 instructions per new session when it was measured. Most
/// rows have one entry, which this table compares without a search.
#[derive(Clone, Debug, Default)]
struct Prefixes<T> {
    rows: Vec<(u128, Vec<(u128, T)>)>,
}

impl<T: Copy> Prefixes<T> {
    fn new(prefixes: impl Iterator<Item = (Ipv6Prefix, T)>) -> Self {
        let mut all: Vec<_> = prefixes.collect();
        all.sort_by_key(|(prefix, _)| (core::cmp::Reverse(prefix.len()), prefix.addr()));
        let mut rows: Vec<(u128, Vec<(u128, T)>)> = Vec::new();
        for (prefix, value) in all {
            let entry = (prefix.addr().to_bits(), value);
            match rows.last_mut() {
                Some((mask, row)) if *mask == prefix.mask() => row.push(entry),
                _ => rows.push((prefix.mask(), vec![entry])),
            }
        }
        Self { rows }
    }

    #[inline]
    fn find(&self, addr: Ipv6Addr) -> Option<T> {
        let bits = addr.to_bits();
        self.rows.iter().find_map(|(mask, row)| {
            let sought = bits & mask;
            if let [(only, value)] = row.as_slice() {
                return (*only == sought).then_some(*value);
            }
            row.binary_search_by_key(&sought, |(prefix, _)| *prefix).ok().map(|at| row[at].1)
        })
    }
}

fn rows(prefixes: &[Ipv4Prefix]) -> Vec<(u32, Vec<u32>)> {
    let mut rows: Vec<(u32, Vec<u32>)> = Vec::new();
    for prefix in prefixes {
        let addr = prefix.addr().to_bits();
        match rows.iter_mut().find(|(mask, _)| *mask == prefix.mask()) {
            Some((_, row)) => row.push(addr),
            None => rows.push((prefix.mask(), vec![addr])),
        }
    }
    for (_, row) in &mut rows {
        row.sort_unstable();
    }
    rows
}

/// The policy of a zone.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct ZonePolicy {
    /// Zone number.
    pub(in crate::nat64) id: ZoneId,
    /// Pref64s with their indices, the longest first.
    pref64: Vec<(Pref64, u16)>,
    /// Index of the advertised pref64.
    first: Option<u16>,
    /// Index of its pool.
    pub(in crate::nat64) pool: u16,
    host_len: u8,
    /// How its hosts and sites share the pool.
    pub(in crate::nat64) sharing: Sharing,
    /// Limits of its hosts.
    limits: HostLimits,
    /// Hosts with limits of their own, sorted.
    hosts: Vec<HostLimits>,
    /// Rules for the sessions that its hosts open.
    rules: Rules,
    /// Rate of these sessions.
    pub(in crate::nat64) session_rate: Rate,
}

impl ZonePolicy {
    /// The limits of a host.
    #[inline]
    pub(in crate::nat64) fn limits_of(&self, host: HostKey) -> HostLimits {
        if self.hosts.is_empty() {
            return self.limits;
        }
        let own = self.hosts.binary_search_by_key(&host.prefix, |own| own.prefix);
        own.map_or(self.limits, |at| self.hosts[at])
    }
}

/// The zone of an IPv6 packet, and its destination on the IPv4 side.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Destination {
    /// Index of the client's zone.
    pub(in crate::nat64) zone: u16,
    /// Index of the pref64 of its destination address.
    pub(in crate::nat64) pref64: u16,
    /// The IPv4 address embedded in its destination address.
    pub(in crate::nat64) remote: Ipv4Addr,
    /// Whether only mapped addresses may be reached there: `remote` replaces the address of this host that
    /// masquerading shows to the outside.
    pub(in crate::nat64) mapped_only: bool,
}

/// All zones, and the address rules common to them.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct Zones {
    zones: Vec<ZonePolicy>,
    clients: Prefixes<u16>,
    /// The pref64s of all zones. A reload keeps the index of every pref64 still in use.
    pref64s: Vec<Pref64>,
    any_pref64: Prefixes<()>,
    /// Denied prefixes: a sorted row for each mask.
    denied: Vec<(u32, Vec<u32>)>,
    private_under_well_known: bool,
    errors_under_well_known: bool,
    masquerade: Option<Masquerade>,
}

impl Zones {
    /// Builds the zones. Pref64s of `old` keep their index.
    pub(in crate::nat64) fn new(settings: &Settings, old: Option<&Self>) -> Self {
        let wanted: Vec<_> = settings.zones.iter().flat_map(|zone| zone.pref64.iter().copied()).collect();
        let pref64s = renumber(old.map_or(&[], |old| &old.pref64s), &wanted);
        let index = |pref64: &Pref64| pref64s.iter().position(|p| p == pref64).unwrap_or_default() as u16;
        let pref64_of_zone = |zone: &Zone| {
            let mut sorted: Vec<_> = zone.pref64.iter().map(|p| (*p, index(p))).collect();
            sorted.sort_by_key(|(p, _)| core::cmp::Reverse(p.prefix().len()));
            sorted
        };
        let policy = |zone: &Zone| ZonePolicy {
            id: zone.id,
            pref64: pref64_of_zone(zone),
            first: zone.pref64.first().map(index),
            pool: zone.pool as u16,
            host_len: zone.host_len,
            sharing: zone.sharing,
            limits: HostLimits {
                prefix: Ipv6Prefix::host(Ipv6Addr::UNSPECIFIED),
                ports: zone.ports_per_host,
                sessions: zone.sessions_per_host,
                bindings_per_second: zone.bindings_per_second,
                session_rate: zone.new_sessions.host_rate,
            },
            hosts: sorted(&zone.hosts),
            rules: Rules::new(&zone.new_sessions.rules),
            session_rate: zone.new_sessions.zone_rate,
        };
        let zones: Vec<_> = settings.zones.iter().map(policy).collect();
        let clients = settings
            .zones
            .iter()
            .enumerate()
            .flat_map(|(at, zone)| zone.clients.iter().map(move |clients| (*clients, at as u16)));
        Self {
            clients: Prefixes::new(clients),
            any_pref64: Prefixes::new(distinct(&wanted).map(|p| (p.prefix(), ()))),
            denied: rows(&settings.deny),
            private_under_well_known: settings.private_under_well_known,
            errors_under_well_known: settings.errors_under_well_known,
            masquerade: settings.masquerade,
            zones,
            pref64s,
        }
    }

    /// The zone of a client address.
    #[inline]
    pub(in crate::nat64) fn index_of(&self, addr: Ipv6Addr) -> Option<u16> {
        self.clients.find(addr)
    }

    /// The zone with this index.
    pub(in crate::nat64) fn zone(&self, zone: u16) -> &ZonePolicy {
        &self.zones[usize::from(zone)]
    }

    /// The pref64 with this index.
    pub(in crate::nat64) fn pref64(&self, index: u16) -> Pref64 {
        self.pref64s[usize::from(index)]
    }

    /// The index of a zone's pref64, by value.
    pub(in crate::nat64) fn pref64_of(&self, zone: u16, pref64: Pref64) -> Option<u16> {
        self.zone(zone).pref64.iter().find(|(candidate, _)| *candidate == pref64).map(|(_, index)| *index)
    }

    /// The index of the pref64 that a zone advertises.
    pub(in crate::nat64) fn first_pref64(&self, zone: u16) -> Option<u16> {
        self.zone(zone).first
    }

    /// The host of a client address.
    pub(in crate::nat64) fn host_key(&self, zone: u16, addr: Ipv6Addr) -> HostKey {
        let zone = self.zone(zone);
        HostKey::new(zone.id, addr, zone.host_len)
    }

    /// Checks that a source address is in no pref64 (RFC 6146 §3.5).
    ///
    /// # Errors
    /// [`Reason::SourceInPref64`]
    #[inline]
    pub(in crate::nat64) fn check_source(&self, src: Ipv6Addr) -> Result<(), Reason> {
        if self.any_pref64.find(src).is_some() {
            return Err(Reason::SourceInPref64);
        }
        Ok(())
    }

    /// The reason to drop a packet from a source outside every zone.
    #[cold]
    pub(in crate::nat64) const fn reason_outside_zones(src: Ipv6Addr) -> Reason {
        if special::is_host_v6(src) { Reason::NoZone } else { Reason::SourceAddress }
    }

    /// The destination of a packet from `zone` to `dst`.
    ///
    /// # Errors
    /// The reason why it must not be translated.
    #[inline]
    pub(in crate::nat64) fn destination(&self, zone: u16, dst: Ipv6Addr) -> Result<Destination, Reason> {
        let mut of_zone = self.zone(zone).pref64.iter();
        let found = of_zone.find_map(|(pref64, index)| Some((pref64, *index, pref64.extract(dst)?)));
        let (pref64, index, remote) = found.ok_or(Reason::NotPref64)?;
        if !special::is_host_v4(remote) {
            return Err(Reason::DestinationAddress);
        }
        if pref64.is_well_known() {
            self.check_well_known(index, remote)?;
        }
        if let Some(Masquerade { inner, public }) = self.masquerade
            && remote == public
        {
            return Ok(Destination { zone, pref64: index, remote: inner, mapped_only: true });
        }
        if self.is_denied(remote) {
            return Err(Reason::Denied);
        }
        Ok(Destination { zone, pref64: index, remote, mapped_only: false })
    }

    #[inline]
    fn is_denied(&self, remote: Ipv4Addr) -> bool {
        self.denied.iter().any(|(mask, row)| row.binary_search(&(remote.to_bits() & mask)).is_ok())
    }

    /// Checks the rules of a zone for a session that a client opens.
    ///
    /// # Errors
    /// [`Reason::RuleDenied`]
    #[inline]
    pub(in crate::nat64) fn check_rules(
        &self,
        zone: u16,
        proto: Proto,
        remote: Transport4,
    ) -> Result<(), Reason> {
        self.zone(zone).rules.check(proto, Transport4::new(self.public(remote.addr), remote.port))
    }

    /// Whether the deny list forbids an existing session, or the rules do if a client opened it.
    pub(in crate::nat64) fn forbids(
        &self,
        zone: u16,
        proto: Proto,
        remote: Transport4,
        is_inbound: bool,
    ) -> bool {
        let is_public = self.public(remote.addr) == remote.addr;
        is_public && self.is_denied(remote.addr)
            || !is_inbound && self.check_rules(zone, proto, remote).is_err()
    }

    /// The IPv6 address of an IPv4 host for a client: the public address represents the pool's with masquerading.
    #[inline]
    pub(in crate::nat64) fn embed(&self, pref64: u16, addr: Ipv4Addr) -> Ipv6Addr {
        self.pref64(pref64).embed(self.public(addr))
    }

    /// The address that the outside sees instead of `addr`.
    #[inline]
    fn public(&self, addr: Ipv4Addr) -> Ipv4Addr {
        self.masquerade.filter(|of| of.inner == addr).map_or(addr, |of| of.public)
    }

    /// Checks that a pref64 may represent `remote` (RFC 6052 §3.1).
    ///
    /// # Errors
    /// [`Reason::WellKnownNotGlobal`]
    #[inline]
    pub(in crate::nat64) fn check_well_known(&self, pref64: u16, remote: Ipv4Addr) -> Result<(), Reason> {
        let remote = self.public(remote);
        let allowed = !self.pref64(pref64).is_well_known()
            || special::is_global(remote)
            || self.private_under_well_known && special::is_private(remote);
        if allowed { Ok(()) } else { Err(Reason::WellKnownNotGlobal) }
    }

    /// Whether a pref64 may represent the sender of an ICMP error.
    pub(in crate::nat64) fn allows_error_source(&self, pref64: u16, router: Ipv4Addr) -> bool {
        self.errors_under_well_known || self.check_well_known(pref64, router).is_ok()
    }
}

fn sorted(hosts: &[HostLimits]) -> Vec<HostLimits> {
    let mut hosts = hosts.to_vec();
    hosts.sort_unstable_by_key(|host| host.prefix);
    hosts
}

fn distinct(wanted: &[Pref64]) -> impl Iterator<Item = Pref64> {
    wanted.iter().enumerate().filter(|(at, p)| !wanted[..*at].contains(p)).map(|(_, p)| *p)
}

/// Assigns an index to every wanted pref64: the old one, else a free one.
fn renumber(old: &[Pref64], wanted: &[Pref64]) -> Vec<Pref64> {
    let mut new = old.to_vec();
    for pref64 in distinct(wanted) {
        if new.contains(&pref64) {
            continue;
        }
        match new.iter_mut().find(|p| !wanted.contains(p)) {
            Some(old) => *old = pref64,
            None => new.push(pref64),
        }
    }
    new
}
