//! Settings of the DNS64 and its resolver. `config` parses and validates them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use super::{CacheLimits, Domains, LedgerLimits, LocalRecords, Network};
use crate::addr::{HostKey, Ipv4Prefix, Ipv6Prefix, Longest, Pref64, SiteKey, ZoneId, special};

/// IPv4-mapped addresses, which AAAA records should not contain (RFC 6147 §5.1.4).
pub const MAPPED: Ipv6Prefix = Ipv6Prefix::containing(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// When to synthesize for a client that set DO and may validate (RFC 6147 §5.5, RFC 8683 §4.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithDo {
    /// Never: the client must use IPv4 through its own CLAT.
    Never,
    /// If the A reply has no signature.
    UnsignedOnly,
    /// Always: the upstream has validated the negative AAAA answer and the A records.
    Validated,
}

/// Which names to synthesize.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Synthesize {
    /// Names without AAAA records.
    #[default]
    Missing,
    /// All names with A records; AAAA records are ignored.
    Always,
    /// None, except ipv4only.arpa, so that hosts discover the pref64 (RFC 8683 §4.1.1).
    Never,
}

/// The answer for a name to synthesize while the translator is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenDown {
    /// SERVFAIL, so that hosts try another resolver, or retry.
    #[default]
    Servfail,
    /// The negative AAAA answer, as without DNS64.
    Native,
}

/// DNS64 rules of a zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whether DNS64 is on. If off, the zone's clients get a plain forwarder, which does not answer for
    /// ipv4only.arpa (RFC 8880 §7.1).
    pub enabled: bool,
    /// Which names to synthesize.
    pub synthesize: Synthesize,
    /// Names whose AAAA records are ignored if they have A records that can be translated.
    pub ignore_aaaa_for: Domains,
    /// Names that are never synthesized.
    pub never_for: Domains,
    /// The answer while the translator is down.
    pub when_down: WhenDown,
    /// Prefix length of one host, as in the translator; names are recorded by host.
    pub host_len: u8,
    /// Prefix length of one site, as in the translator.
    pub site_len: u8,
    /// AAAA records in these prefixes count as absent (RFC 6147 §5.1.4).
    pub exclude_aaaa: Vec<Ipv6Prefix>,
    /// A records in these prefixes are never translated.
    pub never_translate_ipv4: Vec<Ipv4Prefix>,
    /// Whether 10/8, 172.16/12, 192.168/16 and 100.64/10 are embedded in the Well-Known Prefix. Must equal
    /// the translator's setting of the same name.
    pub private_under_well_known: bool,
    /// Synthesis with DO; `None` is [`WithDo::Validated`] with [`Settings::trust_ad`], otherwise
    /// [`WithDo::UnsignedOnly`].
    pub with_do: Option<WithDo>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            enabled: true,
            synthesize: Synthesize::default(),
            ignore_aaaa_for: Domains::default(),
            never_for: Domains::default(),
            when_down: WhenDown::default(),
            host_len: 128,
            site_len: 64,
            exclude_aaaa: vec![MAPPED],
            never_translate_ipv4: Vec::new(),
            private_under_well_known: false,
            with_do: None,
        }
    }
}

impl Rules {
    /// Whether `name` (uncompressed, lowercase) may be synthesized.
    pub(super) fn may_synthesize(&self, name: &[u8]) -> bool {
        self.enabled && self.synthesize != Synthesize::Never && !self.never_for.contains(name)
    }

    /// Whether AAAA records of `name` are ignored, if it may be synthesized.
    pub(super) fn ignores_aaaa(&self, name: &[u8]) -> bool {
        self.synthesize == Synthesize::Always || self.ignore_aaaa_for.contains(name)
    }
}

/// A pref64, optionally for a part of the IPv4 space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Prefix of the IPv6 addresses.
    pub pref64: Pref64,
    /// Its IPv4 addresses. `None` is all that no other mapping of the zone covers (RFC 6147 §5.1.7).
    pub only: Option<Ipv4Prefix>,
}

impl From<Pref64> for Mapping {
    fn from(pref64: Pref64) -> Self {
        Self { pref64, only: None }
    }
}

/// A group of clients with the same rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Its number, as in the translator.
    pub id: ZoneId,
    /// Its name in metrics and logs.
    pub name: String,
    /// Its clients. A prefix is in one zone only; the longest match decides.
    pub clients: Vec<Ipv6Prefix>,
    /// Its pref64s, in the order of the synthesized records.
    pub pref64: Vec<Mapping>,
    /// Its rules.
    pub rules: Rules,
}

