//! Special-purpose addresses (IANA registries, RFC 6890).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Ipv4Prefix;

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Prefix {
    Ipv4Prefix::containing(Ipv4Addr::new(a, b, c, d), len)
}

/// Private and shared space: RFC 1918 and RFC 6598.
pub const PRIVATE: [Ipv4Prefix; 4] =
    [v4(10, 0, 0, 0, 8), v4(172, 16, 0, 0, 12), v4(192, 168, 0, 0, 16), v4(100, 64, 0, 0, 10)];

/// Other ranges that are not globally reachable.
///
/// Includes 192.88.99.0/24 (deprecated 6to4 relays), as the registry does. 192.31.196.0/24, 192.52.193.0/24 and
/// 192.175.48.0/24 are global.
pub const NOT_GLOBAL: [Ipv4Prefix; 11] = [
    v4(0, 0, 0, 0, 8),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// Global addresses within [`NOT_GLOBAL`]: Port Control Protocol anycast (RFC 7723), TURN anycast (RFC 8155).
pub const GLOBAL: [Ipv4Prefix; 2] = [v4(192, 0, 0, 9, 32), v4(192, 0, 0, 10, 32)];

/// Whether `addr` is private or shared (RFC 1918, RFC 6598).
pub fn is_private(addr: Ipv4Addr) -> bool {
    PRIVATE.iter().any(|p| p.contains(addr))
}

/// Whether `addr` is globally reachable. Only such addresses may be represented by the Well-Known Prefix
/// (RFC 6052 §3.1).
pub fn is_global(addr: Ipv4Addr) -> bool {
    let within = |prefixes: &[Ipv4Prefix]| prefixes.iter().any(|p| p.contains(addr));
    !is_private(addr) && (!within(&NOT_GLOBAL) || within(&GLOBAL))
}

/// Whether `addr` is a valid host address in a routed packet: not in 0/8, 127/8, 224/4 or 240/4 (RFC 1812
/// §5.3.7), nor in 169.254/16 (RFC 3927 §7).
pub const fn is_host_v4(addr: Ipv4Addr) -> bool {
    !matches!(addr.octets()[0], 0 | 127 | 224..) && !addr.is_link_local()
}

/// Whether `addr` is a valid host address in a routed packet: not ::, ::1, IPv4-mapped, or in fe80::/10 or
/// ff00::/8.
pub const fn is_host_v6(addr: Ipv6Addr) -> bool {
    // Evaluated twice per packet: integer comparisons are faster than the methods of `Ipv6Addr`.
    let bits = addr.to_bits();
    let top = (bits >> 112) as u16;
    let low_or_mapped = bits <= 1 || bits >> 32 == 0xffff;
    !(top >= 0xff00 || top & 0xffc0 == 0xfe80 || low_or_mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_the_well_known_prefix_may_represent() {
        // ids 6052-3.1-list, 6052-iana
        let not_global = [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.1.1",
            "127.0.0.1",
            "0.0.0.1",
            "192.0.0.8",
            "192.0.0.11",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
        ];
        for text in not_global {
            assert!(!is_global(text.parse().expect("literal")), "{text}");
        }
        let global = [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.0.9",
            "192.0.0.10",
            "192.31.196.1",
            "192.52.193.1",
            "1.1.1.1",
        ];
        for text in global {
            assert!(is_global(text.parse().expect("literal")), "{text}");
        }
    }

    #[test]
    fn host_addresses() {
        // id siit-ll4
        for text in ["10.0.0.1", "169.253.255.255", "169.255.0.1"] {
            assert!(is_host_v4(text.parse().expect("literal")), "{text}");
        }
        for text in [
            "0.1.2.3",
            "127.0.0.1",
            "169.254.0.1",
            "169.254.255.254",
            "224.0.0.5",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_host_v4(text.parse().expect("literal")), "{text}");
        }
        assert!(is_host_v6("2001:db8::1".parse().expect("literal")));
        for text in ["::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1"] {
            assert!(!is_host_v6(text.parse().expect("literal")), "{text}");
        }
    }
}
