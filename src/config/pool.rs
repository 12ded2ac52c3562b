//! `pool4`: addresses with port ranges.

use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;

use super::reader::Reader;
use super::schema::{PoolEntry, Text};
use super::shape::{List, TextOr};
use crate::addr::{Ipv4Prefix, Ipv6Prefix, PortRange, special};
use crate::nat64::Pool;

/// The pools of all zones. Zones with equal entries share one pool.
#[derive(Default)]
pub(super) struct Pools {
    pub(super) pools: Vec<Pool>,
    /// Place in the file of each range of each pool.
    places: Vec<Vec<Range<usize>>>,
}

const FORM: &str = "an address or prefix, optionally with a port range: \"192.0.2.64/28\", \
                    \"203.0.113.1:32768-65535\", { addresses = \"…\", ports = \"…\" }";

impl Pools {
    /// Parses a pool; returns its index in `pools`, or 0 after an error.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, list: &List<PoolEntry>) -> usize {
        let mut pool = Pool::default();
        let mut places = Vec::new();
        if list.items.is_empty() {
            reader.error(list.at.clone(), "pool4 is empty", FORM);
        }
        for entry in &list.items {
            let Some(range) = read(reader, entry) else { continue };
            check_host(reader, entry.span(), range.0);
            if let Some(other) = pool.ranges.iter().find(|other| overlap(**other, range)) {
                let found = format!("{} overlaps {} in the same pool4", name(range), name(*other));
                reader.error(entry.span(), found, "each address and port once");
            }
            pool.ranges.push(range);
            places.push(entry.span());
        }
        if let Some(same) = self.pools.iter().position(|other| same(other, &pool)) {
            return same;
        }
        self.refuse_overlaps(reader, &pool, &places);
        self.pools.push(pool);
        self.places.push(places);
        self.pools.len() - 1
    }

    fn refuse_overlaps(&self, reader: &mut Reader<'_>, pool: &Pool, places: &[Range<usize>]) {
        for (range, at) in pool.ranges.iter().zip(places) {
            let other = self.pools.iter().flat_map(|p| &p.ranges).find(|other| overlap(**other, *range));
            if let Some(other) = other {
                let found = format!("{} overlaps {} of another zone's pool4", name(*range), name(*other));
                reader.error(at.clone(), found, "two zones share all of a pool4 or none of it");
            }
        }
    }
}

fn read(reader: &mut Reader<'_>, entry: &Spanned<PoolEntry>) -> Option<(Ipv4Prefix, PortRange)> {
    match entry.get_ref() {
        TextOr::Text(text) if text.parse::<Ipv6Prefix>().is_ok() => {
            reader.error(entry.span(), format!("`{text}` is an IPv6 prefix"), FORM);
            None
        }
        TextOr::Text(text) => {
            let (addresses, ports) = match text.split_once(':') {
                Some((addresses, ports)) => (addresses, Some(ports)),
                None => (text.as_str(), None),
            };
            let part_text = |part: &str| Text::new(entry.span(), part.to_owned());
            let prefix = reader.parse(&part_text(addresses), FORM)?;
            Some((prefix, read_ports(reader, ports.map(part_text).as_ref())?))
        }
        TextOr::Table(table) => {
            let prefix =
                reader.parse(&table.addresses, "an IPv4 address or prefix, such as \"192.0.2.64/28\"")?;
            Some((prefix, read_ports(reader, table.ports.as_ref())?))
        }
    }
}

/// Parses a port range; without text, all ports.
pub(super) fn read_ports(reader: &mut Reader<'_>, text: Option<&Text>) -> Option<PortRange> {
    let Some(text) = text else { return Some(PortRange::ALL) };
    let ports: PortRange = reader.parse(text, "FIRST-LAST with 1 <= FIRST <= LAST <= 65535")?;
    if ports.first() == 0 {
        reader.error(text.span(), "port 0 is not usable", "FIRST-LAST with 1 <= FIRST <= LAST <= 65535");
        return None;
    }
    Some(ports)
}

/// Rejects addresses that no host can have, and addresses of this host.
fn check_host(reader: &mut Reader<'_>, at: Range<usize>, prefix: Ipv4Prefix) {
    if !special::is_host_v4(prefix.addr()) || !special::is_host_v4(prefix.last()) {
        let found = format!("{prefix} contains addresses that no host can have");
        reader.error(at, found, "unicast addresses outside 0/8, 127/8, 224/4 and 240/4");
        return;
    }
    if let Some((interface, addr)) = own(reader, prefix) {
        let found = format!("{addr} is an address of this host ({interface})");
        let allowed = "addresses that this host does not use; to share the address of this host, leave pool4 out \
                       and set egress = \"masquerade\"";
        reader.error(at, found, allowed);
    } else if let Some(route) = local_route(reader, prefix) {
        let found = format!("{prefix} overlaps {route}, a local route of this host");
        reader.warn(at, found, "addresses without a local route: this host keeps their packets");
    }
}

/// The first local route of this host that overlaps `prefix`.
pub(super) fn local_route(reader: &Reader<'_>, prefix: Ipv4Prefix) -> Option<Ipv4Prefix> {
    reader.host.local_routes().iter().find_map(|(addr, len)| match addr {
        std::net::IpAddr::V4(addr) => {
            Some(Ipv4Prefix::containing(*addr, *len)).filter(|r| r.overlaps(prefix))
        }
        std::net::IpAddr::V6(_) => None,
    })
}

/// The first address of this host within `prefix`, with its interface.
pub(super) fn own(reader: &Reader<'_>, prefix: Ipv4Prefix) -> Option<(String, Ipv4Addr)> {
    reader.host.addresses().iter().find_map(|own| match own.addr {
        std::net::IpAddr::V4(addr) if prefix.contains(addr) => Some((own.interface.clone(), addr)),
        _ => None,
    })
}

fn overlap(a: (Ipv4Prefix, PortRange), b: (Ipv4Prefix, PortRange)) -> bool {
    a.0.overlaps(b.0) && a.1.overlaps(b.1)
}

fn same(a: &Pool, b: &Pool) -> bool {
    let sorted = |pool: &Pool| {
        let mut ranges = pool.ranges.clone();
        ranges.sort_unstable();
        ranges
    };
    sorted(a) == sorted(b)
}

fn name((prefix, ports): (Ipv4Prefix, PortRange)) -> String {
    if ports == PortRange::ALL { prefix.to_string() } else { format!("{prefix}:{ports}") }
}
