//! The lines `set fixture ...` and `set siit ...`: stateless translation.

use gate64::siit::{self, Eam, Hairpin, Inside, Untranslatable, WellKnown, ZeroChecksum};
use gate64::translator::Settings;
use gate64::xlat::Object;

use super::packet::parsed;

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
            siit.error_sources.untranslatable = one_of(first, &words)?;
        }
        "error_pool4" => siit.error_sources.pool4 = parsed(values)?,
        "error_pool6" => siit.error_sources.pool6 = parsed(values)?,
        "error_object" => {
            let words =
                [("interface", Some(Object::Interface)), ("node", Some(Object::Node)), ("none", None)];
            siit.error_sources.object = one_of(first, &words)?;
        }
        other => return Err(format!("no setting `siit {other}`")),
    }
    Ok(())
}
