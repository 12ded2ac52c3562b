//! Settings of the stateful translator: zones, pools, timers, limits. The caller has validated them.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::addr::{Ipv4Prefix, Ipv6Prefix, PortRange, Pref64, Proto, Transport4, Transport6, ZoneId};
use crate::ownership::{Claims, Owners};

/// A group of clients with one policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Zone number, stable over reloads.
    pub id: ZoneId,
    /// Client prefixes. No prefix appears in two zones; the longest match wins.
    pub clients: Vec<Ipv6Prefix>,
    /// Pref64s; the first is the advertised one.
    pub pref64: Vec<Pref64>,
    /// Index into [`Settings::pools`].
    pub pool: usize,
    /// Prefix length that identifies one host, at most 128.
    pub host_len: u8,
    /// Prefix length of one site, at most `host_len`.
    pub site_len: u8,
    /// How its hosts and sites share the pool.
    pub sharing: Sharing,
    /// Maximum ports per host.
    pub ports_per_host: u32,
    /// Maximum sessions per host.
    pub sessions_per_host: u32,
    /// Maximum new bindings per host and second; 0 is unlimited (RFC 6888 REQ-4c).
    pub bindings_per_second: u32,
    /// Hosts with limits of their own, such as resolvers and proxies.
    pub hosts: Vec<HostLimits>,
    /// Which sessions its hosts may open.
    pub new_sessions: NewSessions,
}

/// Which sessions the hosts of a zone may open. Sessions from outside to a binding are subject to [`Filtering`] instead.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewSessions {
    /// Rules by destination: the first that matches decides; without a match the session is allowed.
    pub rules: Vec<Rule>,
    /// Rate of each host.
    pub host_rate: Rate,
    /// Rate of all hosts together. Each worker has an equal part.
    pub zone_rate: Rate,
}

/// The rate of new sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Maximum sessions per second; 0 is unlimited.
    pub per_second: u32,
    /// Maximum sessions at once, after a pause.
    pub burst: u32,
}

/// A rule for new sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What happens to a session that matches.
    pub action: Action,
    /// Addresses of its destination. Empty: all.
    pub to: Vec<Ipv4Prefix>,
    /// Ports of its destination; an ICMP query has none. Empty: all, and ICMP queries.
    pub ports: Vec<PortRange>,
    /// Its protocol.
    pub protocols: Vec<Proto>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            Action::Allow => "allow",
            Action::Deny => "deny",
        })?;
        if self.protocols.len() < Proto::ALL.len() {
            list(f, " ", &self.protocols, |proto, f| f.write_str(proto.name()))?;
        }
        list(f, " to ", &self.to, fmt::Display::fmt)?;
        list(f, " ports ", &self.ports, |ports, f| match ports.count() {
            1 => write!(f, "{}", ports.first()),
            _ => write!(f, "{ports}"),
        })
    }
}

/// Writes a list that is not empty, with commas.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    before: &str,
    items: &[T],
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        f.write_str(if at == 0 { before } else { "," })?;
        write(item, f)?;
    }
    Ok(())
}

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Allows the session.
    Allow,
    /// Refuses the session.
    Deny,
}

/// The limits of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostLimits {
    /// The host: a prefix of the zone's `host_len`.
    pub prefix: Ipv6Prefix,
    /// Maximum ports.
    pub ports: u32,
    /// Maximum sessions.
    pub sessions: u32,
    /// Maximum new bindings per second; 0 is unlimited.
    pub bindings_per_second: u32,
    /// Rate of the sessions that it opens.
    pub session_rate: Rate,
}

/// How the hosts and sites of a zone share its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sharing {
    /// Ports of a host's first block: 16, 32, 64, 128 or 256. Further blocks are larger, and assigned only after a
    /// packet from outside has answered the host.
    pub first_block: u16,
    /// Maximum new hosts per site and second; 0 is unlimited.
    pub new_hosts_per_second: u32,
    /// Maximum part of the pool that the zone may use, in percent.
    pub pool_share: u8,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { first_block: 64, new_hosts_per_second: 1_000, pool_share: 100 }
    }
}

/// IPv4 addresses and ports for bindings, in ranges that do not overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// Addresses, and the ports and ICMP identifiers usable on each.
    pub ranges: Vec<(Ipv4Prefix, PortRange)>,
}

/// A BIB entry configured by the operator (RFC 6146 §3.1). It never expires and counts toward no quota.
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

/// Address pairing once a host has exhausted its IPv4 address (RFC 7857 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pairing {
    /// Its new flows are refused: all flows of a host share one IPv4 address.
    #[default]
    Strict,
    /// Ports of another address.
    Soft,
}

