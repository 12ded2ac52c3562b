//! `[dns64]`: where it listens, whom it asks, what it leaves alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use super::Config;
use super::network;
use super::reader::Reader;
use super::schema::{self, Text, Texts};
use super::zones::Zones;
use crate::addr::{Ipv4Prefix, Ipv6Prefix};
use crate::dns64::{Limits, Mapping, Rules, Settings, Timeouts, Via, WithDo, Zone};

/// DNS64 as the file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dns64 {
    /// What the resolver is told.
    pub settings: Settings,
    /// The interface that is given the listen addresses while the gateway runs.
    pub assign: Option<String>,
}

pub(super) fn dns64(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones) -> Option<Dns64> {
    let told = file.dns64.as_ref()?.get_ref();
    let listen = listen(reader, &told.listen, zones);
    let mut via = BTreeMap::new();
    let upstreams = upstreams(reader, &told.upstreams, zones, &listen, &mut via);
    let rules = Rules {
        enabled: told.enabled.unwrap_or(true),
        private_under_well_known: file
            .translator
            .as_ref()
            .and_then(|t| t.get_ref().wkp_private)
            .unwrap_or(false),
        ..Rules::default()
    };
    let rules = Rules {
        exclude_aaaa: prefixes6(reader, told.exclude_aaaa.as_ref(), rules.exclude_aaaa),
        never_translate_ipv4: prefixes4(reader, told.never_translate_ipv4.as_ref(), Vec::new()),
        with_do: with_do(reader, told.with_do.as_ref(), None),
        ..rules
    };
    let ttl = reader.duration(
        told.discovery_ttl.as_ref(),
        Duration::from_secs(600),
        Duration::from_secs(60),
        " (RFC 7050 §5)",
    );
    let assign = told.assign.as_ref().and_then(|text| super::host::interface(reader, text));
    let listen: Vec<_> = listen.into_iter().map(|(addr, _)| addr).collect();
    let settings = Settings {
        zones: dns_zones(reader, file, zones, &rules),
        network: network::network(reader, told, &listen, via),
        listen,
        upstreams,
        forwards: Vec::new(),
        trust_ad: told.trust_ad.unwrap_or(false),
        discovery_ttl: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
        timeouts: timeouts(reader, told),
        limits: limits(reader, told),
    };
    Some(Dns64 { settings, assign })
}

fn dns_zones(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones, rules: &Rules) -> Vec<Zone> {
    let mut read = Vec::new();
    for ((zone, name), told) in zones.zones.iter().zip(&zones.names).zip(&file.zone) {
        let rules = match &told.get_ref().dns64 {
            None => rules.clone(),
            Some(own) => Rules {
                enabled: own.enabled.unwrap_or(rules.enabled),
                exclude_aaaa: prefixes6(reader, own.exclude_aaaa.as_ref(), rules.exclude_aaaa.clone()),
                never_translate_ipv4: prefixes4(
                    reader,
                    own.never_translate_ipv4.as_ref(),
                    rules.never_translate_ipv4.clone(),
                ),
                with_do: with_do(reader, own.with_do.as_ref(), rules.with_do),
                private_under_well_known: rules.private_under_well_known,
            },
        };
        read.push(Zone {
            id: zone.id,
            name: name.clone(),
            clients: zone.clients.clone(),
            pref64: zone.pref64.iter().map(|p| Mapping::from(*p)).collect(),
            rules,
        });
    }
    read
}

fn with_do(reader: &mut Reader<'_>, told: Option<&Text>, default: Option<WithDo>) -> Option<WithDo> {
    let words = [
        ("auto", None),
        ("never", Some(WithDo::Never)),
        ("unsigned-only", Some(WithDo::UnsignedOnly)),
        ("validated", Some(WithDo::Validated)),
    ];
    reader.word(told, default, &words)
}

fn timeouts(reader: &mut Reader<'_>, told: &schema::Dns64) -> Timeouts {
    let default = Timeouts::default();
    let least = Duration::from_millis(10);
    let timeouts = Timeouts {
        aaaa_wait: reader.duration(told.aaaa_wait.as_ref(), default.aaaa_wait, Duration::ZERO, ""),
        attempt: reader.duration(told.attempt.as_ref(), default.attempt, least, ""),
        total: reader.duration(told.total.as_ref(), default.total, least, ""),
        stale_wait: default.stale_wait,
        tcp_idle: reader.duration(told.tcp_idle.as_ref(), default.tcp_idle, Duration::from_secs(1), ""),
    };
    if let Some(text) = told.total.as_ref().filter(|_| timeouts.total < timeouts.attempt) {
        let found = format!("`{}` in all, but one attempt may take longer", text.get_ref());
        reader.refuse(text.span(), found, format!("at least `attempt`, which is {:?}", timeouts.attempt));
    }
    timeouts
}

