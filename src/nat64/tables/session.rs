//! The session table (RFC 6146 §3.2).

use core::net::Ipv4Addr;
use core::time::Duration;

use super::hash::{Hasher, Rng};
use super::index::Index;
use super::slab::{Item, NIL, Slab};
use super::tcp::{Side, State};
use super::timer_wheel::{Timed, Wheel, WheelLinks};
use crate::addr::Transport4;
use crate::time::Instant;

/// A session between a binding and a server. One cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(in crate::nat64) struct Session {
    /// Deadline in nanoseconds.
    pub(in crate::nat64) deadline: u64,
    /// Bytes to and from the server, counted on the IPv6 side.
    bytes: [u64; 2],
    /// Packets to and from the server.
    packets: [u32; 2],
    remote: Ipv4Addr,
    binding: u32,
    /// Neighbours in the list of the binding's sessions; in a free slot, `next` is the next free slot.
    next: u32,
    prev: u32,
    /// Links in the timer wheel.
    links: WheelLinks,
    /// Bucket in the timer wheel.
    bucket: u16,
    remote_port: u16,
    /// Index of the pref64 under which the client addresses the server.
    pub(in crate::nat64) pref64: u16,
    state: State,
    /// [`INDEXED`], [`FREE`], [`INBOUND`], and a bit per side for [`has_fast_path`](Self::has_fast_path).
    flags: u8,
}

/// The session is in the index.
const INDEXED: u8 = 0x80;
/// A packet from the IPv4 side opened the session.
const INBOUND: u8 = 0x20;
/// The slot holds no session.
const FREE: u8 = 0x40;

impl Item for Session {
    fn free(next: u32) -> Self {
        Self {
            deadline: 0,
            bytes: [0; 2],
            packets: [0; 2],
            remote: Ipv4Addr::UNSPECIFIED,
            binding: NIL,
            next,
            prev: NIL,
            links: WheelLinks::UNLINKED,
            bucket: u16::MAX,
            remote_port: 0,
            pref64: 0,
            state: State::Closed,
            flags: FREE,
        }
    }

    fn next_free(&self) -> Option<u32> {
        (self.flags & FREE != 0).then_some(self.next)
    }
}

impl Timed for Session {
    fn deadline(&self) -> u64 {
        self.deadline
    }

    fn deadline_mut(&mut self) -> &mut u64 {
        &mut self.deadline
    }

    fn links(&self) -> WheelLinks {
        self.links
    }

    fn links_mut(&mut self) -> &mut WheelLinks {
        &mut self.links
    }

    fn bucket(&self) -> usize {
        self.bucket.into()
    }

    fn set_bucket(&mut self, bucket: u16) {
        self.bucket = bucket;
    }
}

impl Session {
    /// The server.
    pub(in crate::nat64) const fn remote(&self) -> Transport4 {
        Transport4::new(self.remote, self.remote_port)
    }

    /// Slot of the binding.
    pub(in crate::nat64) const fn binding(&self) -> u32 {
        self.binding
    }

    /// The TCP state; `Closed` for other protocols.
    pub(in crate::nat64) const fn state(&self) -> State {
        self.state
    }

    /// Sets the TCP state.
    pub(in crate::nat64) const fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// Whether packets from this side may use the fast path: the slow path has accepted the flow's addresses
    /// (zone, pref64, ranges, denied prefixes) under the current settings.
    pub(in crate::nat64) const fn has_fast_path(&self, from: Side) -> bool {
        self.flags >> from as u8 & 1 == 1
    }

    /// Allows the fast path for packets from this side.
    pub(in crate::nat64) const fn allow_fast_path(&mut self, from: Side) {
        self.flags |= 1 << from as u8;
    }

    /// Requires the slow path for the next packet of each side.
    pub(in crate::nat64) const fn clear_fast_path(&mut self) {
        self.flags &= INDEXED | INBOUND;
    }

    /// Whether a packet from the IPv4 side opened the session.
    pub(in crate::nat64) const fn is_inbound(&self) -> bool {
        self.flags & INBOUND != 0
    }

    /// Records that a packet from the IPv4 side opened the session.
    pub(in crate::nat64) const fn set_inbound(&mut self) {
        self.flags |= INBOUND;
    }

