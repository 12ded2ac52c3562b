//! What a configuration requires of the host: routes to the device, proxy neighbours, addresses.
//!
//! Computed without side effects: `check` prints it, `run` applies it, a reload applies the difference.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::netlink::Destination;
use crate::addr::{Ipv4Prefix, Pref64};
use crate::config::{Announce, Config, Egress, INNER, OwnAddress};

/// Maximum number of proxy neighbours. A larger pool4 needs a route upstream.
const MAX_PROXIES: u64 = 1024;

/// What a configuration requires of the host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Requirements {
    /// Destinations routed to the device.
    pub(crate) routes: BTreeSet<Destination>,
    /// Unreachable routes, which stand in for a stopped gateway.
    pub(crate) unreachable: BTreeSet<Destination>,
    /// Addresses for which the kernel answers ARP, by interface.
    pub(crate) proxies: BTreeSet<(String, IpAddr)>,
    /// Addresses to assign to an interface: the listen addresses of DNS64, with `assign`.
    pub(crate) addresses: BTreeSet<(String, IpAddr)>,
    /// IPv4 prefixes that the upstream router must route to this host.
    pub(crate) upstream_routes: BTreeSet<Ipv4Prefix>,
    /// Conflicts of the configuration with this host.
    pub(crate) conflicts: Vec<String>,
}

impl Requirements {
    /// Requirements of `config` on a host with the addresses `own`. `lingering` are removed prefixes that are
    /// still translated.
    pub(crate) fn of(config: &Config, own: &[OwnAddress], lingering: &[Pref64]) -> Self {
        let mut requirements = Self::default();
        for pref64 in config.pref64s().into_iter().chain(lingering.iter().copied()) {
            let prefix = pref64.prefix();
            requirements.routes.insert(Destination { addr: prefix.addr().into(), len: prefix.len() });
        }
        let to_mapped = config.siit.iter().flat_map(|siit| &siit.routes6);
        requirements
            .routes
            .extend(to_mapped.map(|prefix| Destination { addr: prefix.addr().into(), len: prefix.len() }));
        for prefix in ipv4_prefixes(config) {
            requirements.routes.insert(Destination { addr: prefix.addr().into(), len: prefix.len() });
            // No proxy neighbours for 0.0.0.0/0.
            if config.egress == Egress::Routed && !prefix.is_empty() {
                requirements.announce(config.host.announce, prefix, own);
            }
        }
        if config.host.unreachable_routes {
            requirements.unreachable = requirements.routed_here().collect();
        }
        if let Some(dns) = &config.dns64
            && let Some(interface) = &dns.assign
        {
            let listens = dns.settings.listen.iter().map(|listen| (interface.clone(), listen.ip()));
            requirements.addresses.extend(listens);
        }
        requirements
    }

    /// Destinations that other routers route to this host. Not the addresses in its subnets, which another host may
    /// take over.
    fn routed_here(&self) -> impl Iterator<Item = Destination> + '_ {
        let v6 = self.routes.iter().filter(|to| to.addr.is_ipv6() && to.len > 0).copied();
        let v4 = self.upstream_routes.iter();
        v6.chain(v4.map(|prefix| Destination { addr: prefix.addr().into(), len: prefix.len() }))
    }

    fn announce(&mut self, how: Announce, prefix: Ipv4Prefix, own: &[OwnAddress]) {
        let connected = own.iter().find(|own| match own.addr {
            IpAddr::V4(addr) => own.len < 32 && Ipv4Prefix::containing(addr, own.len).overlaps(prefix),
            IpAddr::V6(_) => false,
        });
        match (how, connected) {
            (Announce::Routed, _) | (Announce::Auto, None) => {
                self.upstream_routes.insert(prefix);
            }
            (Announce::Proxy, None) => self.conflicts.push(format!(
                "announce = \"proxy\", but {prefix} is in no subnet of this host: write announce = \
                 \"auto\" and route {prefix} to this host"
            )),
            (Announce::Auto | Announce::Proxy, Some(_)) if prefix.size() > MAX_PROXIES => {
                self.conflicts.push(format!(
                    "{prefix} has {} addresses, but this host answers ARP for at most {MAX_PROXIES}: write announce = \"routed\" and route {prefix} to this host",
                    prefix.size()
                ));
            }
            (Announce::Auto | Announce::Proxy, Some(own)) => {
                self.conflicts.extend(reserved(prefix, own));
                let first = prefix.addr().to_bits();
                let all = (first..=prefix.last().to_bits()).map(Ipv4Addr::from_bits);
                self.proxies.extend(all.map(|addr| (own.interface.clone(), IpAddr::V4(addr))));
            }
        }
    }
}

