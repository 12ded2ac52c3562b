//! pool4 entries: addresses, and the ports of them that may be used.

use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;

use super::reader::Reader;
use super::schema::{PoolEntry, Text};
use super::shape::{List, TextOr};
use crate::addr::{Ipv4Prefix, Ipv6Prefix, PortRange, special};
use crate::nat64::Pool;

/// The pools of all zones. A pool that two zones spell alike is one pool.
#[derive(Default)]
pub(super) struct Pools {
    pub(super) pools: Vec<Pool>,
    /// Where each range of each pool was written.
    places: Vec<Vec<Range<usize>>>,
}

const FORM: &str = "an address or prefix, with ports if not all may be used: \"192.0.2.64/28\", \
                    \"203.0.113.1:32768-65535\", { addresses = \"…\", ports = \"…\" }";

impl Pools {
    /// Reads a pool and says which number it has; 0 if it is unusable, which has been noted then.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, list: &List<PoolEntry>) -> usize {
        let mut pool = Pool::default();
        let mut places = Vec::new();
        if list.items.is_empty() {
            reader.refuse(list.at.clone(), "pool4 is empty", FORM);
        }
        for entry in &list.items {
            let Some(range) = read(reader, entry) else { continue };
            check_host(reader, entry.span(), range.0);
            if let Some(other) = pool.ranges.iter().find(|other| overlap(**other, range)) {
                let found = format!("{} overlaps {} of the same pool4", name(range), name(*other));
                reader.refuse(entry.span(), found, "each address and port once");
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
                reader.refuse(at.clone(), found, "zones share a whole pool4 or nothing of it");
            }
        }
    }
}

fn read(reader: &mut Reader<'_>, entry: &Spanned<PoolEntry>) -> Option<(Ipv4Prefix, PortRange)> {
    match entry.get_ref() {
        TextOr::Text(text) if text.parse::<Ipv6Prefix>().is_ok() => {
            reader.refuse(entry.span(), format!("`{text}` is IPv6"), FORM);
            None
        }
        TextOr::Text(text) => {
            let (addresses, ports) = match text.split_once(':') {
                Some((addresses, ports)) => (addresses, Some(ports)),
                None => (text.as_str(), None),
            };
            let place = |part: &str| Text::new(entry.span(), part.to_owned());
            let prefix = reader.parse(&place(addresses), FORM)?;
            Some((prefix, read_ports(reader, ports.map(place).as_ref())?))
        }
        TextOr::Table(table) => {
            let prefix =
                reader.parse(&table.addresses, "an IPv4 address or prefix, such as \"192.0.2.64/28\"")?;
            Some((prefix, read_ports(reader, table.ports.as_ref())?))
        }
    }
}

/// Reads a range of ports that mappings may use; all of them if there is no text.
pub(super) fn read_ports(reader: &mut Reader<'_>, text: Option<&Text>) -> Option<PortRange> {
    let Some(text) = text else { return Some(PortRange::ALL) };
    let ports: PortRange = reader.parse(text, "FIRST-LAST with 1 <= FIRST <= LAST <= 65535")?;
    if ports.first() == 0 {
        reader.refuse(text.span(), "port 0 is no port", "FIRST-LAST with 1 <= FIRST <= LAST <= 65535");
        return None;
    }
    Some(ports)
}

/// Refuses addresses that nothing can come from, and those the host itself answers to.
fn check_host(reader: &mut Reader<'_>, at: Range<usize>, prefix: Ipv4Prefix) {
    if !special::is_host_v4(prefix.addr()) || !special::is_host_v4(prefix.last()) {
        let found = format!("{prefix} holds no addresses of hosts");
        reader.refuse(at, found, "unicast addresses outside 0/8, 127/8, 224/4 and 240/4");
        return;
    }
    if let Some((interface, addr)) = own(reader, prefix) {
        let found = format!("{addr} is an address of this host ({interface})");
        let allowed = "addresses the host does not use; to share the host's own address, leave pool4 out and \
                       write egress = \"masquerade\"";
        reader.refuse(at, found, allowed);
    }
}

/// The host's own address in `prefix`, if there is one.
pub(super) fn own(reader: &Reader<'_>, prefix: Ipv4Prefix) -> Option<(String, Ipv4Addr)> {
    reader.around.addresses().iter().find_map(|own| match own.addr {
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
