//! What a packet needs to pass or to open a session: filtering, the client's activity, limits.

use core::net::Ipv4Addr;

use super::{Event, Filtering, Nat64};
use crate::addr::{HostKey, Proto, Transport4, Transport6};
use crate::reason::Reason;
use crate::time::Instant;
use crate::xlat::Pass;

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

    /// Checks that the table and the host's quota have room for one more session. `slot` is that of the host, if it
    /// holds blocks.
    pub(super) fn check_sessions(
        &mut self,
        now: Instant,
        zone: u16,
        (host, slot): (HostKey, Option<u32>),
        binding: Option<u32>,
    ) -> Result<(), Reason> {
        let is_static = binding.is_some_and(|slot| self.bib.binding(slot).is_static());
        let quota = self.policy.zones.zone(zone).limits_of(host).sessions;
        let sessions = match slot {
            Some(slot) if !is_static => self.pool4.hosts().host(slot).sessions,
            Some(_) | None => 0,
        };
        if self.sessions.is_full() || !is_static && sessions >= quota {
            self.report_refusal(now, host, Reason::SessionLimit);
            return Err(Reason::SessionLimit);
        }
        Ok(())
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
