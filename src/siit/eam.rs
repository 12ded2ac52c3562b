//! Explicit address mappings (RFC 7757 §3).

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::addr::{Ipv4Prefix, Ipv6Prefix, Longest, PrefixError};

/// An explicit address mapping: an IPv4 prefix and an IPv6 prefix of the same addresses.
///
/// Both prefixes are followed by the same suffix bits. Additional IPv6 bits are set to zero towards IPv6 and
/// ignored towards IPv4 (§3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Eam {
    v4: Ipv4Prefix,
    v6: Ipv6Prefix,
}

/// Why two prefixes don't form a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EamError {
    /// Not `IPV4 = IPV6`.
    Syntax,
    /// One side is not a prefix.
    Prefix(PrefixError),
    /// The IPv4 suffix has more bits than the IPv6 suffix (§3.2).
    Suffix {
        /// Bits after the IPv4 prefix.
        v4: u8,
        /// Bits after the IPv6 prefix.
        v6: u8,
    },
}

impl fmt::Display for EamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("expected two prefixes, such as 192.0.2.1 = 2001:db8::1"),
            Self::Prefix(why) => fmt::Display::fmt(why, f),
            Self::Suffix { v4, v6 } => {
                write!(f, "the IPv4 suffix has {v4} bits, the IPv6 suffix only {v6} (RFC 7757 §3.2)")
            }
        }
    }
}

impl core::error::Error for EamError {}

impl Eam {
    /// Maps two prefixes to each other.
    ///
    /// # Errors
    /// [`EamError::Suffix`] if the IPv4 suffix is longer than the IPv6 suffix.
    pub const fn new(v4: Ipv4Prefix, v6: Ipv6Prefix) -> Result<Self, EamError> {
        let (bits4, bits6) = (32 - v4.len(), 128 - v6.len());
        if bits4 > bits6 {
            return Err(EamError::Suffix { v4: bits4, v6: bits6 });
        }
        Ok(Self { v4, v6 })
    }

    /// The IPv4 prefix.
    pub const fn v4(self) -> Ipv4Prefix {
        self.v4
    }

    /// The IPv6 prefix.
    pub const fn v6(self) -> Ipv6Prefix {
        self.v6
    }

    /// Number of zero bits after the common suffix.
    const fn padding(self) -> u32 {
        (128 - self.v6.len() - (32 - self.v4.len())) as u32
    }

    /// The IPv6 address of `addr`, which lies in the IPv4 prefix.
    const fn to_v6(self, addr: Ipv4Addr) -> Ipv6Addr {
        let suffix = (addr.to_bits() & !self.v4.mask()) as u128;
        // Without suffix bits the shift can be 128, which would overflow.
        let placed = if suffix == 0 { 0 } else { suffix << self.padding() };
        Ipv6Addr::from_bits(self.v6.addr().to_bits() | placed)
    }

    /// The IPv4 address of `addr`, which lies in the IPv6 prefix.
    const fn to_v4(self, addr: Ipv6Addr) -> Ipv4Addr {
        let host_bits = addr.to_bits() & !self.v6.mask();
        let suffix = if self.v4.len() == 32 { 0 } else { (host_bits >> self.padding()) as u32 };
        Ipv4Addr::from_bits(self.v4.addr().to_bits() | suffix & !self.v4.mask())
    }
}

impl fmt::Display for Eam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.v4, self.v6)
    }
}

impl FromStr for Eam {
    type Err = EamError;

    /// Parses `IPV4 = IPV6`. The default prefix length is 32 or 128 (§3.2).
    fn from_str(text: &str) -> Result<Self, EamError> {
        let (v4, v6) = text.split_once('=').ok_or(EamError::Syntax)?;
        let v4 = v4.trim().parse().map_err(EamError::Prefix)?;
        Self::new(v4, v6.trim().parse().map_err(EamError::Prefix)?)
    }
}

/// All explicit mappings, with longest-prefix match on either side (§3.3).
#[derive(Debug, Default)]
pub(super) struct Table {
    eams: Vec<Eam>,
    v4: Longest,
    v6: Longest,
}

impl Table {
    pub(super) fn new(eams: &[Eam]) -> Self {
        let numbered = || eams.iter().zip(0u32..);
        Self {
            v4: Longest::of_v4(numbered().map(|(eam, n)| (eam.v4, n))),
            v6: Longest::of_v6(numbered().map(|(eam, n)| (eam.v6, n))),
            eams: eams.to_vec(),
        }
    }

    #[inline]
    pub(super) fn to_v6(&self, addr: Ipv4Addr) -> Option<Ipv6Addr> {
        self.v4.find_v4(addr).map(|n| self.eams[n as usize].to_v6(addr))
    }

    #[inline]
    pub(super) fn to_v4(&self, addr: Ipv6Addr) -> Option<Ipv4Addr> {
        self.v6.find_v6(addr).map(|n| self.eams[n as usize].to_v4(addr))
    }

    /// Whether `addr` has a mapping.
    pub(super) fn has_v4(&self, addr: Ipv4Addr) -> bool {
        self.v4.find_v4(addr).is_some()
    }
}
