//! The context of a packet.

use super::prefetch::Candidate;
use crate::addr::ZoneId;
use crate::time::Instant;
use crate::wire::batch::ExtraPackets;
use crate::wire::buf::PacketBuf;

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
}

impl<'a> Context<'a> {
    /// The context of a batch that arrives at `now`. `scratch` has room for a packet of any size; `extra`
    /// receives further packets to send.
    pub const fn new(now: Instant, scratch: &'a mut PacketBuf, extra: &'a mut ExtraPackets) -> Self {
        Self { now, zone: None, candidate: Candidate::NONE, scratch: Some(scratch), extra }
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

    /// Further packets to send.
    pub const fn extra(&mut self) -> &mut ExtraPackets {
        self.extra
    }
}
