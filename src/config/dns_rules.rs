//! DNS64 rules of each zone: `[dns64]`, overridden by `[zone.dns64]`.

use super::reader::Reader;
use super::schema::{self, Text, Texts};
use super::zones::Zones;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64};
use crate::dns64::{Domains, Mapping, Rules, Synthesize, WhenDown, WithDo, Zone};

/// Description of a valid name in error messages.
pub(super) const A_NAME: &str = "a domain name such as \"example.com\", which includes all names below";

/// The default rules of all zones.
pub(super) fn rules(reader: &mut Reader<'_>, file: &schema::File, section: &schema::Dns64) -> Rules {
    let translator = file.translator.as_ref().map(|t| t.get_ref());
    let default = Rules::default();
    Rules {
        enabled: section.enabled.unwrap_or(default.enabled),
        synthesize: synthesize(reader, section.synthesize.as_ref(), default.synthesize),
        ignore_aaaa_for: domains(reader, section.ignore_aaaa_for.as_ref(), default.ignore_aaaa_for),
        never_for: domains(reader, section.never_for.as_ref(), default.never_for),
        when_down: when_down(reader, section.translator_down.as_ref(), default.when_down),
        host_len: default.host_len,
        site_len: default.site_len,
        exclude_aaaa: prefixes6(reader, section.exclude_aaaa.as_ref(), default.exclude_aaaa),
        never_translate_ipv4: prefixes4(reader, section.never_translate_ipv4.as_ref(), Vec::new()),
        private_under_well_known: translator.is_some_and(schema::Translator::allows_private_destinations),
        with_do: with_do(reader, section.with_do.as_ref(), None),
    }
}

/// The zones, with `rules` overridden by their own.
pub(super) fn zones(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones, rules: &Rules) -> Vec<Zone> {
    let mut read = Vec::new();
    for ((zone, name), entry) in zones.zones.iter().zip(&zones.names).zip(&file.zone) {
        let own = entry.get_ref().dns64.as_ref();
        let shared = Rules { host_len: zone.host_len, site_len: zone.site_len, ..rules.clone() };
        read.push(Zone {
            id: zone.id,
            name: name.clone(),
            clients: zone.clients.clone(),
            pref64: mappings(reader, own.map_or(&[], |own| &own.range), &zone.pref64),
            rules: own.map_or_else(|| shared.clone(), |own| own_rules(reader, own, shared.clone())),
        });
    }
    read
}

fn own_rules(reader: &mut Reader<'_>, own: &schema::ZoneDns64, shared: Rules) -> Rules {
    Rules {
        enabled: own.enabled.unwrap_or(shared.enabled),
        synthesize: synthesize(reader, own.synthesize.as_ref(), shared.synthesize),
        ignore_aaaa_for: domains(reader, own.ignore_aaaa_for.as_ref(), shared.ignore_aaaa_for),
        never_for: domains(reader, own.never_for.as_ref(), shared.never_for),
        when_down: when_down(reader, own.translator_down.as_ref(), shared.when_down),
        exclude_aaaa: prefixes6(reader, own.exclude_aaaa.as_ref(), shared.exclude_aaaa),
        never_translate_ipv4: prefixes4(
            reader,
            own.never_translate_ipv4.as_ref(),
            shared.never_translate_ipv4,
        ),
        with_do: with_do(reader, own.with_do.as_ref(), shared.with_do),
        host_len: shared.host_len,
        site_len: shared.site_len,
        private_under_well_known: shared.private_under_well_known,
    }
}

/// The prefixes of a zone. A pref64 with ranges is used for those ranges only.
fn mappings(reader: &mut Reader<'_>, entries: &[schema::DnsRange], pref64s: &[Pref64]) -> Vec<Mapping> {
    let mut ranges: Vec<(Ipv4Prefix, Pref64)> = Vec::new();
    for range in entries {
        let only = reader.parse::<Ipv4Prefix>(&range.ipv4, "an IPv4 prefix, such as \"10.0.0.0/8\"");
        let pref64 = reader.parse::<Pref64>(&range.pref64, "one of the prefixes of this zone");
        let (Some(only), Some(pref64)) = (only, pref64) else { continue };
        if !pref64s.contains(&pref64) {
            let found = format!("{pref64} is not a pref64 of this zone");
            reader.error(
                range.pref64.span(),
                found,
                "one of the prefixes of this zone: others are not translated",
            );
        }
        if ranges.iter().any(|(known, _)| *known == only) {
            reader.error(range.ipv4.span(), format!("duplicate range {only}"), "each range once");
        }
        ranges.push((only, pref64));
    }
    if let Some(range) =
        entries.first().filter(|_| pref64s.iter().all(|p| ranges.iter().any(|(_, r)| r == p)))
    {
        let advice = "one pref64 without a range: for all other IPv4 addresses, and for ipv4only.arpa";
        reader.warn(range.pref64.span(), "all prefixes of the zone have ranges", advice);
    }
    let of = |pref64: &Pref64| {
        let only: Vec<_> = ranges.iter().filter(|(_, p)| p == pref64).map(|(only, _)| Some(*only)).collect();
        let only = if only.is_empty() { vec![None] } else { only };
        let pref64 = *pref64;
        only.into_iter().map(move |only| Mapping { pref64, only })
    };
    pref64s.iter().flat_map(of).collect()
}

