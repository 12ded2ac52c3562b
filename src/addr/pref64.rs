//! IPv4-embedded IPv6 addresses (RFC 6052).

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::{Ipv6Prefix, PrefixError};

/// A pref64: an IPv6 prefix that represents IPv4 addresses (RFC 6052 §2.2).
///
/// Its length is 32, 40, 48, 56, 64 or 96. Bits 64 to 71 of a /96 (the "u" octet) are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pref64(Ipv6Prefix);

/// Why a prefix can't be a pref64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pref64Error {
    /// Not an IPv6 prefix.
    Prefix(PrefixError),
    /// Not one of the six allowed lengths.
    Length(u8),
    /// A /96 with bits set in its "u" octet.
    UOctet,
    /// The Well-Known Prefix with another length than 96.
    WellKnownLength(u8),
    /// A multicast, loopback or link-local prefix.
    NotUnicast,
}

impl fmt::Display for Pref64Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(e) => fmt::Display::fmt(e, f),
            Self::Length(n) => {
                write!(f, "a pref64 has the length 32, 40, 48, 56, 64 or 96, not {n} (RFC 6052 §2.2)")
            }
            Self::UOctet => f.write_str("bits 64 to 71 of a pref64 must be zero (RFC 6052 §2.2)"),
            Self::WellKnownLength(n) => {
                write!(f, "the Well-Known Prefix is 64:ff9b::/96, not /{n} (RFC 6052 §2.1)")
            }
            Self::NotUnicast => f.write_str("a pref64 must be a unicast prefix"),
        }
    }
}

impl core::error::Error for Pref64Error {}

impl Pref64 {
    /// The Well-Known Prefix 64:ff9b::/96 (RFC 6052 §2.1).
    pub const WELL_KNOWN: Self =
        Self(Ipv6Prefix::containing(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96));

    /// Validates a prefix as a pref64.
    ///
    /// # Errors
    /// A [`Pref64Error`] if it can't be one.
    pub fn new(prefix: Ipv6Prefix) -> Result<Self, Pref64Error> {
        if !matches!(prefix.len(), 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(Pref64Error::Length(prefix.len()));
        }
        if prefix.len() == 96 && prefix.addr().octets()[8] != 0 {
            return Err(Pref64Error::UOctet);
        }
        if prefix.addr() == Self::WELL_KNOWN.0.addr() && prefix.len() != 96 {
            return Err(Pref64Error::WellKnownLength(prefix.len()));
        }
        let first = prefix.addr();
        if first.is_multicast() || first.is_unicast_link_local() || first.octets()[..4] == [0; 4] {
            return Err(Pref64Error::NotUnicast);
        }
        Ok(Self(prefix))
    }

    /// The prefix itself.
    pub const fn prefix(self) -> Ipv6Prefix {
        self.0
    }

    /// Whether this is 64:ff9b::/96, to which the rules of RFC 6052 §3.1 apply.
    pub fn is_well_known(self) -> bool {
        self == Self::WELL_KNOWN
    }

    /// Whether the prefix contains `addr`.
    pub const fn contains(self, addr: Ipv6Addr) -> bool {
        self.0.contains(addr)
    }

    /// The IPv6 address that represents `v4`. The "u" octet and the suffix are zero (RFC 6052 §2.2).
    #[inline(always)]
    pub const fn embed(self, v4: Ipv4Addr) -> Ipv6Addr {
        let v4 = v4.to_bits() as u128;
        let embedded = match self.0.len() {
            96 => v4,
            64 => v4 << 24,
            len => around_u(v4, len),
        };
        Ipv6Addr::from_bits(self.0.addr().to_bits() | embedded)
    }

    /// The IPv6 prefix that represents all addresses of `v4`. The "u" octet adds 8 bits to its length.
    pub const fn covering(self, v4: super::Ipv4Prefix) -> Ipv6Prefix {
        let len = self.0.len() + v4.len();
        let len = if self.0.len() < 96 && len > 64 { len + 8 } else { len };
        Ipv6Prefix::containing(self.embed(v4.addr()), len)
    }