/// Handling of a SYN from the IPv4 side without a session (RFC 6146 §3.5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnsolicitedSyn {
    /// Stored for [`Timers::tcp_incoming_syn`], then rejected with ICMPv4 3/3 unless the client opens the
    /// same connection.
    #[default]
    Store,
    /// Dropped at once, silently.
    Drop,
}

/// Masquerading after the translator, which keeps ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Masquerade {
    /// The address of the pool.
    pub inner: Ipv4Addr,
    /// The address that replaces it: by this one zone hosts address each other (hairpinning).
    pub public: Ipv4Addr,
}

/// Timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// UDP; at least 120 s (RFC 6146 §4).
    pub udp: Duration,
    /// Established TCP; at least 7,200 s.
    pub tcp_established: Duration,
    /// Opening TCP; 240 s by RFC 7857 §2.1, less at the operator's choice.
    pub tcp_opening: Duration,
    /// Closing TCP, and TCP after its idle timeout; as for opening.
    pub tcp_closing: Duration,
    /// ICMP queries; at least 60 s.
    pub icmp: Duration,
    /// Unsolicited SYN; at least 6 s.
    pub tcp_incoming_syn: Duration,
    /// Fragments of an incomplete datagram; at least 1 s. RFC 6146 §4 asks for 2 s.
    pub fragment: Duration,
    /// Quarantine of a port or block before other clients may use it; 120 s (RFC 6888 REQ-8).
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

/// Bounds of one worker's tables. A reload cannot change them: memory is allocated once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sessions, of all protocols together.
    pub sessions: u32,
    /// Bindings (BIB entries), of all protocols together.
    pub bindings: u32,
    /// Port blocks in use. Each takes at most 1.3 KiB of memory.
    pub blocks: u32,
    /// Hosts that hold a block, and hosts that were answered and gave their blocks up. A host whose blocks a reload withdrew counts until their quarantine ends, and
    /// once more with its new blocks.
    pub hosts: u32,
    /// Bytes of cached fragments.
    pub fragment_bytes: usize,
    /// Unsolicited SYNs stored.
    pub unsolicited_syns: u32,
    /// Unsolicited SYNs stored per IPv4 source.
    pub unsolicited_syns_per_source: u32,
    /// Pending events.
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

/// All settings of the stateful translator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The zones.
    pub zones: Vec<Zone>,
    /// The pools that zones name by index.
    pub pools: Vec<Pool>,
    /// Static bindings.
    pub statics: Vec<StaticBinding>,
    /// Denied destinations, checked before any state is created.
    pub deny: Vec<Ipv4Prefix>,
    /// Whether the Well-Known Prefix may represent 10/8, 172.16/12, 192.168/16 and 100.64/10.
    pub private_under_well_known: bool,
    /// Whether the Well-Known Prefix represents any sender of an ICMP error; else such errors are sent from
    /// `address6`.
    pub errors_under_well_known: bool,
    /// Filtering for TCP, UDP and ICMP, in the order of [`Proto`].
    pub filtering: [Filtering; 3],
    /// Handling of unsolicited SYNs.
    pub unsolicited_syn: UnsolicitedSyn,
    /// Whether packets from the IPv4 side refresh a session; optional by RFC 6146 §5.3.
    pub inbound_refresh: bool,
    /// Whether a UDP mapping keeps the parity of its port (RFC 4787 REQ-4).
    pub parity: bool,
    /// Address pairing.
    pub pairing: Pairing,
    /// Timeouts.
    pub timers: Timers,
    /// UDP timeouts of single server ports below 1024, sorted by port (RFC 4787 REQ-5a).
    pub udp_ports: Vec<(u16, Duration)>,
    /// With masquerading after the translator: the address that the outside sees instead of the pool's.
    pub masquerade: Option<Masquerade>,
    /// Whether the starts and ends of sessions are events. A reload cannot change it.
    pub log_sessions: bool,
    /// Bounds.
    pub limits: Limits,
    /// Source of the gateway's own ICMPv6 errors.
    pub address6: Ipv6Addr,
    /// Source of the gateway's own ICMPv4 errors.
    pub address4: Ipv4Addr,
}

impl Settings {
    /// The ownership of hosts and port ranges among `workers` workers, at least 1.
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
    /// No zone: every packet is dropped.
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
            masquerade: None,
            log_sessions: false,
            limits: Limits::default(),
            address6: Ipv6Addr::UNSPECIFIED,
            address4: Ipv4Addr::UNSPECIFIED,
        }
    }
}
