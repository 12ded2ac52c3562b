//! The binding information base (RFC 6146 §3.1): which IPv6 transport address has which IPv4 one.
//!
//! The index from the IPv4 side is in the port blocks.

use core::net::Ipv6Addr;
use core::time::Duration;

use super::Proto;
use super::hash::{Chance, Hasher};
use super::index::{Home, Index};
use super::slab::{Item, NIL, Slab};
use crate::addr::Transport6;
use crate::time::Instant;

/// A binding. Its IPv4 address is its block's.
///
/// In the order of declaration: it may lie across two lines of the cache, so that whoever wants it
/// there reads its first and its last field.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Binding {
    v6: Ipv6Addr,
    v6_port: u16,
    /// The IPv4 port.
    pub(super) port: u16,
    /// Index of the pref64 of the packet that made it.
    pub(super) pref64: u16,
    proto: Proto,
    state: State,
    /// Slot of the port block, or number of the static binding.
    pub(super) place: u32,
    /// First of its sessions; while it rests, the tick at which it began to.
    pub(super) first: u32,
    /// The next binding of the same port in the same block, of another protocol; in a free slot the
    /// next free one.
    pub(super) same_port: u32,
    /// The next in the queue of the resting.
    pub(super) next_resting: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum State {
    Free,
    Live,
    /// In use again before its turn in the queue of the resting came.
    LiveQueued,
    /// Ended and in the queue of the resting: it only keeps its port from others.
    Resting,
    /// Removed, its slot taken until its turn in the queue of the resting comes.
    GoneQueued,
    Static,
}

impl Item for Binding {
    fn free(next: u32) -> Self {
        Self {
            v6: Ipv6Addr::UNSPECIFIED,
            v6_port: 0,
            port: 0,
            pref64: 0,
            proto: Proto::Tcp,
            state: State::Free,
            place: NIL,
            first: NIL,
            same_port: next,
            next_resting: NIL,
        }
    }

    fn next_free(&self) -> Option<u32> {
        (matches!(self.state, State::Free)).then_some(self.same_port)
    }
}

impl Binding {
    /// The client.
    pub(super) const fn v6(&self) -> Transport6 {
        Transport6::new(self.v6, self.v6_port)
    }

    /// Which of the three BIBs it is in.
    pub(super) const fn proto(&self) -> Proto {
        self.proto
    }

    /// Whether the operator made it.
    pub(super) const fn is_static(&self) -> bool {
        matches!(self.state, State::Static)
    }

    /// Whether it has ended and only keeps its port from others.
    pub(super) const fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting)
    }
}

/// When a rest began, in units of 2^27 ns (an eighth of a second) rounded up: 32 bits last 18 years.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestTick(pub(super) u32);

impl RestTick {
    const BITS: u32 = 27;

    /// The unit that `now` is in.
    pub(super) const fn of(now: Instant) -> Self {
        Self((now.as_nanos() >> Self::BITS) as u32 + 1)
    }

    /// When a rest that began then ends.
    pub(super) fn end(self, rest: Duration) -> Instant {
        Instant::from_nanos(u64::from(self.0) << Self::BITS) + rest
    }
}

/// All bindings, found by protocol and IPv6 transport address.
#[derive(Debug)]
pub(super) struct Bib {
    slab: Slab<Binding>,
    index: Index,
    hasher: Hasher,
    /// The queue of the resting, the longest rest first.
    resting: (u32, u32),
}

impl Bib {
    pub(super) fn new(limit: u32, chance: &mut Chance) -> Self {
        Self {
            slab: Slab::new(limit),
            index: Index::new(limit),
            hasher: Hasher::new(chance),
            resting: (NIL, NIL),
        }
    }

    fn hash(&self, proto: Proto, v6: Transport6) -> u32 {
        self.hasher.address(v6.addr, (proto as u64) << 16 | u64::from(v6.port))
    }

    /// The binding of a client's transport address, resting ones included.
    #[inline]
    pub(super) fn find(&self, proto: Proto, v6: Transport6) -> Option<u32> {
        self.index.find(self.hash(proto, v6), |slot| self.is(slot, proto, v6))
    }

    /// Where the search for a binding begins.
    #[inline]
    pub(super) fn home(&self, proto: Proto, v6: Transport6) -> Home {
        self.index.home(self.hash(proto, v6))
    }

    /// Reads what a search will read first.
    #[inline]
    pub(super) fn touch(&self, home: Home) -> u64 {
        self.index.touch(home)
    }

    /// The slot that a search would look at first, or none.
    #[inline]
    pub(super) fn guess(&self, home: Home) -> u32 {
        self.index.guess(home).unwrap_or(NIL)
    }

    /// Whether there is a binding in a slot, and it is this one.
    #[inline]
    pub(super) fn is(&self, slot: u32, proto: Proto, v6: Transport6) -> bool {
        self.slab.at(slot).is_some_and(|b| b.proto == proto && b.v6 == v6.addr && b.v6_port == v6.port)
    }

    /// The first session and the block of a slot's binding, if there is a binding. Reads all of it.
    #[inline]
    pub(super) fn leads_to(&self, slot: u32) -> (u32, u32) {
        let Some(binding) = self.slab.at(slot) else { return (NIL, NIL) };
        core::hint::black_box((binding.v6.octets()[0], binding.next_resting));
        (binding.first, binding.place)
    }

    /// How many bindings there are, resting ones included.
    pub(super) const fn len(&self) -> u32 {
        self.slab.len()
    }

