//! Allocation of ports for bindings and of blocks for hosts.

use core::net::Ipv4Addr;

use super::Pool4;
use super::cells::{Position, leaves_reserve};
use super::class::Class;
use super::request::{PortRequest, Reclaimable, Refused};
use crate::addr::{Level, Proto, Usage};
use crate::nat64::Pairing;
use crate::nat64::tables::block::{Block, PortState, Sought};
use crate::nat64::tables::events::Events;
use crate::nat64::tables::hash::Rng;
use crate::nat64::tables::port_set::CELL;
use crate::ownership::range_of;
use crate::reason::Reason;

/// Maximum addresses searched for the block with the client's port.
const TRIED: usize = 64;
/// Ports of the largest block.
const LONGEST: u16 = 256;
/// A host with this many UDP ports in use or in quarantine counts as a resolver.
const RESOLVER_UDP_PORTS: u32 = 128;
/// Ports that a resolver receives: an attacker must guess 11 bits (RFC 5452 §9.2, RFC 6056 §3.1).
const RESOLVER_PORTS: u32 = 2048;

impl Pool4 {
    /// Allocates a port for a new binding (RFC 6146 §3.5.1.1, §3.5.2.3). In order of preference: the client's
    /// port in the host's blocks; any port there of its class and parity; a port in a new block; the other
    /// parity; a port of 1024 or above.
    ///
    /// # Errors
    /// [`Refused`] for quota, rate or share of the host, or if pool or tables are exhausted.
    pub(in crate::nat64) fn allocate(
        &mut self,
        request: &PortRequest,
        rng: &mut Rng,
        events: &mut Events,
    ) -> Result<(u32, u16), Refused> {
        let host = request.slot;
        let wanted = |block: &Block| block.is_free(request.proto, request.port);
        if let Some(slot) = host.and_then(|host| self.oldest(host, wanted)) {
            return Ok((slot, request.port));
        }
        let same = Sought { state: PortState::Free, parity: request.wanted_parity() };
        let free = Sought { parity: None, ..same };
        let mut error = Refused::from(Reason::PoolExhausted);
        let classes: &[Class] = match request.class() {
            Class::Low => &[Class::Low, Class::High],
            Class::High => &[Class::High],
        };
        for &class in classes {
            let needs_entropy =
                class == Class::High && host.is_some_and(|host| self.needs_entropy(host, request));
            let own = host.filter(|_| !needs_entropy);
            if let Some(found) = own.and_then(|host| self.any_port(host, request.proto, class, same, rng)) {
                return Ok(found);
            }
            match self.new_block(host, request, class, rng, events) {
                Ok(block) if self.blocks.block(block).is_free(request.proto, request.port) => {
                    return Ok((block, request.port));
                }
                // A port of the new block, since an unused block would never be released.
                Ok(block) => {
                    let mut port = |sought| self.port_in(block, request.proto, sought, rng);
                    if let Some(found) = port(same).or_else(|| port(free)) {
                        return Ok(found);
                    }
                }
                Err(refused) => error = refused,
            }
            let Some(host) = host else { continue };
            let mut any = |sought| self.any_port(host, request.proto, class, sought, rng);
            if let Some(found) = any(same).or_else(|| any(free)) {
                return Ok(found);
            }
        }
        host.and_then(|host| self.quarantined_port(host, request, classes, rng)).ok_or(error)
    }

    /// Whether a host receives one more block although it has free ports, so that its ports are hard to guess: an
    /// answered host with many UDP ports in use, while more than half of its address and pool is free.
    fn needs_entropy(&self, slot: u32, request: &PortRequest) -> bool {
        let (host, class) = (self.hosts.host(slot), Class::High);
        let held = host.cells[class as usize] * u32::from(CELL);
        if !matches!(request.proto, Proto::Udp)
            || !host.answered
            || !(RESOLVER_UDP_PORTS..RESOLVER_PORTS).contains(&held)
        {
            return false;
        }
        let pool = &self.cells.pools[usize::from(request.pool)];
        let row = self.row_of(slot).map(|row| &self.cells.rows[row]);
        if pool.used[class as usize] * 2 >= pool.total[class as usize]
            || !row.is_some_and(|row| row.is_half_free(class))
        {
            return false;
        }
        let free = Sought { state: PortState::Free, parity: None };
        let blocks = self.blocks_of(slot).map(|slot| self.blocks.block(slot)).filter(|block| !block.is_low());
        let free: u32 = blocks.map(|block| block.count(request.proto, free)).sum();
        held - free.min(held) >= RESOLVER_UDP_PORTS
    }

