//! What a packet needs to pass or to open a session: filtering, the client's activity, limits.

use core::net::Ipv4Addr;

use super::{Event, Filtering, Nat64, Rate};
use crate::addr::{HostKey, Proto, Transport4, Transport6, Usage};
use crate::reason::Reason;
use crate::time::Instant;
use crate::xlat::Pass;

/// A site is small if it holds at most this part of the session table.
const SMALL_SITE: u32 = 64;

impl Nat64 {
    /// Whether filtering lets packets of `remote`, or ICMP errors about packets to it, reach a binding
    /// (RFC 4787 §5).
    pub(super) fn passes_filter(&self, now: Instant, binding: u32, remote: Transport4) -> bool {
        let of = self.bib.binding(binding);
        match self.policy.filtering[of.proto() as usize] {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.sessions.has_session_with_address(of.first, remote.addr, now),
            Filtering::AddressAndPortDependent => self
                .session_with(binding, remote)
                .is_some_and(|session| !self.sessions.session(session).is_expired(now)),
        }
    }

    /// Whether the client of a binding has been silent for a lifetime. Then packets from outside open no
    /// session: otherwise they could keep the binding for ever (RFC 6146 §5.3).
    pub(super) fn is_abandoned(&self, now: Instant, binding: u32) -> bool {
        let (of, spans) = (self.bib.binding(binding), &self.policy.spans);
        let lifetime = match of.proto() {
            Proto::Udp => spans.udp,
            Proto::Icmp => spans.icmp,
            Proto::Tcp => {
                let transitory = spans.tcp_opening.max(spans.tcp_closing);
                if !of.is_silent(now, transitory) || !self.sessions.has_connection(of.first, now) {
                    transitory
                } else {
                    spans.tcp_established
                }
            }
        };
        of.is_silent(now, lifetime)
    }

    /// Checks that a packet to `remote` does not reach this host. A hairpinned packet does not leave to the IPv4
    /// side.
    ///
    /// # Errors
    /// [`Reason::LocalDestination`]
    #[inline]
    pub(super) fn check_destination(&self, pass: Pass, remote: Ipv4Addr) -> Result<(), Reason> {
        if pass == Pass::Direct && self.local.has_v4(remote) {
            return Err(Reason::LocalDestination);
        }
        Ok(())
    }

    /// Checks that a client is not this host, unless it has a static binding. With a forged source, a zone host
    /// could open the gateway's own services to the IPv4 Internet.
    pub(super) fn check_client(&self, binding: Option<u32>, client: Transport6) -> Result<(), Reason> {
        if self.local.has_v6(client.addr) && !binding.is_some_and(|slot| self.bib.binding(slot).is_static()) {
            return Err(Reason::LocalSource);
        }
        Ok(())
    }

    /// Checks that the table, the host's quota, and the shares of host and site have room for one more session. `slot` is
    /// that of the host, if it holds blocks.
    pub(super) fn check_sessions(
        &mut self,
        now: Instant,
        zone: u16,
        (host, slot): (HostKey, Option<u32>),
        binding: Option<u32>,
    ) -> Result<(), Reason> {
        let is_static = binding.is_some_and(|slot| self.bib.binding(slot).is_static());
        let quota = self.policy.zones.zone(zone).limits_of(host).sessions;
        let has_room = if is_static {
            !self.sessions.is_full()
        } else {
            let sessions = slot.map_or(0, |slot| self.pool4.hosts().host(slot).sessions);
            sessions < quota && self.has_share_of_sessions(host, slot)
        };
        if !has_room {
            self.report_refusal(now, host, Reason::SessionLimit);
            return Err(Reason::SessionLimit);
        }
        Ok(())
    }

    /// Entries of a table of `limit` that are in use when a host receives no more. The last quarter is for hosts that
    /// were answered, half of it also for those of small sites: a flood from one site leaves some to new hosts of others.
    pub(super) fn room_for(&self, host: HostKey, slot: Option<u32>, limit: u32) -> u32 {
        let (_, of_site) = self.pool4.sessions_of(host, slot);
        self.room_of_site(self.pool4.is_answered(host, slot), of_site, limit)
    }

