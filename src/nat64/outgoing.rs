//! Outgoing packets: translated ones, ICMP errors about them, and the gateway's own errors (RFC 6146 §3.6,
//! §3.7).

use super::accepted::Accepted;
use super::context::Context;
use super::policy::zones::Destination;
use super::prefetch::Candidate;
use super::tables::session::Traffic;
use super::tables::tcp::Side;
use super::update::remote_of;
use super::{Nat64, tuple};
use crate::addr::Proto;
use crate::addr::special::is_host_v4;
use crate::addr::{Transport4, Transport6};
use crate::reason::Reason;
use crate::wire::ICMP4;
use crate::wire::batch::Verdict;
use crate::wire::buf::{PacketBuf, PacketMeta};
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4::Ipv4Packet;
use crate::wire::ipv6::{self, Ipv6Packet};
use crate::wire::quoted::{Quoted4, Quoted6};
use crate::xlat::{self, Flow4, Flow6, Pass, PlanTo4, PlanTo6, Refusal, To4, To6, Urgency};

/// The traffic of a packet from the IPv6 side.
#[inline]
pub(super) fn traffic6(plan: &PlanTo4<'_>) -> Traffic {
    Traffic { from: Side::V6, packets: plan.packets() as u32, bytes: plan.packet().len as u64 }
}

/// The traffic of a packet from the IPv4 side, counted by its size on the IPv6 side.
#[inline]
pub(super) fn traffic4(plan: &PlanTo6<'_>) -> Traffic {
    let (packet, packets) = (plan.packet(), plan.packets() as u32);
    let extension = if packet.fragment.is_some() { ipv6::FRAGMENT_HEADER } else { 0 };
    let bytes = packet.total_len - packet.header_len + ipv6::HEADER + extension;
    Traffic { from: Side::V4, packets, bytes: bytes as u64 }
}