    /// A random quarantined port in a host's own blocks, which the host may use again at once: by analogy with
    /// static assignment (RFC 6888 REQ-8 B).
    fn quarantined_port(
        &self,
        host: u32,
        request: &PortRequest,
        classes: &[Class],
        rng: &mut Rng,
    ) -> Option<(u32, u16)> {
        let same = Sought { state: PortState::Quarantined, parity: request.wanted_parity() };
        let each =
            classes.iter().flat_map(|class| [(*class, same), (*class, Sought { parity: None, ..same })]);
        each.into_iter().find_map(|(class, sought)| self.any_port(host, request.proto, class, sought, rng))
    }

    /// A uniformly random port of a state in a host's blocks (RFC 7857 §9).
    fn any_port(
        &self,
        host: u32,
        proto: Proto,
        class: Class,
        sought: Sought,
        rng: &mut Rng,
    ) -> Option<(u32, u16)> {
        let of_class = |slot: &u32| self.blocks.block(*slot).is_low() == (class == Class::Low);
        let count = |slot: u32| self.blocks.block(slot).count(proto, sought);
        let all: u32 = self.blocks_of(host).filter(of_class).map(count).sum();
        if all == 0 {
            return None;
        }
        let mut n = rng.below(all);
        for slot in self.blocks_of(host).filter(of_class) {
            match self.blocks.block(slot).nth(proto, sought, n) {
                Some(port) => return Some((slot, port)),
                None => n -= count(slot),
            }
        }
        None
    }

    /// A uniformly random port of a state in a block.
    fn port_in(&self, slot: u32, proto: Proto, sought: Sought, rng: &mut Rng) -> Option<(u32, u16)> {
        let block = self.blocks.block(slot);
        let count = block.count(proto, sought);
        let port = if count > 0 { block.nth(proto, sought, rng.below(count)) } else { None };
        port.map(|port| (slot, port))
    }

    /// Assigns a host one more block.
    fn new_block(
        &mut self,
        host: Option<u32>,
        request: &PortRequest,
        class: Class,
        rng: &mut Rng,
        events: &mut Events,
    ) -> Result<u32, Refused> {
        let len = self.next_len(host, request, class)?;
        self.check_tables(host, request, class)?;
        self.check_shares(host, request, class)?;
        let position = self.find_position(host, request, (class, len), rng);
        let position = position.ok_or_else(|| self.exhausted(Reason::PoolExhausted, host, request, class))?;
        Ok(self.assign(host, request.host, request.pool, position, events)?)
    }

    /// Ports of a host's next block: `first_block` first, or the shortest block while less than half of the pool
    /// is free. Then twice its longest block of the class, up to 256, once it was answered.
    fn next_len(&self, host: Option<u32>, request: &PortRequest, class: Class) -> Result<u16, Reason> {
        let held = host.map_or([0; 2], |host| self.hosts.host(host).cells);
        let held: u32 = held.iter().sum::<u32>() * u32::from(CELL);
        let left = request.port_quota.saturating_sub(held);
        if left < u32::from(CELL) {
            return Err(Reason::HostQuota);
        }
        let of_class = |slot: &u32| Class::of_block(self.blocks.block(*slot)) == class;
        let current = |slot: u32| Some(self.blocks.block(slot)).filter(|block| !block.is_withdrawn());
        let longest = host.and_then(|host| {
            let blocks = self.blocks_of(host).filter(of_class).filter_map(current);
            blocks.map(|block| block.cells.count_ones() as u16 * CELL).max()
        });
        let pool = &self.cells.pools[usize::from(request.pool)];
        let (total, used) = (pool.total[class as usize], pool.used[class as usize]);
        let len = match (class, longest) {
            (_, Some(_)) if !request.answered => {
                return Err(if used < total { Reason::Unanswered } else { Reason::PoolExhausted });
            }
            (Class::Low, _) => CELL,
            (Class::High, Some(longest)) => (longest * 2).min(LONGEST),
            (Class::High, None) if used * 2 > total => CELL,
            (Class::High, None) => request.first_block.clamp(CELL, LONGEST),
        };
        // The longest block within the quota.
        Ok(len.min(1 << left.ilog2().min(8)))
    }

