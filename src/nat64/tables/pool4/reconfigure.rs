//! Switching to a new configuration, and blocks assigned by other means than a packet.

use super::Pool4;
use super::cells::{Cells, Position};
use super::config::PoolConfig;
use crate::addr::{HostKey, Proto, Transport4};
use crate::nat64::settings::Pairing;
use crate::nat64::tables::bib::QuarantineTick;
use crate::nat64::tables::block::Queue;
use crate::nat64::tables::events::{BlockAssignment, Events};
use crate::nat64::tables::port_set::{CELL, CellSet};
use crate::nat64::tables::sites::Held;
use crate::nat64::tables::slab::NIL;
use crate::ownership::{RANGES, offset_of, ports_of, range_of};
use crate::reason::Reason;
use crate::time::Instant;

impl Pool4 {
    /// Rebuilds the table of ranges in use from the owners' rows and the ranges.
    pub(super) fn rebuild_active(&mut self) {
        self.active = vec![0; self.config.owners.table().len()].into_boxed_slice();
        for slot in 0..self.ranges.end() {
            let Some(range) = self.ranges.get(slot) else { continue };
            let row = self.config.owners.position(range.addr);
            if let Some(row) = row {
                self.active[row * RANGES + usize::from(range.number)] = slot + 1;
            }
            self.ranges.range_mut(slot).row = row.map_or(NIL, |row| row as u32);
        }
    }

    /// Reserves the port that another translator assigned to a host; returns its block.
    ///
    /// # Errors
    /// [`Reason::NotPool4`] if the port is not in the pool or not owned by this worker,
    /// [`Reason::PoolExhausted`] if another host has it, [`Reason::TableFull`]
    pub(in crate::nat64) fn reserve_port(
        &mut self,
        key: HostKey,
        pool: u16,
        proto: Proto,
        mapped: Transport4,
        events: &mut Events,
    ) -> Result<u32, Reason> {
        // Blocks of 64 ports, as if the host had opened its connections here.
        let range = range_of(mapped.port);
        let cell = offset_of(mapped.port) as u16 / CELL;
        let cells = if mapped.port < 1024 { 1 } else { 0b1111 << (cell / 4 * 4) };
        let slot = self.block_of_mapped(key, pool, mapped, (range, cells), events)?;
        if self.blocks.block(slot).is_free(proto, mapped.port) {
            Ok(slot)
        } else {
            Err(Reason::PoolExhausted)
        }
    }

    /// Restores a block that the host had before the restart; its quarantine begins now. The host counts as
    /// answered.
    ///
    /// # Errors
    /// As [`reserve_port`](Self::reserve_port).
    pub(in crate::nat64) fn restore_block(
        &mut self,
        now: Instant,
        assignment: &BlockAssignment,
        pool: u16,
        events: &mut Events,
    ) -> Result<(), Reason> {
        let mapped = Transport4::new(assignment.addr, assignment.ports.first());
        let slot = self.block_of_mapped(assignment.host, pool, mapped, cells_of(assignment)?, events)?;
        self.note_answer(slot);
        let block = self.blocks.block_mut(slot);
        block.since = QuarantineTick::of(now).0;
        if block.is_empty() {
            self.empty.push(block.since, slot);
        }
        Ok(())
    }

    /// The block of a mapped address. If it is unassigned, the host receives these cells of the range, or those of
    /// them that are available.
    fn block_of_mapped(
        &mut self,
        key: HostKey,
        pool: u16,
        mapped: Transport4,
        (range, cells): (usize, CellSet),
        events: &mut Events,
    ) -> Result<u32, Reason> {
        let row = self.config.owners.position(mapped.addr).ok_or(Reason::NotPool4)?;
        let host = self.hosts.find(key);
        let paired = host.and_then(|host| self.row_of(host)).is_none_or(|of_host| of_host == row);
        if !paired && self.config.pairing == Pairing::Strict {
            return Err(Reason::PoolExhausted);
        }
        let own = host.and_then(|host| {
            self.blocks_of(host).find(|slot| {
                let block = self.blocks.block(*slot);
                block.ports().contains(mapped.port) && self.row_of_block(*slot) as usize == row
            })
        });
        if let Some(slot) = own {
            return Ok(slot);
        }
        let available = self.available(usize::from(pool), row, range);
        let cell: CellSet = 1 << (offset_of(mapped.port) as u16 / CELL);
        let assigned = self.active[row * RANGES + range].checked_sub(1);
        if assigned.is_some_and(|slot| self.ranges.range(slot).assigned & cell != 0) {
            return Err(Reason::PoolExhausted);
        }
        if available & cell == 0 {
            return Err(Reason::NotPool4);
        }
        if host.is_none() && self.hosts.len() == self.hosts.limit()
            || self.blocks.len() == self.blocks.limit()
        {
            return Err(Reason::TableFull);
        }
        let cells = if available & cells == cells { cells } else { cell };
        self.assign(host, key, pool, Position { row, range, cells }, events)
    }

