//! `[[zone]]`: clients, their prefixes, pools and limits.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use toml::Spanned;

use super::egress::{Egress, INNER};
use super::pool::Pools;
use super::reader::Reader;
use super::rules::{rate, rules};
use super::schema::{self, Number, Texts};
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64, ZoneId, special};
use crate::nat64::{HostLimits, NewSessions, Pool, Rate, Sharing, Zone};

/// Maximum number of zones. Counters for all of them are allocated at start.
pub const MAX_ZONES: usize = 256;
/// Default limit of port blocks per host.
const BLOCKS_PER_HOST: u16 = 8;
/// The unit of such limits.
const PORTS_PER_BLOCK: u32 = 256;
/// Default limit of sessions per host.
const SESSIONS_PER_HOST: u32 = 16_384;

/// All zones.
#[derive(Default)]
pub(super) struct Zones {
    pub(super) zones: Vec<Zone>,
    pub(super) names: Vec<String>,
    pub(super) pools: Pools,
    /// Every pref64 once, with its position in the file.
    pub(super) pref64s: Vec<(Pref64, Range<usize>)>,
    /// Every client prefix, with its position in the file.
    pub(super) clients: Vec<(Ipv6Prefix, Range<usize>)>,
}

/// Defaults of all zones.
struct Defaults {
    egress: Egress,
    pref64: Vec<Pref64>,
    pool: Option<usize>,
    ports_per_host: u32,
    sessions_per_host: u32,
    bindings_per_second: u32,
    host_rate: Rate,
    sharing: Sharing,
}

pub(super) fn zones(
    reader: &mut Reader<'_>,
    file: &schema::File,
    section: &schema::Translator,
    egress: Egress,
) -> Zones {
    let mut zones = Zones::default();
    let defaults = defaults(reader, &mut zones, file, section, egress);
    if file.zone.is_empty() && file.siit.is_none() {
        let allowed = "at least one [[zone]] with `name` and `clients`, or [siit]";
        reader.error(0..0, "the file has no zone", allowed);
    }
    if let Some(extra) = file.zone.get(MAX_ZONES) {
        reader.error(extra.span(), format!("{} zones", file.zone.len()), format!("at most {MAX_ZONES}"));
    }
    for (number, entry) in file.zone.iter().enumerate() {
        let id = ZoneId(u16::try_from(number).unwrap_or(u16::MAX));
        zone(reader, &mut zones, &defaults, id, entry);
    }
    refuse_clients_in_pref64(reader, &zones);
    zones
}

fn defaults(
    reader: &mut Reader<'_>,
    zones: &mut Zones,
    file: &schema::File,
    section: &schema::Translator,
    egress: Egress,
) -> Defaults {
    let pref64 = match &section.pref64 {
        Some(list) => zones.pref64s(reader, list),
        // RFC 6146 §3.5.4: the Well-Known Prefix if none is configured.
        None => vec![Pref64::WELL_KNOWN],
    };
    let pool = match egress {
        Egress::Routed => section.pool4.as_ref().map(|list| zones.pools.add(reader, list)),
        Egress::Masquerade { ports } => {
            zones.pools.pools.push(Pool { ranges: vec![(Ipv4Prefix::host(INNER), ports)] });
            if let Some(list) = &section.pool4 {
                refuse_pool_beside_masquerade(reader, list.at.clone());
            }
            Some(0)
        }
    };
    let limits = file.limits.as_ref();
    let sharing = Sharing::default();
    let new_hosts = limits.and_then(|l| l.new_hosts_per_second.as_ref());
    let blocks = limits.and_then(|l| l.blocks_per_host.as_ref());
    let sessions = limits.and_then(|l| l.sessions_per_host.as_ref());
    let bindings = limits.and_then(|l| l.bindings_per_second.as_ref());
    let new_sessions = limits.map(|l| (l.sessions_per_second.as_ref(), l.sessions_burst.as_ref()));
    Defaults {
        egress,
        pref64,
        pool,
        ports_per_host: ports(reader, blocks, u32::from(BLOCKS_PER_HOST) * PORTS_PER_BLOCK),
        sessions_per_host: reader.number(sessions, SESSIONS_PER_HOST, 1..=100_000_000),
        bindings_per_second: reader.number(bindings, 0, 0..=1_000_000),
        host_rate: rate(reader, new_sessions.unwrap_or_default(), Rate::default()),
        sharing: Sharing {
            first_block: first_block(
                reader,
                limits.and_then(|l| l.first_block.as_ref()),
                sharing.first_block,
            ),
            new_hosts_per_second: reader.number(new_hosts, sharing.new_hosts_per_second, 0..=1_000_000),
            pool_share: sharing.pool_share,
        },
    }
}

