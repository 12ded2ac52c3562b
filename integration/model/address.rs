//! Addresses as the model sees them: RFC 6052 §2.2 octet by octet, and the special-purpose registries of IANA as
//! a list of ranges. Shares no code with the translator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gate64::addr::{Pref64, ZoneId};

/// A host: the addresses of a zone with the same first bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Host {
    pub(super) zone: ZoneId,
    first_bits: u128,
}

impl Host {
    pub(super) fn new(zone: ZoneId, addr: Ipv6Addr, len: u8) -> Self {
        Self { zone, first_bits: addr.to_bits() >> (128 - u32::from(len)) }
    }

    /// The site of a host: the addresses with its first `site_len` bits.
    pub(super) fn site(self, len: u8, site_len: u8) -> Self {
        Self { first_bits: self.first_bits >> len.saturating_sub(site_len), ..self }
    }
}

/// The octets of an IPv6 address that hold the IPv4 address: those after the prefix, without octet 8 ("u").
fn octets_after(pref64: Pref64) -> [usize; 4] {
    let first = usize::from(pref64.prefix().len()) / 8;
    let mut octets = (first..16).filter(|octet| *octet != 8);
    [(); 4].map(|()| octets.next().expect("a prefix of at most 96 bits"))
}

pub(super) fn embed(pref64: Pref64, addr: Ipv4Addr) -> Ipv6Addr {
    let mut octets = pref64.prefix().addr().octets();
    for (at, octet) in octets_after(pref64).into_iter().zip(addr.octets()) {
        octets[at] = octet;
    }
    octets.into()
}

/// The IPv4 address embedded in an address under `pref64`.
pub(super) fn extract(pref64: Pref64, addr: Ipv6Addr) -> Ipv4Addr {
    octets_after(pref64).map(|at| addr.octets()[at]).into()
}

/// Whether an address is in one of these ranges.
fn is_in(addr: Ipv4Addr, ranges: &[([u8; 4], [u8; 4])]) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&addr.octets()))
}

/// RFC 1918, and the shared space of RFC 6598.
pub(super) fn is_private(addr: Ipv4Addr) -> bool {
    let ranges = [
        ([10, 0, 0, 0], [10, 255, 255, 255]),
        ([100, 64, 0, 0], [100, 127, 255, 255]),
        ([172, 16, 0, 0], [172, 31, 255, 255]),
        ([192, 168, 0, 0], [192, 168, 255, 255]),
    ];
    is_in(addr, &ranges)
}

/// Whether the registry says "globally reachable", or does not list the address.
pub(super) fn is_global(addr: Ipv4Addr) -> bool {
    let not_global = [
        ([0, 0, 0, 0], [0, 255, 255, 255]),
        ([127, 0, 0, 0], [127, 255, 255, 255]),
        ([169, 254, 0, 0], [169, 254, 255, 255]),
        ([192, 0, 0, 0], [192, 0, 0, 8]),
        ([192, 0, 0, 11], [192, 0, 0, 255]),
        ([192, 0, 2, 0], [192, 0, 2, 255]),
        ([192, 88, 99, 0], [192, 88, 99, 255]),
        ([198, 18, 0, 0], [198, 19, 255, 255]),
        ([198, 51, 100, 0], [198, 51, 100, 255]),
        ([203, 0, 113, 0], [203, 0, 113, 255]),
        // Multicast and reserved.
        ([224, 0, 0, 0], [255, 255, 255, 255]),
    ];
    !is_private(addr) && !is_in(addr, &not_global)
}

/// Whether a host may have the address beyond its link (RFC 1812 §5.3.7, RFC 3927 §7).
pub(super) fn is_host4(addr: Ipv4Addr) -> bool {
    let nobody = [
        ([0, 0, 0, 0], [0, 255, 255, 255]),
        ([127, 0, 0, 0], [127, 255, 255, 255]),
        ([169, 254, 0, 0], [169, 254, 255, 255]),
        ([224, 0, 0, 0], [255, 255, 255, 255]),
    ];
    !is_in(addr, &nobody)
}

/// Whether a host may have the address beyond its link.
pub(super) fn is_host6(addr: Ipv6Addr) -> bool {
    let nobody = addr.is_unspecified()
        || addr.is_loopback()
        || addr.is_multicast()
        || addr.is_unicast_link_local()
        || addr.to_ipv4_mapped().is_some();
    !nobody
}

/// The addresses of the translator's host, each with the prefix length of its subnet.
#[derive(Clone, Debug, Default)]
pub(super) struct Local(Vec<(IpAddr, u32)>);

impl Local {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let parse = |word: &str| {
            let (addr, len) = word.split_once('/')?;
            Some((addr.parse().ok()?, len.parse().ok()?))
        };
        let found: Option<Vec<_>> = text.split_whitespace().map(parse).collect();
        found.map(Self).ok_or_else(|| format!("`{text}` is not ADDRESS/LENGTH"))
    }

    /// Whether it is an address of the host, or the first or last one of a subnet of more than two addresses.
    pub(super) fn has4(&self, addr: Ipv4Addr) -> bool {
        let addr = addr.to_bits();
        self.0.iter().any(|(own, len)| match own {
            IpAddr::V4(own) => {
                let (own, rest) = (own.to_bits(), u32::MAX.checked_shr(*len).unwrap_or(0));
                own == addr || rest > 1 && (own & !rest == addr || own | rest == addr)
            }
            IpAddr::V6(_) => false,
        })
    }

    /// Whether it is an address of the host, or the first one of a subnet of more than two addresses.
    pub(super) fn has6(&self, addr: Ipv6Addr) -> bool {
        let addr = addr.to_bits();
        self.0.iter().any(|(own, len)| match own {
            IpAddr::V4(_) => false,
            IpAddr::V6(own) => {
                let (own, rest) = (own.to_bits(), u128::MAX.checked_shr(*len).unwrap_or(0));
                own == addr || rest > 1 && own & !rest == addr
            }
        })
    }
}

#[test]
fn addresses_of_the_model_are_those_of_the_rfc() {
    // RFC 6052 §2.4.
    let examples = [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ];
    let four = Ipv4Addr::new(192, 0, 2, 33);
    for (pref64, six) in examples {
        let (pref64, six): (Pref64, Ipv6Addr) =
            (pref64.parse().expect("literal"), six.parse().expect("literal"));
        assert_eq!((embed(pref64, four), extract(pref64, six)), (six, four), "{pref64}");
    }
    assert!(is_global(Ipv4Addr::new(172, 32, 0, 0)) && !is_global(Ipv4Addr::new(172, 31, 255, 255)));
    assert!(!is_host4(Ipv4Addr::new(169, 254, 0, 1)) && !is_host4(Ipv4Addr::new(240, 0, 0, 1)));
    assert!(!is_host6("::ffff:192.0.2.1".parse().expect("literal")));
}