    /// Checks that the tables have room for one more block, and host if it is new.
    fn check_tables(&self, host: Option<u32>, request: &PortRequest, class: Class) -> Result<(), Refused> {
        let site = self.site_of(host, request).map(|site| self.sites.site(site));
        if host.is_none() {
            let (used, total) = (self.hosts.len().into(), self.hosts.limit().into());
            Usage { total, used, site: site.map_or(0, |site| site.hosts.into()), host: 0 }
                .admit()
                .map_err(|level| self.refused(level, Reason::TableFull, host, request, class).with_host())?;
        }
        let (used, total) = (self.blocks.len(), self.blocks.limit());
        if used == total {
            return Err(self.exhausted(Reason::TableFull, host, request, class));
        }
        let held = site.map_or(0, |site| site.held.blocks);
        let of_host = host.map_or(0, |host| self.hosts.host(host).blocks.into());
        let mut usage = Usage { total: total.into(), used: used.into(), site: held.into(), host: of_host };
        if request.answered {
            let all: u32 = self.cells.pools.iter().map(|pool| pool.reclaimable.blocks).sum();
            usage.used -= u64::from(all);
            usage.site -= site.map_or(0, |site| site.reclaimable.blocks.into());
        } else if !leaves_reserve(total, used, 1) {
            return Err(self.exhausted(Reason::TableFull, host, request, class));
        }
        usage.admit().map_err(|level| self.refused(level, Reason::TableFull, host, request, class))
    }

    /// Checks the shares of host, site and zone of the pool, and the reserve for answered hosts. Blocks without an
    /// answer do not count against answered hosts, which may reclaim them.
    fn check_shares(&self, host: Option<u32>, request: &PortRequest, class: Class) -> Result<(), Refused> {
        let at = class as usize;
        let pool = &self.cells.pools[usize::from(request.pool)];
        let (total, used) = (pool.total[at], pool.used[at]);
        let site = self.site_of(host, request).map(|site| self.sites.site(site));
        let mut usage = Usage {
            total: total.into(),
            used: used.into(),
            site: site.map_or(0, |site| site.held.cells[at].into()),
            host: host.map_or(0, |host| self.hosts.host(host).cells[at].into()),
        };
        if request.answered {
            usage.used -= u64::from(pool.reclaimable.cells[at]);
            usage.site -= site.map_or(0, |site| site.reclaimable.cells[at].into());
        }
        usage.admit().map_err(|level| self.refused(level, Reason::PoolExhausted, host, request, class))?;
        if let Some(zone) = self.config.zone(request.host.zone) {
            let share = u64::from(total) * u64::from(self.config.zones[zone].share) / 100;
            if u64::from(self.cells.zones[zone][at]) >= share.max(1) {
                return Err(self.refused(Level::Site, Reason::PoolShare, host, request, class));
            }
        }
        if !request.answered && !leaves_reserve(total, used, 1) {
            return Err(self.exhausted(Reason::PoolExhausted, host, request, class));
        }
        Ok(())
    }

    /// The slot of a host's site, if it has hosts already.
    fn site_of(&self, host: Option<u32>, request: &PortRequest) -> Option<u32> {
        match host {
            Some(host) => Some(self.hosts.host(host).site),
            None => {
                let zone = self.config.zone(request.host.zone)?;
                self.sites.find(request.host.site(self.config.zones[zone].site_len))
            }
        }
    }

