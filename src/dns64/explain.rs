//! Explains a DNS64 answer for `gate64 explain`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::wire::{self, Opt, rr};
use super::{Mapping, Settings, Synthesize, Via, WithDo, Zone, synthesis};
use crate::addr::special;
use crate::message;

/// A rule and its effect, as text.
pub type Line = (&'static str, String);

/// The rules for `client`'s AAAA query of `name`, in the order in which they apply.
pub fn rules(settings: &Settings, client: IpAddr, name: &str) -> Vec<Line> {
    let Some(wire_name) = wire::name_of(name) else { return vec![("name", "not a valid name".to_owned())] };
    let Some(index) = settings.client_zones().find(client) else {
        return vec![("zone", format!("{client} is in no zone: no answer over UDP, connections are closed"))];
    };
    let zone = &settings.zones[index];
    let rules = &zone.rules;
    let clients: Vec<_> = zone.clients.iter().map(ToString::to_string).collect();
    let mut lines = vec![("zone", format!("{} ({})", zone.name, clients.join(", ")))];
    if !rules.enabled {
        lines.push(("enabled", "no: a plain forwarder".to_owned()));
    }
    let yes_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    let synthesize = match rules.synthesize {
        Synthesize::Missing => "missing: for names without AAAA records",
        Synthesize::Always => "always: AAAA records are ignored where there are A records",
        Synthesize::Never => "never: only ipv4only.arpa",
    };
    let with_do = match (rules.with_do, settings.trust_ad) {
        (Some(WithDo::Never), _) => "never synthesized",
        (Some(WithDo::UnsignedOnly), _) | (None, false) => "synthesized if the A reply is unsigned",
        (Some(WithDo::Validated), _) | (None, true) => "synthesized: the upstream validates",
    };
    lines.push(("pref64", zone.pref64.iter().map(mapping).collect::<Vec<_>>().join(", ")));
    lines.push(("local name", yes_no(settings.local.contains(&wire_name))));
    lines.push(("synthesize", synthesize.to_owned()));
    lines.push(("in never_for", yes_no(rules.never_for.contains(&wire_name))));
    lines.push(("in ignore_aaaa_for", yes_no(rules.ignore_aaaa_for.contains(&wire_name))));
    lines.push(("clients with DO", with_do.to_owned()));
    let group = settings.group_of(&wire_name);
    let servers: Vec<_> = settings.servers(group).iter().map(|addr| upstream(settings, *addr)).collect();
    let which = if group == 0 { "upstreams" } else { "a forward zone" };
    lines.push(("servers", format!("{} ({which})", servers.join(", "))));
    lines
}

fn mapping(mapping: &Mapping) -> String {
    match mapping.only {
        None => mapping.pref64.to_string(),
        Some(only) => format!("{} for {only}", mapping.pref64),
    }
}

/// A message as text: flags and errors, then one line per record.
pub fn lines(reply: &[u8]) -> Vec<String> {
    let flags = wire::u16_at(reply, 2).unwrap_or(0);
    let mut head = message::rcode_text(wire::rcode_of(reply));
    for (bit, word) in [(wire::flag::AD, "AD"), (wire::flag::TC, "TC"), (wire::flag::AA, "AA")] {
        if flags & bit != 0 {
            head += " ";
            head += word;
        }
    }
    let opt = wire::layout(reply).and_then(|layout| layout.opt);
    for (code, option) in opt.iter().filter_map(|opt| Opt::read(reply, &opt.at)).flat_map(Opt::errors) {
        head += &format!(", EDE {code} ({})", wire::ede::meaning(code));
        // Text from another server: escaped, because it may contain terminal sequences.
        let text = String::from_utf8_lossy(option.get(6..).unwrap_or_default());
        if !text.is_empty() {
            head += &format!(" \"{}\"", text.trim_end_matches('\0').escape_debug());
        }
    }
    let records = message::records_text(reply);
    [vec![head], records.unwrap_or_else(|| vec!["malformed records".to_owned()])].concat()
}

/// An upstream as written in the configuration.
pub fn upstream(settings: &Settings, addr: SocketAddr) -> String {
    match settings.network.via.get(&addr) {
        None | Some(Via::Udp) => addr.to_string(),
        Some(Via::Tcp) => format!("tcp://{addr}"),
        Some(Via::Tls(name)) => format!("tls://{addr}#{name}"),
    }
}

/// How the zone of `client` handles each address record of a reply.
pub fn address_decisions(settings: &Settings, client: IpAddr, reply: &[u8]) -> Vec<(IpAddr, String)> {
    let Some(zone) = settings.client_zones().find(client).map(|index| &settings.zones[index]) else {
        return Vec::new();
    };
    let address = |record: wire::Record| {
        let data = reply.get(record.data)?;
        match record.kind {
            rr::A => Some(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
            rr::AAAA => Some(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
            _ => None,
        }
    };
    let name =
        wire::question(reply).map(|at| reply[at.start..at.end - 4].to_ascii_lowercase()).unwrap_or_default();
    let is_ignored = zone.rules.may_synthesize(&name) && zone.rules.ignores_aaaa(&name);
    let decision = |addr| match addr {
        IpAddr::V4(v4) => decision_v4(zone, v4),
        IpAddr::V6(_) if is_ignored => "ignored if the name has an A record that is translated".to_owned(),
        IpAddr::V6(v6) => decision_v6(zone, v6),
    };
    wire::answers(reply).filter_map(address).map(|addr| (addr, decision(addr))).collect()
}

fn decision_v6(zone: &Zone, v6: Ipv6Addr) -> String {
    match zone.rules.exclude_aaaa.iter().find(|prefix| prefix.contains(v6)) {
        Some(prefix) => format!("counts as absent: {prefix} is in exclude_aaaa"),
        None => "used".to_owned(),
    }
}

fn decision_v4(zone: &Zone, v4: Ipv4Addr) -> String {
    let made: Vec<_> = synthesis::addresses(zone, v4).map(|v6| v6.to_string()).collect();
    if !made.is_empty() {
        return format!("synthesized as {}", made.join(", "));
    }
    if let Some(prefix) = zone.rules.never_translate_ipv4.iter().find(|prefix| prefix.contains(v4)) {
        format!("not translated: {prefix} is in never_translate_ipv4")
    } else if !special::is_host_v4(v4) {
        "not translated: not a host address".to_owned()
    } else if special::is_private(v4) {
        "not translated: 64:ff9b::/96 does not carry private addresses, unless wkp_private = true".to_owned()
    } else {
        "not translated: 64:ff9b::/96 carries global addresses only (RFC 6052 §3.1)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Pref64, ZoneId};
    use crate::dns64::{AddressKind, Rules, address_query, address_reply};

    #[test]
    fn every_decision_has_a_text() {
        let mut rules_of_zone = Rules::default();
        rules_of_zone.never_translate_ipv4.push("9.9.9.0/24".parse().expect("literal"));
        assert!(rules_of_zone.never_for.add("never.example"));
        let settings = Settings {
            zones: vec![Zone {
                id: ZoneId(0),
                name: "floor-3".to_owned(),
                clients: vec!["2001:db8:1::/64".parse().expect("literal")],
                pref64: vec![Pref64::WELL_KNOWN.into()],
                rules: rules_of_zone,
            }],
            upstreams: vec!["192.0.2.53:53".parse().expect("literal")],
            ..Settings::default()
        };
        let client = "2001:db8:1::5".parse().expect("literal");
        let all = rules(&settings, client, "x.Never.example");
        assert!(all.contains(&("zone", "floor-3 (2001:db8:1::/64)".to_owned())), "{all:?}");
        assert!(all.contains(&("in never_for", "yes".to_owned())));
        assert!(all.contains(&("servers", "192.0.2.53:53 (upstreams)".to_owned())));
        assert_eq!(rules(&settings, "192.0.2.1".parse().expect("literal"), "x").len(), 1);
        let query = address_query(1, "x.example.", AddressKind::A).expect("a name");
        let addrs = ["8.8.8.8", "9.9.9.9", "10.0.0.1", "127.0.0.1", "192.0.2.1"];
        let addrs: Vec<IpAddr> = addrs.iter().map(|a| a.parse().expect("literal")).collect();
        let reply = address_reply(&query, &addrs, 300).expect("a reply");
        let words: Vec<_> =
            address_decisions(&settings, client, &reply).into_iter().map(|(_, decision)| decision).collect();
        assert_eq!(words[0], "synthesized as 64:ff9b::808:808");
        for (decision, word) in words[1..].iter().zip(["9.9.9.0/24", "private", "not a host", "global"]) {
            assert!(decision.contains(word), "{decision}");
        }
        assert_eq!(lines(&reply)[..2], ["NOERROR", "x.example. 300 A 8.8.8.8"]);
        let mut ignoring = settings;
        assert!(ignoring.zones[0].rules.ignore_aaaa_for.add("x.example"));
        let query = address_query(1, "x.example.", AddressKind::Aaaa).expect("a name");
        let reply =
            address_reply(&query, &["2001:db8:9::1".parse().expect("literal")], 300).expect("a reply");
        assert!(address_decisions(&ignoring, client, &reply)[0].1.starts_with("ignored"));
    }

    #[test]
    fn extended_errors_are_named_and_escaped() {
        let query = address_query(1, "x.example.", AddressKind::A).expect("a name");
        let mut reply = address_reply(&query, &[], 300).expect("a reply");
        let stale = wire::ede::option(wire::ede::STALE);
        let filtered = b"\x00\x0f\x00\x08\x00\x11by \x1b[m";
        wire::push_opt(&mut reply, 0, false, &[&stale[..], filtered].concat());
        let says = "NOERROR, EDE 3 (stale answer), EDE 17 (filtered) \"by \\u{1b}[m\"";
        assert_eq!(lines(&reply)[0], says);
    }

    #[test]
    fn upstreams_are_written_as_in_the_configuration() {
        let [udp, tcp, tls] = ["192.0.2.1:53", "192.0.2.2:53", "[2001:db8::3]:853"]
            .map(|addr| addr.parse::<SocketAddr>().expect("literal"));
        let mut settings = Settings::default();
        settings.network.via.extend([(tcp, Via::Tcp), (tls, Via::Tls("dns.example".to_owned()))]);
        assert_eq!(upstream(&settings, udp), "192.0.2.1:53");
        assert_eq!(upstream(&settings, tcp), "tcp://192.0.2.2:53");
        assert_eq!(upstream(&settings, tls), "tls://[2001:db8::3]:853#dns.example");
    }
}
