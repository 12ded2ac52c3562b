//! What a stateful translator is told: zones, pools, timers, limits. Typed and resolved; whoever
//! builds it has checked it.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::addr::{Ipv4Prefix, Ipv6Prefix, PortRange, Pref64, Proto, Transport4, Transport6, ZoneId};
use crate::ownership::{Claims, Owners};

/// A group of clients with one policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Its number, stable over reloads.
    pub id: ZoneId,
    /// Its clients. No prefix appears in two zones; the longest match decides.
    pub clients: Vec<Ipv6Prefix>,
    /// Its pref64s; the first is the advertised one.
    pub pref64: Vec<Pref64>,
    /// Index into [`Settings::pools`].
    pub pool: usize,
    /// Length of the prefix that is one host, at most 128.
    pub host_len: u8,
    /// Most port blocks a host may hold.
    pub blocks_per_host: u16,
    /// Most sessions a host may hold.
    pub sessions_per_host: u32,
    /// Most bindings a host may make in a second; 0 is no bound (RFC 6888 REQ-4c).
    pub bindings_per_second: u32,
}

/// IPv4 addresses and ports to translate to: any number of ranges, which don't overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// Addresses and the ports (and ICMP identifiers) that may be used on each of them.
    pub ranges: Vec<(Ipv4Prefix, PortRange)>,
}

/// A BIB entry made by the operator (RFC 6146 §3.1). It never expires and stands outside quotas.
///
/// Its IPv4 address need not be in a pool. The client must lie in a zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StaticBinding {
    /// Which BIB.
    pub proto: Proto,
    /// The IPv6 side.
    pub v6: Transport6,
    /// The IPv4 side.
    pub v4: Transport4,
}

/// Who may send to a binding from the IPv4 side (RFC 4787 §5, RFC 6146 §3.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Filtering {
    /// Anybody.
    #[default]
    EndpointIndependent,
    /// Addresses to which the binding has a session.
    AddressDependent,
    /// Addresses and ports to which the binding has a session.
    AddressAndPortDependent,
}

/// What a host gets that has used up its own IPv4 address (RFC 7857 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pairing {
    /// Nothing: all its flows have one IPv4 address.
    #[default]
    Strict,
    /// Ports of another address.
    Soft,
}

/// What becomes of a SYN from the IPv4 side for which there is no session (RFC 6146 §3.5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnsolicitedSyn {
    /// Kept for six seconds in case the host inside opens the same connection, then answered
    /// with ICMPv4 3/3.
    #[default]
    Store,
    /// Dropped at once, silently.
    Drop,
}

/// Lifetimes of sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// UDP; at least 120 s (RFC 6146 §4).
    pub udp: Duration,
    /// Established TCP; at least 7,200 s.
    pub tcp_established: Duration,
    /// TCP while it opens; at least 240 s unless the operator insists (RFC 7857 §2.1).
    pub tcp_opening: Duration,
    /// TCP while it closes, or has been idle for too long; likewise.
    pub tcp_closing: Duration,
    /// ICMP queries; at least 60 s.
    pub icmp: Duration,
    /// How long an unsolicited SYN is kept; 6 s.
    pub tcp_incoming_syn: Duration,
    /// How long fragments wait for the others; at least 2 s.
    pub fragment: Duration,
    /// How long a port or block rests before another mapping may have it; 120 s (RFC 6888 REQ-8).
    pub quarantine: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            udp: Duration::from_secs(300),
            tcp_established: Duration::from_secs(7_200),
            tcp_opening: Duration::from_secs(240),
            tcp_closing: Duration::from_secs(240),
            icmp: Duration::from_secs(60),
            tcp_incoming_syn: Duration::from_secs(6),
            fragment: Duration::from_secs(2),
            quarantine: Duration::from_secs(120),
        }
    }
}

