//! Cells: the smallest blocks. Which of them a pool has, which are in use, and where a block fits.

use super::Pool4;
use super::class::Class;
use super::config::PoolConfig;
use super::request::PortRequest;
use crate::addr::WorkerId;
use crate::nat64::tables::block::Queue;
use crate::nat64::tables::hash::Rng;
use crate::nat64::tables::port_set::{CELL, CellSet, PortSet, cells_with, port_set};
use crate::nat64::tables::sites::Held;
use crate::nat64::tables::slab::NIL;
use crate::ownership::{RANGES, offset_of, ports_of, range_of};

/// One part in this many is reserved for hosts that were answered.
const RESERVED: u32 = 4;

/// Whether `more` units leave the reserve of a resource untouched.
pub(super) const fn leaves_reserve(total: u32, used: u32, more: u32) -> bool {
    used + more + total / RESERVED <= total
}

/// The cells of an address that this worker owns, by port class.
#[derive(Clone, Debug)]
pub(super) struct Row {
    total: [u32; 2],
    used: [u32; 2],
    /// Blocks without an answer.
    pub(super) unanswered: [Queue; 2],
}

impl Row {
    /// Ports of this address.
    pub(super) const fn ports(&self) -> u32 {
        (self.total[0] + self.total[1]) * CELL as u32
    }

    /// Whether more than half of the address is free.
    pub(super) fn is_half_free(&self, class: Class) -> bool {
        self.used[class as usize] * 2 < self.total[class as usize]
    }

    /// Cells that a host may take.
    fn room(&self, class: Class, answered: bool) -> u32 {
        let (total, used) = (self.total[class as usize], self.used[class as usize]);
        total.saturating_sub(used).saturating_sub(if answered { 0 } else { total / RESERVED })
    }
}

/// The cells of a pool that this worker owns, by port class.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolCells {
    pub(super) total: [u32; 2],
    pub(super) used: [u32; 2],
    /// Blocks without an answer, which can be reclaimed.
    pub(super) reclaimable: Held,
    /// Whether the last search of the whole pool found no block, for new and for answered hosts.
    pub(super) exhausted: [[bool; 2]; 2],
}

/// Cells in use, by address, pool and zone.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    pub(super) rows: Box<[Row]>,
    pub(super) pools: Vec<PoolCells>,
    /// By index of the zone.
    pub(super) zones: Vec<[u32; 2]>,
}

impl Cells {
    /// Bytes for each pool address.
    pub(in crate::nat64) const ROW: usize = size_of::<Row>();

    /// All cells that `worker` owns, none in use.
    pub(super) fn new(config: &PoolConfig, worker: WorkerId) -> Self {
        let rows = config.owners.table().len() / RANGES;
        let row = Row { total: [0; 2], used: [0; 2], unanswered: [Queue::EMPTY; 2] };
        let mut cells = Self {
            rows: vec![row; rows].into_boxed_slice(),
            pools: vec![PoolCells::default(); config.pools.len()],
            zones: vec![[0; 2]; config.zones.len()],
        };
        for (index, pool) in config.pools.iter().enumerate() {
            for (at, (net, ports)) in pool.ranges.iter().enumerate() {
                // Two entries may share a cell: it counts once.
                let earlier: Vec<_> =
                    pool.ranges[..at].iter().filter(|(other, _)| other.overlaps(*net)).collect();
                for range in range_of(ports.first())..=range_of(ports.last()) {
                    let cells_of = |ports| cells_with(&ports_in(ports, range));
                    let own = cells_of(*ports);
                    let class = Class::of_range(range) as usize;
                    for addr in net.addr().to_bits()..=net.last().to_bits() {
                        let addr = addr.into();
                        let Some(row) = config.owners.position(addr) else { continue };
                        if config.owners.table()[row * RANGES + range] != worker.0 {
                            continue;
                        }
                        let counted = earlier.iter().filter(|(net, _)| net.contains(addr));
                        let counted = counted.fold(0, |set, (_, ports)| set | cells_of(*ports));
                        let count = (own & !counted).count_ones();
                        cells.rows[row].total[class] += count;
                        cells.pools[index].total[class] += count;
                    }
                }
            }
        }
        cells
    }

    /// Forgets which searches failed, because a block was released.
    pub(super) fn forget_exhaustion(&mut self) {
        for pool in &mut self.pools {
            pool.exhausted = Default::default();
        }
    }
}

/// The ports of an entry that are in a range. Port zero is never assigned.
fn ports_in(entry: crate::addr::PortRange, range: usize) -> PortSet {
    let ports = ports_of(range);
    let (first, last) = (entry.first().max(ports.first()).max(1), entry.last().min(ports.last()));
    if first > last { [0; 4] } else { port_set(offset_of(first), offset_of(last)) }
}

/// A position for a block: row and number of the range, and cells of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) row: usize,
    pub(super) range: usize,
    pub(super) cells: CellSet,
}

impl Pool4 {
    /// The ports of a range that are in a pool. A pool may begin or end inside a range.
    pub(super) fn allowed(&self, pool: usize, row: usize, range: usize) -> PortSet {
        let addr = self.addr_of(row);
        let entries = self.config.pools[pool].ranges.iter().filter(|(net, _)| net.contains(addr));
        entries.fold([0; 4], |set, (_, ports)| {
            let more = ports_in(*ports, range);
            core::array::from_fn(|word| set[word] | more[word])
        })
    }

