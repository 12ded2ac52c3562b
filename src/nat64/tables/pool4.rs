//! pool4: assigns port blocks to hosts and ports to bindings.
//!
//! A block is a part of a port range: 16 to 256 adjacent ports. A host's first block is small. It receives larger
//! ones once a packet from outside has answered it; until then its blocks can be reclaimed for others. A quarter of
//! each address and pool is reserved for answered hosts, and under contention sites share the remainder fairly
//! (see [`Usage`](crate::addr::Usage)). The rules, which count in *cells* of 16 ports:
//!
//! - A host's first block has `first_block` ports, 16 while less than half of the pool is free. It lies around the
//!   client's port if possible.
//! - The next blocks are twice as long each, up to 256 ports and the quota of the host, and near its other blocks. A
//!   fragmented pool yields shorter ones.
//! - A host that was answered and uses 128 UDP ports, such as a resolver, receives up to 2,048 ports while more than
//!   half of its address and pool is free: an attacker must guess 11 bits.
//! - Until a packet from outside answers a session that the host opened, it has one block per port class. Hairpinned
//!   packets are no answers.
//! - Answered hosts have a quarter of each address, pool and block table to themselves. A host that gives its last
//!   block up is remembered as answered (`known_hosts`), the latest `limits.hosts` of them.
//! - Under contention a site takes at most half of what is free, a host half of what its site may take. A zone takes
//!   at most `pool_share`.
//! - If nothing is left, the oldest block without an answer is reclaimed: of the host's address, or of any if it has
//!   none. A site that has its share reclaims its own. Bindings of a reclaimed block end without quarantine, at
//!   most 256 sessions per packet; timers end the others. Against answered hosts such blocks do not count. If the host table is full, all blocks of that block's host are
//!   reclaimed.
//! - New hosts of a site are limited per second.
//!
//! A block takes about 260 bytes, and a range with an assigned block 1 KiB. Both tables have `limits.blocks` entries;
//! pages take memory once used. Blocks that wait for their release are in a heap from which a reclaimed block can be
//! removed.

use std::sync::Arc;

use core::net::Ipv4Addr;
use core::time::Duration;

use super::bib::{Bib, QuarantineTick};
use super::block::{Block, BlockSummary, Blocks};
use super::events::{Event, Events};
use super::hash::Rng;
use super::hosts::{Host, Hosts};
use super::port_set::ports_of_cells;
use super::range::{Range, Ranges};
use super::release_queue::ReleaseQueue;
use super::sites::Sites;
use super::slab::NIL;
use super::zone_rates::ZoneRates;
use crate::addr::{HostKey, PortRange, Proto, Transport4, WorkerId};
use crate::counters::Counters;
use crate::ownership::{Owners, RANGES, range_of};
use crate::reason::Reason;
use crate::time::Instant;

mod allocation;
mod cells;
mod class;
mod config;
mod rates;
mod reconfigure;
mod request;
mod sessions;
mod survey;
mod unanswered;

pub(in crate::nat64) use config::{PoolConfig, ZonePool};
pub(in crate::nat64) use request::{PortRequest, Reclaimable, Refused};
pub use survey::{AddressUsage, PoolSurvey};

use cells::{Cells, Position};
use rates::LastReports;

/// Bytes for each address: the owners of its ranges, the ranges in use, and its cells.
pub(in crate::nat64) const ADDRESS_BYTES: usize = RANGES * (size_of::<u8>() + size_of::<u32>()) + Cells::ROW;

/// Whether a host may create one more binding under its rate limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum RateCheck {
    /// It may, and the limit has counted the binding.
    Charged,
    /// The limit is reached.
    Exceeded(Reason),
    /// The host holds no block yet, so that nothing counts its bindings.
    NewHost,
}

/// Maximum numbers of assigned blocks and of their hosts.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Sizes {
    pub(in crate::nat64) blocks: u32,
    pub(in crate::nat64) hosts: u32,
}

