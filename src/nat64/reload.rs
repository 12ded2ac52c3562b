//! Reload: a session ends only if the new settings lack its pref64, pool address or zone, forbid its destination, or if a new static binding
//! replaces its binding.

use std::sync::Arc;

use super::policy::Policy;
use super::policy::zones::Zones;
use super::tables::bib::{Allocation, Binding};
use super::tables::pool4::{PoolConfig, ZonePool};
use super::tables::session::Session;
use super::tables::slab::NIL;
use super::tables::statics::Statics;
use super::{Nat64, Pool, Settings, Zone};
use crate::addr::LocalAddresses;
use crate::ownership::Owners;
use crate::time::Instant;
use crate::xlat::RewriteRules;

named_enum! {
    /// Why new settings end a session or binding.
    pub enum Ending {
        /// The client is in no zone, in another one, or in a host of another size.
        Zone = "zone",
        /// The zone does not use the prefix any more.
        Pref64 = "pref64",
        /// The zone's pool4 does not contain the address and port any more.
        Pool4 = "pool4",
        /// A static binding is removed, or takes the address and port.
        Static = "static",
        /// A rule of the zone forbids the session.
        Rule = "rule",
    }
}

/// The new settings, by which bindings and sessions are kept or ended.
pub(super) struct New<'a> {
    pub(super) zones: &'a Zones,
    pub(super) pools: &'a [Pool],
    pub(super) statics: &'a Statics,
}

/// What the settings decide about the assignment of ports.
pub(super) fn pool_config(settings: &Settings, owners: Owners) -> PoolConfig {
    let zone_pool = |zone: &Zone| ZonePool {
        id: zone.id,
        pool: zone.pool,
        share: zone.sharing.pool_share,
        site_len: zone.site_len,
    };
    PoolConfig {
        owners,
        pools: settings.pools.clone(),
        zones: settings.zones.iter().map(zone_pool).collect(),
        statics: settings.statics.iter().map(|entry| (entry.proto, entry.v4)).collect(),
        pairing: settings.pairing,
    }
}

impl Nat64 {
    /// Switches to new settings, except for the limits. Visits all bindings and sessions.
    pub fn reconfigure(&mut self, now: Instant, rules: RewriteRules, owner_seed: u32, settings: &Settings) {
        let owners = settings.owners(owner_seed, self.pool4.owners().workers());
        let policy = Policy::new(rules, settings, Some(&self.policy));
        // Gauges are decremented in the old zones, so the old policy stays until then.
        let statics = Statics::new(&settings.statics);
        let new = New { zones: &policy.zones, pools: &settings.pools, statics: &statics };
        self.end_invalidated(now, &new);
        self.count_statics(-1);
        self.policy = policy;
        self.fragments.set_timeout(settings.timers.fragment);
        self.drop_statics(now, statics);
        self.count_statics(1);
        self.pool4.reconfigure(pool_config(settings, owners));
        self.bind_statics();
    }

    /// Replaces the addresses of this host. Clears the fast path of all sessions: only the slow path checks these
    /// addresses.
    pub fn set_local_addresses(&mut self, local: Arc<LocalAddresses>) {
        self.local = local;
        for slot in 0..self.sessions.end() {
            if self.sessions.get(slot).is_some() {
                self.sessions.session_mut(slot).clear_fast_path();
            }
        }
    }

    /// Ends the sessions and bindings that the new settings do not allow.
    fn end_invalidated(&mut self, now: Instant, new: &New<'_>) {
        for slot in 0..self.sessions.end() {
            let Some(session) = self.sessions.get(slot) else { continue };
            if self.ending(session, new).is_some() {
                self.end_session(now, slot);
            } else {
                self.sessions.session_mut(slot).clear_fast_path();
            }
        }
        for slot in 0..self.bib.end() {
            let Some(binding) = self.bib.get(slot) else { continue };
            if !binding.is_static() && self.ending_of_binding(slot, new).is_some() {
                self.end_binding(now, slot);
                continue;
            }
            let zone = new.zones.index_of(binding.v6().addr);
            // Compared by value: the index of a removed pref64 may have been reused.
            let pref64 = self.policy.zones.pref64(binding.pref64);
            if let Some(zone) = zone
                && new.zones.pref64_of(zone, pref64).is_none()
                && let Some(first) = new.zones.first_pref64(zone)
            {
                self.bib.binding_mut(slot).pref64 = first;
            }
        }
    }

