//! pool4: assigns port blocks to hosts and ports to bindings.

use std::collections::BinaryHeap;
use std::sync::Arc;

use core::cmp::Reverse;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::bib::{Bib, QuarantineTick};
use super::block::{Block, BlockSummary, Blocks, PortSet, port_set};
use super::events::{BlockAssignment, Event, Events};
use super::hash::Rng;
use super::hosts::{Host, Hosts};
use super::slab::NIL;
use crate::addr::Proto;
use crate::addr::{HostKey, Transport4, WorkerId, ZoneId};
use crate::counters::Counters;
use crate::nat64::settings::{Pairing, Pool};
use crate::ownership::{RANGES, Owners, range_of, ports_of};
use crate::reason::Reason;
use crate::time::Instant;

mod allocation;

pub(in crate::nat64) use allocation::PortRequest;

use allocation::Class;

/// Whether a host may create one more binding under its rate limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum RateCheck {
    /// It may, and the limit has counted the binding.
    Charged,
    /// The limit is reached.
    Exceeded,
    /// The host holds no block yet, so that nothing counts its bindings.
    NewHost,
}

/// Maximum numbers of assigned blocks and of their hosts.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Sizes {
    pub(in crate::nat64) blocks: u32,
    pub(in crate::nat64) hosts: u32,
}

/// What can be assigned, and to whom. Only a reload changes it.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct PoolConfig {
    /// Ownership of hosts and port blocks.
    pub(in crate::nat64) owners: Owners,
    /// Addresses and ports of each pool.
    pub(in crate::nat64) pools: Vec<Pool>,
    /// Index of each zone's pool.
    pub(in crate::nat64) zone_pools: Vec<(ZoneId, usize)>,
    /// Mapped addresses of static bindings.
    pub(in crate::nat64) statics: Vec<(Proto, Transport4)>,
    /// Whether a host may have ports of several addresses.
    pub(in crate::nat64) pairing: Pairing,
}

impl PoolConfig {
    fn pool_of(&self, zone: ZoneId) -> Option<usize> {
        self.zone_pools.iter().find(|(id, _)| *id == zone).map(|(_, pool)| *pool)
    }
}

/// The pools, the assigned blocks and their hosts.
pub(in crate::nat64) struct Pool4 {
    /// This worker.
    worker: WorkerId,
    config: PoolConfig,
    /// Slot plus one of each assigned block, by row and number; zero if unassigned.
    active: Box<[u32]>,
    /// Number of this worker's unassigned blocks by row, below 1024 and above.
    unused: Box<[[u16; 2]]>,
    /// Whether the last search of a whole pool found no block, by pool and class.
    exhausted: Vec<[bool; 2]>,
    /// The assigned blocks.
    blocks: Blocks,
    /// The hosts that hold them.
    hosts: Hosts,
    /// Release queue of empty blocks in quarantine, the oldest first: start and slot. Each block
    /// appears at most once; its recorded start may be earlier than the real one, never later.
    empty: BinaryHeap<Reverse<(u32, u32)>>,
    /// Second, plus one, of the last [`Event::PoolExhausted`].
    last_report: u32,
    /// Counters, which other threads read.
    counters: Arc<Counters>,
}

impl Pool4 {
    pub(in crate::nat64) fn new(
        worker: WorkerId,
        sizes: Sizes,
        config: PoolConfig,
        rng: &mut Rng,
        counters: Arc<Counters>,
    ) -> Self {
        let mut pool4 = Self {
            worker,
            config,
            active: Box::default(),
            unused: Box::default(),
            exhausted: Vec::new(),
            blocks: Blocks::new(sizes.blocks),
            hosts: Hosts::new(sizes.hosts, rng),
            empty: BinaryHeap::with_capacity(sizes.blocks as usize),
            last_report: 0,
            counters,
        };
        pool4.rebuild_active();
        pool4
    }

