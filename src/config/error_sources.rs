//! Source addresses of the ICMP errors that gate64 sends: from the file, or from this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reader::Reader;
use super::schema::{self, Text};
use super::zones::Zones;
use crate::addr::special;

/// Source of ICMPv4 errors if this host has no IPv4 address (RFC 7600 §4.8).
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Returns the source addresses of ICMPv6 and ICMPv4 errors.
pub(super) fn error_sources(
    reader: &mut Reader<'_>,
    file: &schema::File,
    section: &schema::Translator,
    zones: &Zones,
) -> Option<(Ipv6Addr, Ipv4Addr)> {
    let address6 = match &section.address6 {
        Some(text) => configured6(reader, text, zones),
        None => default6(reader, file, zones),
    };
    let address4 = match &section.address4 {
        Some(text) => configured4(reader, text),
        None => Some(default4(reader)),
    };
    Some((address6?, address4?))
}

fn configured6(reader: &mut Reader<'_>, text: &Text, zones: &Zones) -> Option<Ipv6Addr> {
    let addr: Ipv6Addr = reader.parse(text, "an IPv6 address of this host")?;
    if let Some(pref64) = zones.pref64_of(addr) {
        let found = format!("{addr} lies in the pref64 {pref64}");
        reader.error(text.span(), found, "an address outside every pref64 (RFC 7915 §5.4)");
    } else if !special::is_host_v6(addr) {
        reader.error(
            text.span(),
            format!("{addr} is not a host address"),
            "a global or unique local address",
        );
    }
    Some(addr)
}

fn configured4(reader: &mut Reader<'_>, text: &Text) -> Option<Ipv4Addr> {
    let addr: Ipv4Addr = reader.parse(text, "an IPv4 address of this host")?;
    if !special::is_host_v4(addr) {
        reader.error(text.span(), format!("{addr} is not a host address"), "a unicast address");
    }
    Some(addr)
}

/// The source that the kernel selects towards the first client prefix, else any address of this host.
fn default6(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones) -> Option<Ipv6Addr> {
    let usable = |addr: &Ipv6Addr| special::is_host_v6(*addr) && zones.pref64_of(*addr).is_none();
    let towards = zones.clients.iter().filter_map(|(prefix, _)| {
        match reader.host.source_towards(IpAddr::V6(Ipv6Addr::from_bits(prefix.addr().to_bits() | 1))) {
            Some(IpAddr::V6(addr)) => Some(addr),
            _ => None,
        }
    });
    let any = reader.host.addresses().iter().filter_map(|own| match own.addr {
        IpAddr::V6(addr) => Some(addr),
        IpAddr::V4(_) => None,
    });
    let found = towards.chain(any).find(usable);
    if found.is_none() {
        let at = file.translator.as_ref().map_or(0..0, toml::Spanned::span);
        let allowed = "address6 = \"…\" in [translator], the source of ICMPv6 errors";
        reader.error(at, "this host has no IPv6 address that clients can reach", allowed);
    }
    found
}

fn default4(reader: &mut Reader<'_>) -> Ipv4Addr {
    // Any address reachable by the default route; no packet is sent.
    let towards = match reader.host.source_towards(IpAddr::V4(Ipv4Addr::new(192, 88, 99, 1))) {
        Some(IpAddr::V4(addr)) => Some(addr),
        _ => None,
    };
    let any = reader.host.addresses().iter().filter_map(|own| match own.addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    });
    towards.into_iter().chain(any).find(|addr| special::is_host_v4(*addr)).unwrap_or(DUMMY)
}