    /// The same for a host of a site with this many sessions.
    const fn room_of_site(&self, is_answered: bool, of_site: u32, limit: u32) -> u32 {
        match (is_answered, of_site <= self.sessions.limit() / SMALL_SITE) {
            (true, _) => limit,
            (false, true) => limit - limit / 8,
            (false, false) => limit - limit / 4,
        }
    }

    /// Whether a host may take one more entry of the session table ([`Usage`]).
    fn has_share_of_sessions(&self, host: HostKey, slot: Option<u32>) -> bool {
        let (used, limit) = (self.sessions.len(), self.sessions.limit());
        // Below this no share is used up.
        if used < limit / 4 {
            return true;
        }
        let (host_sessions, site_sessions) = self.pool4.sessions_of(host, slot);
        let usage = Usage {
            total: self.room_of_site(self.pool4.is_answered(host, slot), site_sessions, limit).into(),
            used: used.into(),
            site: site_sessions.into(),
            host: host_sessions.into(),
        };
        usage.admit().is_ok()
    }

    /// Counts one more session that a host opens against the rates of host and zone. Static bindings have no limits.
    /// `slot` is that of the host, if it holds blocks.
    pub(super) fn charge_session(
        &mut self,
        now: Instant,
        zone: u16,
        (host, slot): (HostKey, Option<u32>),
        binding: Option<u32>,
    ) -> Result<(), Reason> {
        if binding.is_some_and(|slot| self.bib.binding(slot).is_static()) {
            return Ok(());
        }
        let zone = self.policy.zones.zone(zone);
        let rates = (zone.limits_of(host).session_rate, zone.session_rate);
        self.pool4
            .charge_session(now, zone.id, slot, rates)
            .inspect_err(|reason| self.report_refusal(now, host, *reason))
    }

    /// Counts the first session of a host, which holds blocks only now, against its rate.
    pub(super) fn charge_first_session(&mut self, now: Instant, host: HostKey, rate: Rate) {
        if let Some(slot) = self.pool4.hosts().find(host).filter(|_| rate.per_second > 0) {
            // Cannot fail: the bucket is full.
            let _ = self.pool4.charge_session(now, host.zone, Some(slot), (rate, Rate::default()));
        }
    }

    /// Checks that the IPv4 side may open one more session. It may use half of a host's quota and three
    /// quarters of the table, so that a scan leaves the rest to the zone hosts.
    pub(super) fn check_inbound(&mut self, now: Instant, binding: u32) -> Result<(), Reason> {
        let mut full = self.sessions.len() >= self.sessions.limit() - self.sessions.limit() / 4;
        if !self.bib.binding(binding).is_static() {
            let host = self.pool4.host_of_block(self.bib.binding(binding).allocation);
            let (sessions, host) = (host.sessions, host.key);
            let zone =
                self.policy.zones.index_of(self.bib.binding(binding).v6().addr).ok_or(Reason::NoZone)?;
            full |= sessions >= self.policy.zones.zone(zone).limits_of(host).sessions.div_ceil(2);
        }
        if !full {
            return Ok(());
        }
        if let Some(host) = self.host_of_binding(binding) {
            self.report_refusal(now, host, Reason::SessionLimit);
        }
        Err(Reason::SessionLimit)
    }

    /// Reports a refusal as an event: an exhausted pool at most once a second, other reasons at most once a second per
    /// host (RFC 6888 REQ-11). Hosts without blocks share one limit.
    pub(super) fn report_refusal(&mut self, now: Instant, host: HostKey, reason: Reason) {
        let second = now.as_secs() as u32 + 1;
        let Some(last_report) = self.pool4.last_report(host, reason) else { return };
        if core::mem::replace(last_report, second) != second {
            let exhausted = reason == Reason::PoolExhausted;
            self.events.push(if exhausted {
                Event::PoolExhausted { host }
            } else {
                Event::QuotaReached { host, reason }
            });
        }
    }
}
