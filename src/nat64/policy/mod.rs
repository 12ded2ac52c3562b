//! The policy: zones, filtering, timers and rewriting rules. Immutable between reloads.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Filtering, Settings, Timers, UnsolicitedSyn};
use crate::time::Span;
use crate::xlat::RewriteRules;

use zones::Zones;

mod rules;
pub(in crate::nat64) mod zones;

/// Session timeouts in a form that costs few instructions per packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) udp: Span,
    pub(super) icmp: Span,
    pub(super) tcp_established: Span,
    pub(super) tcp_opening: Span,
    pub(super) tcp_closing: Span,
}

impl Spans {
    fn new(timers: &Timers) -> Self {
        Self {
            udp: timers.udp.into(),
            icmp: timers.icmp.into(),
            tcp_established: timers.tcp_established.into(),
            tcp_opening: timers.tcp_opening.into(),
            tcp_closing: timers.tcp_closing.into(),
        }
    }
}

/// What [`Settings`] decide about packets, in a form for fast lookup.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// How one packet is rewritten: MTUs, traffic class, checksums.
    pub(super) rules: RewriteRules,
    /// Zones, their pref64s, and denied destinations.
    pub(super) zones: Zones,
    /// Filtering of packets from outside (RFC 4787 §5), by [`Proto`](crate::addr::Proto).
    pub(super) filtering: [Filtering; 3],
    /// What happens to a SYN from outside that no session expects.
    pub(super) unsolicited_syn: UnsolicitedSyn,
    /// Whether packets from outside refresh a session's timeout (RFC 4787 REQ-6).
    pub(super) inbound_refresh: bool,
    /// Whether a UDP binding keeps the parity of the client's port (RFC 4787 REQ-4).
    pub(super) parity: bool,
    /// Session timeouts by protocol and TCP state.
    pub(super) timers: Timers,
    /// Those of them that packets start.
    pub(super) spans: Spans,
    /// UDP timeouts of single server ports, sorted by port.
    pub(super) udp_ports: Vec<(u16, Span)>,
    /// Source of the gateway's own ICMPv6 errors.
    pub(super) address6: Ipv6Addr,
    /// Source of the gateway's own ICMPv4 errors.
    pub(super) address4: Ipv4Addr,
}

impl Policy {
    /// Builds the policy. pref64s that `old` has keep their index.
    pub(super) fn new(rules: RewriteRules, settings: &Settings, old: Option<&Self>) -> Self {
        Self {
            rules,
            zones: Zones::new(settings, old.map(|old| &old.zones)),
            filtering: settings.filtering,
            unsolicited_syn: settings.unsolicited_syn,
            inbound_refresh: settings.inbound_refresh,
            parity: settings.parity,
            timers: settings.timers,
            spans: Spans::new(&settings.timers),
            udp_ports: settings.udp_ports.iter().map(|(port, time)| (*port, (*time).into())).collect(),
            address6: settings.address6,
            address4: settings.address4,
        }
    }

    /// The IPv6 source of an ICMP error from `router`: under the pref64, or the gateway's own where the
    /// pref64 must not represent `router`. Dropping such an error would make a path through routers with
    /// private addresses a black hole for large packets.
    pub(super) fn error_source6(&self, pref64: u16, router: Ipv4Addr) -> Ipv6Addr {
        if self.zones.allows_error_source(pref64, router) {
            self.zones.embed(pref64, router)
        } else {
            self.address6
        }
    }
}