/// `first_block`: ports of a host's first block.
fn first_block(reader: &mut Reader<'_>, value: Option<&Number>, default: u16) -> u16 {
    let ports = reader.number(value, default, 16..=64);
    if let Some(value) = value.filter(|_| !ports.is_power_of_two()) {
        reader.error(value.span(), format!("{ports} ports"), "16, 32 or 64");
    }
    ports
}

fn refuse_pool_beside_masquerade(reader: &mut Reader<'_>, at: Range<usize>) {
    let allowed = "either pool4, or egress = \"masquerade\" with egress_ports";
    reader.error(at, "pool4 together with egress = \"masquerade\"", allowed);
}

fn zone(
    reader: &mut Reader<'_>,
    zones: &mut Zones,
    defaults: &Defaults,
    id: ZoneId,
    entry: &Spanned<schema::Zone>,
) {
    let section = entry.get_ref();
    let name = section.name.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        let allowed = "1 to 63 letters, digits, `-`, `_` and `.`";
        reader.error(section.name.span(), format!("`{name}` is not a valid zone name"), allowed);
    }
    if zones.names.contains(name) {
        reader.error(section.name.span(), format!("duplicate zone name `{name}`"), "each name once");
    }
    let pref64 = match &section.pref64 {
        Some(list) => zones.pref64s(reader, list),
        None => defaults.pref64.clone(),
    };
    let pool = match (&section.pool4, defaults.egress) {
        (Some(list), Egress::Routed) => Some(zones.pools.add(reader, list)),
        (Some(list), Egress::Masquerade { .. }) => {
            refuse_pool_beside_masquerade(reader, list.at.clone());
            None
        }
        (None, _) => defaults.pool,
    };
    if pool.is_none() && section.pool4.is_none() {
        let allowed = "pool4 in [translator] or in the zone, or egress = \"masquerade\"";
        reader.error(section.name.span(), format!("zone `{name}` has no pool4"), allowed);
    }
    let clients = zones.clients(reader, &section.clients);
    let limits = section.limits.as_ref();
    let blocks = limits.and_then(|l| l.blocks_per_host.as_ref());
    let sessions = limits.and_then(|l| l.sessions_per_host.as_ref());
    let bindings = limits.and_then(|l| l.bindings_per_second.as_ref());
    let host_len = reader.number(section.host_prefix.as_ref(), 128, 32..=128);
    // A site is not larger than the prefix from which the zone's clients send.
    let widest = clients.iter().map(|prefix| prefix.len()).min().map_or(32, |len| len.clamp(32, host_len));
    let site_len = host_len.min(64).max(widest);
    zones.names.push(name.clone());
    let mut zone = Zone {
        id,
        clients,
        pref64,
        pool: pool.unwrap_or(0),
        host_len,
        site_len: reader.number(section.site_prefix.as_ref(), site_len, widest..=host_len),
        sharing: share(reader, section, defaults),
        ports_per_host: ports(reader, blocks, defaults.ports_per_host),
        sessions_per_host: reader.number(sessions, defaults.sessions_per_host, 1..=100_000_000),
        bindings_per_second: reader.number(bindings, defaults.bindings_per_second, 0..=1_000_000),
        hosts: Vec::new(),
        new_sessions: new_sessions(reader, section, defaults),
    };
    zone.hosts = hosts(reader, section, &zone);
    zones.zones.push(zone);
}

