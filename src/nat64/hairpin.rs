//! Hairpinning: zone hosts that talk to each other by their mapped addresses (RFC 6146 §3.8).

use super::Nat64;
use super::accepted::Accepted;
use super::context::Context;
use crate::addr::Proto;
use crate::addr::{Transport4, WorkerId};
use crate::reason::Reason;
use crate::wire::Transport;
use crate::wire::buf::{PacketBuf, PacketMeta};
use crate::wire::tcp::Flags;
use crate::xlat::{Pass, PlanTo4, Refusal, To4};

/// Maximum handovers of a packet. It needs at most three: to the worker of its datagram, to its owner, and
/// once hairpinned to the receiver's worker.
const MAX_HOPS: u8 = 4;

impl Nat64 {
    /// Whether an IPv6 packet to `mapped` on the IPv4 side leaves directly or is hairpinned. Hairpinning
    /// changes the identifier of an ICMP query, so only its address counts.
    #[inline]
    pub(super) fn pass6(&self, proto: Proto, mapped: Transport4) -> Pass {
        let is_local_mapped = match proto {
            // Port zero of a pool address is in no range, but belongs to no other host either.
            Proto::Tcp | Proto::Udp if mapped.port == 0 => self.pool4.contains_addr(mapped.addr),
            Proto::Tcp | Proto::Udp => self.pool4.contains(mapped) || self.statics.contains(proto, mapped),
            Proto::Icmp => self.pool4.contains_addr(mapped.addr) || self.statics.contains_addr(mapped.addr),
        };
        if is_local_mapped { Pass::HairpinOut } else { Pass::Direct }
    }

    /// Forwards an IPv6 packet as IPv4, or hairpins it. `receiver` is the receiver's protocol and address.
    #[inline]
    pub(super) fn forward_to4(
        &mut self,
        context: &mut Context<'_>,
        receiver: (Proto, Transport4),
        plan: PlanTo4<'_>,
        to: &To4,
    ) -> Result<Accepted, Refusal> {
        if plan.pass() == Pass::HairpinOut {
            return self.hairpin(context, receiver, plan, to);
        }
        let buf = self.write_to4(context, plan, to)?;
        buf.meta = PacketMeta::default();
        Ok(Accepted::Forward)
    }

    /// Hairpins a packet: it enters again from the IPv4 side, here or at the receiver's worker.
    ///
    /// In the IPv4-to-IPv6 pass no error is sent: the original packet is overwritten.
    fn hairpin(
        &mut self,
        context: &mut Context<'_>,
        (proto, mapped): (Proto, Transport4),
        plan: PlanTo4<'_>,
        to: &To4,
    ) -> Result<Accepted, Refusal> {
        let owner = self.pool4.owners().owner_of(proto, mapped).ok_or(Reason::NotPool4)?;
        let is_syn = matches!(plan.packet().transport, Transport::Tcp { flags, .. } if flags.has(Flags::SYN));
        if owner == self.pool4.worker()
            && !is_syn
            && self.binding_at(context.candidate, proto, mapped).is_none()
        {
            return Err(Reason::NoBinding.into());
        }
        let buf = self.write_to4(context, plan, to)?;
        buf.meta.hairpin = true;
        if buf.meta.ports.is_some() {
            // A fragment: its ports are now those of the IPv4 side.
            buf.meta.ports = Some((to.outer.src.port, to.outer.dst.port));
        }
        if owner != self.pool4.worker() {
            return Ok(Accepted::HandOver(owner));
        }
        self.packet4(context, buf).map_err(|refusal| refusal.reason.into())
    }

    /// Hands the packet over if another worker owns this mapped address.
    ///
    /// # Errors
    /// A [`Reason`] if the packet exceeds the handover limit.
    #[inline]
    pub(super) fn hand_over_to_owner(
        &self,
        proto: Proto,
        mapped: Transport4,
        buf: &PacketBuf,
    ) -> Result<Option<Accepted>, Reason> {
        if self.is_single_worker() {
            return Ok(None);
        }
        match self.pool4.owners().owner_of(proto, mapped) {
            Some(owner) if owner != self.pool4.worker() => self.hand_over(owner, buf).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Hands a packet over, up to the handover limit.
    pub(super) fn hand_over(&self, to: WorkerId, buf: &PacketBuf) -> Result<Accepted, Reason> {
        if buf.meta.hops < MAX_HOPS {
            return Ok(Accepted::HandOver(to));
        }
        Err(if buf.meta.hairpin { Reason::HairpinLoop } else { Reason::HandOverLimit })
    }
}
