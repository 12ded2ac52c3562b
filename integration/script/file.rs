//! A scenario's settings as an operator's configuration file.

use std::fmt::Display;
use std::time::Duration;

use gate64::addr::Proto;
use gate64::addr::{Ipv4Prefix, PortRange};
use gate64::nat64::{Action, Filtering, NewSessions, Pairing, Rate, Rule, UnsolicitedSyn};
use gate64::siit::{self, Hairpin, Inside, Untranslatable, WellKnown, ZeroChecksum};
use gate64::translator::Settings;
use gate64::xlat::{Object, TrafficClass};

/// The text of the file. `mtu` is the device's MTU, `more` is appended to `[host]`.
pub(crate) fn text(settings: &Settings, mtu: u16, more: &str) -> String {
    let mut out = translator(settings);
    out += &settings.siit.as_ref().map(stateless).unwrap_or_default();
    out += &timers(settings);
    out += &limits(settings);
    for zone in &settings.nat64.zones {
        let pool = settings.nat64.pools.get(zone.pool).map_or(&[][..], |pool| &pool.ranges);
        out += &format!(
            "[[zone]]\nname = \"zone-{}\"\nclients = {}\npref64 = {}\npool4 = {}\nhost_prefix = {}\nsite_prefix = {}\n\
             pool_share = {}\nlimits = {{ blocks_per_host = {}, sessions_per_host = {}, bindings_per_second = {}, \
             first_block = {}, new_hosts_per_second = {}{} }}\n",
            zone.id.0,
            list(&zone.clients),
            list(&zone.pref64),
            list(pool.iter().map(|range| range_text(*range))),
            zone.host_len,
            zone.site_len.min(zone.host_len),
            zone.sharing.pool_share,
            zone.ports_per_host / 256,
            zone.sessions_per_host,
            zone.bindings_per_second,
            zone.sharing.first_block,
            zone.sharing.new_hosts_per_second,
            rates(&zone.new_sessions),
        );
        for host in &zone.hosts {
            out += &format!(
                "[[zone.host]]\naddress = \"{}\"\nblocks = {}\nsessions = {}\nbindings_per_second = {}\n",
                host.prefix.addr(),
                host.ports / 256,
                host.sessions,
                host.bindings_per_second,
            );
        }
        out.extend(zone.new_sessions.rules.iter().map(rule));
    }
    for binding in &settings.nat64.statics {
        out += &format!(
            "[[static]]\nprotocol = \"{}\"\noutside = \"{}\"\ninside = \"{}\"\n",
            binding.proto.name(),
            binding.v4,
            binding.v6
        );
    }
    out + &format!("[host]\nmtu = {mtu}\nworkers = 1\n{more}")
}

fn rates(of: &NewSessions) -> String {
    let text = |prefix: &str, Rate { per_second, burst }: Rate| match per_second {
        0 => String::new(),
        _ => format!(", {prefix}sessions_per_second = {per_second}, {prefix}sessions_burst = {burst}"),
    };
    text("", of.host_rate) + &text("zone_", of.zone_rate)
}

fn rule(rule: &Rule) -> String {
    let mut text = format!(
        "[[zone.rule]]\naction = \"{}\"\nprotocol = {}\n",
        match rule.action {
            Action::Allow => "allow",
            Action::Deny => "deny",
        },
        list(rule.protocols.iter().map(|proto| proto.name())),
    );
    if !rule.to.is_empty() {
        text += &format!("to = {}\n", list(&rule.to));
    }
    if !rule.ports.is_empty() {
        text += &format!("ports = {}\n", list(&rule.ports));
    }
    text
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}

fn range_text((prefix, ports): (Ipv4Prefix, PortRange)) -> String {
    if ports == PortRange::ALL { prefix.to_string() } else { format!("{prefix}:{ports}") }
}

fn time(time: Duration) -> String {
    format!("\"{}ms\"", time.as_millis())
}

