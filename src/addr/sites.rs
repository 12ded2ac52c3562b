//! The host and the site of an IPv6 address.

use core::net::Ipv6Addr;

use super::{HostKey, Ipv6Prefix, Longest, SiteKey, ZoneId};

/// Zone of addresses outside every zone. No zone has this number.
const OUTSIDE: ZoneId = ZoneId(u16::MAX);

/// Finds the host and the site of an address: by the prefix lengths of its zone, else each address is a host, and
/// each /64 a site.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    clients: Longest,
    zones: Vec<ZoneSites>,
}

/// The prefix lengths of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneSites {
    /// Number of the zone.
    pub id: ZoneId,
    /// Prefix length of a host.
    pub host_len: u8,
    /// Prefix length of a site.
    pub site_len: u8,
}

impl Sites {
    /// The sites of zones, each with its client prefixes.
    pub fn new<'a>(zones: impl Iterator<Item = (ZoneSites, &'a [Ipv6Prefix])> + Clone) -> Self {
        let numbered = zones.clone().zip(0u32..);
        let clients = numbered.flat_map(|((_, clients), n)| clients.iter().map(move |prefix| (*prefix, n)));
        Self { clients: Longest::of_v6(clients), zones: zones.map(|(zone, _)| zone).collect() }
    }

    /// The host and the site of `addr`.
    pub fn find(&self, addr: Ipv6Addr) -> (HostKey, SiteKey) {
        let zone = self.clients.find_v6(addr).and_then(|n| self.zones.get(n as usize));
        let zone = zone.copied().unwrap_or(ZoneSites { id: OUTSIDE, host_len: 128, site_len: 64 });
        let host = HostKey::new(zone.id, addr, zone.host_len);
        (host, host.site(zone.site_len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_zone_has_lengths_of_its_own() {
        let prefix = |text: &str| text.parse::<Ipv6Prefix>().expect("literal");
        let clients = [[prefix("2001:db8::/32")], [prefix("2001:db8:1::/48")]];
        let lens = [(128, 64), (64, 56)];
        let zone = |n: u16| {
            let (host_len, site_len) = lens[usize::from(n)];
            (ZoneSites { id: ZoneId(n + 5), host_len, site_len }, clients[usize::from(n)].as_slice())
        };
        let sites = Sites::new([0, 1].map(zone).into_iter());
        let cases = [
            ("2001:db8:0:1::5", 5, "2001:db8:0:1::5/128", "2001:db8:0:1::/64"),
            ("2001:db8:1:1ff::5", 6, "2001:db8:1:1ff::/64", "2001:db8:1:100::/56"),
            ("2001:db9::5", u16::MAX, "2001:db9::5/128", "2001:db9::/64"),
        ];
        for (addr, zone, host, site) in cases {
            let (of, in_site) = sites.find(addr.parse().expect("literal"));
            assert_eq!((of.zone, of.prefix), (ZoneId(zone), prefix(host)), "{addr}");
            assert_eq!((in_site.zone, in_site.prefix), (ZoneId(zone), prefix(site)), "{addr}");
        }
    }
}
