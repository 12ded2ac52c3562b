//! Fragments: stores, releases and reassembles them (RFC 6146 §3.4).

use core::net::{IpAddr, Ipv6Addr};

use super::accepted::Accepted;
use super::context::Context;
use super::tables::fragment::{Arrival, Datagram, First, Key, Step};
use super::{Nat64, tuple};
use crate::addr::{Ipv4Prefix, ZoneId};
use crate::reason::Reason;
use crate::wire::buf::PacketBuf;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::Ipv6Packet;
use crate::wire::{Fragment, Transport};
use crate::xlat::{ErrorHeader, Refusal};

/// Prefix length of a site on the IPv4 side, for shares of the fragment cache.
const IPV4_SITE: u8 = 24;

/// The entry point of a side, for fragments released from the cache.
type Process = fn(&mut Nat64, &mut Context<'_>, &mut PacketBuf) -> Result<Accepted, Refusal>;

/// What the first fragment reveals about its datagram; `None` if this is not the first.
fn first<Q>(
    transport: &Transport<Q>,
    protocol: u8,
    protocol_error: ErrorHeader,
) -> Result<Option<First>, Refusal> {
    match *transport {
        Transport::Tcp { src, dst, .. } => Ok(Some(First::Ports(src, dst))),
        // The new checksum covers the whole datagram.
        Transport::Udp { checksum: 0, .. } => Ok(Some(First::Reassemble)),
        Transport::Udp { src, dst, .. } => Ok(Some(First::Ports(src, dst))),
        // The ICMPv6 checksum covers the length of the whole message.
        Transport::Echo { .. } | Transport::Error(_) | Transport::Icmp => Ok(Some(First::Reassemble)),
        Transport::Fragment if tuple::proto_of(protocol).is_some() => Ok(None),
        Transport::Fragment => Err(Reason::Protocol.into()),
        Transport::Other => Err(Refusal::with_error(Reason::Protocol, protocol_error)),
    }
}

/// Why a packet was refused, if it was.
const fn refused(verdict: &Result<Accepted, Refusal>) -> Option<Reason> {
    match verdict {
        Err(Refusal { reason, .. }) => Some(*reason),
        Ok(Accepted::Forward | Accepted::HandOver(_) | Accepted::Hold) => None,
    }
}

impl Nat64 {
    /// A fragment from the IPv6 side.
    pub(super) fn fragment6(
        &mut self,
        context: &mut Context<'_>,
        packet: &Ipv6Packet,
        fragment: Fragment,
        buf: &mut PacketBuf,
    ) -> Result<Accepted, Refusal> {
        if let Transport::Udp { checksum: 0, .. } = packet.transport {
            return Err(Reason::UdpZeroChecksum.into());
        }
        let first = first(&packet.transport, packet.protocol, ErrorHeader::unreachable6(4))?;
        let (source, site) = self.host_and_site_bits(packet.src);
        let arrival = Arrival {
            key: Key::v6(packet.src, packet.dst, packet.protocol, fragment.id),
            source,
            site,
            offset: fragment.offset,
            more: fragment.more,
            packet: &buf.bytes()[..packet.len],
            data_at: packet.upper_at,
            first,
        };
        let step = self.fragments.offer(context.now, &arrival);
        self.apply(context, step, Self::packet6, buf)
    }

    /// A fragment from the IPv4 side; the worker that owns its datagram processes it.
    pub(super) fn fragment4(
        &mut self,
        context: &mut Context<'_>,
        packet: &Ipv4Packet,
        fragment: Fragment,
        buf: &mut PacketBuf,
    ) -> Result<Accepted, Refusal> {
        let owner = self.pool4.owners().datagram(packet.src, packet.dst, packet.protocol, packet.id);
        if owner != self.pool4.worker() {
            return Ok(self.hand_over(owner, buf)?);
        }
        let first = first(&packet.transport, packet.protocol, ErrorHeader::unreachable4(2))?;
        let arrival = Arrival {
            key: Key::v4(packet.src, packet.dst, packet.protocol, packet.id),
            source: u128::from(packet.src.to_bits()),
            site: u128::from(Ipv4Prefix::containing(packet.src, IPV4_SITE).addr().to_bits()),
            offset: fragment.offset,
            more: fragment.more,
            packet: &buf.bytes()[..packet.total_len],
            data_at: packet.header_len,
            first,
        };
        let step = self.fragments.offer(context.now, &arrival);
        self.apply(context, step, Self::packet4, buf)
    }

    /// The bits of the host and of the site that an address belongs to.
    fn host_and_site_bits(&self, addr: Ipv6Addr) -> (u128, u128) {
        let Some(zone) = self.policy.zones.index_of(addr) else { return (addr.to_bits(), addr.to_bits()) };
        let host = self.policy.zones.host_key(zone, addr);
        let site = self.pool4.site_key(host).map_or(host.prefix, |site| site.prefix);
        (host.prefix.addr().to_bits(), site.addr().to_bits())
    }

    /// Carries out the cache's decision.
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        step: Step,
        process: Process,
        buf: &mut PacketBuf,
    ) -> Result<Accepted, Refusal> {
        match step {
            Step::First { ports, datagram } => {
                buf.meta.ports = Some(ports);
                let verdict = process(self, context, buf);
                match refused(&verdict) {
                    Some(reason) => {
                        let held = self.fragments.refuse(datagram, reason);
                        self.counters.zone(context.zone).drops(reason).add(u64::from(held));
                    }
                    None => self.release_held(context, process, datagram),
                }
                verdict
            }
            Step::Pass { ports, held } => {
                buf.meta.ports = Some(ports);
                let verdict = process(self, context, buf);
                if let Some(datagram) = held {
                    self.release_held(context, process, datagram);
                }
                verdict
            }
            Step::Held => {
                self.counters.zone(context.zone).held.add(1);
                buf.clear();
                Ok(Accepted::Hold)
            }
            Step::Reassemble(datagram) => {
                let hops = buf.meta.hops;
                if !self.fragments.reassemble(datagram, buf) {
                    return Err(Reason::FragmentSize.into());
                }
                buf.meta.hops = hops;
                process(self, context, buf)
            }
            Step::Drop { reason, held } => {
                self.counters.zone(context.zone).drops(reason).add(u64::from(held));
                Err(reason.into())
            }
        }
    }

    /// Translates the held fragments of a datagram for which the batch has room.
    fn release_held(&mut self, context: &mut Context<'_>, process: Process, datagram: Datagram) {
        let Some(released) = context.scratch.take() else { return };
        while self.fragments.held(datagram) > 0 && context.extra.room() > 0 {
            self.fragments.release(datagram, released);
            self.forward_held(context, process, released);
        }
        context.scratch = Some(released);
    }

    /// Translates a fragment released from the cache and adds it to the batch.
    fn forward_held(&mut self, context: &mut Context<'_>, process: Process, released: &mut PacketBuf) {
        let verdict = process(self, context, released);
        if let Some(reason) = refused(&verdict) {
            self.counters.zone(context.zone).drops(reason).add(1);
            return;
        }
        let to = match verdict {
            Ok(Accepted::HandOver(worker)) => Some(worker),
            Ok(Accepted::Hold) => return,
            Ok(Accepted::Forward) | Err(_) => None,
        };
        let Some(output) = context.extra.next_slot().filter(|slot| released.len() <= slot.packet.room())
        else {
            self.counters.zone(context.zone).drops(Reason::ExtraFull).add(1);
            return;
        };
        output.packet.fill(released.bytes());
        output.packet.offload = released.offload;
        output.packet.meta = released.meta;
        output.to = to;
    }

    /// The zone of a cached datagram; unknown from the IPv4 side.
    pub(super) fn zone_of_datagram(&self, key: &Key) -> Option<ZoneId> {
        match key.src {
            IpAddr::V6(src) => self.policy.zones.index_of(src).map(|zone| self.policy.zones.zone(zone).id),
            IpAddr::V4(_) => None,
        }
    }
}
