//! The choice of a new binding's port: methods of the model.

use std::net::Ipv4Addr;

use gate64::addr::{PortRange, Proto, Transport4, WorkerId};
use gate64::nat64::{Pairing, Zone};
use gate64::ownership::range_of;
use gate64::reason::Reason;

use super::Model;
use crate::model::address::Host;
use crate::model::ports::{
    Block, CELL, Choice, Place, PortRequest, Reclaimable, block_around, class_has, len_of, range_len,
};

/// Why no block is assigned, and what may be reclaimed.
type Refused = (Reason, Reclaimable);

impl Model {
    fn zone_of(&self, host: Host) -> &Zone {
        self.settings.nat64.zones.iter().find(|zone| zone.id == host.zone).expect("a host's zone")
    }

    /// The pool of a zone: every range, with its addresses listed.
    fn pool(&self, host: Host) -> Vec<(Ipv4Addr, PortRange)> {
        let ranges = &self.settings.nat64.pools[self.zone_of(host).pool].ranges;
        let each = |net: gate64::addr::Ipv4Prefix| {
            let first = net.addr().to_bits();
            (0..net.size() as u32).map(move |n| Ipv4Addr::from_bits(first + n))
        };
        ranges.iter().flat_map(|(net, ports)| each(*net).map(|addr| (addr, *ports))).collect()
    }

    /// The first ports of the smallest blocks of a pool that have a usable port and belong to a worker.
    fn cells(&self, host: Host, low: bool, worker: WorkerId) -> Vec<(Ipv4Addr, u16)> {
        let mut cells = Vec::new();
        for (addr, ports) in self.pool(host) {
            let (first, last) = (ports.first().max(1) / CELL, ports.last() / CELL);
            cells.extend((first..=last).map(|n| (addr, n * CELL)).filter(|(_, port)| low == (*port < 1024)));
        }
        cells.sort_unstable();
        cells.dedup();
        cells.retain(|(addr, port)| self.owners.range(*addr, range_of(*port)) == Some(worker));
        cells
    }

    /// The free ports of a block for one protocol.
    fn free_in(&self, request: &PortRequest, addr: Ipv4Addr, block: PortRange) -> Vec<Transport4> {
        let pool = self.pool(request.host);
        let in_pool = |port: u16| pool.iter().any(|(a, ports)| *a == addr && ports.contains(port));
        (block.first()..=block.last())
            .filter(|port| *port != 0 && in_pool(*port))
            .map(|port| Transport4::new(addr, port))
            .filter(|mapped| self.bindings.iter().all(|b| b.proto != request.proto || b.mapped != *mapped))
            .collect()
    }

    /// Whether the pool of the block's host contains none of its ports any more.
    fn is_withdrawn(&self, block: &Block) -> bool {
        let pool = self.pool(block.host);
        !pool.iter().any(|(addr, ports)| *addr == block.addr && ports.overlaps(block.ports))
    }

    pub(super) fn site_of(&self, host: Host) -> Host {
        let zone = self.zone_of(host);
        host.site(zone.host_len, zone.site_len)
    }

    /// Blocks of a worker that count as used, of one class.
    fn counted(&self, low: bool, worker: WorkerId) -> impl Iterator<Item = &Block> {
        let counts = move |b: &&Block| class_has(low, b.ports) && !self.is_withdrawn(b);
        self.blocks.iter().filter(move |b| b.worker == worker).filter(counts)
    }

