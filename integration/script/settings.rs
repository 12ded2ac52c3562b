//! The lines `set ...`: a scenario's settings. The default is fixture N1 of the requirements: one zone
//! 2001:db8:1::/64, pref64 2001:db8:64::/96, pool 203.0.113.1 with all ports, endpoint-independent
//! filtering.

use std::net::IpAddr;
use std::time::Duration;

use gate64::addr::{Ipv6Prefix, LocalAddresses, Proto, Transport4, Transport6, ZoneId};
use gate64::nat64::{
    Action, Filtering, HostLimits, Limits, Masquerade, Pairing, Pool, Rate, Rule, StaticBinding, Timers,
    UnsolicitedSyn, Zone,
};
use gate64::translator::Settings;
use gate64::xlat::{self, TrafficClass};

use super::packet::{address, int, parsed, transport4, transport6};
use super::{fixture, siit};

/// Applies one `set` line, given as its words after `set`.
pub(crate) fn apply(settings: &mut Settings, words: &[&str]) -> Result<(), String> {
    let rest = words.get(1..).unwrap_or_default();
    let first = || rest.first().copied().ok_or("a value is missing");
    match *words.first().ok_or("set what?")? {
        "fixture" => *settings = fixture::named(first()?)?,
        "siit" => siit::apply(settings, rest)?,
        "workers" => settings.workers = int(first()?)? as u8,
        "seed" => settings.seed = u64::from(int(first()?)?),
        "owner_seed" => settings.owner_seed = int(first()?)?,
        "zone" => zone(settings, first()?, &rest[1..])?,
        "rule" => rule(settings, rest)?,
        "no_rules" => zone_numbered(settings, first()?)?.new_sessions.rules.clear(),
        "pool" => settings.nat64.pools = vec![pool(rest)?],
        "pools" => settings.nat64.pools.push(pool(rest)?),
        "static" => {
            let entry = binding(rest)?;
            settings.nat64.statics.retain(|other| *other != entry);
            settings.nat64.statics.push(entry);
        }
        "no_statics" => settings.nat64.statics.clear(),
        "deny" => settings.nat64.deny = parsed(rest)?,
        "filtering" => filtering(settings, rest)?,
        "unsolicited_syn" => {
            settings.nat64.unsolicited_syn = match first()? {
                "store" => UnsolicitedSyn::Store,
                "drop" => UnsolicitedSyn::Drop,
                other => return Err(format!("`{other}` is not a policy for SYNs")),
            }
        }
        // `masquerade PUBLIC INNER`
        "masquerade" => {
            let [Some(IpAddr::V4(public)), Some(IpAddr::V4(inner))] =
                [0, 1].map(|n| rest.get(n).and_then(|a| address(a)))
            else {
                return Err("set masquerade PUBLIC INNER".into());
            };
            settings.nat64.masquerade = Some(Masquerade { inner, public });
        }
        "timer" => timer(&mut settings.nat64.timers, rest)?,
        // `udp_port 53 30s`
        "udp_port" => settings.nat64.udp_ports.push((int(first()?)? as u16, duration(rest[1])?)),
        "limit" => limit(&mut settings.nat64.limits, rest)?,
        "plateaus" => {
            settings.rules.plateaus = xlat::Plateaus::new(&parsed(rest)?).ok_or("too many plateaus")?;
        }
        "address6" => settings.nat64.address6 = parsed(rest)?.pop().ok_or("no address")?,
        "address4" => settings.nat64.address4 = parsed(rest)?.pop().ok_or("no address")?,
        other => return set_scalar(settings, other, first()?),
    }
    Ok(())
}

/// `ADDRESS/LENGTH ...`: the addresses of this host.
pub(crate) fn local(text: &str) -> Result<LocalAddresses, String> {
    let mut own = Vec::new();
    for word in text.split_whitespace() {
        let (addr, len) = word.split_once('/').ok_or("ADDRESS/LENGTH")?;
        own.push((address(addr).ok_or_else(|| format!("`{addr}` is not an address"))?, int(len)? as u8));
    }
    Ok(LocalAddresses::new(own))
}

