//! Assigned port blocks and their occupied ports.

use core::net::Ipv4Addr;

use super::port_set::{CellSet, PortSet};
use super::slab::{Item, NIL, Slab};
use crate::addr::Proto;
use crate::addr::{PortRange, ZoneId};
use crate::ownership::offset_of;
use crate::time::Instant;

/// A queue of blocks, the oldest first. The blocks link to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) struct Queue {
    /// The oldest block, or [`NIL`].
    pub(in crate::nat64) first: u32,
    last: u32,
}

impl Queue {
    /// No block.
    pub(in crate::nat64) const EMPTY: Self = Self { first: NIL, last: NIL };
}

/// Which queue of blocks without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum QueueOf {
    /// That of the block's address.
    Row,
    /// That of its host's site.
    Site,
}

/// Neighbours in a queue.
#[derive(Clone, Copy, Debug)]
struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    const NONE: Self = Self { prev: NIL, next: NIL };
}

/// The part of a block that packets need: small, so that many stay in the cache.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct BlockSummary {
    /// IPv4 address.
    pub(in crate::nat64) addr: Ipv4Addr,
    /// Zone of the host.
    pub(in crate::nat64) zone: ZoneId,
}

/// State of a port for one protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum PortState {
    Free,
    /// Its binding is in quarantine.
    Quarantined,
}

/// Which ports are sought.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Sought {
    pub(in crate::nat64) state: PortState,
    /// Their parity, if it matters.
    pub(in crate::nat64) parity: Option<u16>,
}

/// A port block assigned to a host: adjacent cells of a range.
#[derive(Clone, Debug)]
pub(in crate::nat64) struct Block {
    /// Slot of the host; [`NIL`] in a free slot.
    pub(in crate::nat64) host: u32,
    /// Next block of the same host; in a free slot, the next free slot.
    pub(in crate::nat64) next: u32,
    /// Slot of the range, and the cells of it.
    pub(in crate::nat64) range: u32,
    pub(in crate::nat64) cells: CellSet,
    /// Number of bindings, quarantined ones included.
    bindings: u16,
    ports: PortRange,
    /// Ports that bindings may use.
    allowed: PortSet,
    /// Ports in use, by protocol.
    taken: [PortSet; 3],
    /// Those of them whose binding is in quarantine.
    quarantined: [PortSet; 3],
    /// Tick at which the last port fell out of use.
    pub(in crate::nat64) since: u32,
    /// Order of assignment.
    pub(in crate::nat64) sequence: u64,
    /// Links in the queues of blocks without an answer.
    links: [Links; 2],
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
    /// An empty block of a host, in front of its block `next`. `allowed` may contain ports outside the block.
    pub(in crate::nat64) const fn new(
        ports: PortRange,
        (range, cells): (u32, CellSet),
        allowed: PortSet,
        host: u32,
        next: u32,
    ) -> Self {
        let mut block = Self {
            host,
            next,
            range,
            cells,
            bindings: 0,
            ports,
            allowed: [0; 4],
            taken: [[0; 4]; 3],
            quarantined: [[0; 4]; 3],
            since: 0,
            sequence: 0,
            links: [Links::NONE; 2],
        };
        block.allow(allowed);
        block
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
            let at = offset_of(port);
            (self.allowed[at / 64] & !self.taken[proto as usize][at / 64]) >> (at % 64) & 1 == 1
        }
    }

    fn word(&self, proto: Proto, sought: Sought, word: usize) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        // Ranges begin at an even port.
        let wanted = match sought.parity {
            None => u64::MAX,
            Some(0) => EVEN,
            Some(_) => !EVEN,
        };
        let ports = match sought.state {
            PortState::Free => !self.taken[proto as usize][word],
            PortState::Quarantined => self.quarantined[proto as usize][word],
        };
        self.allowed[word] & ports & wanted
    }

    /// Ports in use without those in quarantine, and those in quarantine, by protocol.
    pub(in crate::nat64) fn ports_in_use(&self) -> ([u32; 3], [u32; 3]) {
        let count = |set: &PortSet| set.iter().map(|word| word.count_ones()).sum::<u32>();
        let quarantined = self.quarantined.each_ref().map(count);
        let taken = self.taken.each_ref().map(count);
        (core::array::from_fn(|proto| taken[proto] - quarantined[proto]), quarantined)
    }

    /// Number of ports of `proto` in the given state.
    pub(in crate::nat64) fn count(&self, proto: Proto, sought: Sought) -> u32 {
        (0..4).map(|word| self.word(proto, sought, word).count_ones()).sum()
    }

    /// The `n`th of the ports that [`count`](Self::count) counts.
    pub(in crate::nat64) fn nth(&self, proto: Proto, sought: Sought, mut n: u32) -> Option<u16> {
        for word in 0..4 {
            let mut bits = self.word(proto, sought, word);
            if n >= bits.count_ones() {
                n -= bits.count_ones();
                continue;
            }
            for _ in 0..n {
                bits &= bits - 1;
            }
            let first = self.ports.first() - offset_of(self.ports.first()) as u16;
            return Some(first + (word * 64) as u16 + bits.trailing_zeros() as u16);
        }
        None
    }

    /// Sets the ports that bindings may use: those of `allowed` that are in the block.
    pub(in crate::nat64) const fn allow(&mut self, allowed: PortSet) {
        let mut word = 0;
        while word < 4 {
            self.allowed[word] = allowed[word] & ports_of_word(self.cells, word);
            word += 1;
        }
    }

    /// Whether bindings may use none of its ports.
    pub(in crate::nat64) fn is_withdrawn(&self) -> bool {
        self.allowed == [0; 4]
    }

    /// Marks a port of `proto` as in use.
    pub(in crate::nat64) const fn reserve(&mut self, proto: Proto, port: u16) {
        if self.ports.contains(port) {
            let at = offset_of(port);
            self.taken[proto as usize][at / 64] |= 1 << (at % 64);
        }
    }

    /// Marks a port of `proto` as free.
    pub(in crate::nat64) const fn free_port(&mut self, proto: Proto, port: u16) {
        if self.ports.contains(port) {
            let at = offset_of(port);
            self.taken[proto as usize][at / 64] &= !(1 << (at % 64));
            self.quarantined[proto as usize][at / 64] &= !(1 << (at % 64));
        }
    }

    /// Marks a port in use as quarantined, or not.
    pub(in crate::nat64) const fn set_quarantined(&mut self, proto: Proto, port: u16, quarantined: bool) {
        let at = offset_of(port);
        let word = &mut self.quarantined[proto as usize][at / 64];
        *word = *word & !(1 << (at % 64)) | (quarantined as u64) << (at % 64);
    }
}

