//! Looking ahead over a batch, so that its cache misses happen at once and not one after the other.
//!
//! In a large table a known packet misses the cache three times, and each miss says where the next one
//! is: the index, the binding, the session. Done packet by packet, a batch waits for all of them. So
//! before the first packet is looked at, three short loops read what the batch will need, step by
//! step: loads that don't depend on each other overlap. Nothing is decided here: what a guess says is
//! compared by whoever uses it.

use core::hint::black_box;

use super::Nat64;
use super::tables::bib::Bib;
use super::tables::index::Home;
use super::tables::slab::NIL;
use crate::addr::Proto;
use crate::addr::{Transport4, Transport6};
use crate::wire::buf::PacketBuf;
use crate::wire::{TCP, UDP, ipv4, ipv6, u16_at, u32_at};

/// Packets that are looked at; what is behind them is found without.
const REACH: usize = 64;
/// Bindings from which on memory is waited for: fewer are in the cache anyway, with their sessions
/// about half a megabyte. What is found in the index is worth having at any size.
const MANY: u32 = 4096;

/// Where a packet's binding is sought.
#[derive(Clone, Copy)]
enum Seek {
    /// Not a packet of the usual kind.
    Nowhere,
    /// In the index from the IPv6 side.
    Index(Home),
    /// In this list of the bindings of a port.
    Port(usize),
}

/// What was seen ahead.
pub(super) struct Ahead {
    /// A binding's slot for each packet, perhaps the right one; or none.
    guesses: [u32; REACH],
    looked: usize,
}

impl Ahead {
    pub(super) const fn new() -> Self {
        Self { guesses: [NIL; REACH], looked: 0 }
    }
}

impl Nat64 {
    /// Brings what a batch will need into the cache.
    pub fn look_ahead(&mut self, packets: &[PacketBuf]) {
        let packets = &packets[..packets.len().min(REACH)];
        self.ahead.looked = packets.len();
        match self.bib.len() {
            0 => self.ahead.looked = 0,
            1..MANY => self.look_up(packets),
            MANY.. => self.look(packets),
        }
    }

    /// The packet looked at next is the one with this place in the batch.
    #[inline]
    pub fn turn_to(&mut self, place: usize) {
        self.guess = if place < self.ahead.looked { self.ahead.guesses[place] } else { NIL };
    }

    /// Looks packets from the IPv6 side up in the index. The others need no index.
    fn look_up(&mut self, packets: &[PacketBuf]) {
        for (guess, packet) in self.ahead.guesses.iter_mut().zip(packets) {
            *guess = match packet.bytes().first() {
                Some(0x60..=0x6f) => match seek6(&self.bib, packet.bytes()) {
                    Seek::Index(home) => self.bib.guess(home),
                    Seek::Port(_) | Seek::Nowhere => NIL,
                },
                Some(_) | None => NIL,
            };
        }
    }

    fn look(&mut self, packets: &[PacketBuf]) {
        let mut seeks = [Seek::Nowhere; REACH];
        for (seek, packet) in seeks.iter_mut().zip(packets) {
            *seek = self.seek(packet.bytes());
        }
        let seeks = &seeks[..packets.len()];
        let mut sum = 0;
        for seek in seeks {
            sum ^= match *seek {
                Seek::Nowhere => 0,
                Seek::Index(home) => self.bib.touch(home),
                Seek::Port(at) => u64::from(self.pool4.blocks().first_at(at)),
            };
        }
        for (at, seek) in seeks.iter().enumerate() {
            self.ahead.guesses[at] = match *seek {
                Seek::Nowhere => NIL,
                Seek::Index(home) => self.bib.guess(home),
                Seek::Port(at) => self.pool4.blocks().first_at(at),
            };
        }
        let mut leads = [(NIL, NIL); REACH];
        for (lead, slot) in leads.iter_mut().zip(&self.ahead.guesses[..packets.len()]) {
            *lead = self.bib.leads_to(*slot);
        }
        for (session, block) in &leads[..packets.len()] {
            sum ^= self.sessions.touch(*session) ^ self.pool4.blocks().touch(*block);
        }
        black_box(sum);
    }

    fn seek(&self, bytes: &[u8]) -> Seek {
        match bytes.first() {
            Some(0x60..=0x6f) => seek6(&self.bib, bytes),
            // Without options: others take their time anyway.
            Some(0x45) => self.seek4(bytes),
            Some(_) | None => Seek::Nowhere,
        }
    }

    fn seek4(&self, bytes: &[u8]) -> Seek {
        let Some(head) = bytes.first_chunk::<{ ipv4::HEADER + 8 }>() else { return Seek::Nowhere };
        let fragment = u16_at(head, 6) & 0x3fff != 0;
        if !matches!(head[9], TCP | UDP) || fragment {
            return Seek::Nowhere;
        }
        let place = Transport4::new(u32_at(head, 16).into(), u16_at(head, ipv4::HEADER + 2));
        self.pool4.list_at(place).map_or(Seek::Nowhere, Seek::Port)
    }
}

#[inline]
fn seek6(bib: &Bib, bytes: &[u8]) -> Seek {
    let Some(head) = bytes.first_chunk::<{ ipv6::HEADER + 8 }>() else { return Seek::Nowhere };
    let proto = match head[6] {
        TCP => Proto::Tcp,
        UDP => Proto::Udp,
        _ => return Seek::Nowhere,
    };
    Seek::Index(bib.home(proto, Transport6::new(ipv6::addr_at(head, 8), u16_at(head, ipv6::HEADER))))
}
