//! Allocation of ports for bindings and of blocks for hosts.

use core::net::Ipv4Addr;

use super::Pool4;
use crate::addr::HostKey;
use crate::addr::Proto;
use crate::nat64::Pairing;
use crate::nat64::tables::block::Block;
use crate::nat64::tables::events::Events;
use crate::nat64::tables::hash::Rng;
use crate::ownership::{RANGES, range_of};
use crate::reason::Reason;

/// Number of blocks below port 1024.
const LOW: usize = 64;
/// Maximum addresses searched for the block with the client's port.
const TRIED: usize = 64;

/// Port class: ports below 1024 and above are allocated separately (RFC 6146 §3.5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum Class {
    Low,
    High,
}

impl Class {
    const fn blocks(self) -> core::ops::Range<usize> {
        match self {
            Self::Low => 0..LOW,
            Self::High => LOW..RANGES,
        }
    }

    pub(in crate::nat64) const fn of_block(block: usize) -> Self {
        if block < LOW { Self::Low } else { Self::High }
    }
}

/// A request for the port of a new binding.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct PortRequest {
    pub(in crate::nat64) host: HostKey,
    pub(in crate::nat64) proto: Proto,
    /// The client's port or identifier.
    pub(in crate::nat64) port: u16,
    /// Index of the zone's pool.
    pub(in crate::nat64) pool: u16,
    /// Maximum port blocks of the host.
    pub(in crate::nat64) quota: u16,
    /// Maximum new bindings per second; 0 is unlimited.
    pub(in crate::nat64) rate: u32,
    /// Whether to preserve the parity of the port.
    pub(in crate::nat64) parity: bool,
}

impl PortRequest {
    /// ICMP identifiers have no classes: they use high blocks, so that low ones stay free for low ports.
    const fn class(&self) -> Class {
        if self.port < 1024 && !matches!(self.proto, Proto::Icmp) { Class::Low } else { Class::High }
    }

    const fn wanted_parity(&self) -> Option<u16> {
        if self.parity && matches!(self.proto, Proto::Udp) { Some(self.port & 1) } else { None }
    }
}

impl Pool4 {
    /// Allocates a port for a new binding (RFC 6146 §3.5.1.1, §3.5.2.3). In order of preference: the client's
    /// port in the host's blocks; any port there of its class and parity; a port in a new block; the other
    /// parity; a port of 1024 or above.
    ///
    /// # Errors
    /// [`Reason::HostQuota`] or [`Reason::PoolExhausted`] or [`Reason::TableFull`]
    pub(in crate::nat64) fn allocate(
        &mut self,
        request: &PortRequest,
        rng: &mut Rng,
        events: &mut Events,
    ) -> Result<(u32, u16), Reason> {
        let host = self.hosts.find(request.host);
        let wanted = |block: &Block| block.is_free(request.proto, request.port);
        if let Some(slot) = host.and_then(|host| self.oldest(host, wanted)) {
            return Ok((slot, request.port));
        }
        let parity = request.wanted_parity();
        let mut error = Reason::PoolExhausted;
        let classes: &[Class] = match request.class() {
            Class::Low => &[Class::Low, Class::High],
            Class::High => &[Class::High],
        };
        for &class in classes {
            if let Some(found) = host.and_then(|host| self.any_port(host, request.proto, class, parity, rng))
            {
                return Ok(found);
            }
            match self.new_block(host, request, class, rng, events) {
                Ok(block) if self.blocks.block(block).is_free(request.proto, request.port) => {
                    return Ok((block, request.port));
                }
                Ok(block) => {
                    let host = self.blocks.block(block).host;
                    let found = self
                        .any_port(host, request.proto, class, parity, rng)
                        .or_else(|| self.any_port(host, request.proto, class, None, rng));
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(reason) => error = reason,
            }
            if let Some(found) = host.and_then(|host| self.any_port(host, request.proto, class, None, rng)) {
                return Ok(found);
            }
        }
        Err(error)
    }

    /// A uniformly random free port in a host's blocks (RFC 7857 §9).
    fn any_port(
        &self,
        host: u32,
        proto: Proto,
        class: Class,
        parity: Option<u16>,
        rng: &mut Rng,
    ) -> Option<(u32, u16)> {
        let of_class = |slot: &u32| self.blocks.block(*slot).is_low() == (class == Class::Low);
        let free = |slot: u32| self.blocks.block(slot).count_free(proto, parity);
        let all: u32 = self.blocks_of(host).filter(of_class).map(free).sum();
        if all == 0 {
            return None;
        }
        let mut n = rng.below(all);
        for slot in self.blocks_of(host).filter(of_class) {
            match self.blocks.block(slot).nth_free(proto, parity, n) {
                Some(port) => return Some((slot, port)),
                None => n -= free(slot),
            }
        }
        None
    }

    /// Assigns a host one more block.
    fn new_block(
        &mut self,
        host: Option<u32>,
        request: &PortRequest,
        class: Class,
        rng: &mut Rng,
        events: &mut Events,
    ) -> Result<u32, Reason> {
        if let Some(host) = host.map(|host| self.hosts.host(host))
            && host.blocks >= request.quota
        {
            return Err(Reason::HostQuota);
        }
        if request.quota == 0 {
            return Err(Reason::HostQuota);
        }
        if host.is_none() && self.hosts.is_full() || self.blocks.is_full() {
            return Err(Reason::TableFull);
        }
        let position = match host.and_then(|host| self.row_of(host)) {
            Some(row) => {
                let paired = self.block_at(row, request, class, rng);
                match self.config.pairing {
                    Pairing::Strict => paired,
                    Pairing::Soft => paired.or_else(|| self.address(request, class, rng)),
                }
            }
            None => self.address(request, class, rng),
        };
        let position = position.ok_or(Reason::PoolExhausted)?;
        self.assign(host, request.host, request.pool, position, events)
    }

    /// An address for a host that has none, and its first block there, if possible the one with the client's
    /// port. The search starts at a hash of the host, so that a host tends to return to its address.
    fn address(&mut self, request: &PortRequest, class: Class, rng: &mut Rng) -> Option<(usize, usize)> {
        let pool = usize::from(request.pool);
        if self.exhausted[pool][class as usize] {
            return None;
        }
        let start = u64::from(self.hosts.hash(request.host));
        let wanted = range_of(request.port);
        let of_class = Class::of_block(wanted) == class;
        if of_class
            && let Some(row) =
                self.rows(pool, start).take(TRIED).find(|row| self.is_assignable(pool, *row, wanted))
        {
            return Some((row, wanted));
        }
        let found = self.rows(pool, start).find_map(|row| self.block_at(row, request, class, rng));
        self.exhausted[pool][class as usize] = found.is_none();
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

    /// An unassigned block of an address: the one with the wanted port, or a random one of the class.
    fn block_at(
        &self,
        row: usize,
        request: &PortRequest,
        class: Class,
        rng: &mut Rng,
    ) -> Option<(usize, usize)> {
        let pool = usize::from(request.pool);
        let wanted = range_of(request.port);
        if self.unused[row][class as usize] == 0 {
            return None;
        }
        if Class::of_block(wanted) == class && self.is_assignable(pool, row, wanted) {
            return Some((row, wanted));
        }
        let range = class.blocks();
        let start = rng.below(range.len() as u32) as usize;
        (0..range.len())
            .map(|n| range.start + (start + n) % range.len())
            .find(|block| self.is_assignable(pool, row, *block))
            .map(|block| (row, block))
    }
}