    /// Switches to a new configuration. The caller has ended the bindings that it does not contain. Blocks outside
    /// the new pools take no new binding and are released after their quarantine. A host with no other blocks
    /// leaves the index, so that it may receive a new address.
    pub(in crate::nat64) fn reconfigure(&mut self, config: PoolConfig) {
        let withdrawn = core::mem::replace(&mut self.config, config).statics;
        self.rebuild_active();
        for slot in 0..self.blocks.end() {
            let Some(block) = self.blocks.get(slot) else { continue };
            let (range, addr) = (self.ranges.range(block.range).clone(), self.blocks.summary(slot).addr);
            let zone = self.config.zone(self.hosts.host(block.host).key.zone);
            let pool = zone.map(|zone| self.config.zones[zone].pool).filter(|_| range.row != NIL);
            let allowed =
                pool.map_or([0; 4], |pool| self.allowed(pool, range.row as usize, range.number.into()));
            let block = self.blocks.block_mut(slot);
            block.allow(allowed);
            for (proto, mapped) in withdrawn.iter().filter(|(_, mapped)| mapped.addr == addr) {
                block.free_port(*proto, mapped.port);
            }
            for (proto, mapped) in self.config.statics.iter().filter(|(_, mapped)| mapped.addr == addr) {
                block.reserve(*proto, mapped.port);
            }
        }
        for slot in 0..self.blocks.end() {
            let Some(host) = self.blocks.get(slot).map(|block| block.host) else { continue };
            if self.blocks_of(host).all(|slot| self.blocks.block(slot).is_withdrawn()) {
                self.hosts.unindex(host);
            }
        }
        self.recount();
    }

    /// Counts all blocks again, and rebuilds the queues of blocks without an answer.
    fn recount(&mut self) {
        self.zone_rates.set_zones(self.config.zones.iter().map(|zone| zone.id));
        self.cells = Cells::new(&self.config, self.worker);
        for slot in 0..self.sites.end() {
            if self.sites.is_occupied(slot) {
                let site = self.sites.site_mut(slot);
                (site.held, site.reclaimable, site.sessions) = (Held::default(), Held::default(), 0);
                site.unanswered = [Queue::EMPTY; 2];
            }
        }
        for slot in 0..self.hosts.end() {
            let Some(host) = self.hosts.get(slot) else { continue };
            let (key, old) = (host.key, host.site);
            let zone = self.config.zone(key.zone);
            let site = zone.map(|zone| key.site(self.config.zones[zone].site_len));
            let moved = site.filter(|site| *site != self.sites.site(old).key()).and_then(|site| {
                // Frees a slot first: there are as many sites as hosts at most.
                self.sites.remove_host(old);
                self.sites.add_host(site)
            });
            let host = self.hosts.host_mut(slot);
            host.cells = [0; 2];
            host.site = moved.unwrap_or(old);
            let (site, sessions) = (host.site, host.sessions);
            self.sites.site_mut(site).sessions += sessions;
        }
        let mut slots: Vec<_> =
            (0..self.blocks.end()).filter(|slot| self.blocks.get(*slot).is_some()).collect();
        slots.sort_unstable_by_key(|slot| self.blocks.block(*slot).sequence);
        for slot in slots {
            self.count_block(slot);
            self.enqueue_unanswered(slot);
        }
    }
}

/// Range and cells of a saved block.
fn cells_of(assignment: &BlockAssignment) -> Result<(usize, CellSet), Reason> {
    let range = range_of(assignment.ports.first());
    if !ports_of(range).contains(assignment.ports.last()) {
        return Err(Reason::NotPool4);
    }
    let cell = |port: u16| offset_of(port) as u16 / CELL;
    let (first, last) = (cell(assignment.ports.first()), cell(assignment.ports.last()));
    Ok((range, (CellSet::MAX >> (15 - (last - first))) << first))
}