/// Names that have their own upstreams.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forward {
    /// The names, including subdomains. The longest match over all lists decides.
    pub domains: Domains,
    /// The upstreams, in order of preference.
    pub upstreams: Vec<SocketAddr>,
}

/// Timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// How long to wait for the AAAA reply once the A reply has arrived (800 ms).
    pub aaaa_wait: Duration,
    /// How long to wait for one upstream before trying the next (1 s).
    pub attempt: Duration,
    /// How long a client query may take before it gets SERVFAIL (4 s, below the 5 s after which stub
    /// resolvers retry).
    pub total: Duration,
    /// How long to wait for fresh data if stale data is available (1.8 s, RFC 8767 §5).
    pub stale_wait: Duration,
    /// How long a TCP connection may be idle (5 s).
    pub tcp_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            aaaa_wait: Duration::from_millis(800),
            attempt: Duration::from_secs(1),
            total: Duration::from_secs(4),
            stale_wait: Duration::from_millis(1_800),
            tcp_idle: Duration::from_secs(5),
        }
    }
}

/// Limits of pending queries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Pending queries of all clients.
    pub in_flight: usize,
    /// Pending queries of one client address.
    pub in_flight_per_client: usize,
    /// Attempts per upstream query, at least 1.
    pub attempts: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 4_096, in_flight_per_client: 256, attempts: 3 }
    }
}

/// Settings of the DNS64 and its resolver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The zones. Clients in no zone get no answer.
    pub zones: Vec<Zone>,
    /// Listen addresses, UDP and TCP. An unspecified address covers all of its family; answers leave from
    /// the address that was queried.
    pub listen: Vec<SocketAddr>,
    /// Recursive resolvers, in order of preference.
    pub upstreams: Vec<SocketAddr>,
    /// Names that have their own upstreams.
    pub forwards: Vec<Forward>,
    /// Local records.
    pub local: LocalRecords,
    /// Whether the upstreams validate and the path to them is secure, so that their AD bit can be trusted.
    pub trust_ad: bool,
    /// TTL of answers about ipv4only.arpa, in seconds, at least 60: how long a client uses a discovered
    /// pref64 (RFC 7050 §5).
    pub discovery_ttl: u32,
    /// Cache limits.
    pub cache_limits: CacheLimits,
    /// Ledger limits.
    pub ledger: LedgerLimits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Limits of pending queries.
    pub limits: Limits,
    /// Settings of the sockets.
    pub network: Network,
}

impl Default for Settings {
    /// No zone, no listener, no upstream; otherwise the documented defaults.
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            listen: Vec::new(),
            upstreams: Vec::new(),
            forwards: Vec::new(),
            local: LocalRecords::default(),
            trust_ad: false,
            discovery_ttl: 600,
            cache_limits: CacheLimits::default(),
            ledger: LedgerLimits::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            network: Network::default(),
        }
    }
}

impl Settings {
    /// The table that finds a client's zone.
    pub fn client_zones(&self) -> ClientZones {
        let zones = self.zones.iter().zip(0..);
        ClientZones(Longest::of_v6(
            zones.flat_map(|(zone, index)| zone.clients.iter().map(move |clients| (*clients, index))),
        ))
    }

    /// The upstreams of a group, in order of preference. Group 0 is for names without a forward zone.
    pub fn servers(&self, group: usize) -> &[SocketAddr] {
        match group.checked_sub(1) {
            None => &self.upstreams,
            Some(forward) => self.forwards.get(forward).map_or(&[], |forward| &forward.upstreams),
        }
    }

    /// Whether an upstream is in any group.
    pub fn has_upstream(&self, addr: SocketAddr) -> bool {
        (0..=self.forwards.len()).any(|group| self.servers(group).contains(&addr))
    }

    /// The cache limits of one engine; each thread has one engine.
    pub(super) fn cache_limits_per_engine(&self) -> CacheLimits {
        CacheLimits { bytes: self.cache_limits.bytes / self.network.threads.max(1), ..self.cache_limits }
    }

    /// The ledger limits of one engine.
    pub(super) fn ledger_limits_per_engine(&self) -> LedgerLimits {
        let engines = self.network.threads.max(1);
        LedgerLimits {
            names: self.ledger.names.div_ceil(engines),
            links: self.ledger.links.div_ceil(engines),
        }
    }

