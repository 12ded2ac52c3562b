//! Settings of the stateless translator, typed and resolved. The caller has validated them.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Eam;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64, special};
use crate::xlat::Object;

/// The side of the inside hosts: those with a mapping, which may use the translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Inside {
    /// Inside hosts have IPv6: SIIT-DC border relay (RFC 7755).
    #[default]
    V6,
    /// Inside hosts have IPv4: CLAT (RFC 6877), edge relay (RFC 7756).
    V4,
}

/// Hairpinning between two inside hosts with explicit mappings (RFC 7757 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hairpin {
    /// The translator hairpins the packet itself (§4.2.2).
    #[default]
    Intrinsic,
    /// The packet leaves to IPv4 and routing returns it; its source then maps by the prefix (§4.2.1).
    Simple,
    /// No hairpinning.
    Off,
}

/// Handling of UDP datagrams from IPv4 without a checksum (RFC 7915 §4.5). Their fragments are always dropped:
/// a stateless translator never sees the whole datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroChecksum {
    /// Drops them with an ICMP error and records them for the log.
    Drop,
    /// Computes a checksum.
    #[default]
    Compute,
}

/// Which addresses the Well-Known Prefix may represent (RFC 6052 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WellKnown {
    /// Globally reachable addresses.
    #[default]
    Global,
    /// Also private and shared addresses (RFC 1918, RFC 6598).
    Private,
    /// All addresses.
    Any,
}

impl WellKnown {
    /// Whether the Well-Known Prefix may represent `addr`.
    pub fn allows(self, addr: Ipv4Addr) -> bool {
        match self {
            Self::Global => special::is_global(addr),
            Self::Private => special::is_global(addr) || special::is_private(addr),
            Self::Any => true,
        }
    }
}

/// The source of an ICMP error whose sender has no address in the other family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Untranslatable {
    /// A random address of the pool (RFC 6791 §5); the translator's own if the pool is empty.
    #[default]
    Pool,
    /// The IPv4 dummy address 192.0.0.8 (RFC 7600 §4.8), for hosts behind a CLAT.
    Dummy,
    /// The translator's own address.
    Own,
    /// No source: drops the error.
    Drop,
}

/// Settings of the stateless translator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Explicit mappings.
    pub eams: Vec<Eam>,
    /// Prefix that represents all other IPv4 addresses on the IPv6 side; `None` translates none of them.
    pub pref64: Option<Pref64>,
    /// IPv4 addresses of inside hosts that map by RFC 6052.
    pub hosts: Vec<Ipv4Prefix>,
    /// Prefix that represents `hosts` on the IPv6 side; `None` uses `pref64`. A CLAT has a separate one.
    pub hosts_pref64: Option<Pref64>,
    /// Side of the inside hosts.
    pub inside: Inside,
    /// Hairpinning between inside hosts.
    pub hairpin: Hairpin,
    /// Handling of UDP without a checksum.
    pub udp_zero_checksum: ZeroChecksum,
    /// Addresses that the Well-Known Prefix may represent.
    pub well_known: WellKnown,
    /// Whether the Well-Known Prefix may represent any source of an ICMP error.
    pub errors_under_well_known: bool,
    /// IPv4 destinations that inside hosts must not reach.
    pub deny: Vec<Ipv4Prefix>,
    /// Sources of ICMP errors whose sender has no address in the other family.
    pub error_sources: ErrorSources,
}

impl Default for Settings {
    /// No mapping.
    fn default() -> Self {
        Self {
            eams: Vec::new(),
            pref64: None,
            hosts: Vec::new(),
            hosts_pref64: None,
            inside: Inside::default(),
            hairpin: Hairpin::default(),
            udp_zero_checksum: ZeroChecksum::default(),
            well_known: WellKnown::default(),
            errors_under_well_known: false,
            deny: Vec::new(),
            error_sources: ErrorSources::default(),
        }
    }
}

/// Sources of ICMP errors whose sender has no address in the other family (RFC 6791).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorSources {
    /// Source of ICMPv4 errors whose sender has no IPv4 address.
    pub untranslatable: Untranslatable,
    /// Addresses for [`Untranslatable::Pool`].
    pub pool4: Vec<Ipv4Prefix>,
    /// Sources of ICMPv6 errors whose IPv4 sender cannot be mapped.
    pub pool6: Vec<Ipv6Prefix>,
    /// Object that carries the IPv6 source of such an ICMPv4 error; `None` adds none.
    pub object: Option<Object>,
}

impl Default for ErrorSources {
    /// No pools.
    fn default() -> Self {
        Self {
            untranslatable: Untranslatable::default(),
            pool4: Vec::new(),
            pool6: Vec::new(),
            object: Some(Object::Interface),
        }
    }
}

/// Identity of the translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Seed of the random number generators.
    pub seed: u64,
    /// Source address of originated ICMPv6 errors.
    pub address6: Ipv6Addr,
    /// Source address of originated ICMPv4 errors.
    pub address4: Ipv4Addr,
    /// Whether there is no stateful translator for the packets that this one does not handle.
    pub without_nat64: bool,
}
