//! Discovery of designated resolvers (RFC 9462): gate64 announces its own DNS over TLS (RFC 9461).

use core::net::{Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;

use super::answer::Draft;
use super::query::Query;
use super::wire::{rcode, rr};
use super::{Outcome, Settings};
use crate::message;

/// TTL of the records, in seconds.
const TTL: u32 = 300;
/// `_dns.resolver.arpa`, uncompressed.
const NAME: &[u8] = b"\x04_dns\x08resolver\x04arpa\0";

/// The SVCB records of the listeners over TLS, one for each port (RFC 9462 §4, §6.4). `None` for other queries, and if
/// no listener has a name and an IPv6 socket: the name is then one without data.
pub(super) fn answer(settings: &Settings, query: &Query) -> Option<(Draft, Outcome)> {
    if query.kind() != rr::SVCB || !query.name().eq_ignore_ascii_case(NAME) || settings.forwards_name(NAME) {
        return None;
    }
    let tls = settings.network.tls.as_ref()?;
    let services = services(&tls.listen);
    if services.is_empty() {
        return None;
    }
    let records = message::local_dns_over_tls(query.name(), TTL, tls.name.as_ref()?.bytes(), &services)?;
    Some((Draft::records(records, rcode::NOERROR).authoritative(), Outcome::SpecialName))
}

/// The IPv6 addresses by port. Clients have IPv6 addresses, so listeners with IPv4 addresses serve none. An
/// unspecified or link-local address is not a hint.
fn services(listen: &[SocketAddr]) -> BTreeMap<u16, Vec<Ipv6Addr>> {
    let mut services: BTreeMap<u16, Vec<Ipv6Addr>> = BTreeMap::new();
    for addr in listen {
        let SocketAddr::V6(addr) = addr else { continue };
        let hints = services.entry(addr.port()).or_default();
        if !addr.ip().is_unspecified() && !addr.ip().is_unicast_link_local() {
            hints.push(*addr.ip());
        }
    }
    services
}
