//! ipv4only.arpa: how clients discover the pref64 (RFC 7050, RFC 8880 §7).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::answer::Draft;
use super::query::Query;
use super::reverse::starts_label;
use super::wire::{rcode, rr};
use super::{Settings, Zone};
use crate::message;

/// The well-known IPv4 addresses (RFC 7050 §2.2).
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
const NAME: &[u8] = b"\x08ipv4only\x04arpa\x00";

/// The local answer about ipv4only.arpa. `None` for other names, and for DS, which is resolved upstream
/// (RFC 8880 §7.1).
pub(super) fn answer(settings: &Settings, zone: &Zone, query: &Query) -> Option<Draft> {
    let name = query.name();
    let kind = query.kind();
    let below = name.len().checked_sub(NAME.len())?;
    if !name[below..].eq_ignore_ascii_case(NAME) || !starts_label(name, below) {
        return None;
    }
    let ttl = settings.discovery_ttl;
    if below > 0 {
        return Draft::denial(query, rcode::NXDOMAIN, NAME, ttl);
    }
    let records = match kind {
        rr::DS => return None,
        rr::A => message::local_v4(name, kind, ttl, &ADDRESSES)?,
        rr::AAAA => message::local_addresses(name, kind, ttl, &addresses(zone))?,
        _ => return Draft::denial(query, rcode::NOERROR, NAME, ttl),
    };
    Some(Draft::records(records, rcode::NOERROR).authoritative())
}

/// The local answer to a reverse query for `v4` under a pref64 (RFC 8880 §7.2.1).
pub(super) fn reverse(settings: &Settings, query: &Query, v4: Ipv4Addr) -> Option<Draft> {
    if !ADDRESSES.contains(&v4) {
        return None;
    }
    let records = message::local_ptr(query.name(), settings.discovery_ttl, NAME)?;
    Some(Draft::records(records, rcode::NOERROR).authoritative())
}

/// One address for each pref64 and well-known address. No filter applies: they represent the prefix, not a
/// host.
fn addresses(zone: &Zone) -> Vec<Ipv6Addr> {
    let prefixes = zone.pref64.iter().filter(|m| m.only.is_none());
    prefixes.flat_map(|m| ADDRESSES.map(|v4| m.pref64.embed(v4))).collect()
}
