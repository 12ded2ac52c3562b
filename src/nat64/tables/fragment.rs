//! The fragment cache: fragments that wait for others of their datagram (RFC 6146 §3.4).
//!
//! Only the first fragment carries ports, and it may arrive late. The caller offers each fragment to the
//! cache, which decides:
//!
//! - Until the first fragment arrives, all are [held](Step::Held).
//! - A first fragment that [contains the ports](First::Ports) passes. The held fragments follow it in order
//!   of arrival. The cache remembers the ports for later fragments.
//! - A first fragment may require [reassembly](First::Reassemble): UDP without a checksum, and ICMP, need a
//!   checksum over the whole datagram. All fragments are held until the last missing one arrives.
//!
//! If the first fragment is [refused](FragmentCache::refuse), so are all others of its datagram.
//!
//! A datagram leaves the cache when all of it has passed, or at its deadline, counted from its first
//! arrival. A fragment that overlaps or contradicts another invalidates the datagram (RFC 8200 §4.5, RFC 5722;
//! the same for IPv4): held fragments are dropped, and later ones are dropped until the deadline.
//!
//! # Usage
//! ```text
//! match cache.offer(now, &arrival) {
//!     Step::First { ports, datagram } => // As below; if it is refused: cache.refuse(datagram, reason)
//!     Step::Pass { ports, held } => {
//!         // Translate the packet, or hand it over with `meta.ports = Some(ports)`. Then:
//!         while let Some(datagram) = held && cache.held(datagram) > 0 && let Some(slot) = extra.next_slot() {
//!             cache.release(datagram, &mut slot.packet);
//!             // Translate slot.packet, whose `meta.ports` is set.
//!         }
//!     }
//!     Step::Held => Verdict::Hold,
//!     Step::Reassemble(datagram) => { cache.reassemble(datagram, &mut buf); /* process as a new packet */ }
//!     Step::Drop { reason, held } => // count 1 + held packets
//! }
//! ```
//! Fragments without room in the batch stay held; the next fragment of the datagram returns it in `held`
//! again. A packet with `meta.ports` has been through another worker's cache and is not offered again.
//! IPv6 atomic fragments (RFC 6946) and whole packets are never offered.

use core::net::IpAddr;
use core::time::Duration;

use self::cells::{Cells, NONE};
pub(in crate::nat64) use self::key::Key;
use self::shares::{Shares, SourceShare};
use self::table::{State, Table};
use crate::ownership::mix;
use crate::reason::Reason;
use crate::time::Instant;
use crate::wire::buf::PacketBuf;

mod cells;
mod key;
mod reassembly;
mod shares;
mod table;

/// Maximum fragments per datagram: enough for 64 KiB over a path with an MTU of 576 bytes.
pub(in crate::nat64) const MAX_FRAGMENTS: u32 = 128;

/// What the first fragment reveals about its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum First {
    /// Source and destination port; the fragments are translated one by one.
    Ports(u16, u16),
    /// The datagram must be reassembled before translation.
    Reassemble,
}

/// An arriving fragment.
#[derive(Clone, Copy, Debug)]
pub(in crate::nat64) struct Arrival<'a> {
    /// Its datagram.
    pub(in crate::nat64) key: Key,
    /// Identifies the sender, such as the bits of its address. Each sender may use an eighth of the cache.
    pub(in crate::nat64) source: u128,
    /// Identifies the site of the sender. Each site may use half of the cache.
    pub(in crate::nat64) site: u128,
    /// Offset of its data, in bytes from the start of the datagram's data.
    pub(in crate::nat64) offset: u16,
    /// The More Fragments flag.
    pub(in crate::nat64) more: bool,
    /// The packet, cut to its IP length.
    pub(in crate::nat64) packet: &'a [u8],
    /// Start of the fragment's data: after the IPv4 header or the IPv6 Fragment header.
    pub(in crate::nat64) data_at: usize,
    /// Set if and only if the offset is 0.
    pub(in crate::nat64) first: Option<First>,
}

