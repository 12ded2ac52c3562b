//! What only a reload changes, besides the mappings.

use super::{Hairpin, Inside, Settings, ZeroChecksum};
use crate::addr::Longest;
use crate::xlat::Object;

/// Settings that decide about packets, in the form that packets need.
#[derive(Debug)]
pub(super) struct Policy {
    /// Side of the inside hosts.
    pub(super) inside: Inside,
    /// Hairpinning between inside hosts.
    pub(super) hairpin: Hairpin,
    /// Handling of UDP without a checksum.
    pub(super) udp_zero_checksum: ZeroChecksum,
    /// Whether the Well-Known Prefix may represent any source of an ICMP error.
    pub(super) errors_under_well_known: bool,
    /// IPv4 destinations that inside hosts must not reach.
    pub(super) denied: Longest,
    /// Object that carries the IPv6 source of an ICMPv4 error from a substituted address.
    pub(super) error_object: Option<Object>,
}

impl Policy {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            inside: settings.inside,
            // Hosts on the IPv4 side reach each other without the translator.
            hairpin: if settings.inside == Inside::V6 { settings.hairpin } else { Hairpin::Off },
            udp_zero_checksum: settings.udp_zero_checksum,
            errors_under_well_known: settings.errors_under_well_known,
            denied: Longest::of_v4(settings.deny.iter().map(|prefix| (*prefix, 0))),
            error_object: settings.error_sources.object,
        }
    }
}
