//! What the DNS64 and its resolver are told. Typed and resolved; whoever builds it has checked it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use super::{Domains, Keeping, LedgerLimits, Local, Network};
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64, ZoneId, special};

/// IPv4-mapped addresses, which no AAAA record should hold (RFC 6147 §5.1.4).
pub const MAPPED: Ipv6Prefix = Ipv6Prefix::holding(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// When AAAA records are synthesised for a client that set DO and can therefore validate
/// (RFC 6147 §5.5, RFC 8683 §4.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithDo {
    /// Never: the client has to use IPv4 through its own CLAT.
    Never,
    /// If the A answer bears no signature.
    UnsignedOnly,
    /// Always: the upstream has validated the denial of AAAA and the A records.
    Validated,
}

/// For which names addresses are synthesised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Synthesize {
    /// For those without AAAA records.
    #[default]
    Missing,
    /// For all that have A records: their AAAA records are ignored.
    Always,
    /// For none; ipv4only.arpa is answered all the same, so that hosts find the pref64
    /// (RFC 8683 §4.1.1).
    Never,
}

/// What happens to names that would be synthesised while nothing translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenDown {
    /// SERVFAIL, so that hosts ask another resolver, or again.
    #[default]
    Servfail,
    /// The denial of AAAA, as if there were no DNS64.
    Native,
}

/// The rules of synthesis in one zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whether there is DNS64 at all; if not, its clients get a plain forwarder
    /// (RFC 8880 §7.1: which then knows nothing of ipv4only.arpa).
    pub enabled: bool,
    /// For which names addresses are synthesised.
    pub synthesize: Synthesize,
    /// Names whose own AAAA records are ignored if they have A records that can be translated.
    pub ignore_aaaa_for: Domains,
    /// Names for which nothing is synthesised.
    pub never_for: Domains,
    /// What happens while nothing translates.
    pub when_down: WhenDown,
    /// Length of the prefix that is one host, as the translator has it: who asked for a name is
    /// remembered by host.
    pub host_len: u8,
    /// AAAA records under these prefixes count as absent (RFC 6147 §5.1.4).
    pub exclude_aaaa: Vec<Ipv6Prefix>,
    /// A records in these prefixes are never translated.
    pub never_translate_ipv4: Vec<Ipv4Prefix>,
    /// Whether 10/8, 172.16/12, 192.168/16 and 100.64/10 are put under the Well-Known Prefix all
    /// the same. Must equal the translator's setting of that name.
    pub private_under_well_known: bool,
    /// What DO does; `None` is [`WithDo::Validated`] with [`Settings::trust_ad`], else
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
            exclude_aaaa: vec![MAPPED],
            never_translate_ipv4: Vec::new(),
            private_under_well_known: false,
            with_do: None,
        }
    }
}

impl Rules {
    /// Whether anything is synthesised for `name` (uncompressed, in small letters).
    pub(super) fn may_synthesise(&self, name: &[u8]) -> bool {
        self.enabled && self.synthesize != Synthesize::Never && !self.never_for.hold(name)
    }

    /// Whether AAAA records of `name` are ignored, given that something may be synthesised.
    pub(super) fn ignores_aaaa(&self, name: &[u8]) -> bool {
        self.synthesize == Synthesize::Always || self.ignore_aaaa_for.hold(name)
    }
}

/// A prefix for A records, perhaps of a part of the IPv4 space only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Where the IPv6 addresses lie.
    pub pref64: Pref64,
    /// Which IPv4 addresses: `None` is all that no other mapping of the zone names
    /// (RFC 6147 §5.1.7).
    pub only: Option<Ipv4Prefix>,
}

impl From<Pref64> for Mapping {
    fn from(pref64: Pref64) -> Self {
        Self { pref64, only: None }
    }
}

/// A group of clients with one policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Its number, the translator's.
    pub id: ZoneId,
    /// Its name, for metrics and logs.
    pub name: String,
    /// Its clients. No prefix appears in two zones; the longest match decides.
    pub clients: Vec<Ipv6Prefix>,
    /// Its pref64s, in the order in which they are put into answers.
    pub pref64: Vec<Mapping>,
    /// Its rules.
    pub rules: Rules,
}