fn synthesize(reader: &mut Reader<'_>, text: Option<&Text>, default: Synthesize) -> Synthesize {
    let words =
        [("missing", Synthesize::Missing), ("always", Synthesize::Always), ("never", Synthesize::Never)];
    reader.word(text, default, &words)
}

fn when_down(reader: &mut Reader<'_>, text: Option<&Text>, default: WhenDown) -> WhenDown {
    reader.word(text, default, &[("servfail", WhenDown::Servfail), ("native", WhenDown::Native)])
}

fn with_do(reader: &mut Reader<'_>, text: Option<&Text>, default: Option<WithDo>) -> Option<WithDo> {
    let words = [
        ("auto", None),
        ("never", Some(WithDo::Never)),
        ("unsigned-only", Some(WithDo::UnsignedOnly)),
        ("validated", Some(WithDo::Validated)),
    ];
    reader.word(text, default, &words)
}

/// Parses a list of domains.
pub(super) fn domains(reader: &mut Reader<'_>, list: Option<&Texts>, default: Domains) -> Domains {
    let Some(list) = list else { return default };
    let mut domains = Domains::default();
    for text in &list.items {
        if is_wildcard(text.get_ref()) {
            reader.error(text.span(), format!("`{}` is a wildcard", text.get_ref()), A_NAME);
        } else if text.get_ref().contains('/') || !domains.add(text.get_ref()) {
            reader.error(text.span(), format!("`{}` is not a domain name", text.get_ref()), A_NAME);
        }
    }
    domains
}

/// Whether a label of a name is `*`.
pub(super) fn is_wildcard(name: &str) -> bool {
    name.split('.').any(|label| label == "*")
}

fn prefixes6(reader: &mut Reader<'_>, list: Option<&Texts>, default: Vec<Ipv6Prefix>) -> Vec<Ipv6Prefix> {
    let what = "IPv6 addresses or prefixes, such as \"::ffff:0:0/96\"";
    list.map_or(default, |list| list.items.iter().filter_map(|text| reader.parse(text, what)).collect())
}