    /// The allowed choices, in order: the client's own port in the host's blocks if free; one of its class
    /// and parity there; a port of a new block, which contains the client's own port if unassigned; the
    /// other parity; and, below 1024, the same above.
    pub(super) fn choice(&self, request: &PortRequest) -> Choice {
        let own: Vec<_> =
            self.blocks.iter().filter(|block| block.host == request.host && block.lost.is_none()).collect();
        let kept =
            |candidates: &[Transport4]| candidates.iter().copied().find(|mapped| mapped.port == request.port);
        let free: Vec<_> = own.iter().map(|block| self.free_in(request, block.addr, block.ports)).collect();
        if let Some(mapped) = free.iter().find_map(|candidates| kept(candidates)) {
            return Choice::Of(vec![mapped], Vec::new());
        }
        let parity = request.proto == Proto::Udp && self.settings.nat64.parity;
        let even = |candidates: &[Transport4]| -> Vec<Transport4> {
            candidates
                .iter()
                .copied()
                .filter(|mapped| !parity || (mapped.port ^ request.port) & 1 == 0)
                .collect()
        };
        let low = request.port < 1024 && request.proto != Proto::Icmp;
        let mut refused: Refused = (Reason::PoolExhausted, Reclaimable::default());
        for low in if low { vec![true, false] } else { vec![false] } {
            let of_class: Vec<_> = (own.iter().zip(&free))
                .filter(|(block, _)| class_has(low, block.ports))
                .flat_map(|(_, candidates)| candidates.iter().copied())
                .collect();
            if !even(&of_class).is_empty() {
                return Choice::Of(even(&of_class), Vec::new());
            }
            match self.new_block(request, &own, low) {
                Ok(places) => {
                    let mut all = Vec::new();
                    for (addr, ports) in &places {
                        let candidates = self.free_in(request, *addr, *ports);
                        all.extend(match (kept(&candidates), even(&candidates)) {
                            (Some(mapped), _) => vec![mapped],
                            (None, even) if !even.is_empty() => even,
                            (None, _) => [&candidates[..], &of_class].concat(),
                        });
                    }
                    return Choice::Of(all, places);
                }
                Err(error) => refused = error,
            }
            if !of_class.is_empty() {
                return Choice::Of(of_class, Vec::new());
            }
        }
        // A host may use its own quarantined ports again at once.
        for low in if low { vec![true, false] } else { vec![false] } {
            let quarantined: Vec<_> = (self.bindings.iter())
                .filter(|b| b.proto == request.proto && b.quarantined.is_some())
                .map(|b| b.mapped)
                .filter(|mapped| own.iter().any(|o| o.addr == mapped.addr && o.ports.contains(mapped.port)))
                .filter(|mapped| low == (mapped.port < 1024))
                .collect();
            for candidates in [even(&quarantined), quarantined] {
                if !candidates.is_empty() {
                    return Choice::Of(candidates, Vec::new());
                }
            }
        }
        Choice::Refused(refused.0, refused.1)
    }

    /// The blocks of which one may be assigned to a host.
    fn new_block(&self, request: &PortRequest, own: &[&Block], low: bool) -> Result<Vec<Place>, Refused> {
        let len = self.next_len(request, own, low)?;
        let site = self.site_of(request.host);
        let answered = self.is_answered(request.host);
        self.check_hosts(own, (request.worker, site)).map_err(|level| {
            let (reason, of) = self.refused(level, request, own, low);
            (reason, Reclaimable { whole_host: true, ..of })
        })?;
        self.check_blocks(own, (request.worker, site), answered)
            .map_err(|level| self.refused(level, request, own, low))?;
        self.check_shares(request, own, low, answered)
            .map_err(|level| self.refused(level, request, own, low))?;
        let places = self.places(request, own, low, len);
        if places.is_empty() {
            return Err(self.refused((Level::Total, Reason::PoolExhausted), request, own, low));
        }
        Ok(places)
    }

