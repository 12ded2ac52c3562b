//! What a stateless translator is told. Typed and resolved; whoever builds it has checked it.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Eam;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64, special};
use crate::xlat::Object;

/// On which side the hosts are that mappings are made for: they are who may use the translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Inside {
    /// On the IPv6 side, with IPv4 addresses for the others: SIIT-DC's border relay (RFC 7755).
    #[default]
    V6,
    /// On the IPv4 side, with IPv6 addresses for the others: a CLAT (RFC 6877), an edge relay
    /// (RFC 7756).
    V4,
}

/// How two hosts inside that have explicit mappings reach each other (RFC 7757 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hairpin {
    /// The packet is turned round here, in one pass (§4.2.2).
    #[default]
    Intrinsic,
    /// The packet leaves to IPv4 and is brought back by routing; then its source is taken as any other
    /// (§4.2.1).
    Simple,
    /// Not at all.
    Off,
}

/// What becomes of UDP datagrams from IPv4 without a checksum (RFC 7915 §4.5). Fragments of such are
/// always dropped: without state nobody sees the whole datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroChecksum {
    /// Dropped, told to the sender, and noted.
    Drop,
    /// Given one.
    #[default]
    Compute,
}

/// What the Well-Known Prefix may stand for (RFC 6052 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WellKnown {
    /// Addresses that are globally reachable.
    #[default]
    Global,
    /// Private and shared ones too (RFC 1918, RFC 6598).
    Private,
    /// All.
    Any,
}

impl WellKnown {
    /// Whether it may stand for `addr`.
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
    /// One of a pool, by chance (RFC 6791 §5); the translator's own if the pool is empty.
    #[default]
    Pool,
    /// The dummy address 192.0.0.8 (RFC 7600), which hosts behind a CLAT are shown.
    Dummy,
    /// The translator's own address.
    Own,
    /// None: the error is dropped.
    Drop,
}

/// Everything the stateless translator is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Explicit mappings.
    pub eams: Vec<Eam>,
    /// The prefix under which the IPv6 side knows every other IPv4 address; `None` if it knows none.
    pub pref64: Option<Pref64>,
    /// IPv4 addresses of hosts inside that have their IPv6 addresses by RFC 6052.
    pub hosts: Vec<Ipv4Prefix>,
    /// The prefix under which the IPv6 side knows `hosts`. A CLAT has one of its own for them.
    pub hosts_pref64: Option<Pref64>,
    /// Where the hosts are.
    pub inside: Inside,
    /// How they reach each other.
    pub hairpin: Hairpin,
    /// UDP without a checksum.
    pub udp_zero_checksum: ZeroChecksum,
    /// What the Well-Known Prefix may stand for.
    pub well_known: WellKnown,
    /// Whether ICMP errors may come from any address under the Well-Known Prefix.
    pub errors_under_well_known: bool,
    /// IPv4 destinations outside that nobody inside may reach.
    pub deny: Vec<Ipv4Prefix>,
    /// The source of errors to IPv4 whose sender has no IPv4 address.
    pub untranslatable: Untranslatable,
    /// Addresses for [`Untranslatable::Pool`].
    pub error_pool4: Vec<Ipv4Prefix>,
    /// Addresses for errors to IPv6 whose sender no prefix may stand for.
    pub error_pool6: Vec<Ipv6Prefix>,
    /// What such an error to IPv4 says of its IPv6 source.
    pub error_object: Option<Object>,
}

impl Default for Settings {
    /// No mapping at all.
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
            untranslatable: Untranslatable::default(),
            error_pool4: Vec::new(),
            error_pool6: Vec::new(),
            error_object: Some(Object::Interface),
        }
    }
}

/// Who the translator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The source of all chance.
    pub seed: u64,
    /// Source of our own ICMPv6 errors.
    pub address6: Ipv6Addr,
    /// Source of our own ICMPv4 errors.
    pub address4: Ipv4Addr,
    /// Whether there is no stateful translator that may want what this one does not.
    pub alone: bool,
}
