//! ICMP errors (RFC 6146 §3.4, §3.5.4, RFC 5508): they need a binding and change nothing.

use std::net::Ipv4Addr;

use gate64::addr::Proto;
use gate64::addr::{Transport4, Transport6};
use gate64::nat64::Zone;
use gate64::reason::Reason;
use gate64::translator::Verdict;

use super::{Model, Outcome};
use crate::model::address::{embed, is_host4};
use crate::model::packet::{self, Flow, Refusal};
use crate::script::packet::{Body, Packet, Quote};

impl Model {
    /// An ICMP error from the IPv6 side: it needs a binding and changes nothing.
    pub(super) fn error6(
        &mut self,
        zone: &Zone,
        packet: &Packet,
        remote: Ipv4Addr,
    ) -> Result<Outcome, Refusal> {
        let Body::Icmp { quote: Some(Quote::Packet(inner)), .. } = &packet.body else {
            return Err(Reason::IcmpQuoted.into());
        };
        let (server, client) = packet::addresses6(inner);
        let flow = Flow::of_quoted(inner).ok_or(Reason::IcmpQuoted)?;
        let (_, about) = self.way(zone, server).map_err(|_| Reason::IcmpQuoted)?;
        if server != packet::addresses6(packet).1 {
            return Err(Reason::IcmpQuoted.into());
        }
        let client = Transport6::new(client, flow.dst);
        let binding = self.of(flow.proto, client).ok_or(Reason::IcmpNoBinding)?;
        let mapped = self.bindings[binding].mapped;
        let port = if flow.proto == Proto::Icmp { mapped.port } else { flow.src };
        let about = Transport4::new(about, port);
        let hairpins = match flow.proto {
            Proto::Icmp => self.is_pool_address(about.addr),
            _ => self.is_pool_endpoint(flow.proto, about),
        };
        self.is_remote(hairpins, about.addr)?;
        self.judge6_error(packet)?;
        let out = packet::error_to_v4(packet, (mapped, remote), (about, mapped), &self.settings.rules);
        let out = out.ok_or(Reason::IcmpType)?;
        if !hairpins {
            return Ok(Outcome { verdict: Verdict::Forward, packets: vec![out] });
        }
        self.binding_at(flow.proto, about, client.addr)?;
        self.packet4(&out, true).map_err(|refusal| refusal.reason.into())
    }

    pub(super) fn judge6_error(&self, packet: &Packet) -> Result<(), Reason> {
        if packet.hop.unwrap_or(64) <= 1 { Err(Reason::HopLimit) } else { Ok(()) }
    }

    /// An ICMP error from the IPv4 side.
    pub(super) fn error4(&mut self, packet: &Packet, hairpinned: bool) -> Result<Outcome, Refusal> {
        let Body::Icmp { quote: Some(Quote::Packet(inner)), .. } = &packet.body else {
            return Err(Reason::IcmpQuoted.into());
        };
        let (src, dst) = packet::addresses4(packet);
        let (host, server) = packet::addresses4(inner);
        let flow = Flow::of_quoted(inner).ok_or(Reason::IcmpQuoted)?;
        if host != dst || !is_host4(server) {
            return Err(Reason::IcmpQuoted.into());
        }
        let mapped = Transport4::new(host, flow.src);
        let binding = self.at(flow.proto, mapped).ok_or(Reason::IcmpNoBinding)?;
        let of = self.bindings[binding].clone();
        if self.is_gateway(of.client, Some(binding)) {
            return Err(Reason::LocalDestination.into());
        }
        let server = Transport4::new(server, flow.dst);
        if !self.passes_filter(binding, flow.remote(server)) {
            return Err(Reason::Filtered.into());
        }
        let session = self.session(binding, flow.remote(server));
        let pref64 = session.map_or(of.pref64, |at| self.sessions[at].pref64);
        let representable =
            self.settings.nat64.errors_under_well_known || self.well_known(pref64, src).is_ok();
        self.well_known(pref64, server.addr).map_err(|_| Reason::IcmpQuoted)?;
        self.judge4(packet, hairpinned)?;
        let port = if flow.proto == Proto::Icmp { of.client.port } else { server.port };
        let server = Transport6::new(embed(pref64, server.addr), port);
        let from = if representable { embed(pref64, src) } else { self.settings.nat64.address6 };
        let out = packet::error_to_v6(packet, (from, of.client), server, &self.settings.rules, hairpinned);
        let packets = vec![out.ok_or(Reason::IcmpType)?];
        Ok(Outcome { verdict: Verdict::Forward, packets })
    }

    /// The RST for a segment of an unknown session (RFC 9293 §3.10.7.1): none to a RST, and none in the name of a zone
    /// host.
    pub(super) fn reset(&self, packet: &Packet, reason: Reason) -> Option<Outcome> {
        let rules = &self.settings.rules;
        if reason != Reason::NoSession || !rules.reset_unknown_tcp || rules.error_rate[0] == 0 {
            return None;
        }
        let flow = Flow::of(packet).ok()?;
        let (src, dst) = packet::addresses6(packet);
        let (_, remote) = self.way(self.zone(src)?, dst).ok()?;
        if flow.automatic || self.is_pool_endpoint(Proto::Tcp, Transport4::new(remote, flow.dst)) {
            return None;
        }
        let packets = vec![packet::reset(packet)?];
        Some(Outcome { verdict: Verdict::Reject(reason), packets })
    }
}