impl Nat64 {
    /// Rewrites a packet to IPv4 and counts it.
    #[inline]
    pub(super) fn write_to4<'p>(
        &mut self,
        context: &mut Context<'_>,
        plan: PlanTo4<'p>,
        to: &To4,
    ) -> Result<&'p mut PacketBuf, Reason> {
        let traffic = traffic6(&plan);
        let buf = plan.apply(&self.policy.rules, to, &mut self.ids, context.extra)?;
        let row = self.counters.zone(context.zone);
        row.packets_v6_to_v4.add(u64::from(traffic.packets));
        row.bytes_v6_to_v4.add(traffic.bytes);
        Ok(buf)
    }

    /// Rewrites a packet to IPv6 and counts it.
    #[inline]
    pub(super) fn write_to6(
        &mut self,
        context: &mut Context<'_>,
        plan: PlanTo6<'_>,
        to: &To6,
    ) -> Result<Accepted, Refusal> {
        let (traffic, len) = (traffic4(&plan), plan.packet().total_len);
        let buf = plan.apply(&self.policy.rules, to, context.extra)?;
        let row = self.counters.zone(context.zone);
        row.packets_v4_to_v6.add(u64::from(traffic.packets));
        row.bytes_v4_to_v6.add(len as u64);
        buf.meta = PacketMeta::default();
        Ok(Accepted::Forward)
    }

    /// An ICMP error from the IPv6 side, about a packet to a zone host. It needs a binding and
    /// changes no state. Its source becomes the mapped address, whoever sent it (RFC 5508 REQ-5c).
    pub(super) fn translate_error6(
        &mut self,
        context: &mut Context<'_>,
        destination: &Destination,
        packet: &Ipv6Packet,
        error: &IcmpError<Quoted6>,
        buf: &mut PacketBuf,
    ) -> Result<Accepted, Refusal> {
        let quoted = tuple::of_quoted(error.quoted.transport, error.quoted.protocol)?;
        let about = self
            .policy
            .zones
            .destination(destination.zone, error.quoted.src)
            .map_err(|_| Reason::IcmpQuoted)?;
        if error.quoted.src != packet.dst {
            return Err(Reason::IcmpQuoted.into());
        }
        let client = Transport6::new(error.quoted.dst, quoted.dst);
        let binding =
            self.binding_of(context.candidate, quoted.proto, client).ok_or(Reason::IcmpNoBinding)?;
        let mapped = self.mapped(binding);
        let port = if quoted.proto == Proto::Icmp { mapped.port } else { quoted.src };
        let server = Transport4::new(about.remote, port);
        let to = To4 {
            outer: Flow4::new(mapped, Transport4::new(destination.remote, 0)),
            quoted: Some(Flow4::new(server, mapped)),
        };
        let pass = self.pass6(quoted.proto, server);
        if destination.mapped_only && pass == Pass::Direct {
            return Err(Reason::Denied.into());
        }
        self.check_destination(pass, server.addr)?;
        let plan = xlat::plan_v6_to_v4(&self.policy.rules, packet, buf, pass)?;
        self.forward_to4(context, (quoted.proto, server), plan, &to)
    }

    /// An ICMP error from the IPv4 side, about a packet from a zone host.
    pub(super) fn translate_error4(
        &mut self,
        context: &mut Context<'_>,
        packet: &Ipv4Packet,
        error: &IcmpError<Quoted4>,
        pass: Pass,
        buf: &mut PacketBuf,
    ) -> Result<Accepted, Refusal> {
        let quoted = tuple::of_quoted(error.quoted.transport, error.quoted.protocol)?;
        if error.quoted.src != packet.dst || !is_host_v4(error.quoted.dst) {
            return Err(Reason::IcmpQuoted.into());
        }
        let mapped = Transport4::new(error.quoted.src, quoted.src);
        if let Some(worker) = self.hand_over_to_owner(quoted.proto, mapped, buf)? {
            return Ok(worker);
        }
        let binding =
            self.binding_at(context.candidate, quoted.proto, mapped).ok_or(Reason::IcmpNoBinding)?;
        context.zone = self.zone_of_binding(binding);
        let client = self.bib.binding(binding).v6();
        self.check_client(Some(binding), client).map_err(|_| Reason::LocalDestination)?;
        let server = Transport4::new(error.quoted.dst, quoted.dst);
        if !self.passes_filter(context.now, binding, remote_of(quoted.proto, server)) {
            return Err(Reason::Filtered.into());
        }
        let pref64 = self.pref64_for_server(binding, quoted.proto, server);
        let source = self.policy.error_source6(pref64, packet.src);
        self.policy.zones.check_well_known(pref64, server.addr).map_err(|_| Reason::IcmpQuoted)?;
        let plan = xlat::plan_v4_to_v6(&self.policy.rules, packet, buf, pass)?;
        let addr = self.policy.zones.embed(pref64, server.addr);
        let port = if quoted.proto == Proto::Icmp { client.port } else { server.port };
        let to = To6 {
            outer: Flow6::new(Transport6::new(source, 0), client),
            quoted: Some(Flow6::new(client, Transport6::new(addr, port))),
        };
        self.write_to6(context, plan, &to)
    }

    /// Drops a refused IPv6 packet, or replaces it by its ICMP error or RST if the rate limit allows.
    pub(super) fn refuse6(
        &mut self,
        context: &mut Context<'_>,
        refusal: Refusal,
        buf: &mut PacketBuf,
    ) -> Verdict {
        let reason = refusal.reason;
        self.counters.zone(context.zone).drops(reason).add(1);
        let resets = reason == Reason::NoSession && self.policy.rules.reset_unknown_tcp;
        if resets && self.reset6(context, buf) {
            return Verdict::Reject(reason);
        }
        let (rules, from) = (&self.policy.rules, self.policy.address6);
        let is_replaced = xlat::reply6(refusal, rules, from, buf, |packet, error| {
            let urgency = Urgency::of6(error, || self.is_of_session6(packet).then_some(Urgency::Session));
            context.limits.take6(context.now, packet.src, urgency)
        });
        if is_replaced {
            self.counters.zone(context.zone).errors_sent.add(1);
            return Verdict::Reject(reason);
        }
        Verdict::Drop(reason)
    }

    /// Whether a refused IPv6 packet belongs to a session.
    fn is_of_session6(&self, packet: &Ipv6Packet) -> bool {
        let Ok(tuple) = tuple::of6(packet, None) else { return false };
        let zone = self.policy.zones.index_of(packet.src);
        let Some(Ok(to)) = zone.map(|zone| self.policy.zones.destination(zone, packet.dst)) else {
            return false;
        };
        let client = Transport6::new(packet.src, tuple.src);
        let remote = remote_of(tuple.proto, Transport4::new(to.remote, tuple.dst));
        let binding = self.binding_of(Candidate::NONE, tuple.proto, client);
        binding.is_some_and(|binding| self.session_with(binding, remote).is_some())
    }

    /// Whether a refused IPv4 packet belongs to a session.
    fn is_of_session4(&self, packet: &Ipv4Packet) -> bool {
        let Ok(tuple) = tuple::of4(packet, None) else { return false };
        let mapped = Transport4::new(packet.dst, tuple.dst);
        let remote = remote_of(tuple.proto, Transport4::new(packet.src, tuple.src));
        let binding = self.binding_at(Candidate::NONE, tuple.proto, mapped);
        binding.is_some_and(|binding| self.session_with(binding, remote).is_some())
    }

    /// Drops a refused IPv4 packet, or replaces it by its ICMP error if the rate limit allows. A hairpinned
    /// packet gets no error: its sender is an IPv6 host.
    pub(super) fn refuse4(
        &mut self,
        context: &mut Context<'_>,
        refusal: Refusal,
        buf: &mut PacketBuf,
    ) -> Verdict {
        let reason = refusal.reason;
        self.counters.zone(context.zone).drops(reason).add(1);
        let (rules, from) = (self.policy.rules, self.policy.address4);
        let is_replaced = xlat::reply4(refusal, &rules, from, buf, |packet, error| {
            let urgency = Urgency::of4(error, || self.is_of_session4(packet).then_some(Urgency::Session));
            let is_allowed = context.limits.take4(context.now, packet.src, urgency);
            is_allowed.then(|| self.ids.take(from, packet.src, ICMP4, false, 1))
        });
        if is_replaced {
            self.counters.zone(context.zone).errors_sent.add(1);
            return Verdict::Reject(reason);
        }
        Verdict::Drop(reason)
    }
}
