//! The binding information base (RFC 6146 §3.1): bindings of IPv6 to IPv4 transport addresses.
//!
//! Port ranges (`range`) index bindings by their IPv4 side.

use core::net::Ipv6Addr;
use core::time::Duration;

use super::hash::{Hasher, Rng};
use super::index::{Home, Index};
use super::slab::{Item, NIL, Slab};
use crate::addr::Proto;
use crate::addr::Transport6;
use crate::time::{Instant, Span};

/// A binding. Its IPv4 address is that of its block.
///
/// `repr(C)` keeps the order of fields. A binding may span two cache lines; a prefetch reads its first and
/// last field to load both.
#[derive(Debug)]
#[repr(C)]
pub(in crate::nat64) struct Binding {
    v6: Ipv6Addr,
    v6_port: u16,
    /// The IPv4 port.
    pub(in crate::nat64) port: u16,
    /// Index of the pref64 of the packet that created it.
    pub(in crate::nat64) pref64: u16,
    proto: Proto,
    state: State,
    /// Slot of the port block, or number of the static binding.
    pub(in crate::nat64) allocation: u32,
    /// First of its sessions; in quarantine, the tick at which the quarantine began.
    pub(in crate::nat64) first: u32,
    /// Next binding of the same port and block, of another protocol; in a free slot, the next free slot.
    pub(in crate::nat64) same_port: u32,
    /// Neighbours in the quarantine queue. Outside quarantine, `prev` is the tick of the client's last packet.
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum State {
    Free,
    Live,
    /// Without sessions, and in the quarantine queue: it only reserves its port.
    Quarantined,
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
            allocation: NIL,
            first: NIL,
            same_port: next,
            prev: NIL,
            next: NIL,
        }
    }

    fn next_free(&self) -> Option<u32> {
        (matches!(self.state, State::Free)).then_some(self.same_port)
    }
}

impl Binding {
    /// The client.
    pub(in crate::nat64) const fn v6(&self) -> Transport6 {
        Transport6::new(self.v6, self.v6_port)
    }

    /// Which of the three BIBs it is in.
    pub(in crate::nat64) const fn proto(&self) -> Proto {
        self.proto
    }

    /// Whether it is a static binding.
    pub(in crate::nat64) const fn is_static(&self) -> bool {
        matches!(self.state, State::Static)
    }

    /// Whether it is in quarantine: without sessions, it only reserves its port.
    pub(in crate::nat64) const fn is_quarantined(&self) -> bool {
        matches!(self.state, State::Quarantined)
    }

    /// Whether the client has sent nothing for `lifetime` (rounded up to the next tick). The client of a static
    /// binding never counts as silent: the operator wants its port reachable.
    #[inline(always)]
    pub(in crate::nat64) fn is_silent(&self, now: Instant, lifetime: Span) -> bool {
        !self.is_static() && QuarantineTick(self.prev).start() + lifetime <= now
    }

    /// Time since the last packet of the client of a live binding, to the tick; zero if there was none.
    pub(in crate::nat64) fn silence(&self, now: Instant) -> Duration {
        if self.prev == NIL {
            Duration::ZERO
        } else {
            now.since(QuarantineTick(self.prev).end(Duration::ZERO))
        }
    }
}

/// What a binding takes its IPv4 address from.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) enum Allocation {
    /// The port block in this slot.
    Block(u32),
    /// The static binding with this number.
    Static(u32),
}

/// A time in units of 2^27 ns (about 1/8 s), rounded up: start of a quarantine, or of a client's silence. 32 bits
/// last 18 years.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct QuarantineTick(pub(in crate::nat64) u32);

impl QuarantineTick {
    const BITS: u32 = 27;

    /// The tick of `now`.
    pub(in crate::nat64) const fn of(now: Instant) -> Self {
        Self((now.as_nanos() >> Self::BITS) as u32 + 1)
    }

    /// The end of a time, such as a quarantine, that began at this tick.
    pub(in crate::nat64) fn end(self, quarantine: Duration) -> Instant {
        self.start() + quarantine
    }

    const fn start(self) -> Instant {
        Instant::from_nanos((self.0 as u64) << Self::BITS)
    }
}

