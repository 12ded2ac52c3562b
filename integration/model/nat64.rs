//! A NAT64 that is slow and obvious: all state is in lists that are searched linearly. Written from RFC 6146
//! and the requirement matrix; it shares only value types with the translator.
//!
//! A datagram in fragments is one packet to the model, a super-packet one packet with the size of its segments.
//! Hosts with an explicit mapping are translated without state (`stateless`).
//! Which worker owns a host and a port block is an input; nothing else depends on the number of workers.
//!
//! Where the RFCs leave a port to a random choice, the model receives the translator's choice and checks it.

mod bindings;
mod choice;
mod errors;
mod expiry;
mod sessions;
mod stateless;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gate64::addr::{PortRange, Pref64, Proto, Transport4, Transport6, WorkerId};
use gate64::nat64::{UnsolicitedSyn, Zone};
use gate64::ownership::Owners;
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{Settings, Verdict};

use super::address::{self, Host, Local, embed, extract};
use super::packet::{self, Flow, Refusal};
use super::ports::{Block, Place};
use super::tcp::{Event, State};
use crate::script::packet::{Body, Packet, Quote};

#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) proto: Proto,
    pub(super) client: Transport6,
    pub(super) mapped: Transport4,
    /// The prefix under which outside hosts appear to the client.
    pub(super) pref64: Pref64,
    pub(super) fixed: bool,
    /// When its client last sent a packet of its own accord.
    pub(super) active: Instant,
    /// Since when it has no session and its port is quarantined.
    pub(super) quarantined: Option<Instant>,
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) proto: Proto,
    pub(super) client: Transport6,
    pub(super) remote: Transport4,
    pub(super) pref64: Pref64,
    pub(super) state: State,
    pub(super) deadline: Instant,
    /// Whether the client opened it.
    pub(super) outbound: bool,
}

/// A stored unsolicited SYN.
#[derive(Clone, Debug)]
struct Syn {
    remote: Transport4,
    mapped: Transport4,
    packet: Packet,
    /// Its sender is a zone host.
    hairpinned: bool,
    until: Instant,
    /// The worker that stored it; a reload can give the mapped address to another one.
    worker: Option<WorkerId>,
    /// No error will be sent, but it occupies a table entry until then.
    adopted: bool,
}

pub(super) struct Model {
    pub(super) settings: Settings,
    /// Which worker owns a host, and which a port block.
    pub(super) owners: Owners,
    pub(super) now: Instant,
    pub(super) bindings: Vec<Binding>,
    pub(super) sessions: Vec<Session>,
    pub(super) blocks: Vec<Block>,
    pub(super) reloads: u32,
    /// Hosts without blocks that were answered when they had some.
    pub(super) known: Vec<Host>,
    pub(super) local: Local,
    /// The blocks that the translator has reclaimed for the present packet.
    pub(super) reclaimed: Vec<Place>,
    syns: Vec<Syn>,
    /// When the last quarantine ended.
    last_quarantine_end: Option<Instant>,
}

/// The expected effects of a packet. Packets quote `{ ^ }` where they quote the input.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) packets: Vec<Packet>,
}

/// A packet that a timer sends, and the packet it quotes.
pub(super) type Sent = (Packet, Option<Packet>);

/// Returns the mapped address that the translator has chosen.
pub(super) type Chosen<'a> = &'a dyn Fn(Proto, Transport6) -> Option<Transport4>;

impl Model {
    pub(super) fn new(settings: Settings, owners: Owners, now: Instant) -> Self {
        let mut model = Self {
            settings,
            owners,
            now,
            bindings: Vec::new(),
            sessions: Vec::new(),
            blocks: Vec::new(),
            reloads: 0,
            known: Vec::new(),
            local: Local::default(),
            reclaimed: Vec::new(),
            syns: Vec::new(),
            last_quarantine_end: None,
        };
        model.bind_statics();
        model
    }

    /// The zone with the longest client prefix that contains an address.
    pub(super) fn zone(&self, addr: Ipv6Addr) -> Option<&Zone> {
        let zones = self.settings.nat64.zones.iter();
        let all = zones.flat_map(|zone| zone.clients.iter().map(move |net| (net, zone)));
        all.filter(|(net, _)| net.contains(addr)).max_by_key(|(net, _)| net.len()).map(|(_, zone)| zone)
    }