    /// Makes a binding that is not there yet; `None` if the table is full.
    pub(super) fn insert(
        &mut self,
        proto: Proto,
        v6: Transport6,
        place: u32,
        port: u16,
        pref64: u16,
        is_static: bool,
    ) -> Option<u32> {
        let slot = self.slab.insert(Binding {
            v6: v6.addr,
            v6_port: v6.port,
            port,
            proto,
            state: if is_static { State::Static } else { State::Live },
            pref64,
            place,
            ..Binding::free(NIL)
        })?;
        self.index.insert(self.hash(proto, v6), slot);
        Some(slot)
    }

    /// Begins a binding's rest: its port stays its own, for itself.
    pub(super) fn rest(&mut self, slot: u32, now: Instant) {
        let binding = &mut self.slab[slot];
        let queued = binding.state == State::LiveQueued;
        binding.state = State::Resting;
        binding.first = RestTick::of(now).0;
        if !queued {
            self.queue(slot);
        }
    }

    /// Ends a binding's rest because its client uses it again.
    pub(super) fn revive(&mut self, slot: u32, pref64: u16) {
        let binding = &mut self.slab[slot];
        binding.state = State::LiveQueued;
        binding.first = NIL;
        binding.pref64 = pref64;
    }

    fn queue(&mut self, slot: u32) {
        self.slab[slot].next_resting = NIL;
        let (first, last) = self.resting;
        if last == NIL {
            self.resting = (slot, slot);
        } else {
            self.slab[last].next_resting = slot;
            self.resting = (first, slot);
        }
    }

    /// Takes the first in the queue out if it has rested for `rest` by `now`, or whatever it is if
    /// `rest` is `None`. It still has its slot and its port.
    pub(super) fn rested(&mut self, now: Instant, rest: Option<Duration>, budget: &mut usize) -> Option<u32> {
        while *budget > 0 {
            let slot = self.resting.0;
            if slot == NIL {
                return None;
            }
            let binding = &self.slab[slot];
            let over = rest.is_none_or(|rest| RestTick(binding.first).end(rest) <= now);
            if binding.is_resting() && !over && !self.is_out_of_turn(slot) {
                return None;
            }
            *budget -= 1;
            self.resting.0 = binding.next_resting;
            if self.resting.0 == NIL {
                self.resting.1 = NIL;
            }
            match self.slab[slot].state {
                State::Resting if over => {
                    self.slab[slot].state = State::Live;
                    return Some(slot);
                }
                State::Resting => self.queue(slot),
                State::GoneQueued => self.slab.remove(slot),
                State::Free | State::Live | State::LiveQueued | State::Static => {
                    self.slab[slot].state = State::Live;
                }
            }
        }
        None
    }

    /// Whether a binding was revived and rests again, so that others behind it end before it.
    fn is_out_of_turn(&self, slot: u32) -> bool {
        let next = self.slab[slot].next_resting;
        next != NIL && (!self.slab[next].is_resting() || self.slab[next].first < self.slab[slot].first)
    }

    /// When [`rested`](Self::rested) is to be asked next.
    pub(super) fn next_rested(&self, rest: Duration) -> Option<Instant> {
        let binding = self.slab.at(self.resting.0)?;
        Some(if binding.is_resting() { RestTick(binding.first).end(rest) } else { Instant::ZERO })
    }

    /// Removes a binding. Its block's list must not name it any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let binding = &self.slab[slot];
        let queued = matches!(binding.state, State::LiveQueued | State::Resting);
        self.index.remove(self.hash(binding.proto(), binding.v6()), slot);
        if queued {
            self.slab[slot].state = State::GoneQueued;
        } else {
            self.slab.remove(slot);
        }
    }

    /// The binding in a taken slot.
    pub(super) fn of(&self, slot: u32) -> &Binding {
        &self.slab[slot]
    }

    /// The binding in a taken slot, to be changed.
    pub(super) fn of_mut(&mut self, slot: u32) -> &mut Binding {
        &mut self.slab[slot]
    }

    /// The binding in a slot, if there is one.
    pub(super) fn at(&self, slot: u32) -> Option<&Binding> {
        self.slab.at(slot).filter(|binding| binding.state != State::GoneQueued)
    }

    /// All taken slots are below this one.
    pub(super) const fn end(&self) -> u32 {
        self.slab.high_water()
    }

    /// Whether there is no room.
    pub(super) const fn is_full(&self) -> bool {
        self.slab.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(port: u16) -> Transport6 {
        Transport6::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2), port)
    }

    #[test]
    fn a_binding_is_small() {
        assert!(size_of::<Binding>() <= 40);
    }

    #[test]
    fn bindings_rest_in_turn_and_may_be_revived() {
        let rest = Duration::from_secs(120);
        let mut bib = Bib::new(10, &mut Chance::new(1));
        let a = bib.insert(Proto::Udp, client(1), 0, 1, 0, false).expect("room");
        let b = bib.insert(Proto::Udp, client(2), 0, 2, 0, false).expect("room");
        bib.rest(a, Instant::from_secs(10));
        bib.rest(b, Instant::from_secs(20));
        bib.revive(a, 0);
        bib.rest(a, Instant::from_secs(100));
        let c = bib.insert(Proto::Udp, client(3), 0, 3, 0, false).expect("room");
        bib.rest(c, Instant::from_secs(15));
        bib.remove(c);
        assert_eq!((bib.find(Proto::Udp, client(3)), bib.at(c).is_some()), (None, false));
        let mut ended = |secs| bib.rested(Instant::from_secs(secs), Some(rest), &mut 10);
        assert_eq!(ended(131), None);
        assert_eq!(ended(139), None);
        assert_eq!(ended(141), Some(b));
        assert_eq!(ended(219), None);
        assert_eq!(ended(221), Some(a));
        assert_eq!(ended(999), None);
    }
}