/// All bindings, found by protocol and IPv6 transport address.
#[derive(Debug)]
pub(in crate::nat64) struct Bib {
    slab: Slab<Binding>,
    index: Index,
    hasher: Hasher,
    /// First and last of the quarantine queue, the oldest first.
    quarantined: (u32, u32),
}

impl Bib {
    pub(in crate::nat64) fn new(limit: u32, rng: &mut Rng) -> Self {
        Self {
            slab: Slab::new(limit),
            index: Index::new(limit),
            hasher: Hasher::new(rng),
            quarantined: (NIL, NIL),
        }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        Slab::<Binding>::bytes(limit) + Index::bytes(limit)
    }

    fn hash(&self, proto: Proto, v6: Transport6) -> u32 {
        self.hasher.address(v6.addr, (proto as u64) << 16 | u64::from(v6.port))
    }

    /// The binding of a client's transport address, quarantined ones included.
    #[inline]
    pub(in crate::nat64) fn find(&self, proto: Proto, v6: Transport6) -> Option<u32> {
        self.index.find(self.hash(proto, v6), |slot| self.matches(slot, proto, v6))
    }

    /// Where the index search for a binding begins.
    #[inline]
    pub(in crate::nat64) fn home(&self, proto: Proto, v6: Transport6) -> Home {
        self.index.home(self.hash(proto, v6))
    }

    /// Loads the index line of a search into the cache.
    #[inline]
    pub(in crate::nat64) fn prefetch(&self, home: Home) -> u64 {
        self.index.prefetch(home)
    }

    /// The first slot that a search would compare, or [`NIL`].
    #[inline]
    pub(in crate::nat64) fn candidate(&self, home: Home) -> u32 {
        self.index.candidate(home).unwrap_or(NIL)
    }

    /// Whether a slot holds this binding.
    #[inline]
    pub(in crate::nat64) fn matches(&self, slot: u32, proto: Proto, v6: Transport6) -> bool {
        self.slab.get(slot).is_some_and(|b| b.proto == proto && b.v6 == v6.addr && b.v6_port == v6.port)
    }

    /// Loads a binding into the cache; returns its first session and its block, or [`NIL`].
    #[inline]
    pub(in crate::nat64) fn prefetch_links(&self, slot: u32) -> (u32, u32) {
        let Some(binding) = self.slab.get(slot) else { return (NIL, NIL) };
        core::hint::black_box((binding.v6.octets()[0], binding.next));
        (binding.first, binding.allocation)
    }

    /// Number of bindings, quarantined ones included.
    pub(in crate::nat64) const fn len(&self) -> u32 {
        self.slab.len()
    }

    /// Creates a binding that does not exist yet; `None` if the table is full.
    pub(in crate::nat64) fn insert(
        &mut self,
        proto: Proto,
        v6: Transport6,
        allocation: Allocation,
        port: u16,
        pref64: u16,
    ) -> Option<u32> {
        let (state, allocation) = match allocation {
            Allocation::Block(slot) => (State::Live, slot),
            Allocation::Static(number) => (State::Static, number),
        };
        let slot = self.slab.insert(Binding {
            v6: v6.addr,
            v6_port: v6.port,
            port,
            proto,
            state,
            pref64,
            allocation,
            ..Binding::free(NIL)
        })?;
        self.index.insert(self.hash(proto, v6), slot);
        Some(slot)
    }

    /// Quarantines a binding: only its own client may reuse its port. Keeps the queue ordered: if the clock
    /// went back, the quarantine begins with that of the last in the queue.
    pub(in crate::nat64) fn quarantine(&mut self, slot: u32, now: Instant) {
        let (first, last) = self.quarantined;
        let newest_start = if last == NIL { 0 } else { self.slab[last].first };
        let binding = &mut self.slab[slot];
        binding.state = State::Quarantined;
        binding.first = QuarantineTick::of(now).0.max(newest_start);
        (binding.prev, binding.next) = (last, NIL);
        if last == NIL {
            self.quarantined = (slot, slot);
        } else {
            self.slab[last].next = slot;
            self.quarantined = (first, slot);
        }
    }

    /// Ends a binding's quarantine because its client uses it again.
    pub(in crate::nat64) fn reuse(&mut self, slot: u32, pref64: u16) {
        self.unlink_quarantined(slot);
        let binding = &mut self.slab[slot];
        binding.state = State::Live;
        binding.first = NIL;
        binding.pref64 = pref64;
    }