    /// Rebuilds the table of assigned blocks from the owners' rows and the blocks.
    fn rebuild_active(&mut self) {
        let rows = self.config.owners.table().len() / RANGES;
        self.active = vec![0; rows * RANGES].into_boxed_slice();
        self.unused = vec![[0; 2]; rows].into_boxed_slice();
        self.exhausted = vec![[false; 2]; self.config.pools.len()];
        for slot in 0..self.blocks.end() {
            let Some(block) = self.blocks.get(slot) else { continue };
            let row = self.config.owners.position(self.blocks.summary(slot).addr);
            if let Some(row) = row {
                self.active[row * RANGES + usize::from(block.number)] = slot + 1;
            }
            self.blocks.block_mut(slot).row = row.map_or(NIL, |row| row as u32);
        }
        for row in 0..rows {
            for block in 0..RANGES {
                let at = row * RANGES + block;
                if self.active[at] == 0 && self.config.owners.table()[at] == self.worker.0 {
                    self.unused[row][Class::of_block(block) as usize] += 1;
                }
            }
        }
    }

    /// This worker.
    pub(in crate::nat64) const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Ownership of hosts and port blocks.
    pub(in crate::nat64) const fn owners(&self) -> &Owners {
        &self.config.owners
    }

    /// The assigned blocks.
    pub(in crate::nat64) const fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The hosts that hold blocks.
    pub(in crate::nat64) const fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The host that holds a block.
    pub(in crate::nat64) fn host_of(&mut self, block: u32) -> &mut Host {
        self.hosts.host_mut(self.blocks.block(block).host)
    }

    /// Whether an address is in a pool.
    pub(in crate::nat64) fn contains_addr(&self, addr: Ipv4Addr) -> bool {
        self.config.owners.position(addr).is_some()
    }

    /// The binding at an IPv4 transport address, quarantined ones included.
    #[inline]
    pub(in crate::nat64) fn find(&self, proto: Proto, mapped: Transport4, bib: &Bib) -> Option<u32> {
        self.blocks.find(self.list_at(mapped)?, proto, bib)
    }

    /// The list of the bindings at an IPv4 transport address, if its block is assigned.
    #[inline]
    pub(in crate::nat64) fn list_at(&self, mapped: Transport4) -> Option<usize> {
        let row = self.config.owners.position(mapped.addr)?;
        let slot = self.active[row * RANGES + range_of(mapped.port)].checked_sub(1)?;
        Some(Blocks::head(slot, mapped.port))
    }

    /// The blocks of a host.
    fn blocks_of(&self, host: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.hosts.host(host).first_block;
        core::iter::from_fn(move || {
            let slot = next;
            next = self.blocks.get(slot)?.next;
            Some(slot)
        })
    }

    /// A host's oldest block that satisfies `fit`. With soft pairing a host may have several addresses; its
    /// first one takes precedence (RFC 7857 §4).
    fn oldest(&self, host: u32, fit: impl Fn(&Block) -> bool) -> Option<u32> {
        // The newest block is the first of the list.
        self.blocks_of(host).filter(|slot| fit(self.blocks.block(*slot))).last()
    }

    /// Row of a host's address; `None` if its pool has none of its blocks any more.
    fn row_of(&self, host: u32) -> Option<usize> {
        self.oldest(host, |block| !block.is_withdrawn()).map(|slot| self.blocks.block(slot).row as usize)
    }

    fn is_assignable(&self, pool: usize, row: usize, block: usize) -> bool {
        let at = row * RANGES + block;
        self.active[at] == 0
            && self.config.owners.table()[at] == self.worker.0
            && self.allowed(pool, row, block).iter().any(|word| *word != 0)
    }

    fn addr_of(&self, row: usize) -> Ipv4Addr {
        let nets = self.config.owners.pools();
        let (net, first) = nets[nets.partition_point(|(_, first)| *first <= row) - 1];
        Ipv4Addr::from_bits(net.addr().to_bits() + (row - first) as u32)
    }

    /// The ports of a block that are in a pool. A range may begin or end inside a block.
    fn allowed(&self, pool: usize, row: usize, block: usize) -> PortSet {
        let (addr, ports) = (self.addr_of(row), ports_of(block));
        let mut allowed = [0; 4];
        let of_addr = self.config.pools[pool].ranges.iter().filter(|(net, _)| net.contains(addr));
        for (_, range) in of_addr.filter(|(_, range)| range.overlaps(ports)) {
            // Port zero is never assigned.
            let first = range.first().max(ports.first()).max(1);
            let last = range.last().min(ports.last());
            if first <= last {
                let bits = port_set(usize::from(first - ports.first()), usize::from(last - ports.first()));
                allowed = core::array::from_fn(|word| allowed[word] | bits[word]);
            }
        }
        allowed
    }

