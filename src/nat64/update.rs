//! Updating bindings and sessions (RFC 6146 §3.5).

use core::time::Duration;

use super::Nat64;
use super::context::Context;
use super::policy::zones::Destination;
use super::prefetch::Candidate;
use super::tables::bib::Allocation;
use super::tables::pool4::{PortRequest, RateCheck, Refused};
use super::tables::session::Traffic;
use super::tables::tcp::{Kind, Lifetime, Side, State, on_segment};
use super::tuple::Tuple;
use crate::addr::Proto;
use crate::addr::{Transport4, Transport6};
use crate::reason::Reason;
use crate::time::{Instant, Span};
use crate::xlat::{ErrorHeader, Refusal};

/// The table entries of a flow.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// The live binding.
    binding: Option<u32>,
    /// The client's binding if it is in quarantine. Not sought from the IPv4 side.
    quarantined: Option<u32>,
    session: Option<u32>,
}

/// The result of an update from the IPv6 side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outward {
    /// The client's mapped address.
    pub(super) mapped: Transport4,
    /// Its session, if there is one.
    pub(super) session: Option<u32>,
}

/// The result of an update from the IPv4 side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inward {
    /// The client.
    pub(super) client: Transport6,
    /// Index of the pref64 under which it addresses the server.
    pub(super) pref64: u16,
    /// Its session, if there is one.
    pub(super) session: Option<u32>,
}

/// Out of resources: answered with ICMPv6 address unreachable (RFC 6146 §3.5.1.1).
const fn exhausted(reason: Reason) -> Refusal {
    Refusal::with_error(reason, ErrorHeader::unreachable6(3))
}

impl Nat64 {
    /// Finds or creates the binding and session of a packet from the IPv6 side.
    pub(super) fn update6(
        &mut self,
        context: &mut Context<'_>,
        destination: &Destination,
        client: Transport6,
        tuple: &Tuple,
        traffic: Traffic,
    ) -> Result<Outward, Refusal> {
        let (now, candidate, proto) = (context.now, context.candidate, tuple.proto);
        let remote = remote_of(proto, Transport4::new(destination.remote, tuple.dst));
        let mut found = self.find6(candidate, proto, client, remote);
        while let Some(slot) = found.session
            && self.sessions.session(slot).is_expired(now)
        {
            self.expire_session(slot, context.extra);
            found = self.find6(candidate, proto, client, remote);
        }
        self.check_client(found.binding, client)?;
        let opens_session = proto != Proto::Tcp || tuple.kind.is_syn();
        if found.session.is_none() && (opens_session || found.binding.is_some()) {
            self.policy.zones.check_rules(destination.zone, proto, remote)?;
        }
        let (binding, session) = match (found.binding, found.session) {
            (Some(binding), session) if session.is_some() || !opens_session => {
                if !tuple.automatic {
                    self.bib.mark_active(binding, now);
                }
                // A segment without a session is forwarded while its binding lives (RFC 6146 §3.5.2.2).
                if let Some(session) = session {
                    self.advance(now, session, tuple, traffic);
                }
                (binding, session)
            }
            (None, _) if !opens_session => return Err(Reason::NoSession.into()),
            (binding, _) => {
                let of_client = (client, binding, found.quarantined);
                let binding =
                    self.binding_for_new_session(now, destination, of_client, tuple).map_err(exhausted)?;
                let session =
                    self.insert_session(now, binding, remote, destination.pref64).map_err(exhausted)?;
                self.bib.mark_active(binding, now);
                self.log_session_start(now, session);
                self.complete_simultaneous_open(binding, session, remote, proto);
                self.advance(now, session, tuple, traffic);
                (binding, Some(session))
            }
        };
        Ok(Outward { mapped: self.mapped(binding), session })
    }

