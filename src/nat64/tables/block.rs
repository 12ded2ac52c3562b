//! Assigned port blocks: their occupied ports, and the bindings of each port.

use core::net::Ipv4Addr;

use super::bib::Bib;
use super::slab::{Item, NIL, Slab};
use crate::addr::Proto;
use crate::addr::{PortRange, ZoneId};
use crate::ownership::offset_of;

/// A set of ports: one bit per port, from the block's first port.
pub(in crate::nat64) type PortSet = [u64; 4];

/// The bits `first` to `last`, both included.
pub(in crate::nat64) fn port_set(first: usize, last: usize) -> PortSet {
    core::array::from_fn(|word| {
        let (low, high) = (word * 64, word * 64 + 63);
        if last < low || high < first {
            return 0;
        }
        u64::MAX << (first.max(low) - low) & u64::MAX >> (high - last.min(high))
    })
}

/// Maximum ports per block.
const WIDTH: usize = 256;

/// The part of a block that packets need: small, so that many stay in the cache.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct BlockSummary {
    /// IPv4 address.
    pub(in crate::nat64) addr: Ipv4Addr,
    /// Zone of the host.
    pub(in crate::nat64) zone: ZoneId,
}

/// A port block assigned to a host.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct Block {
    /// Slot of the host.
    pub(in crate::nat64) host: u32,
    /// Next block of the same host; in a free slot, the next free slot.
    pub(in crate::nat64) next: u32,
    /// Row of the address, and number of the block in it.
    pub(in crate::nat64) row: u32,
    pub(in crate::nat64) number: u16,
    /// Number of bindings, quarantined ones included.
    bindings: u16,
    ports: PortRange,
    /// Ports that bindings may use.
    allowed: PortSet,
    /// Ports in use, by protocol.
    taken: [PortSet; 3],
    /// Tick at which the last port fell out of use, and whether the block is in the release queue.
    pub(in crate::nat64) since: u32,
    pub(in crate::nat64) queued: bool,
}

impl Item for Block {
    fn free(next: u32) -> Self {
        Self::new(PortRange::ALL, (0, 0), [0; 4], NIL, next)
    }

    fn next_free(&self) -> Option<u32> {
        (self.host == NIL).then_some(self.next)
    }
}

impl Block {
    /// An empty block of a host, in front of its block `next`.
    pub(in crate::nat64) const fn new(
        ports: PortRange,
        (row, number): (u32, u16),
        allowed: PortSet,
        host: u32,
        next: u32,
    ) -> Self {
        Self {
            host,
            next,
            row,
            number,
            bindings: 0,
            ports,
            allowed,
            taken: [[0; 4]; 3],
            since: 0,
            queued: false,
        }
    }

    /// All ports of the block, including those no binding may use.
    pub(in crate::nat64) const fn ports(&self) -> PortRange {
        self.ports
    }

    /// Whether the block is below port 1024.
    pub(in crate::nat64) const fn is_low(&self) -> bool {
        self.ports.first() < 1024
    }

    /// Whether the block has no binding.
    pub(in crate::nat64) const fn is_empty(&self) -> bool {
        self.bindings == 0
    }

    /// Whether `port` is in the block and free for `proto`.
    pub(in crate::nat64) const fn is_free(&self, proto: Proto, port: u16) -> bool {
        self.ports.contains(port) && {
            let at = (port - self.ports.first()) as usize;
            (self.allowed[at / 64] & !self.taken[proto as usize][at / 64]) >> (at % 64) & 1 == 1
        }
    }

    fn free_word(&self, proto: Proto, parity: Option<u16>, word: usize) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        // Blocks begin at an even port.
        let wanted = match parity {
            None => u64::MAX,
            Some(0) => EVEN,
            Some(_) => !EVEN,
        };
        self.allowed[word] & !self.taken[proto as usize][word] & wanted
    }

    /// Number of ports free for `proto`, of one parity if given.
    pub(in crate::nat64) fn count_free(&self, proto: Proto, parity: Option<u16>) -> u32 {
        (0..4).map(|word| self.free_word(proto, parity, word).count_ones()).sum()
    }

    /// The `n`th of the ports that [`count_free`](Self::count_free) counts.
    pub(in crate::nat64) fn nth_free(&self, proto: Proto, parity: Option<u16>, mut n: u32) -> Option<u16> {
        for word in 0..4 {
            let mut bits = self.free_word(proto, parity, word);
            if n >= bits.count_ones() {
                n -= bits.count_ones();
                continue;
            }
            for _ in 0..n {
                bits &= bits - 1;
            }
            return Some(self.ports.first() + (word * 64) as u16 + bits.trailing_zeros() as u16);
        }
        None
    }

    /// Sets the ports that bindings may use.
    pub(in crate::nat64) const fn allow(&mut self, allowed: PortSet) {
        self.allowed = allowed;
    }

    /// Whether bindings may use none of its ports.
    pub(in crate::nat64) fn is_withdrawn(&self) -> bool {
        self.allowed == [0; 4]
    }

    /// Marks a port of `proto` as in use.
    pub(in crate::nat64) const fn reserve(&mut self, proto: Proto, port: u16) {
        if self.ports.contains(port) {
            let at = (port - self.ports.first()) as usize;
            self.taken[proto as usize][at / 64] |= 1 << (at % 64);
        }
    }

    /// Marks a port of `proto` as free.
    pub(in crate::nat64) const fn free_port(&mut self, proto: Proto, port: u16) {
        if self.ports.contains(port) {
            let at = (port - self.ports.first()) as usize;
            self.taken[proto as usize][at / 64] &= !(1 << (at % 64));
        }
    }
}