    /// Why the new settings end a session; `None` if it stays.
    pub(super) fn ending(&self, session: &Session, new: &New<'_>) -> Option<Ending> {
        if let Some(ending) = self.ending_of_binding(session.binding(), new) {
            return Some(ending);
        }
        let binding = self.bib.binding(session.binding());
        let pref64 = self.policy.zones.pref64(session.pref64);
        let zone = new.zones.index_of(binding.v6().addr);
        let Some(zone) = zone.filter(|zone| new.zones.pref64_of(*zone, pref64).is_some()) else {
            return Some(Ending::Pref64);
        };
        let (remote, is_inbound) = (session.remote(), session.is_inbound());
        new.zones.forbids(zone, binding.proto(), remote, is_inbound).then_some(Ending::Rule)
    }

    /// Why the new settings end a binding; `None` if its host keeps its zone, and that zone's pool keeps its port.
    pub(super) fn ending_of_binding(&self, slot: u32, new: &New<'_>) -> Option<Ending> {
        let binding = self.bib.binding(slot);
        let addr = binding.v6().addr;
        let (Some(was), Some(is)) = (self.policy.zones.index_of(addr), new.zones.index_of(addr)) else {
            return Some(Ending::Zone);
        };
        if self.policy.zones.host_key(was, addr) != new.zones.host_key(is, addr) {
            return Some(Ending::Zone);
        }
        if binding.is_static() {
            let entry = self.statics.entry(binding.allocation);
            let is_kept = entry.is_some_and(|entry| new.statics.number_of(entry).is_some());
            return (!is_kept).then_some(Ending::Static);
        }
        let mapped = self.mapped(slot);
        if new.statics.contains(binding.proto(), mapped) {
            return Some(Ending::Static);
        }
        let pool = new.pools.get(usize::from(new.zones.zone(is).pool));
        let has = |pool: &Pool| {
            pool.ranges.iter().any(|(net, ports)| net.contains(mapped.addr) && ports.contains(mapped.port))
        };
        (!pool.is_some_and(has)).then_some(Ending::Pool4)
    }

    /// Ends a dynamic binding with its sessions and without quarantine.
    pub(super) fn end_binding(&mut self, now: Instant, slot: u32) {
        self.end_binding_within(now, slot, &mut { usize::MAX });
    }

    /// Ends at most `left` sessions of a binding, and then the binding, which counts as one. Returns whether it has
    /// ended.
    pub(super) fn end_binding_within(&mut self, now: Instant, slot: u32, left: &mut usize) -> bool {
        while let Some(session) = self.first_session(slot) {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            self.end_session(now, session);
        }
        if self.bib.get(slot).is_some() {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            self.unbind(now, slot);
        }
        true
    }

    fn first_session(&self, slot: u32) -> Option<u32> {
        let binding = self.bib.get(slot).filter(|binding| !binding.is_quarantined())?;
        (binding.first != NIL).then_some(binding.first)
    }

    /// Adds all static bindings to the gauges of their zones, or subtracts them.
    fn count_statics(&self, by: i64) {
        for slot in 0..self.bib.end() {
            if self.bib.get(slot).is_some_and(Binding::is_static) {
                self.count_binding(slot, by);
            }
        }
    }

    /// Removes withdrawn static bindings; their sessions have ended already.
    fn drop_statics(&mut self, now: Instant, new: Statics) {
        let old = core::mem::replace(&mut self.statics, new);
        for slot in 0..self.bib.end() {
            let Some(binding) = self.bib.get(slot) else { continue };
            if !binding.is_static() {
                // A new static binding replaces a dynamic one with the same IPv6 side.
                if self.statics.has_client(binding.proto(), binding.v6()) {
                    self.end_binding(now, slot);
                }
                continue;
            }
            let number = old.entry(binding.allocation).and_then(|entry| self.statics.number_of(entry));
            match number.filter(|_| self.policy.zones.index_of(binding.v6().addr).is_some()) {
                Some(number) => {
                    self.bib.binding_mut(slot).allocation = number;
                    self.statics.set_slot(number, slot);
                }
                None => self.bib.remove(slot),
            }
        }
    }

    /// Creates the missing static bindings of this worker's hosts. Skips one outside every zone, or without
    /// room in the table.
    pub(super) fn bind_statics(&mut self) {
        for number in 0.. {
            let Some(entry) = self.statics.entry(number).copied() else { break };
            if self.statics.find(entry.proto, entry.v4).is_some()
                || !self.is_single_worker()
                    && self.pool4.owners().source(entry.v6.addr) != self.pool4.worker()
            {
                continue;
            }
            let Some(pref64) = self
                .policy
                .zones
                .index_of(entry.v6.addr)
                .and_then(|zone| self.policy.zones.first_pref64(zone))
            else {
                continue;
            };
            if let Some(slot) =
                self.bib.insert(entry.proto, entry.v6, Allocation::Static(number), entry.v4.port, pref64)
            {
                self.statics.set_slot(number, slot);
                self.count_binding(slot, 1);
            }
        }
    }
}