/// Names that resolvers of their own are asked about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forward {
    /// The names, with all below them. If several lists hold a name, the longest match decides.
    pub domains: Domains,
    /// The resolvers, the preferred one first.
    pub upstreams: Vec<SocketAddr>,
}

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// How long a AAAA answer is waited for once A records are there (800 ms).
    pub aaaa_wait: Duration,
    /// How long one upstream is waited for before the next one is asked too (1 s).
    pub attempt: Duration,
    /// How long an exchange may take in all; then the client gets SERVFAIL (4 s, below the 5 s
    /// after which stub resolvers ask again).
    pub total: Duration,
    /// How long fresh data are waited for where old ones are at hand (1.8 s, RFC 8767 §5).
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

/// Bounds of what is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Exchanges at once, of all clients.
    pub in_flight: usize,
    /// Exchanges at once of one client address.
    pub in_flight_per_client: usize,
    /// Times one question is sent upstream, at least 1.
    pub attempts: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 4_096, in_flight_per_client: 256, attempts: 3 }
    }
}

/// Everything the DNS64 and its resolver are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The zones. Who is in none gets no answer.
    pub zones: Vec<Zone>,
    /// Where to listen, UDP and TCP. An unspecified address stands for all of its family; answers
    /// leave from the one that was asked.
    pub listen: Vec<SocketAddr>,
    /// Recursive resolvers, the first one preferred.
    pub upstreams: Vec<SocketAddr>,
    /// Names that other resolvers are asked about.
    pub forwards: Vec<Forward>,
    /// Names and addresses that the operator tells.
    pub local: Local,
    /// Whether the upstreams validate, and the way to them is safe enough to believe their AD bit.
    pub trust_ad: bool,
    /// TTL of answers about ipv4only.arpa, in seconds, at least 60: how long a client keeps a
    /// pref64 that it found (RFC 7050 §5).
    pub discovery_ttl: u32,
    /// How long answers are kept, and in how much room.
    pub keeping: Keeping,
    /// Bounds of the ledger.
    pub ledger: LedgerLimits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// What only the sockets are told.
    pub network: Network,
}

impl Default for Settings {
    /// No zone, no listener, no upstream; all else as documented.
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            listen: Vec::new(),
            upstreams: Vec::new(),
            forwards: Vec::new(),
            local: Local::default(),
            trust_ad: false,
            discovery_ttl: 600,
            keeping: Keeping::default(),
            ledger: LedgerLimits::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            network: Network::default(),
        }
    }
}

impl Settings {
    /// The zone a client is in, by its place in the list: the one with the longest prefix that holds
    /// `client`. Clients with an IPv4 address are in none.
    pub fn zone_of(&self, client: IpAddr) -> Option<usize> {
        let IpAddr::V6(client) = client else { return None };
        let zones = self.zones.iter().enumerate();
        zones
            .filter_map(|(place, zone)| Some((zone.longest(client)?, place)))
            .max_by_key(|(len, _)| *len)
            .map(|(_, place)| place)
    }

    /// The resolvers of a group, the preferred one first. Group 0 are those for all names that no
    /// other group is for.
    pub fn servers(&self, group: usize) -> &[SocketAddr] {
        match group.checked_sub(1) {
            None => &self.upstreams,
            Some(forward) => self.forwards.get(forward).map_or(&[], |forward| &forward.upstreams),
        }
    }

    /// The cache's bounds for one of the engines that share the work, one for each thread.
    pub(super) fn keeping_of_one(&self) -> Keeping {
        Keeping { bytes: self.keeping.bytes / self.network.threads.max(1), ..self.keeping }
    }

    /// The ledger's bounds for one of them.
    pub(super) fn ledger_of_one(&self) -> LedgerLimits {
        let engines = self.network.threads.max(1);
        LedgerLimits {
            names: self.ledger.names.div_ceil(engines),
            links: self.ledger.links.div_ceil(engines),
        }
    }

    /// The group of resolvers to ask about `name`, which is uncompressed and in small letters.
    pub(super) fn group_of(&self, name: &[u8]) -> usize {
        let forwards = self.forwards.iter().enumerate();
        let fits = forwards.filter_map(|(n, forward)| Some((forward.domains.longest(name)?, n + 1)));
        fits.max_by_key(|(labels, _)| *labels).map_or(0, |(_, group)| group)
    }
}

impl Zone {
    fn longest(&self, client: Ipv6Addr) -> Option<u8> {
        self.clients.iter().filter(|p| p.contains(client)).map(|p| p.len()).max()
    }

    /// Whether an A record with `addr` may be translated under `pref64` (RFC 6052 §3.1).
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
            let got =
                settings.zone_of(client.parse().expect("literal")).map(|place| settings.zones[place].id.0);
            assert_eq!(got, want, "{client}");
        }
    }

    #[test]
    fn what_may_be_translated_under_which_prefix() {
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