    /// Packets to and from the server.
    pub(in crate::nat64) const fn packets(&self) -> [u32; 2] {
        self.packets
    }

    /// Bytes to and from the server.
    pub(in crate::nat64) const fn bytes(&self) -> [u64; 2] {
        self.bytes
    }

    /// Sets the counters of a session that another translator began.
    pub(in crate::nat64) const fn set_traffic(&mut self, packets: [u32; 2], bytes: [u64; 2]) {
        (self.packets, self.bytes) = (packets, bytes);
    }

    /// Whether it has expired by `now`.
    pub(in crate::nat64) const fn is_expired(&self, now: Instant) -> bool {
        self.deadline <= now.as_nanos()
    }

    /// Time until it expires without traffic.
    pub(in crate::nat64) const fn remaining(&self, now: Instant) -> Duration {
        Instant::from_nanos(self.deadline).since(now)
    }
}

/// Traffic of one packet or super-packet, to add to a session's counters.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Traffic {
    /// The side it came from.
    pub(in crate::nat64) from: Side,
    /// Packets on the wire.
    pub(in crate::nat64) packets: u32,
    /// Bytes, counted on the IPv6 side.
    pub(in crate::nat64) bytes: u64,
}

/// All sessions, found by binding and server.
///
/// Most bindings have one session, so a binding links to its first session. Only further sessions are in the
/// index; one that becomes the first later may stay there.
#[derive(Debug)]
pub(in crate::nat64) struct Sessions {
    slab: Slab<Session>,
    index: Index,
    hasher: Hasher,
    wheel: Wheel,
}

impl Sessions {
    pub(in crate::nat64) fn new(limit: u32, rng: &mut Rng) -> Self {
        Self {
            slab: Slab::new(limit),
            index: Index::new(limit),
            hasher: Hasher::new(rng),
            wheel: Wheel::new(),
        }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        Slab::<Session>::bytes(limit) + Index::bytes(limit)
    }

    fn hash(&self, binding: u32, remote: Transport4) -> u32 {
        self.hasher.words(u64::from(binding) << 32 | u64::from(remote.addr.to_bits()), u64::from(remote.port))
    }

    /// The session between a binding, whose first session is `first`, and a server.
    #[inline(always)]
    pub(in crate::nat64) fn find(&self, binding: u32, first: u32, remote: Transport4) -> Option<u32> {
        let session = self.slab.get(first)?;
        if session.remote() == remote {
            return Some(first);
        }
        if session.next == NIL {
            return None;
        }
        self.index.find(self.hash(binding, remote), |slot| {
            let session = &self.slab[slot];
            session.binding == binding && session.remote() == remote
        })
    }

    /// Loads a session into the cache.
    #[inline]
    pub(in crate::nat64) fn prefetch(&self, slot: u32) -> u64 {
        self.slab.get(slot).map_or(0, |session| session.deadline)
    }

    /// Creates a session that does not exist yet; `None` if the table is full. `first` is the binding's first
    /// session; it becomes the new one if there was none.
    pub(in crate::nat64) fn insert(
        &mut self,
        binding: u32,
        first: &mut u32,
        remote: Transport4,
        pref64: u16,
        deadline: Instant,
    ) -> Option<u32> {
        let indexed = *first != NIL;
        let next = if indexed { self.slab[*first].next } else { NIL };
        let slot = self.slab.insert(Session {
            deadline: deadline.as_nanos(),
            remote: remote.addr,
            remote_port: remote.port,
            binding,
            next,
            prev: *first,
            pref64,
            flags: if indexed { INDEXED } else { 0 },
            ..Session::free(NIL)
        })?;
        if indexed {
            self.slab[*first].next = slot;
            self.index.insert(self.hash(binding, remote), slot);
        } else {
            *first = slot;
        }
        if next != NIL {
            self.slab[next].prev = slot;
        }
        self.wheel.insert(&mut self.slab, slot);
        Some(slot)
    }

