//! Chooses the source of ICMP errors whose sender has no address in the other family (RFC 6791).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::mapping::Mapped;
use super::{Identity, Settings, Siit, Untranslatable};
use crate::addr::{Ipv4Prefix, Ipv6Prefix, special};
use crate::reason::Reason;
use crate::xlat::split_mix;

/// The IPv4 dummy address (RFC 7600 §4.8).
pub(super) const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Random source addresses, uniformly distributed over the pool.
#[derive(Debug)]
pub(super) struct Sources {
    policy: Untranslatable,
    v4: Vec<Ipv4Prefix>,
    v6: Vec<Ipv6Prefix>,
    /// Number of addresses in `v4`.
    size4: u64,
    own4: Ipv4Addr,
    own6: Ipv6Addr,
    /// State of SplitMix64: sources need not be unpredictable.
    state: u64,
}

impl Sources {
    pub(super) fn new(identity: &Identity, settings: &Settings) -> Self {
        Self {
            policy: settings.error_sources.untranslatable,
            v4: settings.error_sources.pool4.clone(),
            v6: settings.error_sources.pool6.clone(),
            size4: settings.error_sources.pool4.iter().map(|prefix| prefix.size()).sum(),
            own4: identity.address4,
            own6: identity.address6,
            state: identity.seed,
        }
    }

    /// The source of an ICMPv4 error; `None` drops the error.
    fn v4(&mut self) -> Option<Ipv4Addr> {
        match self.policy {
            Untranslatable::Pool => Some(self.pick_v4().unwrap_or(self.own4)),
            Untranslatable::Dummy => Some(DUMMY),
            Untranslatable::Own => Some(self.own4),
            Untranslatable::Drop => None,
        }
    }

    /// A random address of the IPv4 pool; `None` if the pool is empty.
    fn pick_v4(&mut self) -> Option<Ipv4Addr> {
        let mut nth = split_mix(&mut self.state) % self.size4.max(1);
        for prefix in &self.v4 {
            if nth < prefix.size() {
                return Some(Ipv4Addr::from_bits(prefix.addr().to_bits() + nth as u32));
            }
            nth -= prefix.size();
        }
        None
    }

    /// A random address in a random prefix of the IPv6 pool; `None` if the pool is empty.
    fn pick_v6(&mut self) -> Option<Ipv6Addr> {
        let random = split_mix(&mut self.state);
        let prefix = self.v6.get((random >> 32) as usize % self.v6.len().max(1)).copied()?;
        let suffix = (u128::from(split_mix(&mut self.state)) << 64 | u128::from(random)) & !prefix.mask();
        Some(Ipv6Addr::from_bits(prefix.addr().to_bits() | suffix))
    }
}

impl Siit {
    /// The source of an ICMPv6 error translated to IPv4, and whether it substitutes an unmapped address.
    pub(super) fn error_source4(
        &mut self,
        mapped: Option<Mapped<Ipv4Addr>>,
    ) -> Result<(Ipv4Addr, bool), Reason> {
        match mapped {
            // Link-local routers exist, and path MTU discovery needs their errors.
            Some(mapped) if !special::is_host_v4(mapped.addr) && !mapped.addr.is_link_local() => {
                Err(Reason::SourceAddress)
            }
            Some(mapped)
                if self.mapping.allows(mapped.addr, mapped.by) || self.policy.errors_under_well_known =>
            {
                Ok((mapped.addr, false))
            }
            Some(_) => Err(Reason::WellKnownNotGlobal),
            None => self.sources.v4().map(|addr| (addr, true)).ok_or(Reason::NoMapping),
        }
    }

    /// The source of an ICMPv4 error from `src` translated to IPv6. Without a mapping, or where the prefix must
    /// not represent `src`, an address of the pool or the translator's own.
    pub(super) fn error_source6(&mut self, src: Ipv4Addr, mapped: Option<Mapped<Ipv6Addr>>) -> Ipv6Addr {
        match mapped {
            Some(mapped) if self.mapping.allows(src, mapped.by) || self.policy.errors_under_well_known => {
                mapped.addr
            }
            Some(_) | None => self.sources.pick_v6().unwrap_or(self.sources.own6),
        }
    }
}
