//! What DNS64 does for whom: `[dns64]` as the default of every zone, and `[zone.dns64]`.

use super::reader::Reader;
use super::schema::{self, Text, Texts};
use super::zones::Zones;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64};
use crate::dns64::{Domains, Mapping, Rules, Synthesize, WhenDown, WithDo, Zone};

/// What a name in the file looks like.
pub(super) const A_NAME: &str = "a domain name such as \"example.com\", which stands for all below it too";

/// The rules of zones that don't say otherwise.
pub(super) fn rules(reader: &mut Reader<'_>, file: &schema::File, told: &schema::Dns64) -> Rules {
    let translator = file.translator.as_ref().map(|t| t.get_ref());
    let default = Rules::default();
    Rules {
        enabled: told.enabled.unwrap_or(default.enabled),
        synthesize: synthesize(reader, told.synthesize.as_ref(), default.synthesize),
        ignore_aaaa_for: domains(reader, told.ignore_aaaa_for.as_ref(), default.ignore_aaaa_for),
        never_for: domains(reader, told.never_for.as_ref(), default.never_for),
        when_down: when_down(reader, told.translator_down.as_ref(), default.when_down),
        host_len: default.host_len,
        exclude_aaaa: prefixes6(reader, told.exclude_aaaa.as_ref(), default.exclude_aaaa),
        never_translate_ipv4: prefixes4(reader, told.never_translate_ipv4.as_ref(), Vec::new()),
        private_under_well_known: translator.and_then(|t| t.wkp_private).unwrap_or(false),
        with_do: with_do(reader, told.with_do.as_ref(), None),
    }
}

/// The zones, each with what `rules` it shares and what is its own.
pub(super) fn zones(reader: &mut Reader<'_>, file: &schema::File, zones: &Zones, rules: &Rules) -> Vec<Zone> {
    let mut read = Vec::new();
    for ((zone, name), told) in zones.zones.iter().zip(&zones.names).zip(&file.zone) {
        let own = told.get_ref().dns64.as_ref();
        let shared = Rules { host_len: zone.host_len, ..rules.clone() };
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
        private_under_well_known: shared.private_under_well_known,
    }
}

/// The pref64s of a zone. One that ranges name is for those ranges only.
fn mappings(reader: &mut Reader<'_>, told: &[schema::DnsRange], pref64s: &[Pref64]) -> Vec<Mapping> {
    let mut ranges: Vec<(Ipv4Prefix, Pref64)> = Vec::new();
    for range in told {
        let only = reader.parse::<Ipv4Prefix>(&range.ipv4, "an IPv4 prefix such as \"10.0.0.0/8\"");
        let pref64 = reader.parse::<Pref64>(&range.pref64, "one of the zone's pref64s");
        let (Some(only), Some(pref64)) = (only, pref64) else { continue };
        if !pref64s.contains(&pref64) {
            let found = format!("{pref64} is no pref64 of this zone");
            reader.refuse(range.pref64.span(), found, "one of the zone's pref64s, or nothing translates it");
        }
        if ranges.iter().any(|(known, _)| *known == only) {
            reader.refuse(range.ipv4.span(), format!("{only} a second time"), "each range once");
        }
        ranges.push((only, pref64));
    }
    if let Some(range) = told.first().filter(|_| pref64s.iter().all(|p| ranges.iter().any(|(_, r)| r == p))) {
        let advice =
            "a pref64 without a range: hosts learn it from ipv4only.arpa, and all else is put under it";
        reader.warn(range.pref64.span(), "every pref64 of the zone has a range", advice);
    }
    let of = |pref64: &Pref64| {
        let only: Vec<_> = ranges.iter().filter(|(_, p)| p == pref64).map(|(only, _)| Some(*only)).collect();
        let only = if only.is_empty() { vec![None] } else { only };
        let pref64 = *pref64;
        only.into_iter().map(move |only| Mapping { pref64, only })
    };
    pref64s.iter().flat_map(of).collect()
}

fn synthesize(reader: &mut Reader<'_>, told: Option<&Text>, default: Synthesize) -> Synthesize {
    let words =
        [("missing", Synthesize::Missing), ("always", Synthesize::Always), ("never", Synthesize::Never)];
    reader.word(told, default, &words)
}

fn when_down(reader: &mut Reader<'_>, told: Option<&Text>, default: WhenDown) -> WhenDown {
    reader.word(told, default, &[("servfail", WhenDown::Servfail), ("native", WhenDown::Native)])
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

/// A list of names.
pub(super) fn domains(reader: &mut Reader<'_>, list: Option<&Texts>, default: Domains) -> Domains {
    let Some(list) = list else { return default };
    let mut domains = Domains::default();
    for text in &list.items {
        if !domains.add(text.get_ref()) {
            reader.refuse(text.span(), format!("`{}` is no name", text.get_ref()), A_NAME);
        }
    }
    domains
}

fn prefixes6(reader: &mut Reader<'_>, list: Option<&Texts>, default: Vec<Ipv6Prefix>) -> Vec<Ipv6Prefix> {
    let what = "IPv6 addresses or prefixes, such as \"::ffff:0:0/96\"";
    list.map_or(default, |list| list.items.iter().filter_map(|text| reader.parse(text, what)).collect())
}

fn prefixes4(reader: &mut Reader<'_>, list: Option<&Texts>, default: Vec<Ipv4Prefix>) -> Vec<Ipv4Prefix> {
    let what = "IPv4 addresses or prefixes, such as \"10.0.0.0/8\"";
    list.map_or(default, |list| list.items.iter().filter_map(|text| reader.parse(text, what)).collect())
}
