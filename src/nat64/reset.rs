//! The RST for a TCP segment of an unknown session. After state is lost, clients learn at once that their connection is
//! gone, instead of retransmitting for minutes.

use super::Nat64;
use super::context::Context;
use super::keepalive;
use crate::addr::{Proto, Transport4, Transport6};
use crate::wire::Transport;
use crate::wire::buf::{Offload, PacketBuf};
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::tcp::{ACKNOWLEDGMENT, Flags, SEQUENCE, header_len};
use crate::wire::u32_at;
use crate::xlat::{Pass, Urgency};

impl Nat64 {
    /// Replaces a zone host's segment of an unknown session by a RST to that host, in the server's name. Returns false
    /// and leaves the buffer unchanged
    ///
    /// - for a RST or a fragment,
    /// - if the destination is the mapped address of a zone host,
    /// - if the rate limit of refusals forbids it.
    #[cold]
    pub(super) fn reset6(&self, context: &mut Context<'_>, buf: &mut PacketBuf) -> bool {
        let Ok(packet) = Ipv6Packet::parse(buf.bytes(), &buf.offload) else { return false };
        let Some(reset) = self.reset_of(&packet, buf.bytes()) else { return false };
        if !context.limits.take6(context.now, packet.src, Urgency::Refusal) {
            return false;
        }
        buf.offload = Offload::default();
        buf.fill(&reset)
    }

    /// The RST for a segment, if one is due. Its numbers are those of RFC 9293 §3.10.7.1 (state CLOSED).
    fn reset_of(&self, packet: &Ipv6Packet, bytes: &[u8]) -> Option<keepalive::Segment> {
        let Transport::Tcp { src, dst, flags } = packet.transport else { return None };
        let is_whole = packet.fragment.is_none_or(|fragment| fragment.is_atomic());
        if flags.has(Flags::RST) || !is_whole {
            return None;
        }
        let zone = self.policy.zones.index_of(packet.src)?;
        let destination = self.policy.zones.destination(zone, packet.dst).ok()?;
        if self.pass6(Proto::Tcp, Transport4::new(destination.remote, dst)) != Pass::Direct {
            return None;
        }
        let segment = bytes.get(packet.upper_at..packet.len)?;
        let (flags, numbers) = if flags.has(Flags::ACK) {
            (Flags::RST, (u32_at(segment, ACKNOWLEDGMENT), 0))
        } else {
            let data = segment.len() - header_len(segment)?;
            let len = data as u32 + u32::from(flags.has(Flags::FIN));
            (Flags::RST.with(Flags::ACK), (0, u32_at(segment, SEQUENCE).wrapping_add(len)))
        };
        let (client, server) = (Transport6::new(packet.src, src), Transport6::new(packet.dst, dst));
        Some(keepalive::segment(server, client, flags, numbers))
    }
}