    pub(super) fn host(&self, addr: Ipv6Addr) -> Option<Host> {
        self.zone(addr).map(|zone| Host::new(zone.id, addr, zone.host_len))
    }

    /// Whether a pool or a static binding contains the address.
    fn is_pool_address(&self, addr: Ipv4Addr) -> bool {
        let mut ranges = self.settings.nat64.pools.iter().flat_map(|pool| &pool.ranges);
        ranges.any(|(net, _)| net.contains(addr))
            || self.settings.nat64.statics.iter().any(|entry| entry.v4.addr == addr)
    }

    fn is_pool_endpoint(&self, proto: Proto, mapped: Transport4) -> bool {
        let mut ranges = self.settings.nat64.pools.iter().flat_map(|pool| &pool.ranges);
        let has = |ports: &PortRange| ports.contains(mapped.port) || mapped.port == 0;
        ranges.any(|(net, ports)| net.contains(mapped.addr) && has(ports))
            || self.settings.nat64.statics.iter().any(|entry| entry.proto == proto && entry.v4 == mapped)
    }

    pub(super) fn at(&self, proto: Proto, mapped: Transport4) -> Option<usize> {
        let found = |b: &Binding| b.proto == proto && b.mapped == mapped && b.quarantined.is_none();
        self.bindings.iter().position(found)
    }

    pub(super) fn of(&self, proto: Proto, client: Transport6) -> Option<usize> {
        let found = |b: &Binding| b.proto == proto && b.client == client && b.quarantined.is_none();
        self.bindings.iter().position(found)
    }

    /// Refuses a hairpinned packet to a port without a binding, if its worker owns that port. Otherwise the
    /// other worker says why.
    pub(super) fn binding_at(&self, proto: Proto, mapped: Transport4, src: Ipv6Addr) -> Result<(), Reason> {
        let is_own = self.owners.owner_of(proto, mapped) == Some(self.owners.source(src));
        if is_own && self.at(proto, mapped).is_none() { Err(Reason::NoBinding) } else { Ok(()) }
    }

    fn session(&self, binding: usize, remote: Transport4) -> Option<usize> {
        let of = &self.bindings[binding];
        let found = |s: &Session| s.proto == of.proto && s.client == of.client && s.remote == remote;
        self.sessions.iter().position(found)
    }

    /// A packet from the IPv6 side.
    pub(super) fn outward(&mut self, packet: &Packet, chosen: Chosen<'_>) -> Result<Outcome, String> {
        let mut wrong = None;
        let result = self.packet6(packet, chosen, &mut wrong);
        match wrong {
            Some(error) => Err(error),
            None => Ok(result.unwrap_or_else(|refusal| {
                let reset = self.reset(packet, refusal.reason);
                reset.unwrap_or_else(|| self.refuse(packet, refusal))
            })),
        }
    }

    /// A packet from the IPv4 side.
    pub(super) fn inward(&mut self, packet: &Packet) -> Outcome {
        self.packet4(packet, false).unwrap_or_else(|refusal| self.refuse(packet, refusal))
    }

    fn refuse(&self, packet: &Packet, Refusal { reason, answer }: Refusal) -> Outcome {
        let own: IpAddr = match packet.src {
            IpAddr::V4(_) => self.settings.nat64.address4.into(),
            IpAddr::V6(_) => self.settings.nat64.address6.into(),
        };
        // No error about an error, none to an illegal source (RFC 1812 §4.3.2.7, RFC 4443 §2.4), and no "prohibited"
        // about ICMPv6 (RFC 7915 §5.4).
        let somebody = match packet.src {
            IpAddr::V4(src) => address::is_host4(src),
            IpAddr::V6(src) => address::is_host6(src),
        };
        let rate = self.settings.rules.error_rate[usize::from(packet.src.is_ipv4())];
        let may = rate > 0 && somebody && !packet::is_error(packet);
        let echo6 = packet.src.is_ipv6() && matches!(packet.body, Body::Echo { .. });
        match answer.filter(|answer| may && !(echo6 && *answer == (1, 1, 0))) {
            None => Outcome { verdict: Verdict::Drop(reason), packets: Vec::new() },
            Some(answer) => {
                let packets = vec![packet::own_error(own, packet, answer)];
                Outcome { verdict: Verdict::Reject(reason), packets }
            }
        }
    }