/// Bounds of one worker's tables. Fixed when the translator is made: memory is taken then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sessions, of all protocols together.
    pub sessions: u32,
    /// Bindings (BIB entries), of all protocols together.
    pub bindings: u32,
    /// Port blocks in use.
    pub blocks: u32,
    /// Hosts that hold a block. One whose blocks a reload took counts with these until they have rested,
    /// and again with the blocks it is given anew.
    pub hosts: u32,
    /// Bytes of fragments on hold.
    pub fragment_bytes: usize,
    /// Unsolicited SYNs stored.
    pub unsolicited_syns: u32,
    /// Unsolicited SYNs stored of one IPv4 source.
    pub unsolicited_syns_per_source: u32,
    /// Events waiting to be fetched.
    pub events: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1_000_000,
            bindings: 1_000_000,
            blocks: 65_536,
            hosts: 65_536,
            fragment_bytes: 4 << 20,
            unsolicited_syns: 1_000,
            unsolicited_syns_per_source: 10,
            events: 4_096,
        }
    }
}

/// Everything the stateful translator is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The zones.
    pub zones: Vec<Zone>,
    /// The pools that zones name by index.
    pub pools: Vec<Pool>,
    /// Bindings made by the operator.
    pub statics: Vec<StaticBinding>,
    /// Destinations nobody may reach, looked at before state is made.
    pub deny: Vec<Ipv4Prefix>,
    /// Whether 10/8, 172.16/12, 192.168/16 and 100.64/10 may be reached under the Well-Known Prefix.
    pub private_under_well_known: bool,
    /// Whether ICMP errors pass whose sender the Well-Known Prefix must not represent.
    pub errors_under_well_known: bool,
    /// Filtering for TCP, UDP and ICMP, in the order of [`Proto`].
    pub filtering: [Filtering; 3],
    /// What becomes of unsolicited SYNs.
    pub unsolicited_syn: UnsolicitedSyn,
    /// Whether packets from the IPv4 side prolong a session (RFC 6146 §5.3 allows not to).
    pub inbound_refresh: bool,
    /// Whether a UDP mapping keeps the parity of its port (RFC 4787 REQ-4).
    pub parity: bool,
    /// What a host gets that has used up its address.
    pub pairing: Pairing,
    /// Lifetimes.
    pub timers: Timers,
    /// Lifetimes of UDP towards certain ports below 1024, sorted by port (RFC 4787 REQ-5a).
    pub udp_ports: Vec<(u16, Duration)>,
    /// Bounds.
    pub limits: Limits,
    /// Source of our own ICMPv6 errors.
    pub address6: Ipv6Addr,
    /// Source of our own ICMPv4 errors.
    pub address4: Ipv4Addr,
}

impl Settings {
    /// Who owns what with these settings, when `workers` (at least 1) share the work.
    ///
    /// `seed` is that of the [hash](crate::ownership#the-hash).
    pub fn owners(&self, seed: u32, workers: u8) -> Owners {
        let clients = |zone: &Zone| zone.clients.iter().map(|net| (*net, zone.host_len)).collect::<Vec<_>>();
        let claims = Claims {
            clients: self.zones.iter().flat_map(clients).collect(),
            pools: self.pools.iter().flat_map(|pool| pool.ranges.iter().map(|(net, _)| *net)).collect(),
            statics: self.statics.iter().map(|entry| (entry.proto, entry.v4, entry.v6.addr)).collect(),
        };
        Owners::new(&claims, seed, workers)
    }
}

impl Default for Settings {
    /// Nobody is served.
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            pools: Vec::new(),
            statics: Vec::new(),
            deny: Vec::new(),
            private_under_well_known: false,
            errors_under_well_known: false,
            filtering: [Filtering::default(); 3],
            unsolicited_syn: UnsolicitedSyn::default(),
            inbound_refresh: true,
            parity: true,
            pairing: Pairing::default(),
            timers: Timers::default(),
            udp_ports: Vec::new(),
            limits: Limits::default(),
            address6: Ipv6Addr::UNSPECIFIED,
            address4: Ipv4Addr::UNSPECIFIED,
        }
    }
}
