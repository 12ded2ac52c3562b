//! The hold store: fragments whose fate hangs on others of their datagram (RFC 6146 §3.4).
//!
//! Only the first fragment carries ports, and it need not come first. So a fragment is offered to
//! the store, and the store says what becomes of it:
//!
//! - Until the first fragment comes, all are [held](Step::Held).
//! - The first fragment decides. If it [shows the ports](First::Ports), it passes, what is on hold
//!   follows it in order of arrival, and the ports are remembered for the fragments that are still
//!   to come.
//! - If it says [gather](First::Gather) - a checksum has to be computed over the whole datagram, as
//!   for UDP without one and for ICMP - all are held until the last missing one comes, and then
//!   leave as one packet.
//!
//! A datagram is forgotten when all of it has passed, or at its deadline, which counts from the
//! fragment that came first of all. Whoever overlaps or contradicts another fragment kills the
//! datagram (RFC 8200 §4.5, RFC 5722; the same for IPv4): what is on hold is gone, and what still comes is
//! dropped until the deadline.
//!
//! # How it is used
//! ```text
//! match hold.offer(now, &arrival) {
//!     Step::Pass { ports, held } => {
//!         // Translate the packet, or hand it over with `handed.ports = Some(ports)`. Then:
//!         while let Some(datagram) = held && hold.held(datagram) > 0 && let Some(slot) = extra.next_slot() {
//!             hold.release(datagram, &mut slot.packet);
//!             // Translate slot.packet, whose `handed.ports` is set.
//!         }
//!     }
//!     Step::Held => Verdict::Hold,
//!     Step::Whole(datagram) => { hold.assemble(datagram, &mut whole); /* treat as a packet that came */ }
//!     Step::Drop { reason, held } => // count 1 + held packets
//! }
//! ```
//! What found no room in the batch stays on hold, and `held` names the datagram again with its next
//! fragment. A packet with `handed.ports` has been through another worker's store and is not
//! offered again. IPv6 atomic fragments (RFC 6946) and whole packets are never offered.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use self::cells::{Cells, NONE};
use self::shares::Shares;
use self::table::Table;
use crate::ownership::mix;
use crate::reason::Reason;
use crate::time::Instant;
use crate::wire::buf::PacketBuf;

mod cells;
mod reassembly;
mod shares;
mod table;

/// Most fragments of one datagram: enough for 64 KiB over a path with an MTU of 576 bytes.
pub(in crate::nat64) const MAX_FRAGMENTS: u32 = 128;

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::nat64) struct Key {
    /// Source.
    pub(in crate::nat64) src: IpAddr,
    /// Destination, of the same family.
    pub(in crate::nat64) dst: IpAddr,
    /// IPv4 protocol, or the next header behind the IPv6 Fragment header.
    pub(in crate::nat64) protocol: u8,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub(in crate::nat64) id: u32,
}

impl Key {
    /// The key of an IPv4 datagram.
    pub(in crate::nat64) const fn v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, id: u16) -> Self {
        Self { src: IpAddr::V4(src), dst: IpAddr::V4(dst), protocol, id: id as u32 }
    }

    /// The key of an IPv6 datagram.
    pub(in crate::nat64) const fn v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, id: u32) -> Self {
        Self { src: IpAddr::V6(src), dst: IpAddr::V6(dst), protocol, id }
    }
}

/// What the first fragment says about its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum First {
    /// These are the source and destination ports; the fragments are translated one by one.
    Ports(u16, u16),
    /// The datagram must be whole before it can be translated.
    Gather,
}

/// A fragment that came.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Arrival<'a> {
    /// Its datagram.
    pub(in crate::nat64) key: Key,
    /// A number for who sent it, such as the bits of its address: each has an eighth of the store.
    pub(in crate::nat64) source: u128,
    /// Where its data belongs, in bytes from the start of the datagram's data.
    pub(in crate::nat64) offset: u16,
    /// Whether it is not the last.
    pub(in crate::nat64) more: bool,
    /// The packet without anything behind its IP length.
    pub(in crate::nat64) packet: &'a [u8],
    /// Where the fragment's data begins: behind the IPv4 header, or the IPv6 Fragment header.
    pub(in crate::nat64) data_at: usize,
    /// What it says if its offset is 0, and only then.
    pub(in crate::nat64) first: Option<First>,
}

/// A datagram with fragments on hold. Valid until the next call of [`FragmentCache::offer`] or
/// [`FragmentCache::expire`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) struct Datagram(u32);