    fn packet6(
        &mut self,
        packet: &Packet,
        chosen: Chosen<'_>,
        wrong: &mut Option<String>,
    ) -> Result<Outcome, Refusal> {
        if let Some(done) = self.stateless6(packet) {
            return done;
        }
        let (src, dst) = packet::addresses6(packet);
        let pref64s = self.settings.nat64.zones.iter().flat_map(|zone| &zone.pref64);
        if pref64s.clone().any(|pref64| pref64.prefix().contains(src)) {
            return Err(Reason::SourceInPref64.into());
        }
        // An error belongs to the host whose packet it quotes.
        let who = match &packet.body {
            Body::Icmp { quote: Some(Quote::Packet(inner)), .. } => packet::addresses6(inner).1,
            _ => src,
        };
        let reason = if address::is_host6(src) { Reason::NoZone } else { Reason::SourceAddress };
        let zone = self.zone(who).ok_or(reason)?.clone();
        let (pref64, remote) = self.way(&zone, dst).map_err(|reason| self.prohibited(reason, (1, 1, 0)))?;
        if let Body::Icmp { .. } = packet.body {
            return self.error6(&zone, packet, remote);
        }
        let flow = Flow::of(packet).map_err(|refusal| match refusal.reason {
            // The destination is judged before the checksum.
            Reason::UdpZeroChecksum if self.local.has4(remote) => Reason::LocalDestination.into(),
            _ => refusal,
        })?;
        let proto = flow.proto;
        let server = Transport4::new(remote, flow.dst);
        let hairpins = match proto {
            Proto::Icmp => self.is_pool_address(remote),
            _ => self.is_pool_endpoint(proto, server),
        };
        self.is_remote(hairpins, remote)?;
        self.judge6(packet, hairpins)?;
        let client = Transport6::new(src, flow.src);
        let mapped = self.update6(&flow, client, server, pref64, chosen, wrong)?;
        let target = if proto == Proto::Icmp { Transport4::new(remote, mapped.port) } else { server };
        let mtu4 = if hairpins { u16::MAX } else { self.settings.rules.mtu4 };
        let packets = packet::to_v4(packet, mapped, target, self.settings.rules.tos, mtu4);
        if !hairpins {
            return Ok(Outcome { verdict: Verdict::Forward, packets });
        }
        if !flow.event.is_some_and(Event::is_syn) {
            self.binding_at(proto, target, src)?;
        }
        // A failure in the second half of a hairpin sends no error.
        self.packet4(&packets[0], true).map_err(|refusal| refusal.reason.into())
    }

    /// Refuses a destination that is this host.
    pub(super) fn is_remote(&self, hairpins: bool, remote: Ipv4Addr) -> Result<(), Reason> {
        if !hairpins && self.local.has4(remote) { Err(Reason::LocalDestination) } else { Ok(()) }
    }

    /// Whether a client is this host, without a static binding.
    pub(super) fn is_gateway(&self, client: Transport6, binding: Option<usize>) -> bool {
        self.local.has6(client.addr) && !binding.is_some_and(|at| self.bindings[at].fixed)
    }

    /// A refusal that is answered if it is the operator's policy.
    fn prohibited(&self, reason: Reason, answer: (u8, u8, u32)) -> Refusal {
        match reason {
            Reason::Denied | Reason::RuleDenied | Reason::WellKnownNotGlobal
                if !self.settings.rules.silent_refusals =>
            {
                Refusal::with_error(reason, answer)
            }
            other => other.into(),
        }
    }

    /// The IPv4 address embedded in an IPv6 destination.
    fn way(&self, zone: &Zone, dst: Ipv6Addr) -> Result<(Pref64, Ipv4Addr), Reason> {
        let named = zone.pref64.iter().filter(|pref64| pref64.prefix().contains(dst));
        let pref64 = *named.max_by_key(|pref64| pref64.prefix().len()).ok_or(Reason::NotPref64)?;
        let remote = extract(pref64, dst);
        if !address::is_host4(remote) {
            return Err(Reason::DestinationAddress);
        }
        self.well_known(pref64, remote)?;
        if self.settings.nat64.deny.iter().any(|net| net.contains(remote)) {
            return Err(Reason::Denied);
        }
        Ok((pref64, remote))
    }