    /// Records a packet of the client of a live binding. Writes at most eight times a second.
    #[inline(always)]
    pub(in crate::nat64) fn mark_active(&mut self, slot: u32, now: Instant) {
        let tick = QuarantineTick::of(now).0;
        let binding = &mut self.slab[slot];
        if binding.prev != tick {
            binding.prev = tick;
        }
    }

    /// Unlinks a binding from the quarantine queue.
    fn unlink_quarantined(&mut self, slot: u32) {
        let (prev, next) = (self.slab[slot].prev, self.slab[slot].next);
        if prev == NIL {
            self.quarantined.0 = next;
        } else {
            self.slab[prev].next = next;
        }
        if next == NIL {
            self.quarantined.1 = prev;
        } else {
            self.slab[next].prev = prev;
        }
    }

    /// The oldest quarantined binding if its quarantine has ended by `now`; regardless of time if
    /// `quarantine` is `None`.
    pub(in crate::nat64) fn quarantine_ended(
        &self,
        now: Instant,
        quarantine: Option<Duration>,
    ) -> Option<u32> {
        let oldest = self.slab.get(self.quarantined.0)?;
        let over = quarantine.is_none_or(|quarantine| QuarantineTick(oldest.first).end(quarantine) <= now);
        over.then_some(self.quarantined.0)
    }

    /// When [`quarantine_ended`](Self::quarantine_ended) has a result next.
    pub(in crate::nat64) fn next_quarantine_end(&self, quarantine: Duration) -> Option<Instant> {
        self.slab.get(self.quarantined.0).map(|oldest| QuarantineTick(oldest.first).end(quarantine))
    }

    /// Removes a binding. The caller has unlinked it from its block.
    pub(in crate::nat64) fn remove(&mut self, slot: u32) {
        let binding = &self.slab[slot];
        self.index.remove(self.hash(binding.proto(), binding.v6()), slot);
        if self.slab[slot].is_quarantined() {
            self.unlink_quarantined(slot);
        }
        self.slab.remove(slot);
    }

    /// The binding in an occupied slot.
    pub(in crate::nat64) fn binding(&self, slot: u32) -> &Binding {
        &self.slab[slot]
    }

    /// The binding in an occupied slot, mutably.
    pub(in crate::nat64) fn binding_mut(&mut self, slot: u32) -> &mut Binding {
        &mut self.slab[slot]
    }

    /// The binding in a slot, if there is one.
    pub(in crate::nat64) fn get(&self, slot: u32) -> Option<&Binding> {
        self.slab.get(slot)
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }

    /// Maximum number of bindings.
    pub(in crate::nat64) const fn limit(&self) -> u32 {
        self.slab.limit()
    }

    /// Whether the table is full.
    pub(in crate::nat64) const fn is_full(&self) -> bool {
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
        assert!(size_of::<Binding>() <= 44);
    }

    #[test]
    fn quarantine_ends_in_order_and_reuse_leaves_the_queue() {
        let quarantine = Duration::from_secs(120);
        let mut bib = Bib::new(10, &mut Rng::new(1));
        let [a, b, c, d] = [1, 2, 3, 4]
            .map(|n| bib.insert(Proto::Udp, client(n), Allocation::Block(0), n, 0).expect("room"));
        for (slot, secs) in [(a, 10), (b, 20), (c, 25), (d, 30)] {
            bib.quarantine(slot, Instant::from_secs(secs));
        }
        bib.reuse(a, 0);
        bib.reuse(b, 0);
        bib.remove(c);
        bib.quarantine(a, Instant::from_secs(100));
        bib.quarantine(b, Instant::from_secs(100));
        assert_eq!(bib.find(Proto::Udp, client(3)), None);
        let mut ended = |secs| {
            let slot = bib.quarantine_ended(Instant::from_secs(secs), Some(quarantine));
            slot.inspect(|slot| bib.remove(*slot))
        };
        assert_eq!(ended(149), None);
        assert_eq!(ended(151), Some(d), "the earlier ones began a new quarantine");
        assert_eq!(ended(219), None);
        assert_eq!([ended(221), ended(221), ended(999)], [Some(a), Some(b), None]);
    }
}
