//! Sessions: limits, timeouts and filtering. Methods of the model.

use std::net::Ipv6Addr;
use std::time::Duration;

use gate64::addr::{Pref64, Proto, Transport4, Transport6};
use gate64::nat64::{Action, Filtering, Rule};
use gate64::reason::Reason;
use gate64::time::Instant;

use super::choice::admit;
use super::{Model, Refusal, Session};
use crate::model::address::Host;
use crate::model::packet::Flow;
use crate::model::tcp::{self, State};

impl Model {
    pub(super) fn room_for_session(&self, client: Transport6, binding: Option<usize>) -> Result<(), Reason> {
        let outside_quota = binding.is_some_and(|at| self.bindings[at].fixed);
        let quota = self.zone(client.addr).map_or(0, |zone| zone.sessions_per_host) as usize;
        let has_room = match outside_quota {
            true => self.sessions_beside(client) < self.settings.nat64.limits.sessions as usize,
            false => {
                self.sessions_of(self.host(client.addr)) < quota && self.has_share_of_sessions(client.addr)
            }
        };
        if has_room { Ok(()) } else { Err(Reason::SessionLimit) }
    }

    /// Whether the client's host may take one more entry of the session table. The last quarter is for answered
    /// hosts, half of it also for those of sites that hold at most a 64th of the table.
    fn has_share_of_sessions(&self, client: Ipv6Addr) -> bool {
        let Some(host) = self.host(client) else { return true };
        let (limit, worker) = (self.settings.nat64.limits.sessions as usize, self.owners.source(client));
        let of_worker: Vec<_> =
            self.sessions.iter().filter(|s| self.owners.source(s.client.addr) == worker).collect();
        if of_worker.len() < limit / 4 {
            return true;
        }
        let counts = |s: &&&Session| {
            let binding = self.of(s.proto, s.client).expect("a session has a binding");
            let site = self.host(s.client.addr).map(|host| self.site_of(host));
            !self.bindings[binding].fixed && site == Some(self.site_of(host))
        };
        let of_site = of_worker.iter().filter(counts).count();
        let reserve = match (self.is_answered(host), of_site <= limit / 64) {
            (true, _) => 0,
            (false, true) => limit / 8,
            (false, false) => limit / 4,
        };
        admit(limit - reserve, of_worker.len(), of_site, self.sessions_of(Some(host))).is_ok()
    }

    /// Applies the rules of the client's zone to a packet without a session: the first that matches decides.
    pub(super) fn check_rules(
        &self,
        proto: Proto,
        client: Transport6,
        remote: Transport4,
    ) -> Result<(), Refusal> {
        if self.is_denied_by_rule(proto, client, remote) {
            return Err(self.prohibited(Reason::RuleDenied, (1, 1, 0)));
        }
        Ok(())
    }

    fn is_denied_by_rule(&self, proto: Proto, client: Transport6, remote: Transport4) -> bool {
        let of_address =
            |rule: &&Rule| rule.to.is_empty() || rule.to.iter().any(|net| net.contains(remote.addr));
        let of_port = |rule: &&Rule| {
            rule.ports.is_empty()
                || proto != Proto::Icmp && rule.ports.iter().any(|range| range.contains(remote.port))
        };
        let rules = self.zone(client.addr).into_iter().flat_map(|zone| &zone.new_sessions.rules);
        let mut matching =
            rules.filter(|rule| rule.protocols.contains(&proto)).filter(of_address).filter(of_port);
        matching.next().is_some_and(|rule| rule.action == Action::Deny)
    }

    /// Whether new settings end a session because of its destination.
    pub(in crate::model) fn is_forbidden(&self, session: &Session) -> bool {
        let Session { proto, client, remote, outbound, .. } = *session;
        let denied = self.settings.nat64.deny.iter().any(|net| net.contains(remote.addr));
        denied || outbound && self.is_denied_by_rule(proto, client, remote)
    }

    /// Sessions opened from outside leave a quarter of the table and half of each host's quota to sessions
    /// from inside.
    pub(super) fn check_inbound_limits(&self, binding: usize) -> Result<(), Reason> {
        let limit = self.settings.nat64.limits.sessions as usize;
        let of = &self.bindings[binding];
        let quota = self.zone(of.client.addr).map_or(0, |zone| zone.sessions_per_host).div_ceil(2) as usize;
        let full = self.sessions_beside(of.client) >= limit - limit / 4
            || !of.fixed && self.sessions_of(self.host(of.client.addr)) >= quota;
        if full { Err(Reason::SessionLimit) } else { Ok(()) }
    }

    /// The number of sessions in the table of a client's worker.
    fn sessions_beside(&self, client: Transport6) -> usize {
        let worker = self.owners.source(client.addr);
        self.sessions.iter().filter(|s| self.owners.source(s.client.addr) == worker).count()
    }