    /// The cells of a range that can be assigned to hosts of a pool.
    pub(super) fn available(&self, pool: usize, row: usize, range: usize) -> CellSet {
        let at = row * RANGES + range;
        if self.config.owners.table()[at] != self.worker.0 {
            return 0;
        }
        let assigned = self.active[at].checked_sub(1).map_or(0, |slot| self.ranges.range(slot).assigned);
        if assigned == CellSet::MAX { 0 } else { cells_with(&self.allowed(pool, row, range)) & !assigned }
    }

    /// The lowest position for `len` ports in a range. Blocks begin at a multiple of their length.
    fn find_position_in(&self, pool: usize, row: usize, range: usize, len: u16) -> Option<Position> {
        let (available, count) = (self.available(pool, row, range), len / CELL);
        let block = CellSet::MAX >> (16 - count);
        let mut aligned = (0..16).step_by(usize::from(count)).map(|at| block << at);
        let cells = aligned.find(|cells| available & cells == *cells)?;
        Some(Position { row, range, cells })
    }

    /// The position for `len` ports around a port, if it is available.
    pub(super) fn find_position_around(
        &self,
        pool: usize,
        row: usize,
        port: u16,
        len: u16,
    ) -> Option<Position> {
        let range = range_of(port);
        let count = len / CELL;
        let first = offset_of(port) as u16 / len * count;
        let cells = (CellSet::MAX >> (16 - count)) << first;
        let available = self.available(pool, row, range);
        (available & cells == cells).then_some(Position { row, range, cells })
    }

    /// A position for a block of at most `len` ports at an address, as long as possible: the one with the client's
    /// port, one in a range of the host, or any.
    pub(super) fn find_position_at(
        &self,
        row: usize,
        host: Option<u32>,
        request: &PortRequest,
        (class, len): (Class, u16),
        rng: &mut Rng,
    ) -> Option<Position> {
        let pool = usize::from(request.pool);
        let mut len = len;
        while len >= CELL {
            if self.has_room(row, class, request.answered, len) {
                if Class::of_range(range_of(request.port)) == class
                    && let Some(found) = self.find_position_around(pool, row, request.port, len)
                {
                    return Some(found);
                }
                let of_host = host.and_then(|host| self.find_position_beside(row, host, pool, (class, len)));
                let ranges = class.ranges();
                let start = rng.below(ranges.len() as u32) as usize;
                let any = || {
                    (0..ranges.len())
                        .map(|n| ranges.start + (start + n) % ranges.len())
                        .find_map(|range| self.find_position_in(pool, row, range, len))
                };
                if let Some(found) = of_host.or_else(any) {
                    return Some(found);
                }
            }
            len /= 2;
        }
        None
    }

    /// Whether an address has room for `len` ports of a host.
    pub(super) fn has_room(&self, row: usize, class: Class, answered: bool, len: u16) -> bool {
        u32::from(len / CELL) <= self.cells.rows[row].room(class, answered)
    }

    /// A position in a range in which the host has a block already.
    fn find_position_beside(
        &self,
        row: usize,
        host: u32,
        pool: usize,
        (class, len): (Class, u16),
    ) -> Option<Position> {
        self.blocks_of(host).find_map(|slot| {
            let range = self.ranges.range(self.blocks.block(slot).range);
            let number = usize::from(range.number);
            let fits = range.row as usize == row && Class::of_range(number) == class;
            fits.then(|| self.find_position_in(pool, row, number, len)).flatten()
        })
    }

    /// Counts a new block of a host.
    pub(super) fn count_block(&mut self, slot: u32) {
        let block = self.blocks.block(slot);
        let site = self.hosts.host(block.host).site;
        self.sites.site_mut(site).held.blocks += 1;
        self.count_cells(slot, |count, cells| *count += cells);
    }

    /// Reverts [`count_block`](Self::count_block).
    pub(super) fn uncount_block(&mut self, slot: u32) {
        let site = self.hosts.host(self.blocks.block(slot).host).site;
        self.sites.site_mut(site).held.blocks -= 1;
        self.count_cells(slot, |count, cells| *count -= cells);
    }

    /// Applies `change` to the cells in use: those of the address, and unless the block is withdrawn those of the
    /// pool, the zone, the site and the host.
    pub(super) fn count_cells(&mut self, slot: u32, change: impl Fn(&mut u32, u32)) {
        let block = self.blocks.block(slot);
        let (class, cells) = (Class::of_block(block) as usize, block.cells.count_ones());
        let row = self.ranges.range(block.range).row;
        if row != NIL {
            change(&mut self.cells.rows[row as usize].used[class], cells);
        }
        let host = self.hosts.host_mut(block.host);
        let zone = self.config.zones.iter().position(|zone| zone.id == host.key.zone);
        if let Some(zone) = zone.filter(|_| !block.is_withdrawn()) {
            change(&mut host.cells[class], cells);
            change(&mut self.sites.site_mut(host.site).held.cells[class], cells);
            change(&mut self.cells.zones[zone][class], cells);
            change(&mut self.cells.pools[self.config.zones[zone].pool].used[class], cells);
        }
    }
}
