//! Maps single addresses: by an explicit mapping if there is one, else by RFC 6052 (RFC 7757 §3.3).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::eam::Table;
use super::{Settings, WellKnown};
use crate::addr::{Longest, Pref64};

/// Which rule mapped an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MappingRule {
    /// An explicit mapping.
    Eam,
    /// RFC 6052, for an inside host.
    Host,
    /// RFC 6052, for any other address.
    Pref64,
}

/// An address mapped to the other family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mapped<A> {
    pub(super) addr: A,
    pub(super) by: MappingRule,
}

impl<A> Mapped<A> {
    /// Whether the address belongs to an inside host.
    pub(super) const fn is_inside(&self) -> bool {
        matches!(self.by, MappingRule::Eam | MappingRule::Host)
    }
}

/// All mappings of the stateless translator.
#[derive(Debug)]
pub(super) struct Mapping {
    eams: Table,
    hosts: Longest,
    hosts_pref64: Option<Pref64>,
    pref64: Option<Pref64>,
    well_known: WellKnown,
}

impl Mapping {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            eams: Table::new(&settings.eams),
            hosts: Longest::of_v4(settings.hosts.iter().map(|prefix| (*prefix, 0))),
            hosts_pref64: settings.hosts_pref64.or(settings.pref64),
            pref64: settings.pref64,
            well_known: settings.well_known,
        }
    }

    /// Maps `addr` to IPv6.
    #[inline]
    pub(super) fn to_v6(&self, addr: Ipv4Addr) -> Option<Mapped<Ipv6Addr>> {
        match self.eams.to_v6(addr) {
            Some(addr) => Some(Mapped { addr, by: MappingRule::Eam }),
            None => self.to_v6_by_prefix(addr),
        }
    }

    /// Maps `addr` to IPv6, ignoring explicit mappings.
    pub(super) fn to_v6_by_prefix(&self, addr: Ipv4Addr) -> Option<Mapped<Ipv6Addr>> {
        let is_host = !self.hosts.is_empty() && self.hosts.find_v4(addr).is_some();
        self.to_v6_under(if is_host { MappingRule::Host } else { MappingRule::Pref64 }, addr)
    }

    /// Maps `addr` to IPv6 as hairpinning by IPv4 routing needs it (RFC 7757 §4.2.1): under the prefix by which
    /// other hosts address it.
    pub(super) fn to_v6_for_hairpin(&self, addr: Ipv4Addr) -> Option<Mapped<Ipv6Addr>> {
        if self.pref64.is_some() && self.has_eam(addr) {
            return self.to_v6_under(MappingRule::Pref64, addr);
        }
        self.to_v6_by_prefix(addr)
    }

    /// Maps `addr` to IPv6 by the prefix of one rule.
    pub(super) fn to_v6_under(&self, by: MappingRule, addr: Ipv4Addr) -> Option<Mapped<Ipv6Addr>> {
        let prefix = match by {
            MappingRule::Eam => return self.eams.to_v6(addr).map(|addr| Mapped { addr, by }),
            MappingRule::Host => self.hosts_pref64,
            MappingRule::Pref64 => self.pref64,
        };
        prefix.map(|p| Mapped { addr: p.embed(addr), by })
    }

    /// Maps `addr` to IPv4.
    #[inline]
    pub(super) fn to_v4(&self, addr: Ipv6Addr) -> Option<Mapped<Ipv4Addr>> {
        if let Some(addr) = self.eams.to_v4(addr) {
            return Some(Mapped { addr, by: MappingRule::Eam });
        }
        if !self.hosts.is_empty()
            && let Some(host) = self.hosts_pref64.and_then(|p| p.extract(addr))
            && self.hosts.find_v4(host).is_some()
        {
            return Some(Mapped { addr: host, by: MappingRule::Host });
        }
        self.pref64.and_then(|p| p.extract(addr)).map(|addr| Mapped { addr, by: MappingRule::Pref64 })
    }

    /// Whether an explicit mapping exists for `addr`.
    pub(super) fn has_eam(&self, addr: Ipv4Addr) -> bool {
        self.eams.has_v4(addr)
    }

    /// Whether this form of an IPv4 address is another one than the IPv6 address of its inside host. Only a
    /// translator delivers packets to it.
    pub(super) fn is_alias(&self, mapped: Mapped<Ipv4Addr>) -> bool {
        let is_host = || !self.hosts.is_empty() && self.hosts.find_v4(mapped.addr).is_some();
        match mapped.by {
            MappingRule::Eam => false,
            MappingRule::Host => self.has_eam(mapped.addr),
            MappingRule::Pref64 => self.has_eam(mapped.addr) || is_host(),
        }
    }

    /// Whether the prefix that mapped `addr` may represent it (RFC 6052 §3.1).
    pub(super) fn allows(&self, addr: Ipv4Addr, by: MappingRule) -> bool {
        let prefix = match by {
            MappingRule::Eam => return true,
            MappingRule::Host => self.hosts_pref64,
            MappingRule::Pref64 => self.pref64,
        };
        !prefix.is_some_and(Pref64::is_well_known) || self.well_known.allows(addr)
    }
}
