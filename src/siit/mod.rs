//! Stateless translation: SIIT with explicit mappings (RFC 7915, RFC 7757), border and edge relays
//! (RFC 7755, RFC 7756), CLAT (RFC 6877).
//!
//! | question | module |
//! |---|---|
//! | what stands for an address | `eam`, `mapping` |
//! | is a packet ours, and whose are its ends | `admit` |
//! | to IPv4, to IPv6, to IPv6 by way of IPv4 | `outward`, `inward` |
//! | who tells of an error | `sources` |
//!
//! A packet is ours if its host inside has a mapping: it is translated by whichever worker has it, and
//! leaves no trace.

use std::sync::Arc;

use crate::addr::{Longest, Transport4};
use crate::counters::Counters;
use crate::time::Instant;
use crate::wire::ICMP4;
use crate::wire::batch::{Batch, Verdict};
use crate::wire::buf::PacketBuf;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::xlat::{self, Bucket, Ids, Object, Pass, Refusal, Rules};

use mapping::Mapping;
use sources::Sources;

mod admit;
mod eam;
mod inward;
mod mapping;
mod outward;
mod settings;
mod sources;

#[cfg(test)]
mod tests;

pub use eam::{Eam, EamError};
pub use settings::{Hairpin, Identity, Inside, Settings, Untranslatable, WellKnown, ZeroChecksum};

/// One worker's stateless translator. Equal settings give equal packets at every worker and every
/// gateway, but for identifications and the sources drawn from a pool.
pub struct Siit {
    who: Identity,
    rules: Rules,
    mapping: Mapping,
    inside: Inside,
    hairpin: Hairpin,
    udp_zero_checksum: ZeroChecksum,
    errors_under_well_known: bool,
    denied: Longest,
    sources: Sources,
    object: Option<Object>,
    ids: Ids,
    /// Allowance for own errors to the IPv6 and to the IPv4 side.
    buckets: [Bucket; 2],
    noted: Noted,
    counters: Arc<Counters>,
}

/// The last datagram that was dropped for want of a checksum, one a second at most (RFC 7915 §4.5).
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    second: u64,
    waiting: Option<(Transport4, Transport4)>,
}

impl Siit {
    /// Takes all the memory it will ever use.
    pub fn new(who: Identity, rules: Rules, settings: &Settings, counters: Arc<Counters>) -> Self {
        Self {
            rules,
            mapping: Mapping::new(settings),
            inside: settings.inside,
            // Hosts on the IPv4 side reach each other without us.
            hairpin: if settings.inside == Inside::V6 { settings.hairpin } else { Hairpin::Off },
            udp_zero_checksum: settings.udp_zero_checksum,
            errors_under_well_known: settings.errors_under_well_known,
            denied: Longest::of_v4(settings.deny.iter().map(|prefix| (*prefix, 0))),
            sources: Sources::new(&who, settings),
            object: settings.error_object,
            ids: Ids::new(who.seed),
            buckets: [Bucket::new(); 2],
            noted: Noted::default(),
            counters,
            who,
        }
    }

    /// Switches to new settings. What was counted and allowed so far goes on.
    pub fn reconfigure(&mut self, who: Identity, rules: Rules, settings: &Settings) {
        let new = Self::new(who, rules, settings, Arc::clone(&self.counters));
        let old = core::mem::replace(self, new);
        self.ids = old.ids;
        self.buckets = old.buckets;
        self.noted = old.noted;
    }

    /// Translates a packet from the IPv6 side, or says why not; `None` if it is for somebody else.
    #[inline]
    pub fn from_v6(&mut self, now: Instant, buf: &mut PacketBuf, extra: &mut Batch) -> Option<Verdict> {
        let packet = match Ipv6Packet::parse(buf.bytes(), &buf.offload) {
            Ok(packet) => packet,
            Err(reason) => return self.who.alone.then(|| self.refuse6(now, reason.into(), buf)),
        };
        let ends = self.ends6(&packet);
        if !self.is_ours6(&packet, &ends) {
            return self.who.alone.then(|| self.refuse6(now, admit::stranger6(&packet), buf));
        }
        Some(match self.packet6(now, &packet, &ends, buf, extra) {
            Ok(verdict) => verdict,
            Err(refusal) => self.refuse6(now, refusal, buf),
        })
    }

    /// Translates a packet from the IPv4 side, or says why not; `None` if it is for somebody else.
    #[inline]
    pub fn from_v4(&mut self, now: Instant, buf: &mut PacketBuf, extra: &mut Batch) -> Option<Verdict> {
        let packet = match Ipv4Packet::parse(buf.bytes(), &buf.offload) {
            Ok(packet) => packet,
            Err(reason) => return self.who.alone.then(|| self.refuse4(now, reason.into(), buf)),
        };
        if !self.is_ours4(&packet) {
            return self.who.alone.then(|| self.refuse4(now, admit::stranger4(&packet), buf));
        }
        Some(match self.packet4(now, &packet, Pass::Direct, buf, extra) {
            Ok(verdict) => verdict,
            Err(refusal) => self.refuse4(now, refusal, buf),
        })
    }

    /// Source and destination of a datagram that was dropped for want of a checksum; each is told once,
    /// and at most one a second is kept.
    pub fn without_checksum(&mut self) -> Option<(Transport4, Transport4)> {
        self.noted.waiting.take()
    }

    /// Answers a refused IPv6 packet if it deserves an answer and the rate allows one.
    fn refuse6(&mut self, now: Instant, refusal: Refusal, buf: &mut PacketBuf) -> Verdict {
        let reason = refusal.reason;
        self.counters.zone(None).drops(reason).add(1);
        let (rate, burst) = (self.rules.error_rate, self.rules.error_burst);
        if let Some(error) = refusal.error
            && !buf.handed.hairpin
            && let Ok(packet) = Ipv6Packet::parse(buf.bytes(), &buf.offload)
            && self.buckets[0].take(now, rate[0], burst)
            && xlat::originate_error6(&packet, error, self.who.address6, buf)
        {
            self.counters.zone(None).errors_sent.add(1);
            return Verdict::Reject(reason);
        }
        Verdict::Drop(reason)
    }

    /// Answers a refused IPv4 packet if it deserves an answer and the rate allows one.
    fn refuse4(&mut self, now: Instant, refusal: Refusal, buf: &mut PacketBuf) -> Verdict {
        let reason = refusal.reason;
        self.counters.zone(None).drops(reason).add(1);
        let (rate, burst) = (self.rules.error_rate, self.rules.error_burst);
        if let Some(error) = refusal.error
            && let Ok(packet) = Ipv4Packet::parse(buf.bytes(), &buf.offload)
            && self.buckets[1].take(now, rate[1], burst)
        {
            let own = self.who.address4;
            let id = self.ids.take(own, packet.src, ICMP4, false, 1);
            if xlat::originate_error4(&packet, error, own, id, buf) {
                self.counters.zone(None).errors_sent.add(1);
                return Verdict::Reject(reason);
            }
        }
        Verdict::Drop(reason)
    }
}