    /// Ports of the next block: twice the longest, and none before the host was answered.
    fn next_len(&self, request: &PortRequest, own: &[&Block], low: bool) -> Result<u16, Refused> {
        let zone = self.zone_of(request.host);
        let current: Vec<_> = own.iter().filter(|block| !self.is_withdrawn(block)).collect();
        let held: usize = current.iter().map(|block| block.cells()).sum::<usize>() * usize::from(CELL);
        let left = (zone.ports_per_host as usize).saturating_sub(held);
        if left < usize::from(CELL) {
            return Err((Reason::HostQuota, Reclaimable::default()));
        }
        let of_class = current.iter().filter(|block| class_has(low, block.ports));
        let longest = of_class.map(|block| len_of(block.ports)).max();
        let total = self.cells(request.host, low, request.worker).len();
        let used: usize = self.used_of_pool(request, low);
        if longest.is_some() && !self.is_answered(request.host) {
            let reason = if used < total { Reason::Unanswered } else { Reason::PoolExhausted };
            return Err((reason, Reclaimable::default()));
        }
        let len = match longest {
            _ if low => CELL,
            Some(longest) => (longest * 2).min(256),
            None if used * 2 > total => CELL,
            None => zone.sharing.first_block,
        };
        Ok((0..=4)
            .map(|n| CELL << n)
            .filter(|size| *size <= len && usize::from(*size) <= left)
            .max()
            .expect("16"))
    }

    fn used_of_pool(&self, request: &PortRequest, low: bool) -> usize {
        let pool = self.zone_of(request.host).pool;
        self.counted(low, request.worker)
            .filter(|b| self.zone_of(b.host).pool == pool)
            .map(Block::cells)
            .sum()
    }

    /// Each worker has tables of its own.
    fn blocks_in_tables(&self, (worker, site): (WorkerId, Host)) -> (Vec<&Block>, Vec<&Block>) {
        let all: Vec<_> = self.blocks.iter().filter(|b| b.worker == worker).collect();
        let of_site = all.iter().copied().filter(|b| self.site_of(b.host) == site).collect();
        (all, of_site)
    }

    /// Whether the table has room for one more host. A host that lost all blocks to a reload keeps their table
    /// entry until the quarantine ends, and may take another.
    fn check_hosts(&self, own: &[&Block], of: (WorkerId, Host)) -> Result<(), (Level, Reason)> {
        let (all, of_site) = self.blocks_in_tables(of);
        let hosts = |blocks: Vec<&Block>| {
            let mut hosts: Vec<_> = blocks.iter().map(|block| (block.host, block.lost)).collect();
            hosts.sort_unstable();
            hosts.dedup();
            hosts.len()
        };
        let limit = self.settings.nat64.limits.hosts as usize;
        match own.is_empty() {
            true => admit(limit, hosts(all), hosts(of_site), 0).map_err(|level| (level, Reason::TableFull)),
            false => Ok(()),
        }
    }

    /// Whether the table has room for one more block.
    fn check_blocks(
        &self,
        own: &[&Block],
        of: (WorkerId, Host),
        answered: bool,
    ) -> Result<(), (Level, Reason)> {
        let full = |level| (level, Reason::TableFull);
        let (all, of_site) = self.blocks_in_tables(of);
        let total = self.settings.nat64.limits.blocks as usize;
        let reserve = if answered { 0 } else { total / 4 };
        if all.len() + 1 + reserve > total {
            return Err(full(Level::Total));
        }
        // Answered hosts may reclaim blocks without an answer, so that these do not count.
        let counts = |b: &&&Block| !answered || b.answered || self.is_withdrawn(b);
        admit(total, all.iter().filter(counts).count(), of_site.iter().filter(counts).count(), own.len())
            .map_err(full)
    }