/// The pools, the assigned blocks and their hosts.
pub(in crate::nat64) struct Pool4 {
    /// This worker.
    worker: WorkerId,
    config: PoolConfig,
    /// Slot plus one of each range with assigned blocks, by row and number; zero if it has none.
    active: Box<[u32]>,
    /// Cells in use, by address, pool and zone.
    cells: Cells,
    /// The ranges with assigned blocks.
    ranges: Ranges,
    /// The assigned blocks.
    blocks: Blocks,
    /// The hosts that hold them.
    hosts: Hosts,
    /// The sites of these hosts.
    sites: Sites,
    /// Empty blocks in quarantine. The recorded start may be earlier than the real one, never later.
    empty: ReleaseQueue,
    /// Rates of new sessions of the zones.
    zone_rates: ZoneRates,
    last_reports: LastReports,
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
            cells: Cells::new(&config, worker),
            config,
            active: Box::default(),
            ranges: Ranges::new(sizes.blocks),
            blocks: Blocks::new(sizes.blocks),
            hosts: Hosts::new(sizes.hosts, rng),
            sites: Sites::new(sizes.hosts, rng),
            empty: ReleaseQueue::new(sizes.blocks),
            zone_rates: ZoneRates::default(),
            last_reports: LastReports::default(),
            counters,
        };
        pool4.rebuild_active();
        pool4.zone_rates.set_zones(pool4.config.zones.iter().map(|zone| zone.id));
        pool4
    }

    /// This worker.
    pub(in crate::nat64) const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Ownership of hosts and port ranges.
    pub(in crate::nat64) const fn owners(&self) -> &Owners {
        &self.config.owners
    }

    /// The ranges with assigned blocks, which index bindings by their IPv4 side.
    pub(in crate::nat64) const fn ranges(&self) -> &Ranges {
        &self.ranges
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
    pub(in crate::nat64) fn host_of_block(&mut self, block: u32) -> &mut Host {
        self.hosts.host_mut(self.blocks.block(block).host)
    }

    /// Whether an address is in a pool.
    pub(in crate::nat64) fn contains_addr(&self, addr: Ipv4Addr) -> bool {
        self.config.owners.position(addr).is_some()
    }

    /// The binding at an IPv4 transport address, quarantined ones included.
    #[inline]
    pub(in crate::nat64) fn find(&self, proto: Proto, mapped: Transport4, bib: &Bib) -> Option<u32> {
        self.ranges.find(self.list_at(mapped)?, proto, bib)
    }

    /// The list of the bindings at an IPv4 transport address, if its range has an assigned block.
    #[inline]
    pub(in crate::nat64) fn list_at(&self, mapped: Transport4) -> Option<usize> {
        let row = self.config.owners.position(mapped.addr)?;
        let slot = self.active[row * RANGES + range_of(mapped.port)].checked_sub(1)?;
        Some(Ranges::head(slot, mapped.port))
    }

    /// The blocks of a host, the newest first.
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

    /// A binding of a block, if it has one.
    pub(in crate::nat64) fn first_binding(&self, slot: u32) -> Option<u32> {
        let block = self.blocks.block(slot);
        if block.is_empty() {
            return None;
        }
        let mut ports = block.ports().first()..=block.ports().last();
        ports.find_map(|port| {
            let binding = self.ranges.first_at(Ranges::head(block.range, port));
            (binding != NIL).then_some(binding)
        })
    }

    /// Row of a block's address, or [`NIL`].
    fn row_of_block(&self, slot: u32) -> u32 {
        self.ranges.range(self.blocks.block(slot).range).row
    }

    /// Row of a host's address; `None` if its pool has none of its blocks any more.
    fn row_of(&self, host: u32) -> Option<usize> {
        self.oldest(host, |block| !block.is_withdrawn()).map(|slot| self.row_of_block(slot) as usize)
    }

    fn addr_of(&self, row: usize) -> Ipv4Addr {
        let nets = self.config.owners.pools();
        let (net, first) = nets[nets.partition_point(|(_, first)| *first <= row) - 1];
        Ipv4Addr::from_bits(net.addr().to_bits() + (row - first) as u32)
    }

    /// Assigns a block to a host, which is created if it is new.
    fn assign(
        &mut self,
        host: Option<u32>,
        key: HostKey,
        pool: u16,
        position: Position,
        events: &mut Events,
    ) -> Result<u32, Reason> {
        let Position { row, range: number, cells } = position;
        let addr = self.addr_of(row);
        let allowed = self.allowed(usize::from(pool), row, number);
        let host = match host {
            Some(host) => {
                self.hosts.host_mut(host).blocks += 1;
                host
            }
            None => self.add_host(key)?,
        };
        let range = match self.active[row * RANGES + number].checked_sub(1) {
            Some(range) => range,
            None => {
                let range = Range { addr, row: row as u32, number: number as u16, assigned: cells };
                self.ranges.insert(range).ok_or(Reason::TableFull)?
            }
        };
        self.ranges.range_mut(range).assigned |= cells;
        self.active[row * RANGES + number] = range + 1;
        let next = self.hosts.host(host).first_block;
        let ports = ports_of_cells(number, cells);
        let block = Block::new(ports, (range, cells), allowed, host, next);
        let summary = BlockSummary { addr, zone: key.zone };
        let slot = self.blocks.insert(summary, block).ok_or(Reason::TableFull)?;
        for (proto, mapped) in self.config.statics.iter().filter(|(_, mapped)| mapped.addr == addr) {
            self.blocks.block_mut(slot).reserve(*proto, mapped.port);
        }
        self.hosts.host_mut(host).first_block = slot;
        self.count_block(slot);
        self.enqueue_unanswered(slot);
        let counters = self.counters.zone(Some(key.zone));
        counters.blocks.add(1);
        counters.ports.add(ports.count().into());
        events.push(Event::BlockAssigned { host: key, addr, ports });
        Ok(slot)
    }

    /// Adds a host that is about to receive its first block.
    fn add_host(&mut self, key: HostKey) -> Result<u32, Reason> {
        let zone = self.config.zone(key.zone).ok_or(Reason::NoZone)?;
        let site =
            self.sites.add_host(key.site(self.config.zones[zone].site_len)).ok_or(Reason::TableFull)?;
        let host = self.hosts.insert(key, site);
        if host.is_none() {
            self.sites.remove_host(site);
        }
        host.ok_or(Reason::TableFull)
    }

    /// Marks a binding's port as in use.
    pub(in crate::nat64) fn link(&mut self, binding: u32, bib: &mut Bib) {
        let (slot, proto, port) = allocation_of(binding, bib);
        self.ranges.link(self.blocks.block(slot).range, binding, bib);
        self.blocks.occupy(slot, proto, port);
    }

    /// Records that a binding entered its quarantine, or left it because its client returned.
    pub(in crate::nat64) fn set_quarantined(&mut self, binding: u32, quarantined: bool, bib: &Bib) {
        let (slot, proto, port) = allocation_of(binding, bib);
        self.blocks.block_mut(slot).set_quarantined(proto, port, quarantined);
    }

    /// The binding at a port of a block, quarantined ones included.
    pub(in crate::nat64) fn binding_in(&self, block: u32, proto: Proto, port: u16, bib: &Bib) -> Option<u32> {
        self.ranges.find(Ranges::head(self.blocks.block(block).range, port), proto, bib)
    }

    /// Frees a binding's port, which has been out of use since `since`. An empty block stays with its host until the
    /// quarantine of its last port ends.
    pub(in crate::nat64) fn unlink(&mut self, since: QuarantineTick, binding: u32, bib: &mut Bib) {
        let (slot, proto, port) = allocation_of(binding, bib);
        self.ranges.unlink(self.blocks.block(slot).range, binding, bib);
        self.blocks.vacate(slot, proto, port);
        let block = self.blocks.block_mut(slot);
        block.since = block.since.max(since.0);
        if block.is_empty() {
            self.empty.push(block.since, slot);
        }
    }

    /// When a block must be released or reclaimed next.
    pub(in crate::nat64) fn next_deadline(&self, quarantine: Duration) -> Option<Instant> {
        let released = self.empty.peek().map(|(since, _)| QuarantineTick(since).end(quarantine));
        let reclaimed = self.blocks.postponed().map(|(_, since)| since);
        released.into_iter().chain(reclaimed).min()
    }

    /// Releases the oldest empty block if its quarantine has ended. Returns false if none is due. A block used
    /// since it was queued leaves the queue, or waits again if it is empty.
    pub(in crate::nat64) fn release_quarantined(
        &mut self,
        now: Instant,
        quarantine: Duration,
        events: &mut Events,
    ) -> bool {
        let Some((since, slot)) = self.empty.peek() else { return false };
        if QuarantineTick(since).end(quarantine) > now {
            return false;
        }
        self.empty.remove(slot);
        let block = self.blocks.block(slot);
        if block.is_empty() && block.since != since {
            self.empty.push(block.since, slot);
        } else if block.is_empty() {
            let (host, addr, ports) = self.release(slot);
            events.push(Event::BlockReleased { host, addr, ports });
        }
        true
    }

    /// Returns an empty block to the pool, and removes its host if it was the last one.
    fn release(&mut self, slot: u32) -> (HostKey, Ipv4Addr, PortRange) {
        self.empty.remove(slot);
        self.dequeue_unanswered(slot);
        self.uncount_block(slot);
        let (block, addr) = (self.blocks.block(slot).clone(), self.blocks.summary(slot).addr);
        let prev = self.blocks_of(block.host).find(|other| self.blocks.block(*other).next == slot);
        match prev {
            Some(prev) => self.blocks.block_mut(prev).next = block.next,
            None => self.hosts.host_mut(block.host).first_block = block.next,
        }
        let (row, number) = (self.ranges.range(block.range).row, self.ranges.range(block.range).number);
        if self.ranges.free_cells(block.range, block.cells) && row != NIL {
            self.active[row as usize * RANGES + usize::from(number)] = 0;
        }
        self.cells.forget_exhaustion();
        let host = self.hosts.host_mut(block.host);
        host.blocks -= 1;
        let (key, left, site) = (host.key, host.blocks, host.site);
        let counters = self.counters.zone(Some(key.zone));
        counters.blocks.sub(1);
        counters.ports.sub(block.ports().count().into());
        self.blocks.remove(slot);
        if left == 0 {
            self.hosts.remove(block.host);
            self.sites.remove_host(site);
        }
        (key, addr, block.ports())
    }

    /// Counts one more binding of a host against `rate` per second, or a new host against the rate of its site; 0
    /// is unlimited. A host that was answered before is not new.
    pub(in crate::nat64) fn charge_binding(&mut self, now: Instant, request: &PortRequest) -> RateCheck {
        let rate = request.rate;
        let Some(slot) = request.slot else {
            let site = self.config.zone(request.host.zone).map(|zone| self.config.zones[zone].site_len);
            let site = site.and_then(|len| self.sites.find(request.host.site(len)));
            let limit = request.new_hosts;
            return match site.filter(|_| limit > 0 && !request.answered) {
                Some(site) if !self.sites.site_mut(site).new_hosts.take(now, limit, limit) => {
                    RateCheck::Exceeded(Reason::NewHostRate)
                }
                Some(_) | None => RateCheck::NewHost,
            };
        };
        if rate == 0 || self.hosts.host_mut(slot).bindings.take(now, rate, rate) {
            RateCheck::Charged
        } else {
            RateCheck::Exceeded(Reason::BindingRate)
        }
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
}

/// Block, protocol and port of a binding.
fn allocation_of(binding: u32, bib: &Bib) -> (u32, Proto, u16) {
    let entry = bib.binding(binding);
    (entry.allocation, entry.proto(), entry.port)
}