    fn assign(
        &mut self,
        host: Option<u32>,
        key: HostKey,
        pool: u16,
        (row, number): (usize, usize),
        events: &mut Events,
    ) -> Result<u32, Reason> {
        let (addr, ports) = (self.addr_of(row), ports_of(number));
        let allowed = self.allowed(usize::from(pool), row, number);
        let host = match host {
            Some(host) => {
                self.hosts.host_mut(host).blocks += 1;
                host
            }
            None => self.hosts.insert(key).ok_or(Reason::TableFull)?,
        };
        let next = self.hosts.host(host).first_block;
        let block = Block::new(ports, (row as u32, number as u16), allowed, host, next);
        let summary = BlockSummary { addr, zone: key.zone };
        let slot = self.blocks.insert(summary, block).ok_or(Reason::TableFull)?;
        for (proto, mapped) in self.config.statics.iter().filter(|(_, mapped)| mapped.addr == addr) {
            self.blocks.block_mut(slot).reserve(*proto, mapped.port);
        }
        self.hosts.host_mut(host).first_block = slot;
        self.active[row * RANGES + number] = slot + 1;
        self.unused[row][Class::of_block(number) as usize] -= 1;
        self.counters.zone(Some(key.zone)).blocks.add(1);
        events.push(Event::BlockAssigned { host: key, addr, ports });
        Ok(slot)
    }

    /// Marks a binding's port as in use.
    pub(in crate::nat64) fn link(&mut self, binding: u32, bib: &mut Bib) {
        self.blocks.link(binding, bib);
    }

    /// Frees a binding's port, which has been out of use since `since`. An empty block stays with its host until the
    /// quarantine of its last port ends.
    pub(in crate::nat64) fn unlink(&mut self, since: QuarantineTick, binding: u32, bib: &mut Bib) {
        let slot = bib.binding(binding).allocation;
        self.blocks.unlink(binding, bib);
        let block = self.blocks.block_mut(slot);
        block.since = block.since.max(since.0);
        if block.is_empty() && !core::mem::replace(&mut block.queued, true) {
            self.empty.push(Reverse((block.since, slot)));
        }
    }

    /// When [`release_quarantined`](Self::release_quarantined) has work next.
    pub(in crate::nat64) fn next_empty(&self, quarantine: Duration) -> Option<Instant> {
        self.empty.peek().map(|Reverse((since, _))| QuarantineTick(*since).end(quarantine))
    }

    /// Releases the oldest empty block if its quarantine has ended. Returns false if none is due. A block used
    /// since it was queued leaves the queue, or waits again if it is empty.
    pub(in crate::nat64) fn release_quarantined(
        &mut self,
        now: Instant,
        quarantine: Duration,
        events: &mut Events,
    ) -> bool {
        let Some(&Reverse((since, slot))) = self.empty.peek() else { return false };
        if QuarantineTick(since).end(quarantine) > now {
            return false;
        }
        self.empty.pop();
        let block = self.blocks.block_mut(slot);
        if block.is_empty() && block.since != since {
            self.empty.push(Reverse((block.since, slot)));
            return true;
        }
        block.queued = false;
        if block.is_empty() {
            self.release(slot, events);
        }
        true
    }

    /// Returns an empty block to the pool, and removes its host if it was the last one.
    fn release(&mut self, slot: u32, events: &mut Events) {
        let (block, addr) = (self.blocks.block(slot).clone(), self.blocks.summary(slot).addr);
        let prev = self.blocks_of(block.host).find(|other| self.blocks.block(*other).next == slot);
        match prev {
            Some(prev) => self.blocks.block_mut(prev).next = block.next,
            None => self.hosts.host_mut(block.host).first_block = block.next,
        }
        let (row, number) = (block.row as usize, usize::from(block.number));
        if block.row != NIL {
            self.active[row * RANGES + number] = 0;
            self.unused[row][Class::of_block(number) as usize] += 1;
        }
        self.exhausted.fill([false; 2]);
        let host = self.hosts.host_mut(block.host);
        host.blocks -= 1;
        let (key, left) = (host.key, host.blocks);
        self.counters.zone(Some(key.zone)).blocks.sub(1);
        events.push(Event::BlockReleased { host: key, addr, ports: block.ports() });
        self.blocks.remove(slot);
        if left == 0 {
            self.hosts.remove(block.host);
        }
    }