    /// Filters a packet from the IPv4 side, and finds or creates its session.
    ///
    /// # Errors
    /// The reason for the drop; [`Reason::UnsolicitedSyn`] for a SYN to store or drop.
    pub(super) fn update4(
        &mut self,
        context: &mut Context<'_>,
        remote: Transport4,
        mapped: Transport4,
        tuple: &Tuple,
        traffic: Traffic,
    ) -> Result<Inward, Reason> {
        let (now, candidate, proto) = (context.now, context.candidate, tuple.proto);
        let remote = remote_of(proto, remote);
        let mut found = self.find4(candidate, proto, mapped, remote);
        while let Some(slot) = found.session
            && self.sessions.session(slot).is_expired(now)
        {
            self.expire_session(slot, context.extra);
            found = self.find4(candidate, proto, mapped, remote);
        }
        let syn = proto == Proto::Tcp && tuple.kind.is_syn();
        let drop_reason = |reason| if syn { Reason::UnsolicitedSyn } else { reason };
        let binding = found.binding.ok_or_else(|| drop_reason(Reason::NoBinding))?;
        context.zone = self.zone_of_binding(binding);
        self.check_client(Some(binding), self.bib.binding(binding).v6())
            .map_err(|_| Reason::LocalDestination)?;
        let pref64 = match found.session {
            Some(session) => self.sessions.session(session).pref64,
            None => self.bib.binding(binding).pref64,
        };
        self.policy.zones.check_well_known(pref64, remote.addr)?;
        let session = match found.session {
            Some(session) => Some(session),
            None => {
                if !self.passes_filter(now, binding, remote) {
                    return Err(drop_reason(Reason::Filtered));
                }
                let opens_session = proto != Proto::Tcp || syn;
                if opens_session {
                    if self.is_abandoned(now, binding) {
                        return Err(drop_reason(Reason::Filtered));
                    }
                    self.check_inbound(now, binding)?;
                    let session = self.check_and_insert_session(now, binding, remote, pref64)?;
                    self.sessions.session_mut(session).set_inbound();
                    self.log_session_start(now, session);
                    Some(session)
                } else {
                    None
                }
            }
        };
        if let Some(session) = session {
            self.advance(now, session, tuple, traffic);
        }
        Ok(Inward { client: self.bib.binding(binding).v6(), pref64, session })
    }

    fn find6(&self, candidate: Candidate, proto: Proto, client: Transport6, remote: Transport4) -> Found {
        let any = self.any_binding_of(candidate, proto, client);
        let (binding, quarantined) = match any {
            Some(slot) if self.bib.binding(slot).is_quarantined() => (None, any),
            live => (live, None),
        };
        Found { binding, quarantined, session: binding.and_then(|slot| self.session_with(slot, remote)) }
    }

    fn find4(&self, candidate: Candidate, proto: Proto, mapped: Transport4, remote: Transport4) -> Found {
        let binding = self.binding_at(candidate, proto, mapped);
        Found {
            binding,
            quarantined: None,
            session: binding.and_then(|slot| self.session_with(slot, remote)),
        }
    }

    /// The session between a live binding and a server.
    #[inline]
    pub(super) fn session_with(&self, binding: u32, remote: Transport4) -> Option<u32> {
        self.sessions.find(binding, self.bib.binding(binding).first, remote)
    }

    /// The live binding at an IPv4 transport address.
    #[inline(always)]
    pub(super) fn binding_at(&self, candidate: Candidate, proto: Proto, mapped: Transport4) -> Option<u32> {
        if let Some(binding) = self.statics.find(proto, mapped) {
            return Some(binding);
        }
        let prefetched = Some(candidate.0).filter(|slot| self.is_at(*slot, proto, mapped));
        let found = prefetched.or_else(|| self.pool4.find(proto, mapped, &self.bib));
        found.filter(|slot| !self.bib.binding(*slot).is_quarantined())
    }

    /// Whether this slot holds the pool binding at an IPv4 transport address.
    #[inline]
    fn is_at(&self, slot: u32, proto: Proto, mapped: Transport4) -> bool {
        self.bib.get(slot).is_some_and(|binding| {
            binding.proto() == proto
                && binding.port == mapped.port
                && !binding.is_static()
                && self.pool4.blocks().summary(binding.allocation).addr == mapped.addr
        })
    }

    /// The live binding of a client's transport address.
    #[inline(always)]
    pub(super) fn binding_of(&self, candidate: Candidate, proto: Proto, client: Transport6) -> Option<u32> {
        let found = self.any_binding_of(candidate, proto, client);
        found.filter(|slot| !self.bib.binding(*slot).is_quarantined())
    }

    /// The binding of a client's transport address, quarantined ones included.
    #[inline(always)]
    fn any_binding_of(&self, candidate: Candidate, proto: Proto, client: Transport6) -> Option<u32> {
        let prefetched = Some(candidate.0).filter(|slot| self.bib.matches(*slot, proto, client));
        prefetched.or_else(|| self.bib.find(proto, client))
    }

