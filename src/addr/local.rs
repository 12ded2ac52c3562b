//! Addresses for which this host receives packets itself.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of this host, and those that its subnets reserve for it: IPv4 broadcast addresses and
/// subnet-router anycast addresses (RFC 4291 §2.6.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalAddresses {
    /// Sorted.
    v4: Vec<u32>,
    /// Sorted.
    v6: Vec<u128>,
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
    }

    /// Whether this host receives packets to `addr`.
    #[inline]
    pub fn has_v6(&self, addr: Ipv6Addr) -> bool {
        self.v6.binary_search(&addr.to_bits()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &[(&str, u8)]) -> LocalAddresses {
        LocalAddresses::new(own.iter().map(|(addr, len)| (addr.parse().expect("literal"), *len)))
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
