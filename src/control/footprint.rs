//! What a configuration needs of the host: routes to the device, proxied neighbours, addresses.
//! Pure, so that `check` shows it, `run` makes it and a reload makes the difference.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::netlink::Destination;
use crate::addr::{Ipv4Prefix, Pref64};
use crate::config::{Announce, Config, Egress, INNER, OwnAddress};

/// Most addresses the kernel is asked to answer for; beyond that, a route upstream is the way.
const MAX_PROXIES: u64 = 1024;

/// What a configuration needs of the host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Destinations that lead to the device.
    pub routes: BTreeSet<Destination>,
    /// Addresses that the kernel answers for, by interface.
    pub proxies: BTreeSet<(String, IpAddr)>,
    /// Addresses that are put on an interface: those that DNS listens on, with `assign`.
    pub addresses: BTreeSet<(String, IpAddr)>,
    /// IPv4 prefixes that somebody else has to route to this host.
    pub upstream: BTreeSet<Ipv4Prefix>,
    /// What keeps the configuration from working on this host.
    pub obstacles: Vec<String>,
}

impl Footprint {
    /// What `config` needs on a host with these addresses. `lingering` are pref64s that were taken
    /// out of the file and are still translated.
    pub fn of(config: &Config, own: &[OwnAddress], lingering: &[Pref64]) -> Self {
        let mut footprint = Self::default();
        for pref64 in config.pref64s().into_iter().chain(lingering.iter().copied()) {
            let prefix = pref64.prefix();
            footprint.routes.insert(Destination { addr: prefix.addr().into(), len: prefix.len() });
        }
        let to_mapped = config.siit.iter().flat_map(|siit| &siit.routes6);
        footprint
            .routes
            .extend(to_mapped.map(|prefix| Destination { addr: prefix.addr().into(), len: prefix.len() }));
        for prefix in outside(config) {
            footprint.routes.insert(Destination { addr: prefix.addr().into(), len: prefix.len() });
            // What is everything is no neighbour's address.
            if config.egress == Egress::Routed && !prefix.is_empty() {
                footprint.announce(config.host.announce, prefix, own);
            }
        }
        if let Some(dns) = &config.dns64
            && let Some(interface) = &dns.assign
        {
            let listens = dns.settings.listen.iter().map(|listen| (interface.clone(), listen.ip()));
            footprint.addresses.extend(listens);
        }
        footprint
    }

    fn announce(&mut self, how: Announce, prefix: Ipv4Prefix, own: &[OwnAddress]) {
        let connected = own.iter().find(|own| match own.addr {
            IpAddr::V4(addr) => own.len < 32 && Ipv4Prefix::holding(addr, own.len).overlaps(prefix),
            IpAddr::V6(_) => false,
        });
        match (how, connected) {
            (Announce::Routed, _) | (Announce::Auto, None) => {
                self.upstream.insert(prefix);
            }
            (Announce::Proxy, None) => self.obstacles.push(format!(
                "announce = \"proxy\", but {prefix} lies in no subnet of this host: write announce = \
                 \"auto\" and route {prefix} to this host"
            )),
            (Announce::Auto | Announce::Proxy, Some(_)) if prefix.size() > MAX_PROXIES => {
                self.obstacles.push(format!(
                    "{prefix} has {} addresses, and this host can answer for at most {MAX_PROXIES} of them as \
                     a proxy: write announce = \"routed\" and route {prefix} to this host",
                    prefix.size()
                ));
            }
            (Announce::Auto | Announce::Proxy, Some(own)) => {
                let first = prefix.addr().to_bits();
                let all = (first..=prefix.last().to_bits()).map(Ipv4Addr::from_bits);
                self.proxies.extend(all.map(|addr| (own.interface.clone(), IpAddr::V4(addr))));
            }
        }
    }
}