    /// Returns the binding for a packet that opens a session; creates it if there is none, or reuses the
    /// quarantined one.
    fn binding_for_new_session(
        &mut self,
        now: Instant,
        destination: &Destination,
        (client, binding, quarantined): (Transport6, Option<u32>, Option<u32>),
        tuple: &Tuple,
    ) -> Result<u32, Reason> {
        let host = self.policy.zones.host_key(destination.zone, client.addr);
        let slot = self.pool4.hosts().find(host);
        self.check_sessions(now, destination.zone, (host, slot), binding)?;
        self.charge_session(now, destination.zone, (host, slot), binding)?;
        if let Some(binding) = binding {
            return Ok(binding);
        }
        let zone = self.policy.zones.zone(destination.zone);
        let limits = zone.limits_of(host);
        let request = PortRequest {
            host,
            slot,
            answered: self.pool4.is_answered(host, slot),
            proto: tuple.proto,
            port: client.port,
            pool: zone.pool,
            port_quota: limits.ports,
            rate: limits.bindings_per_second,
            first_block: zone.sharing.first_block,
            new_hosts: zone.sharing.new_hosts_per_second,
            parity: self.policy.parity,
        };
        let bound = self
            .bind(now, &request, (client, quarantined), destination.pref64)
            .inspect_err(|reason| self.report_refusal(now, host, *reason))?;
        if slot.is_none() {
            self.charge_first_session(now, host, limits.session_rate);
        }
        Ok(bound)
    }

    /// Creates a binding, or reuses the quarantined one of the same client.
    fn bind(
        &mut self,
        now: Instant,
        request: &PortRequest,
        (client, quarantined): (Transport6, Option<u32>),
        pref64: u16,
    ) -> Result<u32, Reason> {
        let check = self.pool4.charge_binding(now, request);
        if let RateCheck::Exceeded(reason) = check {
            return Err(reason);
        }
        if let Some(slot) = quarantined {
            self.bib.reuse(slot, pref64);
            self.pool4.set_quarantined(slot, false, &self.bib);
            self.count_binding(slot, 1);
            return Ok(slot);
        }
        let (used, limit) = (self.bib.len(), self.bib.limit());
        let is_full = used >= limit - limit / 4 && used >= self.room_for(request.host, request.slot, limit);
        if is_full && !self.end_oldest_quarantine(now) {
            return Err(Reason::TableFull);
        }
        let (block, port) = self.allocate(now, request)?;
        if let Some(quarantined) = self.pool4.binding_in(block, request.proto, port, &self.bib) {
            self.unbind(now, quarantined);
        }
        let slot = self
            .bib
            .insert(request.proto, client, Allocation::Block(block), port, pref64)
            .ok_or(Reason::TableFull)?;
        self.pool4.link(slot, &mut self.bib);
        self.count_binding(slot, 1);
        if check == RateCheck::NewHost {
            // The host has an entry now: take the token of its first binding.
            let slot = Some(self.pool4.blocks().block(block).host);
            self.pool4.charge_binding(now, &PortRequest { slot, ..*request });
        }
        Ok(slot)
    }

    /// Allocates a port. If that fails, reclaims a block without an answer, or all blocks of a host, and tries once
    /// more. Fails if that would end too many sessions for one packet: a later packet finds the block free.
    fn allocate(&mut self, now: Instant, request: &PortRequest) -> Result<(u32, u16), Reason> {
        let refused = match self.pool4.allocate(request, &mut self.rng, &mut self.events) {
            Ok(found) => return Ok(found),
            Err(refused) => refused,
        };
        if !self.reclaim(now, refused.reclaimable.ok_or(refused.reason)?) {
            return Err(refused.reason);
        }
        // The reclaimed block may have been the last one of this host.
        let slot = self.pool4.hosts().find(request.host);
        let again = self.pool4.allocate(&PortRequest { slot, ..*request }, &mut self.rng, &mut self.events);
        again.map_err(|Refused { reason, .. }| reason)
    }

    /// Records that a packet from outside has answered a session, if its client opened it.
    #[inline]
    pub(super) fn note_answer(&mut self, session: Option<u32>) {
        let Some(slot) = session else { return };
        let session = self.sessions.session(slot);
        if !session.is_inbound() {
            let binding = self.bib.binding(session.binding());
            if !binding.is_static() {
                self.pool4.note_answer(binding.allocation);
            }
        }
    }

    /// Creates a session if table and quota have room.
    pub(super) fn check_and_insert_session(
        &mut self,
        now: Instant,
        binding: u32,
        remote: Transport4,
        pref64: u16,
    ) -> Result<u32, Reason> {
        let zone = self.policy.zones.index_of(self.bib.binding(binding).v6().addr).ok_or(Reason::NoZone)?;
        let host = self.policy.zones.host_key(zone, self.bib.binding(binding).v6().addr);
        self.check_sessions(now, zone, (host, self.pool4.hosts().find(host)), Some(binding))?;
        self.insert_session(now, binding, remote, pref64)
    }