/// A datagram with held fragments. Valid until the next call of [`FragmentCache::offer`] or
/// [`FragmentCache::expire`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) struct Datagram(u32);

/// The decision about a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) enum Step {
    /// It is the first fragment: translate it now.
    First {
        /// Source and destination port of its datagram.
        ports: (u16, u16),
        /// The datagram: [refuse](FragmentCache::refuse) it if the first fragment is refused, else
        /// [release](FragmentCache::release) its held fragments after this one.
        datagram: Datagram,
    },
    /// Translate it now.
    Pass {
        /// Source and destination port of its datagram.
        ports: (u16, u16),
        /// The datagram, if it has held fragments to [release](FragmentCache::release) after this one.
        held: Option<Datagram>,
    },
    /// The cache holds a copy.
    Held,
    /// It was the last missing one: [reassemble](FragmentCache::reassemble) the datagram.
    Reassemble(Datagram),
    /// It is dropped.
    Drop {
        /// The reason.
        reason: Reason,
        /// Number of held fragments dropped with it, for the same reason.
        held: u32,
    },
}

impl Step {
    const fn drop(reason: Reason) -> Self {
        Self::Drop { reason, held: 0 }
    }
}

/// A datagram that reached its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::nat64) struct Expired {
    /// Its key.
    pub(in crate::nat64) key: Key,
    /// Number of held fragments, dropped for [`Reason::FragmentTimeout`].
    pub(in crate::nat64) held: u32,
}

/// One fragment of a datagram, held or passed.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    more: bool,
    /// Length of the packet and start of its data, if held.
    len: u32,
    data_at: u32,
    /// [`NONE`] if it has passed.
    cells: u32,
    next: u32,
}