    /// The number of sessions that count against a host's quota.
    fn sessions_of(&self, host: Option<Host>) -> usize {
        let counts = |s: &&Session| {
            let binding = self.of(s.proto, s.client).expect("a session has a binding");
            !self.bindings[binding].fixed && self.host(s.client.addr) == host
        };
        self.sessions.iter().filter(counts).count()
    }

    pub(super) fn open(
        &mut self,
        binding: usize,
        remote: Transport4,
        pref64: Pref64,
        from_v6: bool,
        flow: &Flow,
        state: State,
    ) {
        let of = &self.bindings[binding];
        let (proto, client, deadline) = (of.proto, of.client, self.now);
        self.sessions.push(Session { proto, client, remote, pref64, state, deadline, outbound: from_v6 });
        let at = self.sessions.len() - 1;
        let timers = &self.settings.nat64.timers;
        let lifetime = match (proto, state) {
            (Proto::Udp, _) => self.udp_lifetime(remote),
            (Proto::Icmp, _) => timers.icmp,
            (Proto::Tcp, State::None) => {
                self.sessions[at].state = if from_v6 { State::V6Init } else { State::V4Init };
                timers.tcp_opening
            }
            (Proto::Tcp, _) => return self.advance_session(at, from_v6, flow),
        };
        self.sessions[at].deadline = self.now + lifetime;
    }

    /// Some server ports have their own timeout (RFC 4787 REQ-5a).
    fn udp_lifetime(&self, remote: Transport4) -> Duration {
        let own = self.settings.nat64.udp_ports.iter().find(|(port, _)| *port == remote.port);
        own.map_or(self.settings.nat64.timers.udp, |(_, lifetime)| *lifetime)
    }

    /// Whether the client of a binding has sent nothing of its own accord for a time, which the translator rounds
    /// up to eighths of a second. The client of a static binding never counts as silent.
    fn is_silent(&self, binding: usize, time: Duration) -> bool {
        let eighth = 1 << 27;
        let of = &self.bindings[binding];
        let since = Instant::from_nanos((of.active.as_nanos() / eighth + 1) * eighth);
        !of.fixed && self.now >= since + time
    }

    /// A packet of an existing session. Inbound packets may be configured not to refresh it, and never do once the
    /// client has been silent as long as they would (RFC 6146 §5.3).
    pub(super) fn advance_session(&mut self, at: usize, from_v6: bool, flow: &Flow) {
        let timers = &self.settings.nat64.timers;
        let (proto, client, old) =
            (self.sessions[at].proto, self.sessions[at].client, self.sessions[at].state);
        let binding = self.of(proto, client).expect("a session has a binding");
        let (next, lifetime) = match (proto, flow.event) {
            (Proto::Tcp, Some(event)) => tcp::step(old, from_v6, event, timers),
            (Proto::Tcp, None) => (old, None),
            (Proto::Udp, _) => (old, Some(self.udp_lifetime(self.sessions[at].remote))),
            (Proto::Icmp, _) => (old, Some(timers.icmp)),
        };
        let by_client = from_v6 && !flow.automatic;
        if let Some(lifetime) = lifetime {
            let silent = self.is_silent(binding, lifetime);
            let may = by_client || self.settings.nat64.inbound_refresh && !silent;
            if old == next && !may {
                return;
            }
            // Nobody but the client revives a session that a RST or silence is ending.
            if matches!(old, State::Trans | State::Reset) && next == State::Est && !from_v6 && silent {
                return;
            }
            self.sessions[at].deadline = self.now + lifetime;
        }
        self.sessions[at].state = next;
    }

    /// Whether packets from outside open no session, since the client has been silent for a lifetime.
    pub(super) fn is_abandoned(&self, binding: usize) -> bool {
        let (of, timers) = (&self.bindings[binding], &self.settings.nat64.timers);
        let connected = |s: &Session| {
            s.proto == of.proto
                && s.client == of.client
                && matches!(s.state, State::Est | State::V4Fin | State::V6Fin)
        };
        let lifetime = match of.proto {
            Proto::Udp => timers.udp,
            Proto::Icmp => timers.icmp,
            Proto::Tcp if self.sessions.iter().any(connected) => timers.tcp_established,
            Proto::Tcp => timers.tcp_opening.max(timers.tcp_closing),
        };
        self.is_silent(binding, lifetime)
    }

    /// Whether filtering lets packets of a server, or errors about packets to it, reach a binding.
    pub(in crate::model) fn passes_filter(&self, binding: usize, remote: Transport4) -> bool {
        let of = &self.bindings[binding];
        let mut known = self.sessions.iter().filter(|s| s.proto == of.proto && s.client == of.client);
        match self.settings.nat64.filtering[of.proto as usize] {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => known.any(|s| s.remote.addr == remote.addr),
            Filtering::AddressAndPortDependent => known.any(|s| s.remote == remote),
        }
    }
}