/// Every IPv4 prefix that leads into the translator: pools, what is mapped without state, and static
/// bindings beside them.
fn outside(config: &Config) -> BTreeSet<Ipv4Prefix> {
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

    fn footprint(pool: &str, more: &str) -> Footprint {
        let text = format!(
            "[translator]\npref64 = \"2001:db8:64::/96\"\n{pool}\n{more}\n\
             [[zone]]\nname = \"z\"\nclients = [\"2001:db8:1::/64\"]\n"
        );
        let host = FakeHost::new();
        let config = load_on(&text, &host).expect("a good file");
        Footprint::of(&config, &host.0, &[])
    }

    fn texts<T: ToString>(set: &BTreeSet<T>) -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pool_elsewhere_is_to_be_routed_to_us() {
        let found = footprint("pool4 = \"192.0.2.64/28\"", "");
        assert_eq!(texts(&found.routes), ["192.0.2.64/28", "2001:db8:64::/96"]);
        assert_eq!(texts(&found.upstream), ["192.0.2.64/28"]);
        assert!(found.proxies.is_empty());
    }

    #[test]
    fn a_pool_in_a_connected_subnet_is_answered_for() {
        let found = footprint("pool4 = \"203.0.113.64/31\"", "");
        let both: BTreeSet<_> = ["203.0.113.64", "203.0.113.65"]
            .map(|addr| ("eth0".to_owned(), addr.parse().expect("literal")))
            .into();
        assert_eq!(found.proxies, both);
        assert!(found.upstream.is_empty());
        let found = footprint("pool4 = \"203.0.113.64/31\"", "[host]\nannounce = \"routed\"");
        assert!(found.proxies.is_empty());
        assert_eq!(texts(&found.upstream), ["203.0.113.64/31"]);
    }

    #[test]
    fn a_proxy_needs_a_subnet() {
        let found = footprint("pool4 = \"192.0.2.64/28\"", "[host]\nannounce = \"proxy\"");
        assert_eq!(found.obstacles.len(), 1);
        assert!(found.obstacles[0].contains("192.0.2.64/28 lies in no subnet"), "{:?}", found.obstacles);
    }

    #[test]
    fn masquerade_needs_one_route_and_no_neighbour() {
        let found = footprint("egress = \"masquerade\"", "");
        assert_eq!(texts(&found.routes), ["192.0.0.2/32", "2001:db8:64::/96"]);
        assert!(found.proxies.is_empty() && found.upstream.is_empty());
    }

    fn stateless(siit: &str) -> Footprint {
        let host = FakeHost::new();
        let config = load_on(&format!("[siit]\n{siit}\n"), &host).expect("a good file");
        Footprint::of(&config, &host.0, &[])
    }

    #[test]
    fn what_is_mapped_leads_to_us() {
        let found = stateless("pref64 = \"2001:db8:46::/96\"\neam = \"192.0.2.0/28 = 2001:db8:9::/124\"");
        assert_eq!(texts(&found.routes), ["192.0.2.0/28", "2001:db8:46::/96"]);
        assert_eq!(texts(&found.upstream), ["192.0.2.0/28"]);
        // In a subnet of ours neighbours look for it on the link.
        let found = stateless("pref64 = \"none\"\neam = \"203.0.113.9 = 2001:db8:9::1\"");
        assert_eq!(texts(&found.routes), ["203.0.113.9/32"]);
        assert_eq!(found.proxies.len(), 1);
        // Routes inside others are left out.
        let found = stateless(
            "pref64 = \"none\"\neam = [\"192.0.2.0/24 = 2001:db8::/96\", \"192.0.2.7 = 2001:db8:9::7\"]",
        );
        assert_eq!(texts(&found.routes), ["192.0.2.0/24"]);
    }

    #[test]
    fn a_clat_takes_the_rest_of_ipv4_and_its_hosts_prefix() {
        // id 6877-6.3-64
        let clat = "inside = \"ipv4\"\nhosts = \"192.168.1.0/24\"\nhosts_pref64 = \"2001:db8:aaaa::/96\"\n\
                    pref64 = \"2001:db8:1234::/96\"";
        let found = stateless(clat);
        assert_eq!(texts(&found.routes), ["0.0.0.0/0", "2001:db8:aaaa::c0a8:100/120"]);
        assert!(found.upstream.is_empty() && found.obstacles.is_empty());
        let found = stateless(&format!("{clat}\nroutes = [\"198.51.100.0/24\", \"2001:db8:aaaa::/96\"]"));
        assert_eq!(texts(&found.routes), ["198.51.100.0/24", "2001:db8:aaaa::/96"]);
    }
}
