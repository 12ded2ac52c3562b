//! The lines `set fixture ...` and `set siit ...`: stateless translation.

use std::net::Ipv4Addr;

use gate64::addr::{Ipv4Prefix, Pref64};
use gate64::siit::{self, Eam, Hairpin, Inside, Untranslatable, WellKnown, ZeroChecksum};
use gate64::translator::Settings;
use gate64::xlat::Object;

use super::settings::{fixture, parsed};

/// The explicit mappings of RFC 7757 figure 1.
const FIGURE_1: [&str; 6] = [
    "192.0.2.1 = 2001:db8:aaaa::",
    "192.0.2.2/32 = 2001:db8:bbbb::b/128",
    "192.0.2.16/28 = 2001:db8:cccc::/124",
    "192.0.2.128/26 = 2001:db8:dddd::/64",
    "192.0.2.192/29 = 2001:db8:eeee:8::/62",
    "192.0.2.224/31 = 64:ff9b::/127",
];

/// `fixture s1`, `s2` or `clat`: default settings with mappings only.
pub(crate) fn named(name: &str) -> Result<Settings, String> {
    let mappings = match name {
        "s1" => siit::Settings {
            pref64: Some("2001:db8:64::/96".parse().expect("literal")),
            hosts: vec!["192.0.2.32/28".parse().expect("literal")],
            udp_zero_checksum: ZeroChecksum::Drop,
            ..siit::Settings::default()
        },
        "s2" => siit::Settings {
            pref64: Some(Pref64::WELL_KNOWN),
            eams: FIGURE_1.iter().map(|text| text.parse().expect("literal")).collect(),
            well_known: WellKnown::Any,
            udp_zero_checksum: ZeroChecksum::Drop,
            error_pool4: vec![Ipv4Prefix::host(Ipv4Addr::new(198, 51, 100, 1))],
            ..siit::Settings::default()
        },
        // RFC 6877 appendix A.
        "clat" => siit::Settings {
            pref64: Some("2001:db8:1234::/96".parse().expect("literal")),
            hosts: vec!["192.168.1.0/24".parse().expect("literal")],
            hosts_pref64: Some("2001:db8:aaaa::/96".parse().expect("literal")),
            inside: Inside::V4,
            well_known: WellKnown::Private,
            untranslatable: Untranslatable::Dummy,
            error_object: Some(Object::Node),
            ..siit::Settings::default()
        },
        other => return Err(format!("no fixture `{other}`")),
    };
    let mut settings = Settings { siit: Some(mappings), ..fixture() };
    settings.nat64.zones.clear();
    settings.nat64.pools.clear();
    Ok(settings)
}

fn one_of<T: Copy>(word: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    found.ok_or_else(|| format!("`{word}` is not a value of this setting"))
}

/// `siit NAME VALUE ...`.
pub(crate) fn apply(settings: &mut Settings, words: &[&str]) -> Result<(), String> {
    let pref64 = settings.nat64.zones.first().and_then(|zone| zone.pref64.first().copied());
    let siit = settings.siit.get_or_insert_with(|| siit::Settings { pref64, ..siit::Settings::default() });
    let (name, values) = words.split_first().ok_or("set siit NAME VALUE")?;
    let first = values.first().copied().unwrap_or_default();
    match *name {
        "off" => settings.siit = None,
        "eam" => siit.eams.push(values.join(" ").parse::<Eam>().map_err(|why| why.to_string())?),
        "no_eams" => siit.eams.clear(),
        "pref64" if first == "none" => siit.pref64 = None,
        "pref64" => siit.pref64 = parsed(values)?.pop(),
        "hosts" => siit.hosts = parsed(values)?,
        "hosts_pref64" => siit.hosts_pref64 = parsed(values)?.pop(),
        "inside" => siit.inside = one_of(first, &[("v6", Inside::V6), ("v4", Inside::V4)])?,
        "hairpin" => {
            let words =
                [("intrinsic", Hairpin::Intrinsic), ("simple", Hairpin::Simple), ("off", Hairpin::Off)];
            siit.hairpin = one_of(first, &words)?;
        }
        "udp_zero_checksum" => {
            let words = [("drop", ZeroChecksum::Drop), ("compute", ZeroChecksum::Compute)];
            siit.udp_zero_checksum = one_of(first, &words)?;
        }
        "well_known" => {
            let words =
                [("global", WellKnown::Global), ("private", WellKnown::Private), ("any", WellKnown::Any)];
            siit.well_known = one_of(first, &words)?;
        }
        "deny" => siit.deny = parsed(values)?,
        "errors_under_well_known" => siit.errors_under_well_known = first == "on",
        "untranslatable" => {
            let words = [
                ("pool", Untranslatable::Pool),
                ("dummy", Untranslatable::Dummy),
                ("own", Untranslatable::Own),
                ("drop", Untranslatable::Drop),
            ];
            siit.untranslatable = one_of(first, &words)?;
        }
        "error_pool4" => siit.error_pool4 = parsed(values)?,
        "error_pool6" => siit.error_pool6 = parsed(values)?,
        "error_object" => {
            let words =
                [("interface", Some(Object::Interface)), ("node", Some(Object::Node)), ("none", None)];
            siit.error_object = one_of(first, &words)?;
        }
        other => return Err(format!("no setting `siit {other}`")),
    }
    Ok(())
}