    /// Creates a session; the caller has checked the quota.
    fn insert_session(
        &mut self,
        now: Instant,
        binding: u32,
        remote: Transport4,
        pref64: u16,
    ) -> Result<u32, Reason> {
        let mut first = self.bib.binding(binding).first;
        let session = self.sessions.insert(binding, &mut first, remote, pref64, now + Duration::from_secs(1));
        self.bib.binding_mut(binding).first = first;
        let session = session.ok_or(Reason::SessionLimit)?;
        if !self.bib.binding(binding).is_static() {
            let block = self.bib.binding(binding).allocation;
            self.pool4.count_session(block);
        }
        let proto = self.bib.binding(binding).proto();
        self.counters.zone(self.zone_of_binding(binding)).sessions[proto as usize].add(1);
        Ok(session)
    }

    /// Completes a simultaneous open if a SYN of the same connection is stored.
    fn complete_simultaneous_open(&mut self, binding: u32, session: u32, remote: Transport4, proto: Proto) {
        if proto == Proto::Tcp {
            let mapped = self.mapped(binding);
            if self.syns.cancel(remote, mapped) {
                self.sessions.session_mut(session).set_state(State::V4Init);
            }
        }
    }

    /// Advances the state of a session, refreshes its timeout and counts the traffic.
    #[inline]
    fn advance(&mut self, now: Instant, slot: u32, tuple: &Tuple, traffic: Traffic) {
        let by_client = traffic.from == Side::V6 && !tuple.automatic;
        let binding = self.sessions.session(slot).binding();
        let is_new = self.sessions.session(slot).packets() == [0; 2];
        let lifetime = match tuple.proto {
            Proto::Tcp => self.advance_tcp(now, slot, tuple.kind, traffic.from, by_client),
            Proto::Udp => Some(self.udp_lifetime(slot)),
            Proto::Icmp => Some(self.policy.spans.icmp),
        };
        let refreshes = |lifetime: &Span| {
            let may = tuple.proto == Proto::Tcp || is_new || by_client;
            may || self.refreshes_inbound(now, binding, *lifetime)
        };
        let lifetime = lifetime.filter(refreshes);
        self.sessions.record_traffic(slot, traffic, lifetime.map(|lifetime| now + lifetime));
    }

    /// Advances the state of a TCP session. Returns the timeout that starts.
    fn advance_tcp(
        &mut self,
        now: Instant,
        slot: u32,
        kind: Kind,
        from: Side,
        by_client: bool,
    ) -> Option<Span> {
        let (binding, state) = (self.sessions.session(slot).binding(), self.sessions.session(slot).state());
        let (next, lifetime) = on_segment(state, from, kind);
        let spans = &self.policy.spans;
        let lifetime = match lifetime {
            Lifetime::Keep => None,
            Lifetime::Established => Some(spans.tcp_established),
            Lifetime::Opening => Some(spans.tcp_opening),
            Lifetime::Closing => Some(spans.tcp_closing),
        };
        if next == state {
            return lifetime.filter(|time| by_client || self.refreshes_inbound(now, binding, *time));
        }
        let revives = next == State::Established && state.is_ending();
        if revives && from == Side::V4 && self.bib.binding(binding).is_silent(now, spans.tcp_established) {
            return None;
        }
        self.sessions.session_mut(slot).set_state(next);
        lifetime
    }

    /// Whether a packet from outside refreshes a session of a binding to `lifetime`: not once the client has been
    /// silent that long (RFC 6146 §5.3).
    #[inline(always)]
    pub(super) fn refreshes_inbound(&self, now: Instant, binding: u32, lifetime: Span) -> bool {
        self.policy.inbound_refresh && !self.bib.binding(binding).is_silent(now, lifetime)
    }

    /// The timeout of a UDP session; single server ports may have their own.
    #[inline(always)]
    pub(super) fn udp_lifetime(&self, slot: u32) -> Span {
        if self.policy.udp_ports.is_empty() {
            return self.policy.spans.udp;
        }
        let port = self.sessions.session(slot).remote().port;
        let found = self.policy.udp_ports.binary_search_by_key(&port, |(port, _)| *port);
        found.map_or(self.policy.spans.udp, |at| self.policy.udp_ports[at].1)
    }

    /// The IPv4 transport address of a binding.
    #[inline]
    pub(super) fn mapped(&self, binding: u32) -> Transport4 {
        let binding = self.bib.binding(binding);
        if binding.is_static() {
            self.statics.mapped(binding.allocation)
        } else {
            Transport4::new(self.pool4.blocks().summary(binding.allocation).addr, binding.port)
        }
    }
}

/// The remote side of a session: ICMP queries have no port there (RFC 6146 §3.2).
pub(super) const fn remote_of(proto: Proto, remote: Transport4) -> Transport4 {
    match proto {
        Proto::Tcp | Proto::Udp => remote,
        Proto::Icmp => Transport4::new(remote.addr, 0),
    }
}