    /// Whether `name` (uncompressed, lowercase) is in a forward zone other than the root.
    pub(super) fn forwards_name(&self, name: &[u8]) -> bool {
        self.forwards.iter().any(|forward| forward.domains.longest(name).is_some_and(|labels| labels > 0))
    }

    /// The upstream group for `name` (uncompressed, lowercase).
    pub(super) fn group_of(&self, name: &[u8]) -> usize {
        let forwards = self.forwards.iter().enumerate();
        let fits = forwards.filter_map(|(n, forward)| Some((forward.domains.longest(name)?, n + 1)));
        fits.max_by_key(|(labels, _)| *labels).map_or(0, |(_, group)| group)
    }
}

/// Finds the zone of a client.
#[derive(Clone, Debug)]
pub struct ClientZones(Longest);

impl ClientZones {
    /// Index of the client's zone: the one with the longest matching prefix. IPv4 clients are in no zone.
    pub fn find(&self, client: IpAddr) -> Option<usize> {
        let IpAddr::V6(client) = client else { return None };
        self.0.find_v6(client).map(|index| index as usize)
    }
}

impl Zone {
    /// The host of a client.
    pub fn host_of(&self, client: Ipv6Addr) -> HostKey {
        HostKey::new(self.id, client, self.rules.host_len)
    }

    /// The site of a client.
    pub fn site_of(&self, client: Ipv6Addr) -> SiteKey {
        self.host_of(client).site(self.rules.site_len)
    }

    /// Whether an A record with `addr` may be translated to `pref64` (RFC 6052 §3.1).
    pub fn translates(&self, addr: Ipv4Addr, pref64: Pref64) -> bool {
        if self.rules.never_translate_ipv4.iter().any(|p| p.contains(addr)) || !special::is_host_v4(addr) {
            return false;
        }
        let private = self.rules.private_under_well_known && special::is_private(addr);
        !pref64.is_well_known() || special::is_global(addr) || private
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(id: u16, clients: &[&str], pref64: &str) -> Zone {
        Zone {
            id: ZoneId(id),
            name: format!("zone-{id}"),
            clients: clients.iter().map(|c| c.parse().expect("literal")).collect(),
            pref64: vec![pref64.parse::<Pref64>().expect("literal").into()],
            rules: Rules::default(),
        }
    }

    #[test]
    fn the_longest_client_prefix_wins() {
        // ids 8683-4.1.5-acl, 7269-lb
        let settings = Settings {
            zones: vec![
                zone(1, &["2001:db8::/32"], "64:ff9b::/96"),
                zone(2, &["2001:db8:1::/48", "2001:db8:2::/48"], "2001:db8:64::/96"),
            ],
            ..Settings::default()
        };
        let cases = [
            ("2001:db8:9::1", Some(1)),
            ("2001:db8:1::1", Some(2)),
            ("2001:db8:2::1", Some(2)),
            ("2001:db9::1", None),
            ("192.0.2.1", None),
            ("::ffff:192.0.2.1", None),
        ];
        for (client, want) in cases {
            let index = settings.client_zones().find(client.parse().expect("literal"));
            let got = index.map(|index| settings.zones[index].id.0);
            assert_eq!(got, want, "{client}");
        }
    }

    #[test]
    fn translatable_addresses_by_prefix() {
        // ids 6147-5.1.7-wkp-nonglobal, 6147-5.1.7-exclv4, W-dns64, W-nsp
        let mut zone = zone(1, &[], "64:ff9b::/96");
        let own: Pref64 = "2001:db8:64::/96".parse().expect("literal");
        let check = |zone: &Zone, addr: &str, pref64| zone.translates(addr.parse().expect("literal"), pref64);
        assert!(check(&zone, "8.8.8.8", Pref64::WELL_KNOWN));
        assert!(!check(&zone, "10.0.0.1", Pref64::WELL_KNOWN));
        assert!(!check(&zone, "192.0.2.1", Pref64::WELL_KNOWN));
        assert!(check(&zone, "10.0.0.1", own));
        assert!(!check(&zone, "127.0.0.1", own));
        zone.rules.private_under_well_known = true;
        assert!(check(&zone, "10.0.0.1", Pref64::WELL_KNOWN));
        assert!(!check(&zone, "192.0.2.1", Pref64::WELL_KNOWN));
        zone.rules.never_translate_ipv4 = vec!["192.168.0.0/16".parse().expect("literal")];
        assert!(!check(&zone, "192.168.1.1", own));
    }
}