    /// Removes a session; `first` is the binding's first session.
    pub(in crate::nat64) fn remove(&mut self, slot: u32, first: &mut u32) {
        let Session { next, prev, binding, flags, .. } = self.slab[slot];
        let remote = self.slab[slot].remote();
        if next != NIL {
            self.slab[next].prev = prev;
        }
        if prev != NIL {
            self.slab[prev].next = next;
        } else {
            *first = next;
        }
        if flags & INDEXED != 0 {
            self.index.remove(self.hash(binding, remote), slot);
        }
        self.wheel.remove(&mut self.slab, slot);
        self.slab.remove(slot);
    }

    /// Counts traffic and sets the deadline.
    #[inline(always)]
    pub(in crate::nat64) fn record_traffic(
        &mut self,
        slot: u32,
        traffic: Traffic,
        deadline: Option<Instant>,
    ) {
        let session = &mut self.slab[slot];
        let direction = traffic.from as usize;
        session.packets[direction] = session.packets[direction].wrapping_add(traffic.packets);
        session.bytes[direction] += traffic.bytes;
        match deadline {
            // The common case is a later deadline: one store.
            Some(deadline) if deadline.as_nanos() >= session.deadline => {
                session.deadline = deadline.as_nanos();
            }
            Some(deadline) => self.wheel.set(&mut self.slab, slot, deadline),
            None => {}
        }
    }

    /// Sets the deadline without traffic.
    pub(in crate::nat64) fn set_deadline(&mut self, slot: u32, deadline: Instant) {
        self.wheel.set(&mut self.slab, slot, deadline);
    }

    /// A session that has expired by `now`.
    pub(in crate::nat64) fn due(&mut self, now: Instant, budget: &mut usize) -> Option<u32> {
        self.wheel.due(&mut self.slab, now, budget)
    }