    /// The IPv4 address embedded in `addr`; `None` if the prefix does not contain `addr`.
    ///
    /// Ignores the "u" octet and the suffix (RFC 6052 §2.2, §2.3).
    pub const fn extract(self, addr: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.0.contains(addr) {
            return None;
        }
        let bits = addr.to_bits();
        let v4 = match self.0.len() {
            96 => bits as u32,
            64 => (bits >> 24) as u32,
            len => {
                let above = 64 - len;
                let below = 32 - above;
                let front = (bits >> 64) as u64 & ((1 << above) - 1);
                let back = (bits >> (56 - below)) as u64 & ((1 << below) - 1);
                ((front << below) | back) as u32
            }
        };
        Some(Ipv4Addr::from_bits(v4))
    }
}

/// Splits the bits of an IPv4 address around the "u" octet, after a prefix of 32 to 56 bits.
const fn around_u(v4: u128, len: u8) -> u128 {
    // `above` bits of the address fit in front of the "u" octet at bit 64.
    let above = 64 - len;
    let below = 32 - above;
    let front = (v4 >> below) << 64;
    let back = (v4 & ((1 << below) - 1)) << (56 - below);
    front | back
}

impl fmt::Display for Pref64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Pref64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Pref64 {
    type Err = Pref64Error;

