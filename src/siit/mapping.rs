//! One address at a time: an explicit mapping if there is one, else RFC 6052 (RFC 7757 §3.3).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::eam::Table;
use super::{Settings, WellKnown};
use crate::addr::{Longest, Pref64};

/// How an address was translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// By an explicit mapping.
    Eam,
    /// By RFC 6052, as one of our hosts.
    Host,
    /// By RFC 6052, as anybody.
    Pref64,
}

/// An address of the other family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mapped<A> {
    pub(super) addr: A,
    pub(super) by: By,
}

impl<A> Mapped<A> {
    /// Whether it is that of a host inside.
    pub(super) const fn is_inside(&self) -> bool {
        matches!(self.by, By::Eam | By::Host)
    }
}

/// All mappings.
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

    /// What stands for `addr` on the IPv6 side.
    #[inline]
    pub(super) fn to_v6(&self, addr: Ipv4Addr) -> Option<Mapped<Ipv6Addr>> {
        match self.eams.to_v6(addr) {
            Some(addr) => Some(Mapped { addr, by: By::Eam }),
            None => self.to_v6_by_prefix(addr),
        }
    }

    /// The same without explicit mappings.
    pub(super) fn to_v6_by_prefix(&self, addr: Ipv4Addr) -> Option<Mapped<Ipv6Addr>> {
        if !self.hosts.is_empty() && self.hosts.find_v4(addr).is_some() {
            return self.hosts_pref64.map(|p| Mapped { addr: p.embed(addr), by: By::Host });
        }
        self.pref64.map(|p| Mapped { addr: p.embed(addr), by: By::Pref64 })
    }

    /// What `addr` stands for on the IPv4 side.
    #[inline]
    pub(super) fn to_v4(&self, addr: Ipv6Addr) -> Option<Mapped<Ipv4Addr>> {
        if let Some(addr) = self.eams.to_v4(addr) {
            return Some(Mapped { addr, by: By::Eam });
        }
        if !self.hosts.is_empty()
            && let Some(host) = self.hosts_pref64.and_then(|p| p.extract(addr))
            && self.hosts.find_v4(host).is_some()
        {
            return Some(Mapped { addr: host, by: By::Host });
        }
        self.pref64.and_then(|p| p.extract(addr)).map(|addr| Mapped { addr, by: By::Pref64 })
    }

    /// Whether an explicit mapping exists for `addr`.
    pub(super) fn has_eam(&self, addr: Ipv4Addr) -> bool {
        self.eams.has_v4(addr)
    }

    /// Whether `addr` may be represented the way it is (RFC 6052 §3.1).
    pub(super) fn allows(&self, addr: Ipv4Addr, by: By) -> bool {
        let prefix = match by {
            By::Eam => return true,
            By::Host => self.hosts_pref64,
            By::Pref64 => self.pref64,
        };
        !prefix.is_some_and(Pref64::is_well_known) || self.well_known.allows(addr)
    }
}