    fn well_known(&self, pref64: Pref64, addr: Ipv4Addr) -> Result<(), Reason> {
        let opened = self.settings.nat64.private_under_well_known && address::is_private(addr);
        let fine = pref64.prefix() != "64:ff9b::/96".parse().expect("literal");
        if fine || address::is_global(addr) || opened { Ok(()) } else { Err(Reason::WellKnownNotGlobal) }
    }

    /// Hop limit and size (RFC 7915 §5).
    fn judge6(&self, packet: &Packet, hairpins: bool) -> Result<(), Refusal> {
        if packet.hop.unwrap_or(64) <= 1 {
            return Err(Refusal::with_error(Reason::HopLimit, (3, 0, 0)));
        }
        let (message, mtu4) = (packet::message_len(packet), self.settings.rules.mtu4);
        if !hairpins && 20 + message > usize::from(mtu4) && packet::header_len6(packet) + message > 1280 {
            let mtu = (u32::from(mtu4) + 20).max(1280);
            return Err(Refusal::with_error(Reason::TooBig, (2, 0, mtu)));
        }
        // Back on the IPv6 side only a fragment could be cut.
        let mtu6 = self.settings.rules.mtu6;
        if hairpins && packet.frag.is_none() && 40 + message > usize::from(mtu6) {
            return Err(Refusal::with_error(Reason::TooBig, (2, 0, mtu6.into())));
        }
        Ok(())
    }

    /// Hop limit and size (RFC 7915 §4).
    fn judge4(&self, packet: &Packet, hairpinned: bool) -> Result<(), Refusal> {
        let (src, dst) = packet::addresses4(packet);
        if !address::is_host4(src) && !packet::is_error(packet) {
            return Err(Reason::SourceAddress.into());
        }
        if !address::is_host4(dst) {
            return Err(Reason::DestinationAddress.into());
        }
        if !hairpinned && packet.hop.unwrap_or(64) <= 1 {
            return Err(Refusal::with_error(Reason::HopLimit, (11, 0, 0)));
        }
        let mtu6 = self.settings.rules.mtu6;
        if packet.df && !packet::is_error(packet) && 40 + packet::message_len(packet) > usize::from(mtu6) {
            return Err(Refusal::with_error(Reason::TooBig, (3, 4, u32::from(mtu6) - 20)));
        }
        Ok(())
    }

    fn update6(
        &mut self,
        flow: &Flow,
        client: Transport6,
        server: Transport4,
        pref64: Pref64,
        chosen: Chosen<'_>,
        wrong: &mut Option<String>,
    ) -> Result<Transport4, Refusal> {
        let full = |reason| Refusal::with_error(reason, (1, 3, 0));
        let remote = flow.remote(server);
        let opens = flow.event.is_none_or(Event::is_syn);
        let found = self.of(flow.proto, client);
        if self.is_gateway(client, found) {
            return Err(Reason::LocalSource.into());
        }
        if let Some(binding) = found {
            let mapped = self.bindings[binding].mapped;
            let passes = !opens && self.check_rules(flow.proto, client, remote).is_ok();
            if !flow.automatic && (passes || self.session(binding, remote).is_some()) {
                self.bindings[binding].active = self.now;
            }
            if let Some(session) = self.session(binding, remote) {
                self.advance_session(session, true, flow);
                return Ok(mapped);
            }
            if !opens {
                self.check_rules(flow.proto, client, remote)?;
                return Ok(mapped);
            }
        } else if !opens {
            return Err(Reason::NoSession.into());
        }
        self.check_rules(flow.proto, client, remote)?;
        self.room_for_session(client, found).map_err(full)?;
        let binding = match found {
            Some(binding) => binding,
            None => self.bind(flow.proto, client, pref64, chosen, wrong).map_err(full)?,
        };
        self.bindings[binding].active = self.now;
        let mapped = self.bindings[binding].mapped;
        let worker = self.owners.owner_of(Proto::Tcp, mapped);
        let waits = |syn: &&mut Syn| {
            !syn.adopted && syn.worker == worker && syn.remote == remote && syn.mapped == mapped
        };
        let waiting = self.syns.iter_mut().filter(|_| flow.proto == Proto::Tcp).find(waits);
        let adopted = waiting.map(|syn| syn.adopted = true).is_some();
        let state = if adopted { State::V4Init } else { State::None };
        self.open(binding, remote, pref64, true, flow, state);
        Ok(mapped)
    }