    fn from_str(text: &str) -> Result<Self, Pref64Error> {
        Self::new(text.parse().map_err(Pref64Error::Prefix)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_6052() {
        // ids 6052-2.2-pl32, 6052-2.2-pl40, 6052-2.2-pl48, 6052-2.2-pl56, 6052-2.2-pl64, 6052-2.2-pl96,
        // 6052-2.2-wkp
        let cases = [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
            ("64:ff9b::/96", "64:ff9b::c000:221"),
        ];
        let v4 = Ipv4Addr::new(192, 0, 2, 33);
        for (prefix, want) in cases {
            let pref64: Pref64 = prefix.parse().expect("literal");
            let want: Ipv6Addr = want.parse().expect("literal");
            assert_eq!(pref64.embed(v4), want, "{prefix}");
            assert_eq!(pref64.extract(want), Some(v4), "{prefix}");
        }
    }

    #[test]
    fn addresses_round_trip_and_other_bits_are_zero() {
        // ids 6052-2.2-u-emit, 6052-2.2-suffix-emit, 6052-2.3-roundtrip, 6146-3.5.4-rev
        let texts = [
            "2001:db8::/32",
            "2001:db8:100::/40",
            "2001:db8:122::/48",
            "2001:db8:122:300::/56",
            "2001:db8:122:344::/64",
            "2001:db8:122:344::/96",
        ];
        for text in texts {
            let pref64: Pref64 = text.parse().expect("literal");
            // The first octet after the IPv4 address and the "u" octet.
            let suffix = usize::from(pref64.prefix().len()) / 8 + 5;
            let mut v4 = 0u32;
            for step in 0..2000u32 {
                let addr = Ipv4Addr::from_bits(v4);
                let six = pref64.embed(addr);
                assert_eq!(six.octets()[8], 0, "{text} {addr}");
                assert!(six.octets()[suffix.min(16)..].iter().all(|octet| *octet == 0), "{text} {addr}");
                assert_eq!(pref64.extract(six), Some(addr), "{text}");
                v4 = v4.wrapping_mul(1_664_525).wrapping_add(1_013_904_223 ^ step);
            }
            for addr in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST] {
                assert_eq!(pref64.extract(pref64.embed(addr)), Some(addr), "{text}");
            }
        }
    }

    #[test]
    fn checksum_neutral_prefixes() {
        // id 6052-4.1-neutral: an address under a neutral prefix sums up to its IPv4 address
        let sum = |words: &[u16]| words.iter().map(|word| u32::from(*word)).sum::<u32>() % 0xffff;
        let is_neutral = |text: &str| {
            let pref64: Pref64 = text.parse().expect("literal");
            let addresses = [[192, 0, 2, 33], [198, 51, 100, 7], [255, 255, 255, 254], [1, 0, 0, 0]];
            let kept = addresses.map(|octets| {
                let words = octets.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
                sum(&pref64.embed(octets.into()).segments()) == sum(&words.collect::<Vec<_>>())
            });
            assert!(kept.iter().all(|one| *one == kept[0]), "{text}: all addresses alike");
            kept[0]
        };
        for text in ["64:ff9b::/96", "64:ff9b:1:fffe::/96", "64:ff9b:1:fffd:1::/96", "64:ff9b:1:fffc:2::/96"]
        {
            assert!(is_neutral(text), "{text}");
        }
        assert!(is_neutral("64:ff9b:1:abcd:0:5431::/96"));
        assert!(!is_neutral("2001:db8:64::/96"));
        assert!(!is_neutral("64:ff9b:1::/48"), "only a /96 puts the address on whole words");
    }

    #[test]
    fn the_last_32_bits_may_be_written_as_ipv4() {
        // id 6052-2.4-text
        let addr: Ipv6Addr = "64:ff9b::192.0.2.33".parse().expect("literal");
        assert_eq!(Pref64::WELL_KNOWN.extract(addr), Some(Ipv4Addr::new(192, 0, 2, 33)));
        assert_eq!("64:ff9b::0.0.0.0/96".parse::<Pref64>(), Ok(Pref64::WELL_KNOWN));
    }

    #[test]
    fn suffix_and_u_octet_are_skipped_on_receipt() {
        // ids 6052-2.2-suffix-recv, 6052-2.2-u-recv
        let forty: Pref64 = "2001:db8:100::/40".parse().expect("literal");
        let got = forty.extract("2001:db8:1c0:2:21:dead:beef:1".parse().expect("literal"));
        assert_eq!(got, Some(Ipv4Addr::new(192, 0, 2, 33)));
        let sixty_four: Pref64 = "2001:db8:122:344::/64".parse().expect("literal");
        let got = sixty_four.extract("2001:db8:122:344:01c0:2:2100:0".parse().expect("literal"));
        assert_eq!(got, Some(Ipv4Addr::new(192, 0, 2, 33)));
        assert_eq!(forty.extract("2001:db9::".parse().expect("literal")), None);
    }

    #[test]
    fn covering_prefixes_of_ipv4_prefixes() {
        let cases = [
            ("2001:db8::/96", "192.0.2.0/24", "2001:db8::c000:200/120"),
            ("2001:db8::/32", "192.0.2.33/32", "2001:db8:c000:221::/64"),
            ("2001:db8::/32", "0.0.0.0/0", "2001:db8::/32"),
            ("2001:db8:100::/40", "192.0.2.0/24", "2001:db8:1c0:2::/64"),
            ("2001:db8:100::/40", "192.0.2.128/25", "2001:db8:1c0:2:80::/73"),
            ("2001:db8:122:344::/64", "0.0.0.0/0", "2001:db8:122:344::/64"),
            ("2001:db8:122:344::/64", "192.0.2.0/24", "2001:db8:122:344:c0:2::/96"),
        ];
        for (pref64, v4, want) in cases {
            let pref64: Pref64 = pref64.parse().expect("literal");
            let v4 = v4.parse().expect("literal");
            assert_eq!(pref64.covering(v4).to_string(), want, "{pref64} {v4}");
        }
    }

    #[test]
    fn invalid_prefixes_are_refused() {
        for len in [0, 16, 33, 44, 72, 95, 97, 128] {
            let prefix = Ipv6Prefix::containing(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), len);
            assert_eq!(Pref64::new(prefix), Err(Pref64Error::Length(len)), "{prefix}");
        }
        assert_eq!("2001:db8:1:2:100::/96".parse::<Pref64>(), Err(Pref64Error::UOctet));
        assert_eq!("64:ff9b::/64".parse::<Pref64>(), Err(Pref64Error::WellKnownLength(64)));
        assert_eq!("ff00::/32".parse::<Pref64>(), Err(Pref64Error::NotUnicast));
        assert_eq!("2001:db8::1/96".parse::<Pref64>(), Err(Pref64Error::Prefix(PrefixError::HostBits)));
    }
}