/// All assigned blocks. They index bindings by their IPv4 side: each port has a list of its bindings, at
/// most one per protocol.
#[derive(Debug)]
pub(in crate::nat64) struct Blocks {
    slab: Slab<Block>,
    /// Summaries by slot.
    summaries: Vec<BlockSummary>,
    heads: Box<[u32]>,
}

impl Blocks {
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        // Slot plus one, so that zeroed pages need no initialisation.
        Self {
            slab: Slab::new(limit),
            summaries: Vec::with_capacity(limit as usize),
            heads: vec![0; limit as usize * WIDTH].into_boxed_slice(),
        }
    }

    /// Adds a block; `None` if the table is full.
    pub(in crate::nat64) fn insert(&mut self, summary: BlockSummary, block: Block) -> Option<u32> {
        let slot = self.slab.insert(block)?;
        // The slab uses new slots in order.
        match self.summaries.get_mut(slot as usize) {
            Some(old) => *old = summary,
            None => self.summaries.push(summary),
        }
        Some(slot)
    }

    /// Removes a block without bindings.
    pub(in crate::nat64) fn remove(&mut self, slot: u32) {
        debug_assert!(self.slab[slot].is_empty(), "the block has bindings");
        self.slab.remove(slot);
    }

    /// The first binding of a port's list, or [`NIL`].
    #[inline]
    pub(in crate::nat64) fn first_at(&self, head: usize) -> u32 {
        self.heads[head].wrapping_sub(1)
    }

    /// The position of a port's list.
    #[inline]
    pub(in crate::nat64) const fn head(slot: u32, port: u16) -> usize {
        slot as usize * WIDTH + offset_of(port)
    }

    /// The binding of this protocol in the list at `head`.
    #[inline]
    pub(in crate::nat64) fn find(&self, head: usize, proto: Proto, bib: &Bib) -> Option<u32> {
        let mut link = self.first_at(head);
        while link != NIL {
            let binding = bib.binding(link);
            if binding.proto() == proto {
                return Some(link);
            }
            link = binding.same_port;
        }
        None
    }

    /// Marks a binding's port as in use, and adds the binding to the port's list.
    pub(in crate::nat64) fn link(&mut self, binding: u32, bib: &mut Bib) {
        let entry = bib.binding_mut(binding);
        let (slot, proto, port) = (entry.allocation, entry.proto(), entry.port);
        let head = &mut self.heads[Self::head(slot, port)];
        entry.same_port = head.wrapping_sub(1);
        *head = binding + 1;
        let block = &mut self.slab[slot];
        block.reserve(proto, port);
        block.bindings += 1;
    }

    /// Frees the port of a binding.
    pub(in crate::nat64) fn unlink(&mut self, binding: u32, bib: &mut Bib) {
        let entry = bib.binding(binding);
        let (slot, proto, port, next) = (entry.allocation, entry.proto(), entry.port, entry.same_port);
        let head = &mut self.heads[Self::head(slot, port)];
        let mut link = head.wrapping_sub(1);
        if link == binding {
            *head = next.wrapping_add(1);
        } else {
            while bib.binding(link).same_port != binding {
                link = bib.binding(link).same_port;
            }
            bib.binding_mut(link).same_port = next;
        }
        let block = &mut self.slab[slot];
        block.free_port(proto, port);
        block.bindings -= 1;
    }

    /// Loads a block's summary into the cache.
    #[inline]
    pub(in crate::nat64) fn prefetch(&self, slot: u32) -> u64 {
        self.summaries.get(slot as usize).map_or(0, |summary| u64::from(summary.addr.to_bits()))
    }

    /// The summary of the block in an occupied slot.
    #[inline]
    pub(in crate::nat64) fn summary(&self, slot: u32) -> &BlockSummary {
        &self.summaries[slot as usize]
    }

    /// The block in an occupied slot.
    pub(in crate::nat64) fn block(&self, slot: u32) -> &Block {
        &self.slab[slot]
    }

    /// The block in an occupied slot, mutably.
    pub(in crate::nat64) fn block_mut(&mut self, slot: u32) -> &mut Block {
        &mut self.slab[slot]
    }

    /// The block in a slot, if there is one.
    pub(in crate::nat64) fn get(&self, slot: u32) -> Option<&Block> {
        self.slab.get(slot)
    }

    /// Whether the table is full.
    pub(in crate::nat64) const fn is_full(&self) -> bool {
        self.slab.is_full()
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_sets_exactly_the_given_range() {
        for (first, last) in [(0, 0), (0, 255), (63, 64), (1, 62), (128, 191), (200, 255), (255, 255)] {
            let bits = port_set(first, last);
            for at in 0..256 {
                assert_eq!(bits[at / 64] >> (at % 64) & 1 == 1, (first..=last).contains(&at), "{at}");
            }
        }
    }
}
