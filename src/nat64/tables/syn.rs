//! Stored unsolicited SYNs from the IPv4 side, in case the client opens the same connection (RFC 6146
//! §3.5.2.2).

use core::time::Duration;
use std::net::Ipv4Addr;

use super::hash::{Hasher, Rng};
use crate::addr::{Transport4, ZoneId};
use crate::reason::Reason;
use crate::time::Instant;
use crate::wire::ipv4::Ipv4Packet;

/// Stored bytes of a SYN: what an ICMPv4 error of 576 bytes can quote.
const QUOTED: usize = 548;

/// A stored SYN.
pub(in crate::nat64) struct StoredSyn {
    from: Transport4,
    to: Transport4,
    until: Instant,
    /// Its connection was opened from the IPv6 side: no ICMP error is due.
    cancelled: bool,
    /// Whether a zone host sent it.
    pub(in crate::nat64) hairpinned: bool,
    /// The zone that counts it.
    pub(in crate::nat64) zone: Option<ZoneId>,
    /// The header, with its total length cut to the stored bytes.
    pub(in crate::nat64) packet: Ipv4Packet,
    bytes: [u8; QUOTED],
}

impl StoredSyn {
    /// Who sent it.
    pub(in crate::nat64) const fn sender(&self) -> Transport4 {
        self.from
    }

    /// The stored bytes of the packet.
    pub(in crate::nat64) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.packet.total_len]
    }
}

/// A SYN to store.
#[derive(Clone, Copy)]
pub(in crate::nat64) struct ReceivedSyn<'a> {
    pub(in crate::nat64) packet: &'a Ipv4Packet,
    /// The packet from its header on.
    pub(in crate::nat64) bytes: &'a [u8],
    /// Whether a zone host sent it.
    pub(in crate::nat64) hairpinned: bool,
    /// The zone that counts it.
    pub(in crate::nat64) zone: Option<ZoneId>,
}

/// The ring of stored SYNs, the oldest first.
pub(in crate::nat64) struct Syns {
    ring: Vec<StoredSyn>,
    /// Hashes of both transport addresses by ring position: a search during a flood reads only these 4 KiB.
    fingerprints: Vec<u32>,
    first: usize,
    len: usize,
    limit: usize,
    per_source: u16,
    /// Stored SYNs by hash of their source. Sixteen counters per SYN make collisions of sources rare.
    counts: Box<[u16]>,
    hasher: Hasher,
}

impl Syns {
    /// A ring of at most `limit` SYNs, `per_source` of one source.
    pub(in crate::nat64) fn new(limit: u32, per_source: u32, rng: &mut Rng) -> Self {
        let limit = limit as usize;
        Self {
            ring: Vec::with_capacity(limit),
            fingerprints: Vec::with_capacity(limit),
            first: 0,
            len: 0,
            limit,
            per_source: u16::try_from(per_source).unwrap_or(u16::MAX),
            counts: vec![0; (limit * 16).max(16)].into_boxed_slice(),
            hasher: Hasher::new(rng),
        }
    }

    /// Bytes of a table with this limit.
    pub(in crate::nat64) const fn bytes(limit: u32) -> usize {
        let each = size_of::<StoredSyn>() + size_of::<u32>() + 16 * size_of::<u16>();
        each * limit as usize
    }

    fn count(&mut self, source: Ipv4Addr) -> &mut u16 {
        let hash = u64::from(self.hasher.words(u64::from(source.to_bits()), 0));
        &mut self.counts[((hash * self.counts.len() as u64) >> 32) as usize]
    }

    fn fingerprint(&self, from: Transport4, to: Transport4) -> u32 {
        let addresses = u64::from(from.addr.to_bits()) << 32 | u64::from(to.addr.to_bits());
        self.hasher.words(addresses, u64::from(from.port) << 16 | u64::from(to.port))
    }

    /// The stored SYN between two transport addresses, unless cancelled.
    fn find(&mut self, from: Transport4, to: Transport4) -> Option<&mut StoredSyn> {
        if self.len == 0 || *self.count(from.addr) == 0 {
            return None;
        }
        let fingerprint = self.fingerprint(from, to);
        let (first, end) = (self.first, self.first + self.len);
        let is = |index: &usize| {
            self.fingerprints[*index] == fingerprint && {
                let waiting = &self.ring[*index];
                waiting.from == from && waiting.to == to && !waiting.cancelled
            }
        };
        let before = end.saturating_sub(self.limit);
        let index = (first..end.min(self.limit)).chain(0..before).find(is)?;
        self.ring.get_mut(index)
    }

    /// Stores a copy of a SYN.
    ///
    /// # Errors
    /// [`Reason::SynLimit`] if a limit is reached, [`Reason::UnsolicitedSyn`] if it is stored already.
    pub(in crate::nat64) fn store(
        &mut self,
        now: Instant,
        lifetime: Duration,
        from: Transport4,
        to: Transport4,
        syn: ReceivedSyn<'_>,
    ) -> Result<(), Reason> {
        if self.find(from, to).is_some() {
            return Err(Reason::UnsolicitedSyn);
        }
        let per_source = self.per_source;
        if self.len == self.limit || *self.count(from.addr) >= per_source {
            return Err(Reason::SynLimit);
        }
        let kept = syn.packet.total_len.min(QUOTED);
        let mut waiting = StoredSyn {
            from,
            to,
            until: now + lifetime,
            cancelled: false,
            hairpinned: syn.hairpinned,
            zone: syn.zone,
            packet: Ipv4Packet { total_len: kept, ..*syn.packet },
            bytes: [0; QUOTED],
        };
        waiting.bytes[..kept].copy_from_slice(&syn.bytes[..kept]);
        *self.count(from.addr) += 1;
        let index = (self.first + self.len) % self.limit;
        let fingerprint = self.fingerprint(from, to);
        if index == self.ring.len() {
            self.ring.push(waiting);
            self.fingerprints.push(fingerprint);
        } else {
            self.ring[index] = waiting;
            self.fingerprints[index] = fingerprint;
        }
        self.len += 1;
        Ok(())
    }

    /// Cancels the ICMP error of a stored SYN; returns whether one was stored.
    pub(in crate::nat64) fn cancel(&mut self, from: Transport4, to: Transport4) -> bool {
        self.find(from, to).map(|waiting| waiting.cancelled = true).is_some()
    }

    /// Removes the oldest SYN if it has expired by `now`; `Some(None)` if it was cancelled.
    pub(in crate::nat64) fn due(&mut self, now: Instant) -> Option<Option<&StoredSyn>> {
        let oldest = self.ring.get(self.first).filter(|w| self.len > 0 && w.until <= now)?;
        let source = oldest.from.addr;
        *self.count(source) -= 1;
        let index = self.first;
        self.first = (self.first + 1) % self.limit;
        self.len -= 1;
        let oldest = &self.ring[index];
        Some((!oldest.cancelled).then_some(oldest))
    }

    /// When [`due`](Self::due) has a result next.
    pub(in crate::nat64) fn next_deadline(&self) -> Option<Instant> {
        self.ring.get(self.first).filter(|_| self.len > 0).map(|w| w.until)
    }
}