fn limits(reader: &mut Reader<'_>, told: &schema::Dns64) -> Limits {
    let default = Limits::default();
    let per_client = told.in_flight_per_client.as_ref();
    Limits {
        in_flight: reader.number(told.in_flight.as_ref(), default.in_flight, 1..=1_000_000),
        in_flight_per_client: reader.number(per_client, default.in_flight_per_client, 1..=1_000_000),
        attempts: reader.number(told.attempts.as_ref(), default.attempts, 1..=20),
    }
}

fn prefixes6(reader: &mut Reader<'_>, list: Option<&Texts>, default: Vec<Ipv6Prefix>) -> Vec<Ipv6Prefix> {
    let what = "IPv6 addresses or prefixes, such as \"::ffff:0:0/96\"";
    list.map_or(default, |list| list.items.iter().filter_map(|text| reader.parse(text, what)).collect())
}

fn prefixes4(reader: &mut Reader<'_>, list: Option<&Texts>, default: Vec<Ipv4Prefix>) -> Vec<Ipv4Prefix> {
    let what = "IPv4 addresses or prefixes, such as \"10.0.0.0/8\"";
    list.map_or(default, |list| list.items.iter().filter_map(|text| reader.parse(text, what)).collect())
}

fn listen(reader: &mut Reader<'_>, list: &Texts, zones: &Zones) -> Vec<(SocketAddr, Range<usize>)> {
    if list.items.is_empty() {
        reader.refuse(list.at.clone(), "listen is empty", "at least one address, or no [dns64] at all");
    }
    let mut read: Vec<(SocketAddr, Range<usize>)> = Vec::new();
    for text in &list.items {
        let Some(addr) = network::address(reader, text.get_ref(), text, 53) else { continue };
        if let IpAddr::V6(v6) = addr.ip()
            && let Some(pref64) = zones.pref64_of(v6)
        {
            let found = format!("{v6} lies in the pref64 {pref64}");
            reader.refuse(text.span(), found, "an address outside every pref64");
        }
        if addr.ip().is_multicast() {
            let found = format!("{} is not an address to listen on", addr.ip());
            reader.refuse(text.span(), found, "unicast addresses, or \"[::]\" for all of them");
        }
        if read.iter().any(|(known, _)| *known == addr) {
            reader.refuse(text.span(), format!("{addr} a second time"), "each listen address once");
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
    ways: &mut BTreeMap<SocketAddr, Via>,
) -> Vec<SocketAddr> {
    if list.items.is_empty() {
        reader.refuse(
            list.at.clone(),
            "upstreams is empty",
            "at least one resolver, such as \"198.51.100.53\"",
        );
    }
    let mut read = Vec::new();
    for text in &list.items {
        let Some((addr, via)) = network::upstream(reader, text) else { continue };
        if ways.get(&addr).is_some_and(|known| *known != via) {
            let found = format!("{addr} a second time, and otherwise");
            reader.refuse(text.span(), found, "one way to speak to each upstream");
        }
        ways.insert(addr, via);
        if listen.iter().any(|(own, _)| *own == addr) {
            let found = format!("{addr} is an address gate64 itself listens on");
            reader.refuse(text.span(), found, "resolvers other than this one");
        }
        if let IpAddr::V6(v6) = addr.ip()
            && let Some(pref64) = zones.pref64_of(v6)
        {
            let allowed = "the resolver's IPv4 address: what this host sends is not translated";
            reader.refuse(text.span(), format!("{v6} lies in the pref64 {pref64}"), allowed);
        }
        read.push(addr);
    }
    read
}

impl Config {
    /// Takes the numbers of the zones over into the DNS settings.
    pub(super) fn number_zones_in_dns(&mut self) {
        let Some(dns) = &mut self.dns64 else { return };
        for (dns, zone) in dns.settings.zones.iter_mut().zip(&self.nat64.zones) {
            dns.id = zone.id;
        }
    }
}