/// The ports of cells in one word of a port set.
const fn ports_of_word(cells: CellSet, word: usize) -> u64 {
    let mut ports = 0;
    let mut cell = 0;
    while cell < 4 {
        if cells >> (word * 4 + cell) & 1 == 1 {
            ports |= 0xffff << (cell * 16);
        }
        cell += 1;
    }
    ports
}

/// A block that could not be reclaimed within one packet.
#[derive(Clone, Copy, Debug)]
struct Postponed {
    slot: u32,
    /// Identifies the block, since slots are reused.
    sequence: u64,
    since: Instant,
}

/// All assigned blocks.
#[derive(Debug)]
pub(in crate::nat64) struct Blocks {
    slab: Slab<Block>,
    /// Summaries by slot.
    summaries: Vec<BlockSummary>,
    /// Number of blocks ever inserted.
    inserted: u64,
    /// The latest block that is partly reclaimed.
    postponed: Option<Postponed>,
}

impl Blocks {
    pub(in crate::nat64) fn new(limit: u32) -> Self {
        Self {
            slab: Slab::new(limit),
            summaries: Vec::with_capacity(limit as usize),
            inserted: 0,
            postponed: None,
        }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        Slab::<Block>::bytes(limit) + size_of::<BlockSummary>() * limit as usize
    }

    /// Adds a block; `None` if the table is full.
    pub(in crate::nat64) fn insert(&mut self, summary: BlockSummary, block: Block) -> Option<u32> {
        self.inserted += 1;
        let slot = self.slab.insert(Block { sequence: self.inserted, ..block })?;
        // The slab uses new slots in order.
        match self.summaries.get_mut(slot as usize) {
            Some(old) => *old = summary,
            None => self.summaries.push(summary),
        }
        Some(slot)
    }

    /// Removes a block without bindings that is in no queue.
    pub(in crate::nat64) fn remove(&mut self, slot: u32) {
        debug_assert!(self.slab[slot].is_empty(), "the block has bindings");
        self.slab.remove(slot);
    }

    /// Appends a block to a queue.
    pub(in crate::nat64) fn enqueue(&mut self, queue: &mut Queue, which: QueueOf, slot: u32) {
        let last = core::mem::replace(&mut queue.last, slot);
        self.slab[slot].links[which as usize] = Links { prev: last, next: NIL };
        if last == NIL {
            queue.first = slot;
        } else {
            self.slab[last].links[which as usize].next = slot;
        }
    }

    /// Removes a block from a queue that contains it.
    pub(in crate::nat64) fn dequeue(&mut self, queue: &mut Queue, which: QueueOf, slot: u32) {
        let Links { prev, next } =
            core::mem::replace(&mut self.slab[slot].links[which as usize], Links::NONE);
        if prev == NIL {
            queue.first = next;
        } else {
            self.slab[prev].links[which as usize].next = next;
        }
        if next == NIL {
            queue.last = prev;
        } else {
            self.slab[next].links[which as usize].prev = prev;
        }
    }

    /// Records that reclaiming a block must continue.
    pub(in crate::nat64) fn postpone(&mut self, slot: u32, now: Instant) {
        self.postponed = Some(Postponed { slot, sequence: self.slab[slot].sequence, since: now });
    }

    /// The block of which reclaiming must continue, if it is still there, and since when.
    pub(in crate::nat64) fn postponed(&self) -> Option<(u32, Instant)> {
        let Postponed { slot, sequence, since } = self.postponed?;
        self.get(slot).filter(|block| block.sequence == sequence).map(|_| (slot, since))
    }

    /// Forgets the postponed block.
    pub(in crate::nat64) const fn forget_postponed(&mut self) {
        self.postponed = None;
    }

    /// Marks a binding's port as in use.
    pub(in crate::nat64) fn occupy(&mut self, slot: u32, proto: Proto, port: u16) {
        let block = &mut self.slab[slot];
        block.reserve(proto, port);
        block.bindings += 1;
    }

    /// Frees the port of a binding.
    pub(in crate::nat64) fn vacate(&mut self, slot: u32, proto: Proto, port: u16) {
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

    /// Number of blocks.
    pub(in crate::nat64) const fn len(&self) -> u32 {
        self.slab.len()
    }

    /// Maximum number of blocks.
    pub(in crate::nat64) const fn limit(&self) -> u32 {
        self.slab.limit()
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }
}
