//! Addresses for which this host receives packets itself.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Ipv4Prefix, Ipv6Prefix, Longest};

/// The addresses of this host, and those that its subnets reserve for it: IPv4 broadcast addresses and
/// subnet-router anycast addresses (RFC 4291 §2.6.1); and the destinations of its local routes (`ip route add local`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalAddresses {
    /// Sorted.
    v4: Vec<u32>,
    /// Sorted.
    v6: Vec<u128>,
    /// Local routes.
    routes4: Longest,
    routes6: Longest,
}

impl LocalAddresses {
    /// The addresses of these interface addresses, each with its prefix length.
    pub fn new(own: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        let mut all = Self::default();
        for (addr, len) in own {
            match addr {
                IpAddr::V4(addr) => all.add_v4(addr, len),
                IpAddr::V6(addr) => all.add_v6(addr, len),
            }
        }
        all.v4.sort_unstable();
        all.v4.dedup();
        all.v6.sort_unstable();
        all.v6.dedup();
        all
    }

    /// The same addresses, and the destinations of local routes.
    #[must_use]
    pub fn with_routes(mut self, routes: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (addr, len) in routes {
            match addr {
                // Each interface address has a route of its own.
                IpAddr::V4(addr) if len >= 32 && self.has_v4(addr) => {}
                IpAddr::V6(addr) if len >= 128 && self.has_v6(addr) => {}
                IpAddr::V4(addr) => v4.push(Ipv4Prefix::containing(addr, len)),
                IpAddr::V6(addr) => v6.push(Ipv6Prefix::containing(addr, len)),
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        self.routes4 = Longest::of_v4(v4.into_iter().map(|prefix| (prefix, 0)));
        self.routes6 = Longest::of_v6(v6.into_iter().map(|prefix| (prefix, 0)));
        self
    }

    /// Kernels before Linux 5.14 receive packets to the lowest address of a subnet as broadcasts, too. A subnet of
    /// two addresses has no broadcast address (RFC 3021).
    fn add_v4(&mut self, addr: Ipv4Addr, len: u8) {
        let addr = addr.to_bits();
        self.v4.push(addr);
        if len <= 30 {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            self.v4.extend([addr & mask, addr | !mask]);
        }
    }

    /// A subnet of two addresses has no anycast address (RFC 6164).
    fn add_v6(&mut self, addr: Ipv6Addr, len: u8) {
        let addr = addr.to_bits();
        self.v6.push(addr);
        if len <= 126 {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            self.v6.push(addr & mask);
        }
    }

    /// Whether this host receives packets to `addr`.
    #[inline]
    pub fn has_v4(&self, addr: Ipv4Addr) -> bool {
        self.v4.binary_search(&addr.to_bits()).is_ok()
            || (!self.routes4.is_empty() && self.routes4.find_v4(addr).is_some())
    }

    /// Whether this host receives packets to `addr`.
    #[inline]
    pub fn has_v6(&self, addr: Ipv6Addr) -> bool {
        self.v6.binary_search(&addr.to_bits()).is_ok()
            || (!self.routes6.is_empty() && self.routes6.find_v6(addr).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &[(&str, u8)]) -> LocalAddresses {
        LocalAddresses::new(own.iter().map(|(addr, len)| (addr.parse().expect("literal"), *len)))
    }

    #[test]
    fn local_routes_have_any_length() {
        let route = |addr: &str, len| (addr.parse().expect("literal"), len);
        let own = [route("192.0.2.70", 26), route("2001:db8:1::53", 64)];
        let routes = [route("192.0.2.70", 32), route("198.51.100.0", 24), route("2001:db8:9::", 48)];
        let local = LocalAddresses::new(own).with_routes(routes);
        for (text, want) in [("192.0.2.70", true), ("198.51.100.200", true), ("198.51.101.0", false)] {
            assert_eq!(local.has_v4(text.parse().expect("literal")), want, "{text}");
        }
        for (text, want) in [("2001:db8:1::53", true), ("2001:db8:9:1::1", true), ("2001:db8:8::1", false)] {
            assert_eq!(local.has_v6(text.parse().expect("literal")), want, "{text}");
        }
        assert_eq!(LocalAddresses::new(own).with_routes([own[0]; 0]), LocalAddresses::new(own));
        assert_eq!(LocalAddresses::new(own).with_routes([routes[0]]), LocalAddresses::new(own));
        let mut turned = routes;
        turned.reverse();
        assert_eq!(LocalAddresses::new(own).with_routes(turned), local, "the order does not matter");
    }

    #[test]
    fn subnets_reserve_addresses() {
        let local = of(&[("192.0.2.70", 26), ("198.51.100.4", 31), ("203.0.113.9", 32), ("10.1.2.3", 0)]);
        let all = ["192.0.2.64", "192.0.2.70", "192.0.2.127", "198.51.100.4", "203.0.113.9", "0.0.0.0"];
        for text in all {
            assert!(local.has_v4(text.parse().expect("literal")), "{text}");
        }
        for text in ["192.0.2.65", "192.0.2.128", "198.51.100.5", "203.0.113.8", "203.0.113.10"] {
            assert!(!local.has_v4(text.parse().expect("literal")), "{text}");
        }
        let local = of(&[("2001:db8:1::53", 64), ("2001:db8:2::3", 127), ("2001:db8:3::1", 128)]);
        for text in ["2001:db8:1::53", "2001:db8:1::", "2001:db8:2::3", "2001:db8:3::1"] {
            assert!(local.has_v6(text.parse().expect("literal")), "{text}");
        }
        for text in ["2001:db8:1::54", "2001:db8:2::2", "2001:db8:3::"] {
            assert!(!local.has_v6(text.parse().expect("literal")), "{text}");
        }
    }
}