/// What becomes of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum Step {
    /// Translate it now.
    Pass {
        /// Source and destination port of its datagram.
        ports: (u16, u16),
        /// The datagram, if fragments of it are to be [released](FragmentCache::release) behind this one.
        held: Option<Datagram>,
    },
    /// The store has a copy and keeps it.
    Held,
    /// It was the last missing one: [assemble](FragmentCache::assemble) the datagram.
    Whole(Datagram),
    /// It is dropped.
    Drop {
        /// Why.
        reason: Reason,
        /// How many fragments that were on hold are lost with it, for the same reason.
        held: u32,
    },
}

impl Step {
    const fn drop(reason: Reason) -> Self {
        Self::Drop { reason, held: 0 }
    }
}

/// A datagram that ran out of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) struct Expired {
    /// Which.
    pub(in crate::nat64) key: Key,
    /// How many fragments were on hold, and are lost for [`Reason::FragmentTimeout`].
    pub(in crate::nat64) held: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The first fragment has not come.
    Waiting,
    /// It has come and passed.
    Passing(u16, u16),
    /// It has come and all must be there.
    Gathering,
    /// Overlapping fragments came.
    Dead,
}

/// One fragment of a datagram, on hold or passed.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    more: bool,
    /// The packet's length and where its data begins, if it is on hold.
    len: u32,
    data_at: u32,
    /// [`NONE`] if it has passed.
    cells: u32,
    next: u32,
}

/// The store. All its memory is taken when it is made.
pub(in crate::nat64) struct FragmentCache {
    cells: Cells,
    datagrams: Table,
    shares: Shares,
    seed: u32,
    pieces: Box<[Piece]>,
    free: u32,
    timeout: Duration,
}

impl FragmentCache {
    /// Takes `bytes` for packets, in cells of 2 KiB each of which holds one packet at most, and about a
    /// tenth of it for bookkeeping: two datagrams and four fragments for every cell.
    ///
    /// `timeout` is how long a datagram may take, at least 2 s (RFC 6146 §4). `seed` keeps hosts from
    /// choosing keys of equal hash.
    pub(in crate::nat64) fn new(bytes: usize, timeout: Duration, seed: u32) -> Self {
        let cells = Cells::new(bytes);
        let count = cells.count() * 4;
        let blank = |n: usize| Piece {
            start: 0,
            end: 0,
            more: false,
            len: 0,
            data_at: 0,
            cells: NONE,
            next: if n + 1 == count { NONE } else { n as u32 + 1 },
        };
        let datagrams = cells.count() * 2;
        Self {
            datagrams: Table::new(datagrams, seed),
            shares: Shares::new(datagrams, cells.count(), MAX_FRAGMENTS),
            seed,
            pieces: (0..count).map(blank).collect(),
            free: if count == 0 { NONE } else { 0 },
            cells,
            timeout,
        }
    }

    /// Changes the time that datagrams not yet seen may take.
    pub(in crate::nat64) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Says what becomes of a fragment, and keeps a copy if it has to wait.
    ///
    /// Reasons: [`Reason::FragmentSize`] if its length is impossible,
    /// [`Reason::FragmentDuplicate`], [`Reason::FragmentOverlap`], and [`Reason::FragmentLimit`] if the store or the
    /// source's share of it is full.
    pub(in crate::nat64) fn offer(&mut self, now: Instant, arrival: &Arrival<'_>) -> Step {
        let Some((start, end)) = extent(arrival) else { return Step::drop(Reason::FragmentSize) };
        let known = self.datagrams.find(&arrival.key);
        let Some(at) = known.or_else(|| self.open(now, arrival)) else {
            return Step::drop(Reason::FragmentLimit);
        };
        match self.conflict(at, start, end, arrival.more) {
            Some(Reason::FragmentOverlap) => return self.kill(at),
            Some(reason) => return Step::drop(reason),
            None => {}
        }
        let state = match (self.datagrams.at(at).state, arrival.first) {
            (State::Dead, _) => return Step::drop(Reason::FragmentOverlap),
            (State::Waiting, Some(First::Ports(src, dst))) => State::Passing(src, dst),
            (State::Waiting, Some(First::Gather)) => State::Gathering,
            (state, _) => state,
        };
        let passes = matches!(state, State::Passing(..));
        if !self.add(at, arrival, (start, end), passes) {
            if self.datagrams.at(at).count == 0 {
                self.forget(at);
            }
            return Step::drop(Reason::FragmentLimit);
        }
        self.datagrams.at_mut(at).state = state;
        match state {
            State::Passing(src, dst) => {
                let held = (self.datagrams.at(at).held > 0).then_some(Datagram(at));
                self.close_if_done(at);
                Step::Pass { ports: (src, dst), held }
            }
            State::Gathering if self.complete(at) => Step::Whole(Datagram(at)),
            State::Gathering | State::Waiting | State::Dead => Step::Held,
        }
    }

