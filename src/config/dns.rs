//! `[dns64]`: listen addresses, upstream resolvers, timeouts, limits and local names.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use super::reader::Reader;
use super::schema::{self, Texts};
use super::zones::Zones;
use super::{Config, dns_rules, network};
use crate::dns64::{
    CacheLimits, Domains, Forward, LedgerLimits, Limits, LocalRecords, Settings, Timeouts, Via,
};

/// Settings of `[dns64]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dns64 {
    /// Settings of the resolver.
    pub settings: Settings,
    /// Interface to which the listen addresses are assigned while the gateway runs.
    pub assign: Option<String>,
}

pub(super) fn dns64(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones) -> Option<Dns64> {
    let section = file.dns64.as_ref()?.get_ref();
    let listen = listen(reader, &section.listen, zones);
    let mut via = BTreeMap::new();
    let servers = upstreams(reader, &section.upstreams, zones, &listen, &mut via);
    let mut forwards = Vec::new();
    for forward in &section.forward {
        forwards.push(Forward {
            domains: dns_rules::domains(reader, Some(&forward.domains), Domains::default()),
            upstreams: upstreams(reader, &forward.upstreams, zones, &listen, &mut via),
        });
    }
    let rules = dns_rules::rules(reader, file, section);
    let ttl = reader.duration(
        section.discovery_ttl.as_ref(),
        Duration::from_secs(600),
        Duration::from_secs(60),
        " (RFC 7050 §5)",
    );
    let assign = section.assign.as_ref().and_then(|text| super::host::interface(reader, text));
    for (addr, at) in listen.iter().filter(|(addr, _)| assign.is_some() && addr.ip().is_unspecified()) {
        let found = format!("`assign` cannot add {} to an interface", addr.ip());
        reader.error(at.clone(), found, "single addresses, or no `assign`");
    }
    let listen: Vec<_> = listen.into_iter().map(|(addr, _)| addr).collect();
    let settings = Settings {
        zones: dns_rules::zones(reader, file, zones, &rules),
        network: network::network(reader, section, &listen, via),
        listen,
        upstreams: servers,
        forwards,
        local: local(reader, section),
        ledger: ledger(reader, section),
        trust_ad: section.trust_ad.unwrap_or(false),
        discovery_ttl: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
        cache_limits: cache_limits(reader, section),
        timeouts: timeouts(reader, section),
        limits: limits(reader, section),
    };
    Some(Dns64 { settings, assign })
}

fn timeouts(reader: &mut Reader<'_>, section: &schema::Dns64) -> Timeouts {
    let default = Timeouts::default();
    let min = Duration::from_millis(10);
    let timeouts = Timeouts {
        aaaa_wait: reader.duration(section.aaaa_wait.as_ref(), default.aaaa_wait, Duration::ZERO, ""),
        attempt: reader.duration(section.attempt.as_ref(), default.attempt, min, ""),
        total: reader.duration(section.total.as_ref(), default.total, min, ""),
        stale_wait: reader.duration(section.stale_wait.as_ref(), default.stale_wait, Duration::ZERO, ""),
        tcp_idle: reader.duration(section.tcp_idle.as_ref(), default.tcp_idle, Duration::from_secs(1), ""),
    };
    if timeouts.total < timeouts.attempt {
        if let Some(text) = &section.total {
            let found = format!("`{}` is shorter than one attempt", text.get_ref());
            reader.error(text.span(), found, format!("at least `attempt`, which is {:?}", timeouts.attempt));
        } else if let Some(text) = &section.attempt {
            let found = format!("`{}` is longer than the whole query", text.get_ref());
            let allowed = format!("at most `total`, which is {:?} by default", timeouts.total);
            reader.error(text.span(), found, allowed);
        }
    }
    timeouts
}

fn limits(reader: &mut Reader<'_>, section: &schema::Dns64) -> Limits {
    let default = Limits::default();
    let per_client = section.in_flight_per_client.as_ref();
    Limits {
        in_flight: reader.number(section.in_flight.as_ref(), default.in_flight, 1..=1_000_000),
        in_flight_per_client: reader.number(per_client, default.in_flight_per_client, 1..=1_000_000),
        attempts: reader.number(section.attempts.as_ref(), default.attempts, 1..=20),
    }
}

fn cache_limits(reader: &mut Reader<'_>, section: &schema::Dns64) -> CacheLimits {
    let default = CacheLimits::default();
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let (second, source) = (Duration::from_secs(1), " (RFC 9520 §3.2)");
    let failure = Duration::from_secs(u64::from(default.failure));
    let stale = Duration::from_secs(u64::from(default.stale));
    CacheLimits {
        bytes: reader.number(section.cache_bytes.as_ref(), default.bytes, 0..=1 << 40),
        failure: seconds(reader.duration(section.cache_failure.as_ref(), failure, second, source)),
        stale: seconds(reader.duration(section.cache_stale.as_ref(), stale, Duration::ZERO, "")),
        ..default
    }
}