/// The cache. All its memory is allocated when it is built.
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
    /// Bytes of a cache with `limit` bytes for packets.
    pub(in crate::nat64) const fn bytes(limit: usize) -> usize {
        let cell = cells::CELL + size_of::<u32>() + 4 * size_of::<Piece>();
        limit / cells::CELL * (cell + 2 * (Table::ENTRY + shares::ENTRY))
    }

    /// Allocates `bytes` for packets in cells of 2 KiB, at most one packet per cell, and about a tenth of
    /// that for bookkeeping: two datagrams and four fragments per cell.
    ///
    /// `timeout` is the deadline of a datagram after its first arrival, at least 1 s; RFC 6146 §4 asks for 2 s. `seed`
    /// prevents senders from choosing colliding keys.
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

    /// Sets the timeout of future datagrams.
    pub(in crate::nat64) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Decides about a fragment, and stores a copy if it must wait.
    ///
    /// Reasons: [`Reason::FragmentSize`] for an impossible length,
    /// [`Reason::FragmentDuplicate`], [`Reason::FragmentOverlap`], and [`Reason::FragmentLimit`] if the cache or the
    /// sender's share is full.
    pub(in crate::nat64) fn offer(&mut self, now: Instant, arrival: &Arrival<'_>) -> Step {
        let Some((start, end)) = arrival.key.extent(arrival.packet.len(), arrival.data_at, arrival.offset)
        else {
            return Step::drop(Reason::FragmentSize);
        };
        let known = self.datagrams.find(&arrival.key);
        let Some(at) = known.or_else(|| self.open(now, arrival)) else {
            return Step::drop(Reason::FragmentLimit);
        };
        match self.conflict(at, start, end, arrival.more) {
            Some(Reason::FragmentOverlap) => return self.invalidate(at),
            Some(reason) => return Step::drop(reason),
            None => {}
        }
        let state = match (self.datagrams.entry(at).state, arrival.first) {
            (State::Invalid, _) => return Step::drop(Reason::FragmentOverlap),
            (State::Waiting, Some(First::Ports(src, dst))) => State::Passing(src, dst),
            (State::Waiting, Some(First::Reassemble)) => State::Reassembling,
            (state, _) => state,
        };
        let passes = matches!(state, State::Passing(..) | State::Refused(_));
        if !self.add(at, arrival, (start, end), passes) {
            if self.datagrams.entry(at).count == 0 {
                self.forget(at);
            }
            return Step::drop(Reason::FragmentLimit);
        }
        self.datagrams.entry_mut(at).state = state;
        match state {
            State::Passing(src, dst) if arrival.first.is_some() => {
                Step::First { ports: (src, dst), datagram: Datagram(at) }
            }
            State::Passing(src, dst) => {
                let held = (self.datagrams.entry(at).held > 0).then_some(Datagram(at));
                self.close_if_done(at);
                Step::Pass { ports: (src, dst), held }
            }
            State::Refused(reason) => {
                self.close_if_done(at);
                Step::drop(reason)
            }
            State::Reassembling if self.complete(at) => Step::Reassemble(Datagram(at)),
            State::Reassembling | State::Waiting | State::Invalid => Step::Held,
        }
    }

    /// Drops the held fragments of a datagram whose first fragment was refused; later ones will be dropped for the
    /// same reason. Returns the number of held ones.
    pub(in crate::nat64) fn refuse(&mut self, datagram: Datagram, reason: Reason) -> u32 {
        let entry = self.datagrams.entry_mut(datagram.0);
        entry.state = State::Refused(reason);
        let mut next = core::mem::replace(&mut entry.first_held, NONE);
        let (held, share) = (core::mem::take(&mut entry.held), entry.share);
        while next != NONE {
            self.free_packet(next, share);
            next = self.pieces[next as usize].next;
        }
        self.close_if_done(datagram.0);
        held
    }

    /// Number of held fragments of `datagram`.
    pub(in crate::nat64) fn held(&self, datagram: Datagram) -> u32 {
        self.datagrams.entry(datagram.0).held
    }

    /// Moves the oldest held fragment to `out`, its ports in `meta`. Returns false if there is none, or if
    /// `out` is too small, which loses the fragment.
    pub(in crate::nat64) fn release(&mut self, datagram: Datagram, out: &mut PacketBuf) -> bool {
        let entry = self.datagrams.entry_mut(datagram.0);
        let (State::Passing(src, dst), first_held) = (entry.state, entry.first_held) else { return false };
        if entry.held == 0 {
            return false;
        }
        let piece = &mut self.pieces[first_held as usize];
        entry.held -= 1;
        entry.first_held = piece.next;
        let chain = core::mem::replace(&mut piece.cells, NONE);
        let len = piece.len as usize;
        out.clear();
        let fits = len <= out.room();
        if fits {
            self.cells.copy(chain, 0, out.append(len));
            out.meta.ports = Some((src, dst));
        }
        self.cells.release(chain);
        self.shares.release(entry.share, cells::needed(len) as u32);
        self.close_if_done(datagram.0);
        fits
    }

    /// Writes the reassembled datagram to `out` and removes it.
    ///
    /// An IPv4 datagram has the first fragment's header and identification, without DF and fragment bits. An
    /// IPv6 datagram has the first fragment's headers with an atomic Fragment header, which keeps the
    /// identification. `meta.reassembled` allows fragmenting it again. Returns false if `out` is too small;
    /// 64 KiB suffice.
    pub(in crate::nat64) fn reassemble(&mut self, datagram: Datagram, out: &mut PacketBuf) -> bool {
        out.clear();
        let written = self.complete(datagram.0) && self.write_reassembled(datagram.0, out);
        self.forget(datagram.0);
        written
    }

    /// The next time at which [`expire`](Self::expire) has work.
    pub(in crate::nat64) fn next_deadline(&self) -> Option<Instant> {
        self.datagrams.oldest().map(|at| self.datagrams.entry(at).deadline)
    }

    /// Removes one datagram whose deadline is at or before `now`; `None` if there is none.
    pub(in crate::nat64) fn expire(&mut self, now: Instant) -> Option<Expired> {
        let at = self.datagrams.oldest()?;
        let entry = self.datagrams.entry(at);
        let expired = Expired { key: entry.key, held: entry.held };
        (entry.deadline <= now).then(|| {
            self.forget(at);
            expired
        })
    }

    /// Whether the cache has no datagram.
    #[cfg(test)]
    pub(in crate::nat64) fn is_empty(&self) -> bool {
        self.datagrams.oldest().is_none()
    }

    /// Free memory for packets, in bytes.
    #[cfg(test)]
    pub(in crate::nat64) const fn room(&self) -> usize {
        self.cells.left() * cells::CELL
    }

    /// Adds a datagram; `None` if the cache or the sender's share is full.
    fn open(&mut self, now: Instant, arrival: &Arrival<'_>) -> Option<u32> {
        let hash = |bits: u128| mix(self.seed, &[96, 64, 32, 0].map(|shift| (bits >> shift) as u32));
        let share = self.shares.share_of(hash(arrival.source), hash(arrival.site));
        if !self.shares.open(share) {
            return None;
        }
        let at = self.datagrams.open(arrival.key, share, now + self.timeout);
        if at.is_none() {
            self.shares.close(share);
        }
        at
    }

    /// The conflict between a fragment and those of its datagram, if any.
    fn conflict(&self, at: u32, start: u32, end: u32, more: bool) -> Option<Reason> {
        let entry = self.datagrams.entry(at);
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

    /// Adds a fragment to a datagram; false if the cache is full.
    fn add(&mut self, at: u32, arrival: &Arrival<'_>, (start, end): (u32, u32), passes: bool) -> bool {
        let number = self.free;
        let entry = self.datagrams.entry_mut(at);
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
        entry.bytes_received += end - start;
        if !arrival.more {
            entry.total = Some(end);
        }
        if !passes {
            if entry.held == 0 {
                entry.first_held = number;
            }
            entry.held += 1;
        }
        true
    }

    fn complete(&self, at: u32) -> bool {
        let entry = self.datagrams.entry(at);
        entry.total == Some(entry.bytes_received)
    }

    fn close_if_done(&mut self, at: u32) {
        if self.datagrams.entry(at).held == 0 && self.complete(at) {
            self.forget(at);
        }
    }

    /// Drops a datagram's fragments and marks it as invalid.
    fn invalidate(&mut self, at: u32) -> Step {
        let held = self.datagrams.entry(at).held;
        self.free_pieces(at);
        self.datagrams.entry_mut(at).state = State::Invalid;
        Step::Drop { reason: Reason::FragmentOverlap, held }
    }

    fn forget(&mut self, at: u32) {
        self.free_pieces(at);
        self.shares.close(self.datagrams.entry(at).share);
        self.datagrams.close(at);
    }

    fn free_pieces(&mut self, at: u32) {
        let entry = self.datagrams.entry_mut(at);
        let share = entry.share;
        let mut next = core::mem::replace(&mut entry.first, NONE);
        (entry.last, entry.first_held, entry.held, entry.count, entry.bytes_received) = (NONE, NONE, 0, 0, 0);
        entry.total = None;
        while next != NONE {
            self.free_packet(next, share);
            let following = core::mem::replace(&mut self.pieces[next as usize].next, self.free);
            self.free = next;
            next = following;
        }
    }

    /// Frees the packet of a fragment, if it is held.
    fn free_packet(&mut self, piece: u32, share: SourceShare) {
        let piece = &mut self.pieces[piece as usize];
        let chain = core::mem::replace(&mut piece.cells, NONE);
        if chain != NONE {
            self.cells.release(chain);
            self.shares.release(share, cells::needed(piece.len as usize) as u32);
        }
    }

    fn write_reassembled(&self, at: u32, out: &mut PacketBuf) -> bool {
        let entry = self.datagrams.entry(at);
        let pieces = || {
            let piece = |number: u32| (number != NONE).then(|| &self.pieces[number as usize]);
            core::iter::successors(piece(entry.first), move |before| piece(before.next))
        };
        let Some(first) = pieces().find(|piece| piece.start == 0) else { return false };
        let header = first.data_at as usize;
        let len = header + entry.bytes_received as usize;
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
        out.meta.reassembled = true;
        true
    }
}

#[cfg(test)]
mod tests;