    /// How many fragments of `datagram` are on hold.
    pub(in crate::nat64) fn held(&self, datagram: Datagram) -> u32 {
        self.datagrams.at(datagram.0).held
    }

    /// Moves the oldest fragment on hold to `out`, its ports in `handed`; false if there is none, or
    /// `out` is too small for it (then it is lost).
    pub(in crate::nat64) fn release(&mut self, datagram: Datagram, out: &mut PacketBuf) -> bool {
        let entry = self.datagrams.at_mut(datagram.0);
        let (State::Passing(src, dst), on_hold) = (entry.state, entry.on_hold) else { return false };
        if entry.held == 0 {
            return false;
        }
        let piece = &mut self.pieces[on_hold as usize];
        entry.held -= 1;
        entry.on_hold = piece.next;
        let chain = core::mem::replace(&mut piece.cells, NONE);
        let len = piece.len as usize;
        out.clear();
        let fits = len <= out.room();
        if fits {
            self.cells.copy(chain, 0, out.append(len));
            out.handed.ports = Some((src, dst));
        }
        self.cells.release(chain);
        self.shares.release(entry.share, cells::needed(len) as u32);
        self.close_if_done(datagram.0);
        fits
    }

    /// Writes the whole datagram to `out` and forgets it.
    ///
    /// An IPv4 datagram comes out without fragment bits (DF neither), with the first fragment's header and
    /// identification; an IPv6 one keeps the first fragment's headers, its Fragment header atomic, so
    /// that the identification lives on. `handed.gathered` says that it may be cut again whatever
    /// its length. False if `out` is too small, which 64 KiB are not.
    pub(in crate::nat64) fn assemble(&mut self, datagram: Datagram, out: &mut PacketBuf) -> bool {
        out.clear();
        let written = self.complete(datagram.0) && self.write_whole(datagram.0, out);
        self.forget(datagram.0);
        written
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(in crate::nat64) fn next_deadline(&self) -> Option<Instant> {
        self.datagrams.oldest().map(|at| self.datagrams.at(at).deadline)
    }

    /// Forgets one datagram whose time has run out by `now`; `None` if there is none.
    pub(in crate::nat64) fn expire(&mut self, now: Instant) -> Option<Expired> {
        let at = self.datagrams.oldest()?;
        let entry = self.datagrams.at(at);
        let expired = Expired { key: entry.key, held: entry.held };
        (entry.deadline <= now).then(|| {
            self.forget(at);
            expired
        })
    }

    /// Whether nothing is known about any datagram.
    #[cfg(test)]
    pub(in crate::nat64) fn is_empty(&self) -> bool {
        self.datagrams.oldest().is_none()
    }

    /// Free memory for packets, in bytes.
    #[cfg(test)]
    pub(in crate::nat64) const fn room(&self) -> usize {
        self.cells.left() * cells::CELL
    }

    /// Makes a datagram known; `None` if there is no room for it, or none for its source.
    fn open(&mut self, now: Instant, arrival: &Arrival<'_>) -> Option<u32> {
        let words = [96, 64, 32, 0].map(|shift| (arrival.source >> shift) as u32);
        let share = self.shares.place(mix(self.seed, &words));
        if !self.shares.open(share) {
            return None;
        }
        let at = self.datagrams.open(arrival.key, share, now + self.timeout);
        if at.is_none() {
            self.shares.close(share);
        }
        at
    }

    /// Why a fragment can't be one of this datagram's.
    fn conflict(&self, at: u32, start: u32, end: u32, more: bool) -> Option<Reason> {
        let entry = self.datagrams.at(at);
        let mut beyond = entry.total.is_some_and(|total| end > total || (!more && end != total));
        let mut next = entry.first;
        while next != NONE {
            let piece = &self.pieces[next as usize];
            if (piece.start, piece.end, piece.more) == (start, end, more) {
                return Some(Reason::FragmentDuplicate);
            }
            beyond |= start < piece.end && piece.start < end || !more && piece.end > end;
            next = piece.next;
        }
        beyond.then_some(Reason::FragmentOverlap)
    }

    /// Adds a fragment to a datagram; false if there is no room for it.
    fn add(&mut self, at: u32, arrival: &Arrival<'_>, (start, end): (u32, u32), passes: bool) -> bool {
        let number = self.free;
        let entry = self.datagrams.at_mut(at);
        if number == NONE || entry.count == MAX_FRAGMENTS {
            return false;
        }
        let (share, needed) = (entry.share, cells::needed(arrival.packet.len()) as u32);
        let chain = match passes {
            true => Some(NONE),
            false if self.shares.has_room(share, needed) => self.cells.store(arrival.packet),
            false => None,
        };
        let Some(chain) = chain else { return false };
        if !passes {
            self.shares.take(share, needed);
        }
        self.free = self.pieces[number as usize].next;
        self.pieces[number as usize] = Piece {
            start,
            end,
            more: arrival.more,
            len: arrival.packet.len() as u32,
            data_at: arrival.data_at as u32,
            cells: chain,
            next: NONE,
        };
        match entry.last {
            NONE => entry.first = number,
            last => self.pieces[last as usize].next = number,
        }
        entry.last = number;
        entry.count += 1;
        entry.seen += end - start;
        if !arrival.more {
            entry.total = Some(end);
        }
        if !passes {
            if entry.held == 0 {
                entry.on_hold = number;
            }
            entry.held += 1;
        }
        true
    }

    fn complete(&self, at: u32) -> bool {
        let entry = self.datagrams.at(at);
        entry.total == Some(entry.seen)
    }

    fn close_if_done(&mut self, at: u32) {
        if self.datagrams.at(at).held == 0 && self.complete(at) {
            self.forget(at);
        }
    }

    /// Frees a datagram's fragments and remembers that it is dead.
    fn kill(&mut self, at: u32) -> Step {
        let held = self.datagrams.at(at).held;
        self.free_pieces(at);
        self.datagrams.at_mut(at).state = State::Dead;
        Step::Drop { reason: Reason::FragmentOverlap, held }
    }

    fn forget(&mut self, at: u32) {
        self.free_pieces(at);
        self.shares.close(self.datagrams.at(at).share);
        self.datagrams.close(at);
    }

    fn free_pieces(&mut self, at: u32) {
        let entry = self.datagrams.at_mut(at);
        let share = entry.share;
        let mut next = core::mem::replace(&mut entry.first, NONE);
        (entry.last, entry.on_hold, entry.held, entry.count, entry.seen) = (NONE, NONE, 0, 0, 0);
        entry.total = None;
        while next != NONE {
            let piece = &mut self.pieces[next as usize];
            if piece.cells != NONE {
                self.cells.release(piece.cells);
                self.shares.release(share, cells::needed(piece.len as usize) as u32);
            }
            let behind = core::mem::replace(&mut piece.next, self.free);
            self.free = next;
            next = behind;
        }
    }

    fn write_whole(&self, at: u32, out: &mut PacketBuf) -> bool {
        let entry = self.datagrams.at(at);
        let pieces = || {
            let piece = |number: u32| (number != NONE).then(|| &self.pieces[number as usize]);
            core::iter::successors(piece(entry.first), move |before| piece(before.next))
        };
        let Some(first) = pieces().find(|piece| piece.start == 0) else { return false };
        let header = first.data_at as usize;
        let len = header + entry.seen as usize;
        if len > out.room() {
            return false;
        }
        let packet = out.append(len);
        self.cells.copy(first.cells, 0, &mut packet[..header]);
        for piece in pieces() {
            let data = &mut packet[header..][piece.start as usize..piece.end as usize];
            self.cells.copy(piece.cells, piece.data_at as usize, data);
        }
        match entry.key.src {
            IpAddr::V4(_) => reassembly::header4(packet, header),
            IpAddr::V6(_) => reassembly::headers6(packet, header),
        }
        out.handed.gathered = true;
        true
    }
}

/// Where a fragment's data starts and ends; `None` if it has none, or if the datagram would be too long in
/// either family.
fn extent(arrival: &Arrival<'_>) -> Option<(u32, u32)> {
    let len = arrival.packet.len().checked_sub(arrival.data_at)?;
    let end = usize::from(arrival.offset) + len;
    let headers = match arrival.key.src {
        IpAddr::V4(_) => arrival.data_at,
        IpAddr::V6(_) => arrival.data_at.saturating_sub(40).max(20),
    };
    let possible = len > 0 && headers + end <= usize::from(u16::MAX);
    possible.then_some((u32::from(arrival.offset), end as u32))
}

#[cfg(test)]
mod tests;
