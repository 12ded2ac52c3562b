//! Prefetch of a batch's table entries, so that their cache misses overlap.
//!
//! In a large table a lookup misses the cache three times in sequence: index, binding, session. Each load
//! depends on the one before it. Five short loops over the batch issue the loads of one stage for all
//! packets, so that independent misses overlap. A prefetched slot is a candidate: every user compares it
//! with the packet.

use core::hint::black_box;

use super::Nat64;
use super::tables::bib::Bib;
use super::tables::index::Home;
use super::tables::slab::NIL;
use crate::addr::Proto;
use crate::addr::{Transport4, Transport6};
use crate::wire::buf::PacketBuf;
use crate::wire::{DST_PORT, SRC_PORT, TCP, UDP, ipv4, ipv6, u16_at, udp};

/// Packets of a batch that are prefetched; later ones are looked up without a candidate.
const WINDOW: usize = 64;
/// Number of bindings from which bindings and sessions are prefetched as well. Smaller tables, about half a
/// megabyte with their sessions, stay in the cache. The index lookup pays at any size.
const PREFETCH_ALL_FROM: u32 = 4096;

/// How the binding of a packet is found.
#[derive(Clone, Copy)]
enum Lookup {
    /// Not looked up: not plain TCP or UDP.
    None,
    /// In the index from the IPv6 side.
    Index(Home),
    /// In the list of a port's bindings, from the IPv4 side.
    Port(usize),
}

/// Slot that may hold the binding of a packet. Every user compares the binding with the packet.
#[derive(Clone, Copy, Debug)]
pub struct Candidate(pub(super) u32);

impl Candidate {
    /// No slot: the tables are searched.
    pub(super) const NONE: Self = Self(NIL);
}

/// The candidates of a batch.
#[derive(Debug)]
pub struct Candidates {
    slots: [u32; WINDOW],
    count: usize,
}

impl Candidates {
    /// Memory for the candidates of any batch.
    pub const fn new() -> Self {
        Self { slots: [NIL; WINDOW], count: 0 }
    }

    /// The candidate of the packet with this number in the batch.
    #[inline]
    pub fn get(&self, number: usize) -> Candidate {
        if number < self.count { Candidate(self.slots[number]) } else { Candidate::NONE }
    }
}

impl Default for Candidates {
    fn default() -> Self {
        Self::new()
    }
}

impl Nat64 {
    /// Loads the table entries of a batch into the cache, and notes where they are.
    pub fn prefetch(&self, packets: &[PacketBuf], candidates: &mut Candidates) {
        let packets = &packets[..packets.len().min(WINDOW)];
        candidates.count = packets.len();
        match self.bib.len() {
            0 => candidates.count = 0,
            1..PREFETCH_ALL_FROM => self.prefetch_index(packets, candidates),
            PREFETCH_ALL_FROM.. => self.prefetch_tables(packets, candidates),
        }
    }

    /// Looks up packets from the IPv6 side in the index. Lookups from the IPv4 side use no index.
    fn prefetch_index(&self, packets: &[PacketBuf], candidates: &mut Candidates) {
        for (slot, packet) in candidates.slots.iter_mut().zip(packets) {
            *slot = match packet.bytes().first() {
                Some(0x60..=0x6f) => match lookup6(&self.bib, packet.bytes()) {
                    Lookup::Index(home) => self.bib.candidate(home),
                    Lookup::Port(_) | Lookup::None => NIL,
                },
                Some(_) | None => NIL,
            };
        }
    }

    fn prefetch_tables(&self, packets: &[PacketBuf], candidates: &mut Candidates) {
        let mut lookups = [Lookup::None; WINDOW];
        for (lookup, packet) in lookups.iter_mut().zip(packets) {
            *lookup = self.lookup(packet.bytes());
        }
        let lookups = &lookups[..packets.len()];
        let mut sum = 0;
        for lookup in lookups {
            sum ^= match *lookup {
                Lookup::None => 0,
                Lookup::Index(home) => self.bib.prefetch(home),
                Lookup::Port(at) => u64::from(self.pool4.ranges().first_at(at)),
            };
        }
        for (at, lookup) in lookups.iter().enumerate() {
            candidates.slots[at] = match *lookup {
                Lookup::None => NIL,
                Lookup::Index(home) => self.bib.candidate(home),
                Lookup::Port(at) => self.pool4.ranges().first_at(at),
            };
        }
        let mut links = [(NIL, NIL); WINDOW];
        for (link, slot) in links.iter_mut().zip(&candidates.slots[..packets.len()]) {
            *link = self.bib.prefetch_links(*slot);
        }
        for (session, block) in &links[..packets.len()] {
            sum ^= self.sessions.prefetch(*session) ^ self.pool4.blocks().prefetch(*block);
        }
        black_box(sum);
    }

    fn lookup(&self, bytes: &[u8]) -> Lookup {
        match bytes.first() {
            Some(0x60..=0x6f) => lookup6(&self.bib, bytes),
            // Headers with options take the slow path.
            Some(0x45) => self.lookup4(bytes),
            Some(_) | None => Lookup::None,
        }
    }

    fn lookup4(&self, bytes: &[u8]) -> Lookup {
        let Some((head, ports)) = bytes.split_first_chunk().filter(|(_, rest)| rest.len() >= udp::HEADER)
        else {
            return Lookup::None;
        };
        let head = ipv4::Fields(head);
        if !matches!(head.protocol(), TCP | UDP) || head.is_fragment() {
            return Lookup::None;
        }
        let mapped = Transport4::new(head.dst(), u16_at(ports, DST_PORT));
        self.pool4.list_at(mapped).map_or(Lookup::None, Lookup::Port)
    }
}

#[inline]
fn lookup6(bib: &Bib, bytes: &[u8]) -> Lookup {
    let Some((head, ports)) = bytes.split_first_chunk().filter(|(_, rest)| rest.len() >= udp::HEADER) else {
        return Lookup::None;
    };
    let head = ipv6::Fields(head);
    let proto = match head.next_header() {
        TCP => Proto::Tcp,
        UDP => Proto::Udp,
        _ => return Lookup::None,
    };
    Lookup::Index(bib.home(proto, Transport6::new(head.src(), u16_at(ports, SRC_PORT))))
}
