//! Stateless translation: SIIT with explicit mappings (RFC 7915, RFC 7757), border and edge relays
//! (RFC 7755, RFC 7756), CLAT (RFC 6877).
//!
//! | question | module |
//! |---|---|
//! | How is an address mapped? | `eam`, `mapping` |
//! | Does this translator handle a packet? | `admit` |
//! | How is a packet translated to IPv4, to IPv6, or hairpinned? | `to_v4`, `to_v6` |
//! | Which source address does an ICMP error get? | `sources` |
//! | What does only a reload change? | `settings`, `policy` |
//!
//! The translator handles a packet if its inside host has a mapping. Any worker can translate it: there is no
//! per-flow state.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::addr::{LocalAddresses, Transport4};
use crate::counters::Counters;
use crate::time::Instant;
use crate::wire::ICMP4;
use crate::wire::batch::{ExtraPackets, Verdict};
use crate::wire::buf::PacketBuf;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::xlat::{self, ErrorLimits, Ids, Refusal, RewriteRules, Urgency};

use mapping::Mapping;
use policy::Policy;
use sources::Sources;

mod admit;
mod eam;
mod mapping;
mod policy;
mod settings;
mod sources;
mod to_v4;
mod to_v6;

#[cfg(test)]
mod tests;

pub use eam::{Eam, EamError};
pub use settings::{
    ErrorSources, Hairpin, Identity, Inside, Settings, Untranslatable, WellKnown, ZeroChecksum,
};

/// One worker's stateless translator. Equal settings give equal packets on every worker and gateway, except
/// for IPv4 identifications and random sources from a pool.
pub struct Siit {
    identity: Identity,
    rules: RewriteRules,
    mapping: Mapping,
    policy: Policy,
    /// Sources of ICMP errors from addresses without a mapping.
    sources: Sources,
    /// Generator of IPv4 identifications.
    ids: Ids,
    zero_checksum: ZeroChecksumRecord,
    /// Addresses of this host.
    local: Arc<LocalAddresses>,
    counters: Arc<Counters>,
}

/// The last datagram dropped for its missing checksum, one per second at most (RFC 7915 §4.5).
#[derive(Clone, Copy, Debug, Default)]
struct ZeroChecksumRecord {
    /// When it was recorded, in seconds.
    second: Option<u64>,
    /// Source and destination, until [`Siit::take_dropped_zero_checksum`] takes them.
    pending: Option<(Transport4, Transport4)>,
}

