//! Address prefixes, canonical by construction: all host bits are zero.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Why a text, or an address with a length, is not a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrefixError {
    /// Not an address of this family, or not `ADDRESS/LENGTH`.
    Syntax,
    /// The length is over 32 (IPv4) or 128 (IPv6).
    Length(u8),
    /// Bits after the prefix length are set.
    HostBits,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("not an address or prefix of this family"),
            Self::Length(n) => write!(f, "prefix length {n} is too long"),
            Self::HostBits => f.write_str("bits after the prefix length are set"),
        }
    }
}

impl core::error::Error for PrefixError {}

macro_rules! prefix {
    ($(#[$doc:meta])* $name:ident, $addr:ty, $bits:ty, $width:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            addr: $addr,
            len: u8,
        }

        impl $name {
            /// A prefix from its first address and its length.
            ///
            /// # Errors
            /// [`PrefixError::Length`] if `len` exceeds the address width,
            /// [`PrefixError::HostBits`] if `addr` has bits after `len`.
            pub const fn new(addr: $addr, len: u8) -> Result<Self, PrefixError> {
                if len > $width {
                    return Err(PrefixError::Length(len));
                }
                if addr.to_bits() & !Self::bits_of(len) != 0 {
                    return Err(PrefixError::HostBits);
                }
                Ok(Self { addr, len })
            }

            /// The prefix of length `len` (at most the address width) that contains `addr`.
            pub const fn containing(addr: $addr, len: u8) -> Self {
                let len = if len > $width { $width } else { len };
                Self { addr: <$addr>::from_bits(addr.to_bits() & Self::bits_of(len)), len }
            }

            /// The prefix that contains only `addr`.
            pub const fn host(addr: $addr) -> Self {
                Self { addr, len: $width }
            }

            /// The mask of a prefix of length `len`.
            const fn bits_of(len: u8) -> $bits {
                if len == 0 { 0 } else { <$bits>::MAX << ($width - len) }
            }

            /// The first address.
            pub const fn addr(self) -> $addr {
                self.addr
            }

            /// The length in bits.
            pub const fn len(self) -> u8 {
                self.len
            }

            /// Whether the prefix covers every address.
            pub const fn is_empty(self) -> bool {
                self.len == 0
            }

            /// The network mask.
            pub const fn mask(self) -> $bits {
                Self::bits_of(self.len)
            }

            /// The last address.
            pub const fn last(self) -> $addr {
                <$addr>::from_bits(self.addr.to_bits() | !self.mask())
            }

            /// Whether `addr` lies in the prefix.
            pub const fn contains(self, addr: $addr) -> bool {
                addr.to_bits() & self.mask() == self.addr.to_bits()
            }

            /// Whether the two prefixes share an address.
            pub const fn overlaps(self, other: Self) -> bool {
                self.contains(other.addr) || other.contains(self.addr)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.addr, self.len)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = PrefixError;

            /// Parses `ADDRESS/LENGTH`; an address without length is a host prefix.
            fn from_str(text: &str) -> Result<Self, PrefixError> {
                let (addr, len) = match text.split_once('/') {
                    Some((addr, len)) => (addr, len.parse().map_err(|_| PrefixError::Syntax)?),
                    None => (text, $width),
                };
                Self::new(addr.parse().map_err(|_| PrefixError::Syntax)?, len)
            }
        }
    };
}

prefix!(
    /// An IPv4 prefix.
    Ipv4Prefix, Ipv4Addr, u32, 32
);
prefix!(
    /// An IPv6 prefix.
    Ipv6Prefix, Ipv6Addr, u128, 128
);

impl Ipv4Prefix {
    /// Number of addresses: 1 to 2^32.
    pub const fn size(self) -> u64 {
        1 << (32 - self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_parse_from_text() {
        let cases: [(&str, Result<&str, PrefixError>); 7] = [
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("192.0.2.1", Ok("192.0.2.1/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("192.0.2.1/24", Err(PrefixError::HostBits)),
            ("192.0.2.0/33", Err(PrefixError::Length(33))),
            ("192.0.2/24", Err(PrefixError::Syntax)),
            ("192.0.2.0/x", Err(PrefixError::Syntax)),
        ];
        for (text, want) in cases {
            let got = text.parse::<Ipv4Prefix>().map(|p| p.to_string());
            assert_eq!(got, want.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn prefixes_contain_and_overlap() {
        let p: Ipv6Prefix = "2001:db8:1::/64".parse().expect("literal");
        assert!(p.contains("2001:db8:1::5".parse().expect("literal")));
        assert!(!p.contains("2001:db8:2::5".parse().expect("literal")));
        assert_eq!(p.last(), "2001:db8:1::ffff:ffff:ffff:ffff".parse::<Ipv6Addr>().expect("literal"));
        assert!(p.overlaps("2001:db8::/32".parse().expect("literal")));
        assert!(!p.overlaps("2001:db8:2::/64".parse().expect("literal")));
        assert!("::/0".parse::<Ipv6Prefix>().expect("literal").contains(Ipv6Addr::LOCALHOST));
    }
}