fn translator(settings: &Settings) -> String {
    let (rules, nat64) = (&settings.rules, &settings.nat64);
    let class = |class: TrafficClass| match class {
        TrafficClass::Copy => "\"copy\"".to_owned(),
        TrafficClass::Set(value) => value.to_string(),
    };
    let filtering = Proto::ALL.map(|proto| {
        let word = match nat64.filtering[proto as usize] {
            Filtering::EndpointIndependent => "endpoint-independent",
            Filtering::AddressDependent => "address-dependent",
            Filtering::AddressAndPortDependent => "address-and-port-dependent",
        };
        format!("{} = \"{word}\"", proto.name())
    });
    let lines = [
        ("wkp_private", nat64.private_under_well_known.to_string()),
        ("wkp_icmp_errors", nat64.errors_under_well_known.to_string()),
        ("deny", list(&nat64.deny)),
        ("filtering", format!("{{ {} }}", filtering.join(", "))),
        (
            "unsolicited_syn",
            match nat64.unsolicited_syn {
                UnsolicitedSyn::Store => "\"store\"".to_owned(),
                UnsolicitedSyn::Drop => "\"drop\"".to_owned(),
            },
        ),
        ("inbound_refresh", nat64.inbound_refresh.to_string()),
        ("parity", nat64.parity.to_string()),
        (
            "pairing",
            match nat64.pairing {
                Pairing::Strict => "\"strict\"".to_owned(),
                Pairing::Soft => "\"soft\"".to_owned(),
            },
        ),
        ("mtu6", rules.mtu6.to_string()),
        ("mtu4", rules.mtu4.to_string()),
        ("lowest_ipv6_mtu", rules.lowest_ipv6_mtu.to_string()),
        ("traffic_class", class(rules.traffic_class)),
        ("tos", class(rules.tos)),
        ("mss_clamp", rules.mss_clamp.to_string()),
        ("tcp_resegment", rules.tcp_resegment.to_string()),
        ("refusals", if rules.silent_refusals { "\"silent\"" } else { "\"icmp\"" }.to_owned()),
        ("unknown_tcp", if rules.reset_unknown_tcp { "\"reset\"" } else { "\"drop\"" }.to_owned()),
        ("error_rate6", rules.error_rate[0].to_string()),
        ("error_rate4", rules.error_rate[1].to_string()),
        ("error_burst", rules.error_burst.to_string()),
        ("address6", format!("\"{}\"", nat64.address6)),
        ("address4", format!("\"{}\"", nat64.address4)),
    ];
    table("translator", &lines)
}

fn stateless(siit: &siit::Settings) -> String {
    let word = |text: &str| format!("\"{text}\"");
    let pref64 = siit.pref64.map_or_else(|| "none".to_owned(), |pref64| pref64.to_string());
    let mut lines = vec![
        ("eam", list(&siit.eams)),
        ("pref64", word(&pref64)),
        ("hosts", list(&siit.hosts)),
        (
            "inside",
            word(match siit.inside {
                Inside::V6 => "ipv6",
                Inside::V4 => "ipv4",
            }),
        ),
        (
            "hairpin",
            word(match siit.hairpin {
                Hairpin::Intrinsic => "intrinsic",
                Hairpin::Simple => "simple",
                Hairpin::Off => "off",
            }),
        ),
        (
            "udp_zero_checksum",
            word(match siit.udp_zero_checksum {
                ZeroChecksum::Drop => "drop",
                ZeroChecksum::Compute => "compute",
            }),
        ),
        (
            "wkp",
            word(match siit.well_known {
                WellKnown::Global => "global",
                WellKnown::Private => "private",
                WellKnown::Any => "any",
            }),
        ),
        (
            "untranslatable_source",
            word(match siit.error_sources.untranslatable {
                Untranslatable::Pool => "pool",
                Untranslatable::Dummy => "dummy",
                Untranslatable::Own => "own",
                Untranslatable::Drop => "drop",
            }),
        ),
        (
            "error_object",
            word(match siit.error_sources.object {
                Some(Object::Interface) => "interface",
                Some(Object::Node) => "node",
                None => "none",
            }),
        ),
    ];
    lines.extend(siit.hosts_pref64.map(|pref64| ("hosts_pref64", word(&pref64.to_string()))));
    let (pool4, pool6) = (&siit.error_sources.pool4, &siit.error_sources.pool6);
    lines.extend((!pool4.is_empty()).then(|| ("error_pool4", list(pool4))));
    lines.extend((!pool6.is_empty()).then(|| ("error_pool6", list(pool6))));
    table("siit", &lines)
}

fn timers(settings: &Settings) -> String {
    let timers = &settings.nat64.timers;
    let ports: Vec<_> =
        settings.nat64.udp_ports.iter().map(|(port, life)| format!("\"{port}\" = {}", time(*life))).collect();
    let lines = [
        ("udp", time(timers.udp)),
        ("udp_ports", format!("{{ {} }}", ports.join(", "))),
        ("tcp_established", time(timers.tcp_established)),
        ("tcp_opening", time(timers.tcp_opening)),
        ("tcp_closing", time(timers.tcp_closing)),
        ("icmp", time(timers.icmp)),
        ("unsolicited_syn", time(timers.tcp_incoming_syn)),
        ("fragment", time(timers.fragment)),
        ("port_quarantine", time(timers.quarantine)),
    ];
    table("timers", &lines)
}

fn limits(settings: &Settings) -> String {
    let limits = &settings.nat64.limits;
    let lines = [
        ("sessions", limits.sessions),
        ("bindings", limits.bindings),
        ("blocks", limits.blocks),
        ("hosts", limits.hosts),
        ("fragment_bytes", limits.fragment_bytes as u32),
        ("unsolicited_syns", limits.unsolicited_syns),
        ("unsolicited_syns_per_source", limits.unsolicited_syns_per_source),
        ("events", limits.events),
    ];
    table("limits", &lines.map(|(name, number)| (name, number.to_string())))
}

fn table(name: &str, lines: &[(&str, String)]) -> String {
    let lines: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("[{name}]\n{lines}")
}