/// Why `prefix` cannot be used in the subnet of `own`: it contains the network or the broadcast address. Subnets of two
/// addresses have neither (RFC 3021).
fn reserved(prefix: Ipv4Prefix, own: &OwnAddress) -> Option<String> {
    let IpAddr::V4(addr) = own.addr else { return None };
    let subnet = Ipv4Prefix::containing(addr, own.len);
    let special = [(subnet.addr(), "network"), (subnet.last(), "broadcast")];
    let (addr, kind) = special.into_iter().find(|(addr, _)| own.len < 31 && prefix.contains(*addr))?;
    Some(format!(
        "{prefix} contains {addr}, the {kind} address of {subnet} on {}: hosts there drop packets from it, so \
         leave it out",
        own.interface
    ))
}

/// All IPv4 prefixes to translate: pools, stateless mappings, and static bindings outside the pools.
fn ipv4_prefixes(config: &Config) -> BTreeSet<Ipv4Prefix> {
    let pools = config.nat64.pools.iter().flat_map(|pool| &pool.ranges).map(|(prefix, _)| *prefix);
    let mut prefixes: BTreeSet<_> = pools.collect();
    prefixes.extend(config.siit.iter().flat_map(|siit| &siit.routes4));
    for binding in &config.nat64.statics {
        let addr = binding.v4.addr;
        if addr != INNER && !prefixes.iter().any(|prefix| prefix.contains(addr)) {
            prefixes.insert(Ipv4Prefix::host(addr));
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{FakeHost, load_on};

    fn requirements(pool: &str, more: &str) -> Requirements {
        let text = format!(
            "[translator]\npref64 = \"2001:db8:64::/96\"\n{pool}\n{more}\n\
             [[zone]]\nname = \"z\"\nclients = [\"2001:db8:1::/64\"]\n"
        );
        let host = FakeHost::new();
        let config = load_on(&text, &host).expect("a good file");
        Requirements::of(&config, &host.0, &[])
    }

    fn texts<T: ToString>(set: &BTreeSet<T>) -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pool_outside_the_subnets_needs_a_route() {
        let found = requirements("pool4 = \"192.0.2.64/28\"", "");
        assert_eq!(texts(&found.routes), ["192.0.2.64/28", "2001:db8:64::/96"]);
        assert_eq!(texts(&found.upstream_routes), ["192.0.2.64/28"]);
        assert!(found.proxies.is_empty());
        assert_eq!(texts(&found.unreachable), ["192.0.2.64/28", "2001:db8:64::/96"]);
        let found = requirements("pool4 = \"192.0.2.64/28\"", "[host]\nunreachable_routes = false");
        assert!(found.unreachable.is_empty());
    }

    #[test]
    fn a_pool_within_a_subnet_needs_proxy_arp() {
        let found = requirements("pool4 = \"203.0.113.64/31\"", "");
        let both: BTreeSet<_> = ["203.0.113.64", "203.0.113.65"]
            .map(|addr| ("eth0".to_owned(), addr.parse().expect("literal")))
            .into();
        assert_eq!(found.proxies, both);
        assert!(found.upstream_routes.is_empty());
        assert_eq!(
            texts(&found.unreachable),
            ["2001:db8:64::/96"],
            "another host may take the addresses over"
        );
        let found = requirements("pool4 = \"203.0.113.64/31\"", "[host]\nannounce = \"routed\"");
        assert!(found.proxies.is_empty());
        assert_eq!(texts(&found.upstream_routes), ["203.0.113.64/31"]);
    }

    #[test]
    fn a_proxy_needs_a_subnet() {
        let found = requirements("pool4 = \"192.0.2.64/28\"", "[host]\nannounce = \"proxy\"");
        assert_eq!(found.conflicts.len(), 1);
        assert!(found.conflicts[0].contains("192.0.2.64/28 is in no subnet"), "{:?}", found.conflicts);
    }

    #[test]
    fn network_and_broadcast_addresses_are_refused() {
        for (pool, kind) in [
            ("203.0.113.0/32", "203.0.113.0, the network"),
            ("203.0.113.254/31", "203.0.113.255, the broadcast"),
        ] {
            let found = requirements(&format!("pool4 = \"{pool}\""), "");
            assert_eq!(found.conflicts.len(), 1, "{pool}");
            assert!(found.conflicts[0].contains(kind), "{:?}", found.conflicts);
        }
        assert!(requirements("pool4 = \"203.0.113.252/31\"", "").conflicts.is_empty());
        // Routed to this host, each address is like any other.
        assert!(
            requirements("pool4 = \"203.0.113.0/32\"", "[host]\nannounce = \"routed\"").conflicts.is_empty()
        );
    }

    #[test]
    fn masquerade_needs_one_route_and_no_neighbour() {
        let found = requirements("egress = \"masquerade\"", "");
        assert_eq!(texts(&found.routes), ["192.0.0.2/32", "2001:db8:64::/96"]);
        assert!(found.proxies.is_empty() && found.upstream_routes.is_empty());
    }

    fn stateless(siit: &str) -> Requirements {
        let host = FakeHost::new();
        let config = load_on(&format!("[siit]\n{siit}\n"), &host).expect("a good file");
        Requirements::of(&config, &host.0, &[])
    }

    #[test]
    fn stateless_mappings_are_routed_to_the_device() {
        let found = stateless("pref64 = \"2001:db8:46::/96\"\neam = \"192.0.2.0/28 = 2001:db8:9::/124\"");
        assert_eq!(texts(&found.routes), ["192.0.2.0/28", "2001:db8:46::/96"]);
        assert_eq!(texts(&found.upstream_routes), ["192.0.2.0/28"]);
        // Within a subnet of this host, neighbours use ARP.
        let found = stateless("pref64 = \"none\"\neam = \"203.0.113.9 = 2001:db8:9::1\"");
        assert_eq!(texts(&found.routes), ["203.0.113.9/32"]);
        assert_eq!(found.proxies.len(), 1);
        // Routes within others are omitted.
        let found = stateless(
            "pref64 = \"none\"\neam = [\"192.0.2.0/24 = 2001:db8::/96\", \"192.0.2.7 = 2001:db8:9::7\"]",
        );
        assert_eq!(texts(&found.routes), ["192.0.2.0/24"]);
    }

    #[test]
    fn a_clat_routes_all_ipv4_and_the_prefix_of_its_hosts() {
        // id 6877-6.3-64
        let clat = "inside = \"ipv4\"\nhosts = \"192.168.1.0/24\"\nhosts_pref64 = \"2001:db8:aaaa::/96\"\n\
                    pref64 = \"2001:db8:1234::/96\"";
        let found = stateless(clat);
        assert_eq!(texts(&found.routes), ["0.0.0.0/0", "2001:db8:aaaa::c0a8:100/120"]);
        assert!(found.upstream_routes.is_empty() && found.conflicts.is_empty());
        assert_eq!(texts(&found.unreachable), ["2001:db8:aaaa::c0a8:100/120"], "not all of IPv4");
        let found = stateless(&format!("{clat}\nroutes = [\"198.51.100.0/24\", \"2001:db8:aaaa::/96\"]"));
        assert_eq!(texts(&found.routes), ["198.51.100.0/24", "2001:db8:aaaa::/96"]);
        // A dedicated /64 for the hosts.
        let found = stateless(&clat.replace("2001:db8:aaaa::/96", "2001:db8:aaaa::/64"));
        assert_eq!(texts(&found.routes), ["0.0.0.0/0", "2001:db8:aaaa:0:c0:a801::/96"]);
    }
}