    fn check_shares(
        &self,
        request: &PortRequest,
        own: &[&Block],
        low: bool,
        answered: bool,
    ) -> Result<(), (Level, Reason)> {
        let (host, zone, worker) = (request.host, self.zone_of(request.host), request.worker);
        let sum = |fits: &dyn Fn(&Block) -> bool| {
            self.counted(low, worker).filter(|b| fits(b)).map(Block::cells).sum()
        };
        let (total, used) = (self.cells(host, low, worker).len(), self.used_of_pool(request, low));
        let counts = |b: &Block| !answered || b.answered;
        let of_pool: usize = sum(&|b| counts(b) && self.zone_of(b.host).pool == zone.pool);
        let site: usize = sum(&|b| counts(b) && self.site_of(b.host) == self.site_of(host));
        let of_host: usize = sum(&|b| own.iter().any(|o| o.addr == b.addr && o.ports == b.ports));
        admit(total, of_pool, site, of_host).map_err(|level| (level, Reason::PoolExhausted))?;
        let of_zone: usize = sum(&|b| b.host.zone == zone.id);
        if of_zone >= (total * usize::from(zone.sharing.pool_share) / 100).max(1) {
            return Err((Level::Site, Reason::PoolShare));
        }
        // The last quarter is for hosts that were answered.
        if !answered && used + 1 + total / 4 > total {
            return Err((Level::Total, Reason::PoolExhausted));
        }
        Ok(())
    }

    /// The refusal, and the blocks without an answer that may be reclaimed: the oldest of the site that has its
    /// share, or the oldest of any address that the host may use.
    fn refused(
        &self,
        (level, reason): (Level, Reason),
        request: &PortRequest,
        own: &[&Block],
        low: bool,
    ) -> Refused {
        let pool = self.zone_of(request.host).pool;
        let place = |block: &Block| (block.addr, block.ports);
        let unanswered = || self.counted(low, request.worker).filter(|b| !b.answered);
        let of_row = |addr: Ipv4Addr| {
            let oldest = unanswered().find(|b| b.addr == addr)?;
            (self.zone_of(oldest.host).pool == pool).then(|| place(oldest))
        };
        let (reason, places) = match level {
            Level::Host => (Reason::PoolShare, Vec::new()),
            Level::Site => {
                let site = self.site_of(request.host);
                let oldest = unanswered().find(|b| self.site_of(b.host) == site);
                (Reason::PoolShare, oldest.map(place).into_iter().collect())
            }
            Level::Total => {
                let all = |()| -> Vec<_> {
                    let mut addrs: Vec<_> = self.pool(request.host).iter().map(|(addr, _)| *addr).collect();
                    addrs.dedup();
                    addrs.into_iter().filter_map(of_row).collect()
                };
                let own_row = self.paired(own).map(of_row);
                let found = match (own_row, self.settings.nat64.pairing) {
                    (Some(found), Pairing::Strict) => found.into_iter().collect(),
                    (Some(Some(found)), Pairing::Soft) => vec![found],
                    (Some(None), Pairing::Soft) | (None, _) => all(()),
                };
                (reason, found)
            }
        };
        (reason, Reclaimable { places, whole_host: false })
    }

    /// A host's address: that of its oldest block which its pool contains.
    fn paired(&self, own: &[&Block]) -> Option<Ipv4Addr> {
        own.iter().find(|block| !self.is_withdrawn(block)).map(|block| block.addr)
    }

    /// The blocks of at most `len` ports of which one may be assigned.
    fn places(&self, request: &PortRequest, own: &[&Block], low: bool, len: u16) -> Vec<Place> {
        let cells = self.cells(request.host, low, request.worker);
        let taken =
            |cell: &(Ipv4Addr, u16)| self.blocks.iter().any(|b| b.addr == cell.0 && b.ports.contains(cell.1));
        let free: Vec<_> = cells.iter().copied().filter(|cell| !taken(cell)).collect();
        let answered = self.is_answered(request.host);
        let paired = self.paired(own);
        if let Some(addr) = paired {
            let found = self.places_at(request, own, &free, (addr, low, len), answered);
            if !found.is_empty() || self.settings.nat64.pairing == Pairing::Strict {
                return found;
            }
        }
        let mut addrs: Vec<_> = free.iter().map(|(addr, _)| *addr).collect();
        addrs.dedup();
        let has_class = low == (request.port < 1024);
        let around = |addr: &Ipv4Addr| {
            let place = (*addr, block_around(request.port, len));
            let fits = self.room(*addr, low, answered, request.worker) >= usize::from(len / CELL)
                && is_free(&free, place);
            Some(place).filter(|_| has_class && fits)
        };
        let best: Vec<_> = addrs.iter().filter_map(around).collect();
        if !best.is_empty() {
            return best;
        }
        addrs
            .into_iter()
            .flat_map(|addr| self.places_at(request, own, &free, (addr, low, len), answered))
            .collect()
    }

