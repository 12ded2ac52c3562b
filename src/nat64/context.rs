//! The context of a packet.

use super::prefetch::Candidate;
use crate::addr::ZoneId;
use crate::time::Instant;
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::PacketBuf;
use crate::xlat::ErrorLimits;

/// Per-packet state that the steps share. It is reused for each packet of a batch.
pub struct Context<'a> {
    /// Time of arrival.
    pub(super) now: Instant,
    /// The client's zone, once known: whose counters count the packet.
    pub(super) zone: Option<ZoneId>,
    /// The prefetched binding.
    pub(super) candidate: Candidate,
    /// Buffer for one packet outside the batch; `None` while in use.
    pub(super) scratch: Option<&'a mut PacketBuf>,
    /// Packets sent after this one.
    pub(super) extra: &'a mut ExtraPackets,
    /// Rate limits of originated ICMP errors.
    pub(super) limits: &'a mut ErrorLimits,
}

impl<'a> Context<'a> {
    /// The context of a batch that arrives at `now`. `scratch` has room for a packet of any size; `extra`
    /// receives further packets to send.
    pub(crate) const fn new(
        now: Instant,
        scratch: &'a mut PacketBuf,
        extra: &'a mut ExtraPackets,
        limits: &'a mut ErrorLimits,
    ) -> Self {
        Self { now, zone: None, candidate: Candidate::NONE, scratch: Some(scratch), extra, limits }
    }

    /// The context of a packet that a timer sends.
    pub(super) const fn without_scratch(
        now: Instant,
        extra: &'a mut ExtraPackets,
        limits: &'a mut ErrorLimits,
    ) -> Self {
        Self { now, zone: None, candidate: Candidate::NONE, scratch: None, extra, limits }
    }

    /// Selects the packet with this number in the batch.
    #[inline]
    pub fn select_packet(&mut self, number: usize, candidate: Candidate) {
        self.candidate = candidate;
        self.extra.follow(number as u16);
    }

    /// Time of arrival.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Further packets to send, and the rate limits of originated ICMP errors.
    pub(crate) const fn outputs(&mut self) -> (&mut ExtraPackets, &mut ErrorLimits) {
        (self.extra, self.limits)
    }
}