/// Settings with one value.
fn set_scalar(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
    let on = value == "on";
    let class = |text: &str| match text {
        "copy" => Ok(TrafficClass::Copy),
        other => int(other).map(|n| TrafficClass::Set(n as u8)),
    };
    let rules = &mut settings.rules;
    match name {
        "private_under_well_known" => settings.nat64.private_under_well_known = on,
        "inbound_refresh" => settings.nat64.inbound_refresh = on,
        "errors_under_well_known" => settings.nat64.errors_under_well_known = on,
        "soft_pairing" => settings.nat64.pairing = if on { Pairing::Soft } else { Pairing::Strict },
        "parity" => settings.nat64.parity = on,
        "log_sessions" => settings.nat64.log_sessions = on,
        "mss_clamp" => rules.mss_clamp = on,
        "tcp_resegment" => rules.tcp_resegment = on,
        "mtu6" => rules.mtu6 = int(value)? as u16,
        "mtu4" => rules.mtu4 = int(value)? as u16,
        "lowest_ipv6_mtu" => rules.lowest_ipv6_mtu = int(value)? as u16,
        "silent_refusals" => rules.silent_refusals = on,
        "reset_unknown_tcp" => rules.reset_unknown_tcp = on,
        "error_rate" => rules.error_rate = [int(value)?; 2],
        "error_rate6" => rules.error_rate[0] = int(value)?,
        "error_rate4" => rules.error_rate[1] = int(value)?,
        "error_burst" => rules.error_burst = int(value)?,
        "traffic_class" => rules.traffic_class = class(value)?,
        "tos" => rules.tos = class(value)?,
        other => return Err(format!("no setting `{other}`")),
    }
    Ok(())
}

/// `zone N key=value ...`: changes a zone, or adds it as a copy of the first.
fn zone(settings: &mut Settings, number: &str, words: &[&str]) -> Result<(), String> {
    let zone = zone_numbered(settings, number)?;
    for word in words {
        let (name, value) = word.split_once('=').ok_or("key=value")?;
        let list: Vec<&str> = value.split(',').collect();
        match name {
            "clients" => zone.clients = parsed(&list)?,
            "pref64" => zone.pref64 = parsed(&list)?,
            "pool" => zone.pool = int(value)? as usize,
            "host" => zone.host_len = int(value)? as u8,
            "site" => zone.site_len = int(value)? as u8,
            "blocks" => zone.ports_per_host = int(value)? * 256,
            "sessions" => zone.sessions_per_host = int(value)?,
            "own" => zone.hosts.push(own_limits(value, zone.host_len)?),
            "rate" => zone.bindings_per_second = int(value)?,
            "session_rate" => zone.new_sessions.host_rate = rate(value)?,
            "zone_rate" => zone.new_sessions.zone_rate = rate(value)?,
            "first" => zone.sharing.first_block = int(value)? as u16,
            "new_hosts" => zone.sharing.new_hosts_per_second = int(value)?,
            "share" => zone.sharing.pool_share = int(value)? as u8,
            other => return Err(format!("a zone has no `{other}`")),
        }
    }
    Ok(())
}

/// `own=HOST/BLOCKS/SESSIONS/RATE`: limits of one host, after the zone's `host`.
fn own_limits(text: &str, host_len: u8) -> Result<HostLimits, String> {
    let parts: Vec<_> = text.split('/').collect();
    let [host, blocks, sessions, rate] = parts[..] else {
        return Err("own=HOST/BLOCKS/SESSIONS/RATE".into());
    };
    let Some(IpAddr::V6(host)) = address(host) else { return Err(format!("`{host}` is not a host")) };
    Ok(HostLimits {
        prefix: Ipv6Prefix::containing(host, host_len),
        ports: int(blocks)? * 256,
        sessions: int(sessions)?,
        bindings_per_second: int(rate)?,
        session_rate: Rate::default(),
    })
}

/// `PER_SECOND/BURST`
fn rate(text: &str) -> Result<Rate, String> {
    let (per_second, burst) = text.split_once('/').ok_or("PER_SECOND/BURST")?;
    Ok(Rate { per_second: int(per_second)?, burst: int(burst)? })
}

fn zone_numbered<'a>(settings: &'a mut Settings, number: &str) -> Result<&'a mut Zone, String> {
    let id = ZoneId(int(number)? as u16);
    let zones = &mut settings.nat64.zones;
    if !zones.iter().any(|zone| zone.id == id) {
        let copy = Zone { id, ..zones.first().ok_or("no zone to copy")?.clone() };
        zones.push(copy);
    }
    zones.iter_mut().find(|zone| zone.id == id).ok_or_else(|| format!("no zone {number}"))
}