    /// When [`due`](Self::due) has a result next.
    pub(in crate::nat64) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next(&self.slab)
    }

    /// Whether the binding whose first session is `first` has a session with `addr`.
    ///
    /// Visits the binding's sessions; the host's session quota bounds their number.
    pub(in crate::nat64) fn has_session_with_address(
        &self,
        first: u32,
        addr: Ipv4Addr,
        now: Instant,
    ) -> bool {
        let mut slot = first;
        while slot != NIL {
            let session = &self.slab[slot];
            if session.remote == addr && !session.is_expired(now) {
                return true;
            }
            slot = session.next;
        }
        false
    }

    /// Whether the binding whose first session is `first` has a TCP connection that was established.
    ///
    /// Visits the binding's sessions up to the first such one.
    pub(in crate::nat64) fn has_connection(&self, first: u32, now: Instant) -> bool {
        let mut slot = first;
        while slot != NIL {
            let session = &self.slab[slot];
            if session.state.is_connection() && !session.is_expired(now) {
                return true;
            }
            slot = session.next;
        }
        false
    }

    /// The session in a slot, if there is one.
    pub(in crate::nat64) fn get(&self, slot: u32) -> Option<&Session> {
        self.slab.get(slot)
    }

    /// The session in an occupied slot.
    pub(in crate::nat64) fn session(&self, slot: u32) -> &Session {
        &self.slab[slot]
    }

    /// The session in an occupied slot, mutably. Use [`set_deadline`](Self::set_deadline) for its deadline.
    pub(in crate::nat64) fn session_mut(&mut self, slot: u32) -> &mut Session {
        &mut self.slab[slot]
    }

    /// Upper bound of occupied slots.
    pub(in crate::nat64) const fn end(&self) -> u32 {
        self.slab.high_water()
    }

    /// Number of sessions.
    pub(in crate::nat64) const fn len(&self) -> u32 {
        self.slab.len()
    }

    /// Maximum number of sessions.
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

    fn sessions() -> Sessions {
        Sessions::new(4096, &mut Rng::new(3))
    }

    fn server(n: u32) -> Transport4 {
        Transport4::new(Ipv4Addr::from_bits(0xc633_6400 + n), 53)
    }

    #[test]
    fn a_session_is_one_cache_line() {
        assert_eq!(size_of::<Session>(), 64);
    }

    #[test]
    fn a_binding_finds_all_its_sessions_in_any_order_of_removal() {
        let mut table = sessions();
        let mut rng = Rng::new(4);
        let mut firsts = [NIL; 3];
        let mut live = std::collections::HashMap::new();
        for _ in 0..20_000 {
            let (binding, n) = (rng.below(3), rng.below(20));
            let first = &mut firsts[binding as usize];
            let found = table.find(binding, *first, server(n));
            assert_eq!(found, live.get(&(binding, n)).copied());
            match live.remove(&(binding, n)) {
                Some(slot) => table.remove(slot, first),
                None => {
                    let slot = table.insert(binding, first, server(n), 0, Instant::from_secs(1));
                    live.insert((binding, n), slot.expect("room"));
                }
            }
        }
    }

    #[test]
    fn sessions_expire_on_time_for_any_deadline_and_any_refresh() {
        let mut table = sessions();
        let mut rng = Rng::new(9);
        let mut deadlines = std::collections::HashMap::new();
        let mut first = NIL;
        for n in 0..2000 {
            // From a microsecond to 60 days.
            let deadline = rng.next() >> (12 + rng.below(40));
            let slot = table.insert(0, &mut first, server(n), 0, Instant::from_nanos(deadline));
            deadlines.insert(slot.expect("room"), deadline);
        }
        let mut now = 0;
        while let Some(next) = table.next_deadline() {
            now = next.as_nanos().max(now);
            let at = Instant::from_nanos(now);
            let mut budget = 10_000;
            while let Some(slot) = table.due(at, &mut budget) {
                let deadline = deadlines.remove(&slot).expect("once");
                assert!(deadline <= now && deadline + (1 << 20) >= now, "{deadline} {now}");
                table.remove(slot, &mut first);
            }
            if rng.below(2) == 0
                && let Some((&slot, deadline)) = deadlines.iter_mut().next()
            {
                *deadline = now + (rng.next() >> (12 + rng.below(40)));
                table.set_deadline(slot, Instant::from_nanos(*deadline));
                now = now.max(1);
            }
            if rng.below(50) == 0 {
                now += rng.next() >> 30;
                let early = deadlines.values().filter(|d| **d < now).count();
                let mut ended = 0;
                let mut budget = 10_000;
                while let Some(slot) = table.due(Instant::from_nanos(now), &mut budget) {
                    deadlines.remove(&slot).expect("once");
                    table.remove(slot, &mut first);
                    ended += 1;
                }
                assert!(ended >= early);
            }
        }
        assert!(deadlines.is_empty() && first == NIL);
    }

    /// Four levels of buckets would wrap after 2^52 ns, 52 days; a clock may also count from 1970.
    #[test]
    fn a_clock_may_run_for_years_or_begin_in_any_year() {
        for start in [(1u64 << 52) - (1 << 21), 1 << 56, 1_700_000_000_000_000_000, (1 << 63) + 5] {
            let mut table = sessions();
            let mut first = NIL;
            let slot = table.insert(0, &mut first, server(1), 0, Instant::from_nanos(start)).expect("room");
            let later = start + 300_000_000_000;
            table.set_deadline(slot, Instant::from_nanos(later));
            for now in [start, later - 1] {
                assert_eq!(table.due(Instant::from_nanos(now), &mut 10), None, "{start}");
                let next = table.next_deadline().expect("one is left").as_nanos();
                assert!(next > now && next <= later + (1 << 20), "{start} {now} {next}");
            }
            assert_eq!(table.due(Instant::from_nanos(later), &mut 10), Some(slot), "{start}");
            table.remove(slot, &mut first);
        }
    }

    #[test]
    fn a_small_budget_ends_all_sessions_eventually() {
        let mut table = sessions();
        let mut first = NIL;
        for n in 0..1000 {
            table.insert(0, &mut first, server(n), 0, Instant::from_secs(300)).expect("room");
        }
        let (mut ended, mut rounds) = (0, 0);
        while ended < 1000 {
            let mut budget = 7;
            while let Some(slot) = table.due(Instant::from_secs(301), &mut budget) {
                table.remove(slot, &mut first);
                ended += 1;
                if budget == 0 {
                    break;
                }
                budget -= 1;
            }
            rounds += 1;
            assert!(rounds < 10_000);
        }
        assert!(table.next_deadline().is_none());
    }
}