    /// The longest blocks at an address: the one with the client's port, one in a range of the host, any.
    fn places_at(
        &self,
        request: &PortRequest,
        own: &[&Block],
        free: &[Place1],
        (addr, low, len): (Ipv4Addr, bool, u16),
        answered: bool,
    ) -> Vec<Place> {
        let room = self.room(addr, low, answered, request.worker);
        let mut len = len;
        while len >= CELL {
            if usize::from(len / CELL) <= room {
                let around = (addr, block_around(request.port, len));
                if low == (request.port < 1024) && is_free(free, around) {
                    return vec![around];
                }
                let lowest = |first: u16| {
                    let starts = (0..range_len(first) / len).map(|n| first + n * len);
                    starts.map(|start| (addr, block_around(start, len))).find(|place| is_free(free, *place))
                };
                let range = |port: u16| port - port % range_len(port);
                let mut beside = own.iter().rev().filter(|b| b.addr == addr && class_has(low, b.ports));
                if let Some(place) = beside.find_map(|b| lowest(range(b.ports.first()))) {
                    return vec![place];
                }
                let mut ranges: Vec<_> =
                    free.iter().filter(|(a, _)| *a == addr).map(|(_, port)| range(*port)).collect();
                ranges.dedup();
                let any: Vec<_> = ranges.into_iter().filter_map(lowest).collect();
                if !any.is_empty() {
                    return any;
                }
            }
            len /= 2;
        }
        Vec::new()
    }

    /// How many of the smallest blocks of an address a host may take.
    fn room(&self, addr: Ipv4Addr, low: bool, answered: bool, worker: WorkerId) -> usize {
        let mut total = 0;
        for (index, _) in self.settings.nat64.pools.iter().enumerate() {
            let zone = self.settings.nat64.zones.iter().find(|zone| zone.pool == index);
            let Some(zone) = zone else { continue };
            let host = Host::new(zone.id, [0; 16].into(), zone.host_len);
            total += self.cells(host, low, worker).iter().filter(|(a, _)| *a == addr).count();
        }
        let of_addr = self.blocks.iter().filter(|b| b.addr == addr && b.worker == worker);
        let of_addr = of_addr.filter(|b| class_has(low, b.ports));
        let used: usize = of_addr.map(Block::cells).sum();
        total.saturating_sub(used).saturating_sub(if answered { 0 } else { total / 4 })
    }
}

/// A smallest block: address and first port.
type Place1 = (Ipv4Addr, u16);

fn is_free(free: &[Place1], (addr, ports): Place) -> bool {
    (ports.first()..=ports.last()).step_by(CELL.into()).all(|port| free.binary_search(&(addr, port)).is_ok())
}

/// The level whose share is used up.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Total,
    Site,
    Host,
}

/// Whether a host may have one more of a shared resource: beside others, a site stops at half of what was free to
/// it, and so does a host in its site. What holds nothing gets the first.
pub(super) fn admit(total: usize, used: usize, site: usize, host: usize) -> Result<(), Level> {
    if used >= total {
        return Err(Level::Total);
    }
    let free = total - used;
    if used > site && site > 0 && site >= free {
        return Err(Level::Site);
    }
    // Each unit that the site takes leaves one less to the others.
    let left =
        if used > site { (0..free).find(|more| site + more >= free - more).unwrap_or(free) } else { free };
    if site > host && host > 0 && host >= left {
        return Err(Level::Host);
    }
    Ok(())
}