    /// The refusal at a level; `reason` if nothing is left for anybody. A site that has its share may only reclaim
    /// its own blocks.
    fn refused(
        &self,
        level: Level,
        reason: Reason,
        host: Option<u32>,
        request: &PortRequest,
        class: Class,
    ) -> Refused {
        let of_site = |site: u32| self.sites.site(site).unanswered[class as usize].first;
        match level {
            Level::Total => self.exhausted(reason, host, request, class),
            Level::Site => {
                let oldest = self.site_of(host, request).map(of_site);
                let reclaimable = oldest.filter(|slot| self.blocks.get(*slot).is_some());
                Refused { reason: Reason::PoolShare, reclaimable: reclaimable.map(Reclaimable::Block) }
            }
            Level::Host => Reason::PoolShare.into(),
        }
    }

    /// The refusal if nothing is left: another host's block without an answer may be reclaimed, the oldest of an
    /// address that the host may use.
    fn exhausted(&self, reason: Reason, host: Option<u32>, request: &PortRequest, class: Class) -> Refused {
        let pool = usize::from(request.pool);
        if self.cells.pools[pool].reclaimable.cells[class as usize] == 0 {
            return reason.into();
        }
        let oldest = |row: usize| {
            let slot = self.cells.rows[row].unanswered[class as usize].first;
            let zone = self.hosts.host(self.blocks.get(slot)?.host).key.zone;
            // Pools may share an address.
            self.config.zone(zone).filter(|zone| self.config.zones[*zone].pool == pool).map(|_| slot)
        };
        let paired = host.and_then(|host| self.row_of(host));
        let any = || self.rows(pool, u64::from(self.hosts.hash(request.host))).find_map(oldest);
        let reclaimable = match (paired, self.config.pairing) {
            (Some(row), Pairing::Strict) => oldest(row),
            (Some(row), Pairing::Soft) => oldest(row).or_else(any),
            (None, _) => any(),
        };
        Refused { reason, reclaimable: reclaimable.map(Reclaimable::Block) }
    }

    /// A position for a block of at most `len` ports: at the host's address, or by soft pairing at another one.
    fn find_position(
        &mut self,
        host: Option<u32>,
        request: &PortRequest,
        size: (Class, u16),
        rng: &mut Rng,
    ) -> Option<Position> {
        let Some(row) = host.and_then(|host| self.row_of(host)) else {
            return self.find_position_anywhere(host, request, size, rng);
        };
        let paired = self.find_position_at(row, host, request, size, rng);
        match self.config.pairing {
            Pairing::Strict => paired,
            Pairing::Soft => paired.or_else(|| self.find_position_anywhere(host, request, size, rng)),
        }
    }

    /// A position at any address, if possible around the client's port. The search starts at a hash of the host, so
    /// that a host tends to return to its address.
    fn find_position_anywhere(
        &mut self,
        host: Option<u32>,
        request: &PortRequest,
        (class, len): (Class, u16),
        rng: &mut Rng,
    ) -> Option<Position> {
        let (pool, answered) = (usize::from(request.pool), request.answered);
        if self.cells.pools[pool].exhausted[class as usize][usize::from(answered)] {
            return None;
        }
        let start = u64::from(self.hosts.hash(request.host));
        if Class::of_range(range_of(request.port)) == class {
            let has_room = |row: &usize| self.has_room(*row, class, answered, len);
            let mut rows = self.rows(pool, start).take(TRIED).filter(has_room);
            if let Some(found) = rows.find_map(|row| self.find_position_around(pool, row, request.port, len))
            {
                return Some(found);
            }
        }
        let found = self
            .rows(pool, start)
            .find_map(|row| self.find_position_at(row, host, request, (class, len), rng));
        self.cells.pools[pool].exhausted[class as usize][usize::from(answered)] = found.is_none();
        found
    }

    /// All rows of a pool, starting at the fraction `start / 2^32`.
    fn rows(&self, pool: usize, start: u64) -> impl Iterator<Item = usize> + '_ {
        let ranges = &self.config.pools[pool].ranges;
        let size: u64 = ranges.iter().map(|(net, _)| net.size()).sum();
        (0..size).filter_map(move |n| {
            let mut at = (((start * size) >> 32) + n) % size;
            let (net, _) = ranges.iter().find(|(net, _)| {
                let inside = at < net.size();
                at -= if inside { 0 } else { net.size() };
                inside
            })?;
            self.config.owners.position(Ipv4Addr::from_bits(net.addr().to_bits() + at as u32))
        })
    }
}