    /// Counts one more binding of a host against `rate` per second; 0 is unlimited.
    pub(in crate::nat64) fn charge_binding(&mut self, now: Instant, host: HostKey, rate: u32) -> RateCheck {
        if rate == 0 {
            return RateCheck::Charged;
        }
        let Some(slot) = self.hosts.find(host) else { return RateCheck::NewHost };
        if self.hosts.host_mut(slot).bindings.take(now, rate, rate) {
            RateCheck::Charged
        } else {
            RateCheck::Exceeded
        }
    }

    /// The second of a host's last report, mutably; `None` if it holds no block.
    pub(in crate::nat64) fn last_report_of(&mut self, host: HostKey) -> Option<&mut u32> {
        let slot = self.hosts.find(host)?;
        Some(&mut self.hosts.host_mut(slot).last_report)
    }

    /// Whether no exhaustion was reported in this second yet; records this report.
    pub(in crate::nat64) fn is_first_exhaustion_in(&mut self, second: u32) -> bool {
        core::mem::replace(&mut self.last_report, second) != second
    }

    /// Whether a transport address is in a pool.
    #[inline]
    pub(in crate::nat64) fn contains(&self, mapped: Transport4) -> bool {
        self.contains_addr(mapped.addr)
            && self.config.pools.iter().any(|pool| {
                pool.ranges
                    .iter()
                    .any(|(net, ports)| net.contains(mapped.addr) && ports.contains(mapped.port))
            })
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
        let slot = self.block_of_mapped(key, pool, mapped, events)?;
        if self.blocks.block(slot).is_free(proto, mapped.port) {
            Ok(slot)
        } else {
            Err(Reason::PoolExhausted)
        }
    }

    /// Restores a block that the host had before the restart; its quarantine begins now.
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
        let slot = self.block_of_mapped(assignment.host, pool, mapped, events)?;
        let block = self.blocks.block_mut(slot);
        block.since = QuarantineTick::of(now).0;
        if block.is_empty() && !core::mem::replace(&mut block.queued, true) {
            self.empty.push(Reverse((block.since, slot)));
        }
        Ok(())
    }

    /// The block of a mapped address, assigned to the host if it is unassigned.
    fn block_of_mapped(
        &mut self,
        key: HostKey,
        pool: u16,
        mapped: Transport4,
        events: &mut Events,
    ) -> Result<u32, Reason> {
        let row = self.config.owners.position(mapped.addr).ok_or(Reason::NotPool4)?;
        let number = range_of(mapped.port);
        let host = self.hosts.find(key);
        let paired = host.and_then(|host| self.row_of(host)).is_none_or(|of_host| of_host == row);
        if !paired && self.config.pairing == Pairing::Strict {
            return Err(Reason::PoolExhausted);
        }
        match self.active[row * RANGES + number].checked_sub(1) {
            Some(slot) if Some(self.blocks.block(slot).host) == host => Ok(slot),
            Some(_) => Err(Reason::PoolExhausted),
            None if !self.is_assignable(usize::from(pool), row, number) => Err(Reason::NotPool4),
            None if host.is_none() && self.hosts.is_full() || self.blocks.is_full() => Err(Reason::TableFull),
            None => self.assign(host, key, pool, (row, number), events),
        }
    }

    /// Switches to a new configuration. The caller has ended the bindings that it does not contain. Blocks outside the
    /// new pools take no new binding and are released after their quarantine. A host with no other blocks
    /// leaves the index, so that it may receive a new address.
    pub(in crate::nat64) fn reconfigure(&mut self, config: PoolConfig) {
        let withdrawn = core::mem::replace(&mut self.config, config).statics;
        self.rebuild_active();
        for slot in 0..self.blocks.end() {
            let Some(block) = self.blocks.get(slot) else { continue };
            let (row, number, addr) = (block.row, usize::from(block.number), self.blocks.summary(slot).addr);
            let zone = self.hosts.host(block.host).key.zone;
            let pool = self.config.pool_of(zone).filter(|_| row != NIL);
            let allowed = pool.map_or([0; 4], |pool| self.allowed(pool, row as usize, number));
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
    }
}