fn prefixes4(reader: &mut Reader<'_>, list: Option<&Texts>, default: Vec<Ipv4Prefix>) -> Vec<Ipv4Prefix> {
    let what = "IPv4 addresses or prefixes, such as \"10.0.0.0/8\"";
    list.map_or(default, |list| list.items.iter().filter_map(|text| reader.parse(text, what)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FakeHost, load_on};
    use crate::addr::Pref64;
    use crate::dns64::{Settings, Synthesize, WhenDown};

    fn file(dns: &str, zone: &str, more: &str) -> String {
        format!(
            "[translator]\npool4 = \"192.0.2.64/28\"\n[dns64]\nlisten = \"2001:db8:1::53\"\n\
             upstreams = \"198.51.100.53\"\n{dns}\n[[zone]]\nname = \"z\"\nclients = \"2001:db8:1::/64\"\n{zone}\n{more}"
        )
    }

    fn settings(dns: &str, zone: &str, more: &str) -> Settings {
        match load_on(&file(dns, zone, more), &FakeHost::new()) {
            Ok(config) => config.dns64.expect("there is one").settings,
            Err(error) => panic!("{error}"),
        }
    }

    fn error(dns: &str, zone: &str, more: &str) -> String {
        let error = load_on(&file(dns, zone, more), &FakeHost::new()).expect_err("it is wrong");
        error.diagnostics[0].found.clone()
    }

    #[test]
    fn zones_override_the_common_rules() {
        // ids 6147-5.2-prefs, 7269-lb
        let dns = "synthesize = \"always\"\nnever_for = [\"a.example\", \"b.example\"]";
        let second = "[[zone]]\nname = \"y\"\nclients = \"2001:db8:2::/64\"\npref64 = \"2001:db8:64::/96\"\n\
                      host_prefix = 64\n[zone.dns64]\nsynthesize = \"never\"\nnever_for = []\n\
                      translator_down = \"native\"\nignore_aaaa_for = \"c.example\"";
        let zones = settings(dns, "", second).zones;
        assert_eq!(zones[0].pref64, [Pref64::WELL_KNOWN.into()], "where none is configured");
        assert_eq!(zones[1].pref64, ["2001:db8:64::/96".parse::<Pref64>().expect("literal").into()]);
        assert_eq!(
            [zones[0].rules.synthesize, zones[1].rules.synthesize],
            [Synthesize::Always, Synthesize::Never]
        );
        assert_eq!([zones[0].rules.host_len, zones[1].rules.host_len], [128, 64]);
        assert_eq!(
            [zones[0].rules.when_down, zones[1].rules.when_down],
            [WhenDown::Servfail, WhenDown::Native]
        );
        assert!(!zones[0].rules.never_for.is_empty() && zones[1].rules.never_for.is_empty());
        assert!(zones[0].rules.ignore_aaaa_for.is_empty() && !zones[1].rules.ignore_aaaa_for.is_empty());
    }

    #[test]
    fn ranges_reserve_a_pref64() {
        // id 6147-5.1.7-range
        let zone = "pref64 = [\"2001:db8:64::/96\", \"2001:db8:a::/96\"]\n[zone.dns64]\n\
                    range = [{ ipv4 = \"10.0.0.0/8\", pref64 = \"2001:db8:a::/96\" },\n\
                    { ipv4 = \"172.16.0.0/12\", pref64 = \"2001:db8:a::/96\" }]";
        let pref64 = &settings("", zone, "").zones[0].pref64;
        let only: Vec<_> = pref64.iter().map(|m| m.only.map(|only| only.to_string())).collect();
        assert_eq!(only, [None, Some("10.0.0.0/8".to_owned()), Some("172.16.0.0/12".to_owned())]);
        let foreign = "[[zone.dns64.range]]\nipv4 = \"10.0.0.0/8\"\npref64 = \"2001:db8:b::/96\"";
        assert_eq!(error("", foreign, ""), "2001:db8:b::/96 is not a pref64 of this zone");
        let twice = zone.replace("172.16.0.0/12", "10.0.0.0/8");
        assert_eq!(error("", &twice, ""), "duplicate range 10.0.0.0/8");
    }

    #[test]
    fn local_names_and_forwarded_domains() {
        let dns = "[[dns64.forward]]\ndomains = [\"intranet.example\", \"10.in-addr.arpa\"]\nupstreams = \"10.0.0.53\"\n\
                   [[dns64.record]]\nname = \"printer.example\"\naddresses = [\"10.0.0.9\", \"2001:db8::9\"]";
        let settings = settings(dns, "", "");
        assert_eq!(settings.servers(1), ["10.0.0.53:53".parse().expect("literal")]);
        assert_eq!(settings.local.len(), 1);
        for (dns, want) in [
            ("never_for = \"a..b\"", "`a..b` is not a domain name"),
            ("never_for = \"*.example\"", "`*.example` is a wildcard"),
            ("[[dns64.forward]]\ndomains = \"*\"\nupstreams = \"10.0.0.53\"", "`*` is a wildcard"),
            ("[[dns64.record]]\nname = \"*.x\"\naddresses = \"10.0.0.9\"", "`*.x` is a wildcard"),
            ("synthesize = \"sometimes\"", "unknown value `sometimes`"),
            ("hosts = \"/nonexistent/hosts\"", "/nonexistent/hosts: No such file or directory (os error 2)"),
            ("[[dns64.record]]\nname = \"-\\\\\"\naddresses = \"10.0.0.9\"", "`-\\` is not a domain name"),
            ("[[dns64.record]]\nname = \"x\"\naddresses = \"ten\"", "`ten`: invalid IP address syntax"),
            ("[[dns64.forward]]\ndomains = \"x\"\nupstreams = []", "upstreams is empty"),
            ("cache_failure = \"0s\"", "`0s` is too short"),
        ] {
            assert_eq!(error(dns, "", ""), want);
        }
    }
}
