//! Ports and transport addresses. An ICMP identifier takes the role of the port (RFC 6146 §2).

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An inclusive range of ports, never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Every port that a mapping can use: 1 to 65535.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// The ports `first` to `last`, both included; `None` if `first` exceeds `last`.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first > last { None } else { Some(Self { first, last }) }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Number of ports, 1 to 65,536.
    pub const fn count(self) -> u32 {
        (self.last - self.first) as u32 + 1
    }

    /// Whether `port` is in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether the two ranges share a port.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = &'static str;

    /// Parses `FIRST-LAST` or a single port.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "not a port or a range of ports such as 1024-65535";
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |t: &str| t.trim().parse::<u16>().map_err(|_| FORM);
        Self::new(port(first)?, port(last)?).ok_or("the first port exceeds the last")
    }
}

/// An IPv4 transport address: address and port, or address and ICMP identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Transport4 {
    /// The address.
    pub addr: Ipv4Addr,
    /// The port or ICMP identifier.
    pub port: u16,
}

/// An IPv6 transport address: address and port, or address and ICMP identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Transport6 {
    /// The address.
    pub addr: Ipv6Addr,
    /// The port or ICMP identifier.
    pub port: u16,
}

impl Transport4 {
    /// A transport address from address and port.
    pub const fn new(addr: Ipv4Addr, port: u16) -> Self {
        Self { addr, port }
    }
}

impl Transport6 {
    /// A transport address from address and port.
    pub const fn new(addr: Ipv6Addr, port: u16) -> Self {
        Self { addr, port }
    }
}

impl fmt::Display for Transport4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.addr, self.port)
    }
}

impl fmt::Display for Transport6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]:{}", self.addr, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_from_text() {
        assert_eq!("1024-65535".parse(), Ok(PortRange { first: 1024, last: 65535 }));
        assert_eq!("80".parse(), Ok(PortRange { first: 80, last: 80 }));
        assert_eq!("90-80".parse::<PortRange>(), Err("the first port exceeds the last"));
        assert!("1-70000".parse::<PortRange>().is_err());
    }
}