/// A maximum of ports, which the configuration has in blocks of 256.
fn ports(reader: &mut Reader<'_>, blocks: Option<&Number>, default: u32) -> u32 {
    u32::from(reader.number(blocks, (default / PORTS_PER_BLOCK) as u16, 1..=u16::MAX)) * PORTS_PER_BLOCK
}

/// Which sessions the hosts of a zone may open.
fn new_sessions(reader: &mut Reader<'_>, section: &schema::Zone, defaults: &Defaults) -> NewSessions {
    let limits = section.limits.as_ref();
    let of_host = limits.map(|l| (l.sessions_per_second.as_ref(), l.sessions_burst.as_ref()));
    let of_zone = limits.map(|l| (l.zone_sessions_per_second.as_ref(), l.zone_sessions_burst.as_ref()));
    NewSessions {
        rules: rules(reader, section),
        host_rate: rate(reader, of_host.unwrap_or_default(), defaults.host_rate),
        zone_rate: rate(reader, of_zone.unwrap_or_default(), Rate::default()),
    }
}

/// `[[zone.host]]`: hosts with limits of their own.
fn hosts(reader: &mut Reader<'_>, section: &schema::Zone, zone: &Zone) -> Vec<HostLimits> {
    let mut read: Vec<HostLimits> = Vec::new();
    for entry in &section.host {
        let what = "an IPv6 address within `clients` of the zone";
        let Some(addr) = reader.parse::<Ipv6Addr>(&entry.address, what) else { continue };
        if !zone.clients.iter().any(|clients| clients.contains(addr)) {
            reader.error(entry.address.span(), format!("{addr} is not a client of the zone"), what);
        }
        let prefix = Ipv6Prefix::containing(addr, zone.host_len);
        if read.iter().any(|other| other.prefix == prefix) {
            reader.error(entry.address.span(), format!("duplicate host {prefix}"), "each host once");
        }
        read.push(HostLimits {
            prefix,
            ports: ports(reader, entry.blocks.as_ref(), zone.ports_per_host),
            sessions: reader.number(entry.sessions.as_ref(), zone.sessions_per_host, 1..=100_000_000),
            bindings_per_second: reader.number(
                entry.bindings_per_second.as_ref(),
                zone.bindings_per_second,
                0..=1_000_000,
            ),
            session_rate: rate(
                reader,
                (entry.sessions_per_second.as_ref(), entry.sessions_burst.as_ref()),
                zone.new_sessions.host_rate,
            ),
        });
    }
    read
}

/// How the hosts of a zone share its pool.
fn share(reader: &mut Reader<'_>, section: &schema::Zone, defaults: &Defaults) -> Sharing {
    let default = defaults.sharing;
    let limits = section.limits.as_ref();
    let new_hosts = limits.and_then(|l| l.new_hosts_per_second.as_ref());
    Sharing {
        first_block: first_block(reader, limits.and_then(|l| l.first_block.as_ref()), default.first_block),
        new_hosts_per_second: reader.number(new_hosts, default.new_hosts_per_second, 0..=1_000_000),
        pool_share: reader.number(section.pool_share.as_ref(), default.pool_share, 1..=100),
    }
}