impl Siit {
    /// Allocates all memory; translation allocates none.
    pub fn new(
        identity: Identity,
        rules: RewriteRules,
        settings: &Settings,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            rules,
            mapping: Mapping::new(settings),
            policy: Policy::new(settings),
            sources: Sources::new(&identity, settings),
            ids: Ids::new(identity.seed),
            zero_checksum: ZeroChecksumRecord::default(),
            local: Arc::default(),
            counters,
            identity,
        }
    }

    /// Switches to new settings. Keeps identifications.
    pub fn reconfigure(&mut self, identity: Identity, rules: RewriteRules, settings: &Settings) {
        let new = Self::new(identity, rules, settings, Arc::clone(&self.counters));
        let old = core::mem::replace(self, new);
        self.ids = old.ids;
        self.zero_checksum = old.zero_checksum;
        self.local = old.local;
    }

    /// Replaces the addresses of this host, which no packet may reach.
    pub fn set_local_addresses(&mut self, local: Arc<LocalAddresses>) {
        self.local = local;
    }

    /// Translates or refuses a packet from the IPv6 side; `None` leaves it to the stateful translator.
    #[inline]
    pub(crate) fn process_v6(
        &mut self,
        now: Instant,
        buf: &mut PacketBuf,
        extra: &mut ExtraPackets,
        limits: &mut ErrorLimits,
    ) -> Option<Verdict> {
        let packet = match Ipv6Packet::parse(buf.bytes(), &buf.offload) {
            Ok(packet) => packet,
            Err(reason) => {
                return self.identity.without_nat64.then(|| self.refuse6(now, reason.into(), buf, limits));
            }
        };
        let addresses = self.mapped_addresses(&packet);
        if !self.handles6(&packet, &addresses) {
            return self
                .identity
                .without_nat64
                .then(|| self.refuse6(now, admit::refusal6(&packet), buf, limits));
        }
        Some(match self.packet6(&packet, &addresses, buf, extra) {
            Ok(verdict) => verdict,
            Err(refusal) => self.refuse6(now, refusal, buf, limits),
        })
    }

    /// Translates or refuses a packet from the IPv4 side; `None` leaves it to the stateful translator.
    #[inline]
    pub(crate) fn process_v4(
        &mut self,
        now: Instant,
        buf: &mut PacketBuf,
        extra: &mut ExtraPackets,
        limits: &mut ErrorLimits,
    ) -> Option<Verdict> {
        let packet = match Ipv4Packet::parse(buf.bytes(), &buf.offload) {
            Ok(packet) => packet,
            Err(reason) => {
                return self.identity.without_nat64.then(|| self.refuse4(now, reason.into(), buf, limits));
            }
        };
        if !self.handles4(&packet) {
            return self
                .identity
                .without_nat64
                .then(|| self.refuse4(now, admit::refusal4(&packet), buf, limits));
        }
        let checked = self.check_udp_checksum(now, &packet, buf);
        Some(match checked.and_then(|()| self.packet4(&packet, None, buf, extra)) {
            Ok(verdict) => verdict,
            Err(refusal) => self.refuse4(now, refusal, buf, limits),
        })
    }

    /// Takes source and destination of the last datagram dropped for its missing checksum, recorded at most
    /// once per second.
    pub fn take_dropped_zero_checksum(&mut self) -> Option<(Transport4, Transport4)> {
        self.zero_checksum.pending.take()
    }

    /// Counts a refused IPv6 packet and replaces it by an ICMPv6 error if the refusal and the rate limit
    /// allow one.
    fn refuse6(
        &mut self,
        now: Instant,
        refusal: Refusal,
        buf: &mut PacketBuf,
        limits: &mut ErrorLimits,
    ) -> Verdict {
        let reason = refusal.reason;
        self.counters.zone(None).drops(reason).add(1);
        let is_replaced = xlat::reply6(refusal, &self.rules, self.identity.address6, buf, |packet, error| {
            limits.take6(now, packet.src, Urgency::of6(error, || self.urgency6(packet.src)))
        });
        if is_replaced {
            self.counters.zone(None).errors_sent.add(1);
            return Verdict::Reject(reason);
        }
        Verdict::Drop(reason)
    }

    /// How urgent an error about the path is to `sender`, if it is an inside host.
    fn urgency6(&self, sender: Ipv6Addr) -> Option<Urgency> {
        self.mapping.to_v4(sender).is_some_and(|mapped| mapped.is_inside()).then_some(Urgency::Mapped)
    }

    /// As [`urgency6`](Self::urgency6), for an IPv4 sender.
    fn urgency4(&self, sender: Ipv4Addr) -> Option<Urgency> {
        self.mapping.to_v6(sender).is_some_and(|mapped| mapped.is_inside()).then_some(Urgency::Mapped)
    }

    /// Counts a refused IPv4 packet and replaces it by an ICMPv4 error if the refusal and the rate limit
    /// allow one.
    fn refuse4(
        &mut self,
        now: Instant,
        refusal: Refusal,
        buf: &mut PacketBuf,
        limits: &mut ErrorLimits,
    ) -> Verdict {
        let reason = refusal.reason;
        self.counters.zone(None).drops(reason).add(1);
        let (rules, from) = (self.rules, self.identity.address4);
        let is_replaced = xlat::reply4(refusal, &rules, from, buf, |packet, error| {
            let urgency = Urgency::of4(error, || self.urgency4(packet.src));
            let is_allowed = limits.take4(now, packet.src, urgency);
            is_allowed.then(|| self.ids.take(from, packet.src, ICMP4, false, 1))
        });
        if is_replaced {
            self.counters.zone(None).errors_sent.add(1);
            return Verdict::Reject(reason);
        }
        Verdict::Drop(reason)
    }
}