    /// An IPv4 packet, from outside or hairpinned.
    fn packet4(&mut self, packet: &Packet, hairpinned: bool) -> Result<Outcome, Refusal> {
        if let Some(done) = self.stateless4(packet) {
            return done;
        }
        let (src, dst) = packet::addresses4(packet);
        if !self.is_pool_address(dst) {
            return Err(Reason::NotPool4.into());
        }
        let of_pool = |(net, _): &(gate64::addr::Ipv4Prefix, _)| net.contains(src);
        if !hairpinned && self.settings.nat64.pools.iter().flat_map(|pool| &pool.ranges).any(of_pool) {
            return Err(Reason::SourceAddress.into());
        }
        if let Body::Icmp { .. } = packet.body {
            return self.error4(packet, hairpinned);
        }
        let flow = Flow::of(packet)?;
        self.judge4(packet, hairpinned)?;
        let (server, mapped) = (Transport4::new(src, flow.src), Transport4::new(dst, flow.dst));
        let syn = flow.event.is_some_and(Event::is_syn);
        let Some(binding) = self.at(flow.proto, mapped) else {
            return if syn {
                self.unsolicited(packet, (server, mapped), hairpinned)
            } else {
                Err(Reason::NoBinding.into())
            };
        };
        if self.is_gateway(self.bindings[binding].client, Some(binding)) {
            return Err(Reason::LocalDestination.into());
        }
        let remote = flow.remote(server);
        let session = self.session(binding, remote);
        let pref64 = session.map_or(self.bindings[binding].pref64, |at| self.sessions[at].pref64);
        self.well_known(pref64, src).map_err(|reason| self.prohibited(reason, (3, 13, 0)))?;
        match session {
            Some(session) => self.advance_session(session, false, &flow),
            None => {
                let client = self.bindings[binding].client;
                let opens = flow.proto != Proto::Tcp || syn;
                if !self.passes_filter(binding, remote) || opens && self.is_abandoned(binding) {
                    return if syn {
                        self.unsolicited(packet, (server, mapped), hairpinned)
                    } else {
                        Err(Reason::Filtered.into())
                    };
                }
                if opens {
                    self.room_for_session(client, Some(binding))?;
                    self.check_inbound_limits(binding)?;
                    self.open(binding, remote, pref64, false, &flow, State::None);
                }
            }
        }
        if !hairpinned && session.is_some_and(|at| self.sessions[at].outbound) {
            self.note_answer(binding);
        }
        let client = self.bindings[binding].client;
        let port = if flow.proto == Proto::Icmp { client.port } else { server.port };
        let from = Transport6::new(embed(pref64, src), port);
        let packets = packet::to_v6(packet, from, client, &self.settings.rules, hairpinned);
        Ok(Outcome { verdict: Verdict::Forward, packets })
    }

    /// An unsolicited SYN (RFC 6146 §3.5.2.2).
    fn unsolicited(
        &mut self,
        packet: &Packet,
        (remote, mapped): (Transport4, Transport4),
        hairpinned: bool,
    ) -> Result<Outcome, Refusal> {
        let limits = &self.settings.nat64.limits;
        // Each worker has a table of its own.
        let worker = self.owners.owner_of(Proto::Tcp, mapped);
        let of_worker = || self.syns.iter().filter(|syn| syn.worker == worker);
        let known = of_worker().any(|syn| !syn.adopted && syn.remote == remote && syn.mapped == mapped);
        if known || self.settings.nat64.unsolicited_syn == UnsolicitedSyn::Drop {
            return Err(Reason::UnsolicitedSyn.into());
        }
        let of_source = of_worker().filter(|syn| syn.remote.addr == remote.addr).count();
        if of_worker().count() >= limits.unsolicited_syns as usize
            || of_source >= limits.unsolicited_syns_per_source as usize
        {
            return Err(Reason::SynLimit.into());
        }
        let until = self.now + self.settings.nat64.timers.tcp_incoming_syn;
        let packet = packet.clone();
        self.syns.push(Syn { remote, mapped, packet, hairpinned, until, worker, adopted: false });
        Ok(Outcome { verdict: Verdict::Hold, packets: Vec::new() })
    }
}