fn ledger(reader: &mut Reader<'_>, section: &schema::Dns64) -> LedgerLimits {
    let default = LedgerLimits::default();
    LedgerLimits {
        names: reader.number(section.ledger_names.as_ref(), default.names, 0..=10_000_000),
        links: reader.number(section.ledger_links.as_ref(), default.links, 0..=10_000_000),
    }
}

/// Local names: records of the file, then those of hosts files.
fn local(reader: &mut Reader<'_>, section: &schema::Dns64) -> LocalRecords {
    let mut local = LocalRecords::default();
    for record in &section.record {
        if dns_rules::is_wildcard(record.name.get_ref()) {
            let found = format!("`{}` is a wildcard", record.name.get_ref());
            reader.error(record.name.span(), found, "a domain name such as \"printer.example.com\"");
        }
        for text in &record.addresses.items {
            let addr = reader.parse::<IpAddr>(text, "IPv4 and IPv6 addresses");
            let name = record.name.get_ref();
            if addr.is_some_and(|addr| !local.add(name, addr)) {
                reader.error(record.name.span(), format!("`{name}` is not a domain name"), dns_rules::A_NAME);
                break;
            }
        }
    }
    for path in section.hosts.iter().flat_map(|list| &list.items) {
        match std::fs::read_to_string(path.get_ref()) {
            Ok(text) => {
                if let Some(line) = local.add_hosts(&text).first() {
                    let found = format!("{}:{line} is malformed", path.get_ref());
                    reader.warn(path.span(), found, "an address, followed by names");
                }
            }
            Err(why) => reader.error(path.span(), format!("{}: {why}", path.get_ref()), "a hosts file"),
        }
    }
    local
}

fn listen(reader: &mut Reader<'_>, list: &Texts, zones: &Zones) -> Vec<(SocketAddr, Range<usize>)> {
    if list.items.is_empty() {
        reader.error(list.at.clone(), "listen is empty", "at least one address, or no [dns64]");
    }
    let mut read: Vec<(SocketAddr, Range<usize>)> = Vec::new();
    for text in &list.items {
        let Some(addr) = network::address(reader, text.get_ref(), text, 53) else { continue };
        if let IpAddr::V6(v6) = addr.ip()
            && let Some(pref64) = zones.pref64_of(v6)
        {
            let found = format!("{v6} is within the pref64 {pref64}");
            reader.error(text.span(), found, "an address outside every pref64");
        }
        if addr.ip().is_multicast() {
            let found = format!("{} is a multicast address", addr.ip());
            reader.error(text.span(), found, "unicast addresses, or \"[::]\" for all addresses");
        }
        if addr.is_ipv4() {
            let found = format!("{} serves no client", addr.ip());
            reader.warn(text.span(), found, "IPv6 addresses: clients in zones have IPv6 addresses");
        }
        if read.iter().any(|(known, _)| *known == addr) {
            reader.error(text.span(), format!("duplicate listen address {addr}"), "each address once");
        }
        read.push((addr, text.span()));
    }
    read
}

fn upstreams(
    reader: &mut Reader<'_>,
    list: &Texts,
    zones: &Zones,
    listen: &[(SocketAddr, Range<usize>)],
    transports: &mut BTreeMap<SocketAddr, Via>,
) -> Vec<SocketAddr> {
    if list.items.is_empty() {
        reader.error(
            list.at.clone(),
            "upstreams is empty",
            "at least one resolver, such as \"198.51.100.53\"",
        );
    }
    let mut read = Vec::new();
    for text in &list.items {
        let Some((addr, via)) = network::upstream(reader, text) else { continue };
        if transports.get(&addr).is_some_and(|known| *known != via) {
            let found = format!("{addr} has two transports");
            reader.error(text.span(), found, "one transport for each upstream");
        }
        transports.insert(addr, via);
        if listen.iter().any(|(own, _)| *own == addr) {
            let found = format!("{addr} is a listen address of gate64 itself");
            reader.error(text.span(), found, "other resolvers");
        }
        if let IpAddr::V6(v6) = addr.ip()
            && let Some(pref64) = zones.pref64_of(v6)
        {
            let allowed = "the IPv4 address of the resolver: packets of this host are not translated";
            reader.error(text.span(), format!("{v6} is within the pref64 {pref64}"), allowed);
        }
        read.push(addr);
    }
    read
}

impl Config {
    /// Copies the zone numbers to the DNS settings.
    pub(super) fn number_zones_in_dns(&mut self) {
        let Some(dns) = &mut self.dns64 else { return };
        for (dns, zone) in dns.settings.zones.iter_mut().zip(&self.nat64.zones) {
            dns.id = zone.id;
        }
    }
}