/// `ZONE allow/deny [to=PREFIX,...] [ports=PORT,...] [proto=NAME,...]`: one more rule of a zone.
fn rule(settings: &mut Settings, words: &[&str]) -> Result<(), String> {
    let [number, action, rest @ ..] = words else { return Err("set rule ZONE ACTION ...".into()) };
    let action = match *action {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        other => return Err(format!("`{other}` is neither allow nor deny")),
    };
    let mut rule = Rule { action, to: Vec::new(), ports: Vec::new(), protocols: Vec::new() };
    for word in rest {
        let (name, value) = word.split_once('=').ok_or("key=value")?;
        let list: Vec<&str> = value.split(',').collect();
        match name {
            "to" => rule.to = parsed(&list)?,
            "ports" => rule.ports = parsed(&list)?,
            "proto" => rule.protocols = list.into_iter().map(proto).collect::<Result<_, _>>()?,
            other => return Err(format!("a rule has no `{other}`")),
        }
    }
    if rule.protocols.is_empty() {
        rule.protocols =
            Proto::ALL.into_iter().filter(|p| rule.ports.is_empty() || *p != Proto::Icmp).collect();
    }
    zone_numbered(settings, number)?.new_sessions.rules.push(rule);
    Ok(())
}

/// `PREFIX PORTS ...`, pairs of them, or `PREFIX` alone for all ports.
fn pool(words: &[&str]) -> Result<Pool, String> {
    let mut ranges = Vec::new();
    for word in words {
        let (net, ports) = word.split_once(':').unwrap_or((word, "1-65535"));
        let net = match address(net) {
            Some(IpAddr::V4(addr)) => addr.to_string(),
            _ => net.to_owned(),
        };
        let net = net.parse().map_err(|e| format!("`{net}`: {e}"))?;
        ranges.push((net, ports.parse().map_err(|e| format!("`{ports}`: {e}"))?));
    }
    Ok(Pool { ranges })
}

pub(crate) fn proto(text: &str) -> Result<Proto, String> {
    Proto::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| format!("`{text}` is not a protocol"))
}

/// `tcp C.80 T.80`
fn binding(words: &[&str]) -> Result<StaticBinding, String> {
    let [name, v6, v4] = words else { return Err("set static PROTO V6 V4".into()) };
    let ((addr6, port6), (addr4, port4)) = (transport6(v6)?, transport4(v4)?);
    Ok(StaticBinding {
        proto: proto(name)?,
        v6: Transport6::new(addr6, port6),
        v4: Transport4::new(addr4, port4),
    })
}

/// `filtering address` for all protocols, `filtering udp address` for one.
fn filtering(settings: &mut Settings, words: &[&str]) -> Result<(), String> {
    let kind = match words.last() {
        Some(&"address") => Filtering::AddressDependent,
        Some(&"endpoint") => Filtering::EndpointIndependent,
        Some(&"port") => Filtering::AddressAndPortDependent,
        _ => return Err("filtering is `address`, `port` or `endpoint`".into()),
    };
    match words {
        [_] => settings.nat64.filtering = [kind; 3],
        [name, _] => settings.nat64.filtering[proto(name)? as usize] = kind,
        _ => return Err("set filtering [PROTO] KIND".into()),
    }
    Ok(())
}

/// A duration: `300s`, `1500ms`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number = u64::from(int(number)?);
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "min" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("`{text}` is not a duration such as 300s")),
    }
}

fn timer(timers: &mut Timers, words: &[&str]) -> Result<(), String> {
    let [name, value] = words else { return Err("set timer NAME TIME".into()) };
    let field = match *name {
        "udp" => &mut timers.udp,
        "tcp_established" => &mut timers.tcp_established,
        "tcp_opening" => &mut timers.tcp_opening,
        "tcp_closing" => &mut timers.tcp_closing,
        "icmp" => &mut timers.icmp,
        "tcp_incoming_syn" => &mut timers.tcp_incoming_syn,
        "fragment" => &mut timers.fragment,
        "port_quarantine" => &mut timers.quarantine,
        other => return Err(format!("no timer `{other}`")),
    };
    *field = duration(value)?;
    Ok(())
}

fn limit(limits: &mut Limits, words: &[&str]) -> Result<(), String> {
    let [name, value] = words else { return Err("set limit NAME NUMBER".into()) };
    let value = int(value)?;
    let field = match *name {
        "sessions" => &mut limits.sessions,
        "bindings" => &mut limits.bindings,
        "blocks" => &mut limits.blocks,
        "hosts" => &mut limits.hosts,
        "unsolicited_syns" => &mut limits.unsolicited_syns,
        "unsolicited_syns_per_source" => &mut limits.unsolicited_syns_per_source,
        "events" => &mut limits.events,
        "fragment_bytes" => {
            limits.fragment_bytes = value as usize;
            return Ok(());
        }
        other => return Err(format!("no limit `{other}`")),
    };
    *field = value;
    Ok(())
}