impl Zones {
    fn pref64s(&mut self, reader: &mut Reader<'_>, list: &Texts) -> Vec<Pref64> {
        let what = "a unicast IPv6 prefix of length 32, 40, 48, 56, 64 or 96, or 64:ff9b::/96";
        if list.items.is_empty() {
            reader.error(list.at.clone(), "pref64 is empty", what);
        }
        if list.items.len() > 1 {
            let advice =
                "one pref64, except during renumbering: hosts use all of them for all IPv4 addresses";
            reader.warn(list.at.clone(), format!("the zone has {} prefixes", list.items.len()), advice);
        }
        let mut read: Vec<Pref64> = Vec::new();
        for text in &list.items {
            let Some(pref64) = reader.parse::<Pref64>(text, what) else { continue };
            if read.contains(&pref64) {
                reader.error(text.span(), format!("duplicate pref64 {pref64}"), "each pref64 once");
                continue;
            }
            read.push(pref64);
            if self.pref64s.iter().any(|(known, _)| *known == pref64) {
                continue;
            }
            if let Some((other, _)) = self.pref64s.iter().find(|(p, _)| p.prefix().overlaps(pref64.prefix()))
            {
                let found = format!("{pref64} overlaps the pref64 {other}");
                reader.error(text.span(), found, "pref64s that share no address");
            }
            if pref64.prefix().addr().octets()[0] & 0xfe == 0xfc {
                let advice = "a global prefix or 64:ff9b::/96: hosts prefer IPv4 over unique local addresses (RFC 6724)";
                reader.warn(text.span(), format!("{pref64} is a unique local prefix"), advice);
            }
            warn_if_on_link(reader, text, pref64);
            self.pref64s.push((pref64, text.span()));
        }
        read
    }

    fn clients(&mut self, reader: &mut Reader<'_>, list: &Texts) -> Vec<Ipv6Prefix> {
        let what = "IPv6 addresses or prefixes, such as \"2001:db8:1::/64\"";
        if list.items.is_empty() {
            reader.error(list.at.clone(), "the zone has no clients", what);
        }
        let mut read = Vec::new();
        for text in &list.items {
            let Some(prefix) = reader.parse::<Ipv6Prefix>(text, what) else { continue };
            if self.clients.iter().any(|(known, _)| *known == prefix) {
                let found = format!("{prefix} is already a client prefix");
                reader.error(text.span(), found, "each client prefix in one zone, once");
            }
            if prefix.len() < 16 {
                let advice =
                    "the prefixes of your own hosts: every client of a zone can use your IPv4 addresses";
                reader.warn(text.span(), format!("{prefix} includes a large part of the Internet"), advice);
            } else if !special::is_host_v6(prefix.last()) {
                reader.error(text.span(), format!("{prefix} contains addresses that no host can have"), what);
            }
            self.clients.push((prefix, text.span()));
            read.push(prefix);
        }
        read
    }

    /// The pref64 that contains `addr`.
    pub(super) fn pref64_of(&self, addr: Ipv6Addr) -> Option<Pref64> {
        let listed = self.zones.iter().flat_map(|z| &z.pref64).copied();
        listed.into_iter().find(|p| p.contains(addr))
    }

    /// Whether `addr` is a client of any zone.
    pub(super) fn has_client(&self, addr: Ipv6Addr) -> bool {
        self.clients.iter().any(|(prefix, _)| prefix.contains(addr))
    }
}

/// Warns if hosts would resolve addresses under `pref64` on the link instead of sending them to a router.
fn warn_if_on_link(reader: &mut Reader<'_>, text: &schema::Text, pref64: Pref64) {
    let subnet = reader.host.addresses().iter().find_map(|own| match own.addr {
        IpAddr::V6(addr) if own.len < pref64.prefix().len() => {
            Some((Ipv6Prefix::containing(addr, own.len), own.interface.clone()))
                .filter(|(subnet, _)| subnet.contains(pref64.prefix().addr()))
        }
        _ => None,
    });
    if let Some((subnet, interface)) = subnet {
        let found = format!("{pref64} is within the subnet {subnet} of {interface}");
        reader.warn(
            text.span(),
            found,
            "a prefix outside every subnet: hosts would look for its addresses on the link",
        );
    }
}

fn refuse_clients_in_pref64(reader: &mut Reader<'_>, zones: &Zones) {
    for (prefix, at) in &zones.clients {
        if let Some(pref64) = zones.pref64_of(prefix.addr()) {
            let found = format!("the client prefix {prefix} is within the pref64 {pref64}");
            reader.error(at.clone(), found, "client prefixes outside every pref64");
        }
    }
}
