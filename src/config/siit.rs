//! `[siit]`: stateless translation and the routes it needs.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;

use toml::Spanned;

use super::pool;
use super::reader::Reader;
use super::schema::{self, EamEntry, Text, Texts};
use super::shape::{List, TextOr};
use super::zones::Zones;
use crate::addr::{Ipv4Prefix, Ipv6Prefix, Pref64, special};
use crate::nat64::StaticBinding;
use crate::siit::{Eam, ErrorSources, Hairpin, Inside, Settings, Untranslatable, WellKnown, ZeroChecksum};
use crate::xlat::Object;

/// Settings of `[siit]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Siit {
    /// Settings of the translator.
    pub settings: Settings,
    /// IPv4 destinations routed to the device.
    pub routes4: Vec<Ipv4Prefix>,
    /// IPv6 destinations routed to the device.
    pub routes6: Vec<Ipv6Prefix>,
}

const EAM_FORM: &str = "an IPv4 prefix and an IPv6 prefix with at least as many suffix bits: \"192.0.2.1 = 2001:db8::1\", \
                        { v4 = \"…\", v6 = \"…\" }";
const PREFIXES4: &str = "IPv4 addresses or prefixes, such as \"192.0.2.0/28\"";
const PREFIXES6: &str = "IPv6 addresses or prefixes, such as \"2001:db8::/64\"";
const A_PREF64: &str = "a unicast prefix of length 32, 40, 48, 56, 64 or 96, or 64:ff9b::/96";

pub(super) fn siit(
    reader: &mut Reader<'_>,
    file: &schema::File,
    zones: &Zones,
    statics: &[StaticBinding],
    deny: &[Ipv4Prefix],
) -> Option<Siit> {
    let table = file.siit.as_ref()?;
    let section = table.get_ref();
    let inside =
        reader.word(section.inside.as_ref(), Inside::V6, &[("ipv6", Inside::V6), ("ipv4", Inside::V4)]);
    let pref64 = pref64(reader, section, file, zones, inside);
    let hosts = prefixes4(reader, section.hosts.as_ref());
    let hosts_pref64 = section.hosts_pref64.as_ref().and_then(|text| reader.parse::<Pref64>(text, A_PREF64));
    let eams = section.eam.as_ref().map(|list| eams(reader, list)).unwrap_or_default();
    if section.eam.as_ref().is_none_or(|l| l.items.is_empty())
        && section.hosts.as_ref().is_none_or(|l| l.items.is_empty())
    {
        let allowed = "`eam` or `hosts`: only hosts with a mapping are translated";
        reader.error(table.span(), "no host has a mapping", allowed);
    }
    check_hosts(reader, section, zones, pref64, hosts_pref64);
    let pools = zones.pools.pools.iter().flat_map(|pool| &pool.ranges).map(|(prefix, _)| *prefix);
    let taken: Vec<_> = pools.chain(statics.iter().map(|s| Ipv4Prefix::host(s.v4.addr))).collect();
    refuse_overlaps(reader, section, &taken, &eams, &hosts);
    let translator = file.translator.as_ref().map(|t| t.get_ref());
    let private =
        translator.is_some_and(schema::Translator::allows_private_destinations) || inside == Inside::V4;
    let error_sources = error_sources(reader, section, inside);
    let settings = Settings {
        inside,
        hairpin: hairpin(reader, section, inside),
        udp_zero_checksum: zero_checksum(reader, section),
        well_known: well_known(reader, section, private),
        errors_under_well_known: translator.and_then(|t| t.wkp_icmp_errors).unwrap_or(false),
        deny: deny.to_vec(),
        eams,
        pref64,
        hosts,
        hosts_pref64,
        error_sources,
    };
    let (routes4, routes6) = routes(reader, section, &settings);
    Some(Siit { settings, routes4, routes6 })
}

/// Warns about mappings and static bindings that contain the source of the gateway's own ICMPv4 errors, which
/// replies would not reach, or whose host is under a pref64, where its packets would be taken for translated ones.
pub(super) fn warn_about_addresses(
    reader: &mut Reader<'_>,
    file: &schema::File,
    zones: &Zones,
    siit: Option<&Siit>,
    address4: Ipv4Addr,
) {
    let pref64s = zones.pref64s.iter().map(|(pref64, _)| *pref64);
    let pref64s: Vec<_> = pref64s.chain(siit.and_then(|siit| siit.settings.pref64)).collect();
    let eams = file.siit.as_ref().and_then(|table| table.get_ref().eam.as_ref());
    let eams = eams.into_iter().flat_map(|list| &list.items).filter_map(|entry| {
        let eam: Eam = match entry.get_ref() {
            TextOr::Text(text) => text.parse().ok()?,
            TextOr::Table(table) => {
                Eam::new(table.v4.get_ref().parse().ok()?, table.v6.get_ref().parse().ok()?).ok()?
            }
        };
        Some((entry.span(), eam.v4(), eam.v6()))
    });
    let eams: Vec<_> = eams.collect();
    for (at, v4, _) in &eams {
        warn_if_own(reader, at.clone(), *v4);
    }
    let statics = file.statics.iter().filter_map(|entry| {
        let (outside, inside) = (&entry.get_ref().outside, &entry.get_ref().inside);
        let (v4, v6): (SocketAddrV4, SocketAddrV6) =
            (outside.get_ref().parse().ok()?, inside.get_ref().parse().ok()?);
        Some((outside.span(), Ipv4Prefix::host(*v4.ip()), Ipv6Prefix::containing(*v6.ip(), 128)))
    });
    for (at, v4, v6) in eams.into_iter().chain(statics) {
        if v4.contains(address4) {
            let found = format!("{v4} contains address4, {address4}");
            reader.warn(at.clone(), found, "a mapping without the source of the gateway's own errors");
        }
        if let Some(pref64) = pref64s.iter().find(|pref64| pref64.prefix().overlaps(v6)) {
            let found = format!("{v6} is under the pref64 {pref64}, which represents IPv4 addresses");
            reader.warn(at, found, "an inside host outside every pref64");
        }
    }
}

/// Warns about a mapping of addresses that this host receives.
fn warn_if_own(reader: &mut Reader<'_>, at: Range<usize>, v4: Ipv4Prefix) {
    let own = pool::own(reader, v4).map(|(interface, addr)| format!("{addr} ({interface})"));
    let route = || pool::local_route(reader, v4).map(|route| format!("the local route {route}"));
    if let Some(own) = own.or_else(route) {
        let found = format!("{v4} contains addresses of this host: {own}");
        reader.warn(at, found, "mapped addresses that this host does not receive itself");
    }
}

/// The prefix for addresses without a mapping. Default: the first pref64 of `[translator]`.
fn pref64(
    reader: &mut Reader<'_>,
    section: &schema::Siit,
    file: &schema::File,
    zones: &Zones,
    inside: Inside,
) -> Option<Pref64> {
    let of_translator = file.translator.as_ref().and_then(|t| t.get_ref().pref64.as_ref());
    let text = match &section.pref64 {
        Some(text) if text.get_ref() == "none" => return None,
        Some(text) => Some(text),
        None => of_translator.and_then(|list| list.items.first()),
    };
    let Some(text) = text else { return Some(Pref64::WELL_KNOWN) };
    let Ok(pref64) = text.get_ref().parse::<Pref64>() else {
        // The zones have reported an error in `[translator]` already.
        if section.pref64.is_some() {
            reader.parse::<Pref64>(text, A_PREF64);
        }
        return Some(Pref64::WELL_KNOWN);
    };
    let same = zones.pref64s.iter().find(|(p, _)| p.prefix().overlaps(pref64.prefix()));
    match same {
        Some((other, _)) if inside == Inside::V4 => {
            let found = format!("{pref64} must be the prefix of a remote translator, but zones have {other}");
            reader.error(text.span(), found, "with inside = \"ipv4\", a prefix that no zone uses");
        }
        Some((other, _)) if *other != pref64 => {
            let found = format!("{pref64} overlaps the pref64 {other}");
            reader.error(text.span(), found, "pref64s that share no address, or the same");
        }
        Some(_) | None => {}
    }
    Some(pref64)
}

fn eams(reader: &mut Reader<'_>, list: &List<EamEntry>) -> Vec<Eam> {
    let mut read: Vec<(Eam, Range<usize>)> = Vec::new();
    let (mut seen4, mut seen6) = (HashMap::new(), HashMap::new());
    for entry in &list.items {
        let Some(eam) = eam(reader, entry) else { continue };
        // RFC 7757 §5: a prefix may occur in one mapping only.
        let before = [seen4.insert(eam.v4(), eam), seen6.insert(eam.v6(), eam)];
        if let Some(other) = before.into_iter().flatten().next() {
            let found = format!("{eam} uses a prefix of {other}");
            reader.error(entry.span(), found, "each prefix in one mapping (RFC 7757 §5)");
            continue;
        }
        read.push((eam, entry.span()));
    }
    warn_about_overlaps(reader, &read);
    read.into_iter().map(|(eam, _)| eam).collect()
}

fn eam(reader: &mut Reader<'_>, entry: &Spanned<EamEntry>) -> Option<Eam> {
    match entry.get_ref() {
        TextOr::Text(text) => reader.parse(&Text::new(entry.span(), text.clone()), EAM_FORM),
        TextOr::Table(table) => {
            let v4 = reader.parse::<Ipv4Prefix>(&table.v4, PREFIXES4);
            let v6 = reader.parse::<Ipv6Prefix>(&table.v6, PREFIXES6);
            let made = Eam::new(v4?, v6?);
            if let Err(why) = made {
                reader.error(entry.span(), why.to_string(), EAM_FORM);
            }
            made.ok()
        }
    }
}

/// Warns about overlapping mappings: they are legal, but a host may be mapped to different addresses in the
/// two directions (RFC 7757 §5, figure 2).
fn warn_about_overlaps(reader: &mut Reader<'_>, read: &[(Eam, Range<usize>)]) {
    let mut nested = vec![0usize; read.len()];
    let by_v4 = |eam: Eam| (u128::from(eam.v4().addr().to_bits()), eam.v4().len());
    let by_v6 = |eam: Eam| (eam.v6().addr().to_bits(), eam.v6().len());
    count_nested(read, &mut nested, by_v4, |outer, inner| outer.v4().contains(inner.v4().addr()));
    count_nested(read, &mut nested, by_v6, |outer, inner| outer.v6().contains(inner.v6().addr()));
    for ((outer, at), count) in read.iter().zip(nested).filter(|(_, count)| *count > 0) {
        let found = format!("{outer} overlaps {count} other mappings; the longest prefix decides");
        reader.warn(
            at.clone(),
            found,
            "mappings that share no address, so that both directions use the same mapping",
        );
    }
}

/// Number of prefixes nested in each. Sorted, they follow their parent.
fn count_nested(
    read: &[(Eam, Range<usize>)],
    nested: &mut [usize],
    key: impl Fn(Eam) -> (u128, u8),
    contains: impl Fn(Eam, Eam) -> bool,
) {
    let mut order: Vec<usize> = (0..read.len()).collect();
    order.sort_unstable_by_key(|n| key(read[*n].0));
    let Some(mut outer) = order.first().copied() else { return };
    for inner in order.into_iter().skip(1) {
        if contains(read[outer].0, read[inner].0) {
            nested[outer] += 1;
        } else {
            outer = inner;
        }
    }
}

fn check_hosts(
    reader: &mut Reader<'_>,
    section: &schema::Siit,
    zones: &Zones,
    pref64: Option<Pref64>,
    hosts_pref64: Option<Pref64>,
) {
    let overlaps = |own: &Pref64, other: Pref64| *own != other && own.prefix().overlaps(other.prefix());
    let others = zones.pref64s.iter().map(|(p, _)| *p).chain(pref64);
    if let (Some(text), Some(own)) = (&section.hosts_pref64, hosts_pref64)
        && let Some(other) = others.into_iter().find(|other| overlaps(&own, *other))
    {
        let found = format!("{own} overlaps the pref64 {other}");
        reader.error(text.span(), found, "prefixes that share no address, or the same");
    }
    let Some(hosts) = &section.hosts else { return };
    let Some(prefix) = hosts_pref64.or(pref64) else {
        let allowed = "hosts_pref64 or pref64, from which their IPv6 addresses are derived";
        reader.error(hosts.at.clone(), "`hosts` without a prefix", allowed);
        return;
    };
    if prefix.is_well_known() {
        let found = "the `hosts` have addresses under the Well-Known Prefix";
        reader.warn(hosts.at.clone(), found, "your own prefix (RFC 6052 §3.1)");
    }
}

/// Rejects mapped addresses that are also in a pool4 or a static binding.
fn refuse_overlaps(
    reader: &mut Reader<'_>,
    section: &schema::Siit,
    taken: &[Ipv4Prefix],
    eams: &[Eam],
    hosts: &[Ipv4Prefix],
) {
    let mapped = [
        (
            section.eam.as_ref().map(|list| list.at.clone()),
            eams.iter().map(|eam| eam.v4()).collect::<Vec<_>>(),
        ),
        (section.hosts.as_ref().map(|list| list.at.clone()), hosts.to_vec()),
    ];
    for (at, prefixes) in mapped {
        let clash = prefixes.iter().find_map(|p| Some((*p, taken.iter().find(|t| t.overlaps(*p))?)));
        if let (Some(at), Some((prefix, other))) = (at, clash) {
            let found = format!("{prefix} overlaps {other} of a pool4 or static binding");
            reader.error(at, found, "each IPv4 address in stateful or stateless translation, not both");
        }
    }
}

fn hairpin(reader: &mut Reader<'_>, section: &schema::Siit, inside: Inside) -> Hairpin {
    if let Some(text) = section.hairpin.as_ref().filter(|_| inside == Inside::V4) {
        let found = "`hairpin` together with inside = \"ipv4\"";
        reader.error(text.span(), found, "no `hairpin`: hosts on the IPv4 side reach each other directly");
    }
    let words = [("intrinsic", Hairpin::Intrinsic), ("simple", Hairpin::Simple), ("off", Hairpin::Off)];
    reader.word(section.hairpin.as_ref(), Hairpin::default(), &words)
}

fn zero_checksum(reader: &mut Reader<'_>, section: &schema::Siit) -> ZeroChecksum {
    let words = [("compute", ZeroChecksum::Compute), ("drop", ZeroChecksum::Drop)];
    reader.word(section.udp_zero_checksum.as_ref(), ZeroChecksum::default(), &words)
}

/// Parses `wkp`. With inside = "ipv4" the remote translator decides what the prefix may represent
/// (draft-ietf-v6ops-nat64-wkp-1918).
fn well_known(reader: &mut Reader<'_>, section: &schema::Siit, private: bool) -> WellKnown {
    let default = if private { WellKnown::Private } else { WellKnown::Global };
    let words = [("global", WellKnown::Global), ("private", WellKnown::Private), ("any", WellKnown::Any)];
    reader.word(section.wkp.as_ref(), default, &words)
}

/// Settings for ICMP errors whose senders have no address in the other family.
fn error_sources(reader: &mut Reader<'_>, section: &schema::Siit, inside: Inside) -> ErrorSources {
    let pool4 = prefixes4(reader, section.error_pool4.as_ref());
    let pool6 = section.error_pool6.as_ref().map(|list| prefixes6(reader, list)).unwrap_or_default();
    let default = match inside {
        _ if !pool4.is_empty() => Untranslatable::Pool,
        Inside::V4 => Untranslatable::Dummy,
        Inside::V6 => Untranslatable::Own,
    };
    let words = [
        ("pool", Untranslatable::Pool),
        ("dummy", Untranslatable::Dummy),
        ("own", Untranslatable::Own),
        ("drop", Untranslatable::Drop),
    ];
    let untranslatable = reader.word(section.untranslatable_source.as_ref(), default, &words);
    check_pool(reader, section, untranslatable, &pool4);
    let default = if untranslatable == Untranslatable::Dummy { Object::Node } else { Object::Interface };
    let words = [("interface", Some(Object::Interface)), ("node", Some(Object::Node)), ("none", None)];
    let object = reader.word(section.error_object.as_ref(), Some(default), &words);
    ErrorSources { untranslatable, pool4, pool6, object }
}

fn check_pool(reader: &mut Reader<'_>, section: &schema::Siit, policy: Untranslatable, pool4: &[Ipv4Prefix]) {
    let pooled = policy == Untranslatable::Pool;
    if let Some(word) = section.untranslatable_source.as_ref().filter(|_| pooled == pool4.is_empty()) {
        let found = if pooled { "\"pool\" without error_pool4" } else { "error_pool4 is unused" };
        reader.error(word.span(), found, "both untranslatable_source = \"pool\" and error_pool4, or neither");
    }
    let Some(list) = &section.error_pool4 else { return };
    if let Some(prefix) = pool4.iter().find(|p| special::is_private(p.addr())) {
        let found = format!("{prefix} is private: other networks filter such sources");
        reader.warn(list.at.clone(), found, "public addresses (RFC 6791 §3.1)");
    }
    if let Some(prefix) =
        pool4.iter().find(|p| !special::is_host_v4(p.addr()) || !special::is_host_v4(p.last()))
    {
        reader.error(
            list.at.clone(),
            format!("{prefix} contains addresses that no host can have"),
            PREFIXES4,
        );
    }
}

fn prefixes4(reader: &mut Reader<'_>, list: Option<&Texts>) -> Vec<Ipv4Prefix> {
    let Some(list) = list else { return Vec::new() };
    list.items.iter().filter_map(|text| reader.parse(text, PREFIXES4)).collect()
}

fn prefixes6(reader: &mut Reader<'_>, list: &Texts) -> Vec<Ipv6Prefix> {
    list.items.iter().filter_map(|text| reader.parse(text, PREFIXES6)).collect()
}

/// Destinations routed to the device: `routes`, or a default that depends on `inside`.
fn routes(
    reader: &mut Reader<'_>,
    section: &schema::Siit,
    settings: &Settings,
) -> (Vec<Ipv4Prefix>, Vec<Ipv6Prefix>) {
    if let Some(list) = &section.routes {
        let mut routes = (Vec::new(), Vec::new());
        for text in &list.items {
            match text.get_ref().parse() {
                Ok(prefix) => routes.0.push(prefix),
                Err(_) => routes.1.extend(reader.parse::<Ipv6Prefix>(text, "IPv4 or IPv6 prefixes")),
            }
        }
        return routes;
    }
    match settings.inside {
        Inside::V6 => {
            let mut inside: Vec<_> = settings.eams.iter().map(|eam| eam.v4()).collect();
            inside.extend(&settings.hosts);
            (outermost(inside, |outer, inner| outer.contains(inner.addr())), routed(settings.pref64))
        }
        Inside::V4 => {
            let prefix = settings.hosts_pref64.or(settings.pref64);
            let mut inside: Vec<_> = settings.eams.iter().map(|eam| eam.v6()).collect();
            inside.extend(prefix.iter().flat_map(|p| settings.hosts.iter().map(|host| p.covering(*host))));
            let all = Ipv4Prefix::containing(Ipv4Addr::UNSPECIFIED, 0);
            (vec![all], outermost(inside, |outer, inner| outer.contains(inner.addr())))
        }
    }
}

fn routed(pref64: Option<Pref64>) -> Vec<Ipv6Prefix> {
    pref64.map(Pref64::prefix).into_iter().collect()
}

/// Removes prefixes that lie within others.
fn outermost<P: Ord + Copy>(mut prefixes: Vec<P>, contains: impl Fn(P, P) -> bool) -> Vec<P> {
    prefixes.sort_unstable();
    prefixes.dedup_by(|inner, outer| contains(*outer, *inner));
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{FakeHost, load_on};

    const BOTH: &str = "[translator]\npref64 = \"2001:db8:64::/96\"\npool4 = \"192.0.2.64/28\"\n\
                        [[zone]]\nname = \"a\"\nclients = \"2001:db8:1::/64\"\n";

    fn good(text: &str) -> Config {
        load_on(text, &FakeHost::new()).expect("a good file")
    }

    /// Errors, or else warnings, each as `LINE:COLUMN: FOUND (ALLOWED)`.
    fn problems(text: &str) -> Vec<String> {
        let problems =
            load_on(text, &FakeHost::new()).map_or_else(|e| e.diagnostics, |config| config.warnings);
        problems.iter().map(|d| format!("{}:{}: {} ({})", d.line, d.column, d.found, d.allowed)).collect()
    }

    fn texts<T: ToString>(list: &[T]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_border_relay_and_a_clat() {
        let relay = good(include_str!("../../configs/siit.toml")).siit.expect("mappings");
        assert_eq!(relay.settings.eams.len(), 3);
        assert_eq!(relay.settings.error_sources.untranslatable, Untranslatable::Pool);
        assert_eq!(texts(&relay.routes4), ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.16/28"]);
        assert_eq!(texts(&relay.routes6), ["2001:db8:46::/96"]);
        // id 6877-2-two
        let clat = good(include_str!("../../configs/464xlat.toml")).siit.expect("mappings");
        let prefix = |p: Option<Pref64>| p.map(|p| p.to_string()).unwrap_or_default();
        assert_eq!(prefix(clat.settings.pref64), "2001:db8:1234::/96");
        assert_eq!(prefix(clat.settings.hosts_pref64), "2001:db8:aaaa::/96");
        assert_eq!(clat.settings.error_sources.untranslatable, Untranslatable::Dummy);
        assert_eq!(clat.settings.error_sources.object, Some(Object::Node));
        assert_eq!(texts(&clat.routes4), ["0.0.0.0/0"]);
        assert_eq!(texts(&clat.routes6), ["2001:db8:aaaa::c0a8:100/120"]);
    }

    #[test]
    fn mappings_beside_zones() {
        let config = good(&format!("{BOTH}[siit]\neam = \"192.0.2.1 = 2001:db8:1::80\"\n"));
        let siit = config.siit.expect("mappings");
        assert_eq!(siit.settings.pref64.map(|p| p.to_string()), Some("2001:db8:64::/96".to_owned()));
        assert_eq!(siit.settings.deny, config.nat64.deny);
        assert_eq!(config.nat64.limits.sessions, 1_000_000);
    }

    #[test]
    fn without_zones_the_state_tables_are_minimal() {
        let config = good("[siit]\neam = { v4 = \"192.0.2.1\", v6 = \"2001:db8::1\" }\n");
        assert_eq!(config.nat64.limits.sessions, 1);
        assert_eq!(config.siit.expect("mappings").settings.pref64, Some(Pref64::WELL_KNOWN));
    }

    #[test]
    fn mappings_of_the_gateways_addresses() {
        // id 7757-5-overlap
        let own = BOTH.replace("pool4", "address4 = \"192.0.2.9\"\npool4");
        let own_errors = "(a mapping without the source of the gateway's own errors)";
        let cases = [
            (format!("{own}[siit]\neam = \"192.0.2.0/28 = 2001:db8:aaaa::/124\"\n"), vec![
                format!("9:7: 192.0.2.0/28 contains address4, 192.0.2.9 {own_errors}"),
            ]),
            (format!("{own}[[static]]\nprotocol = \"tcp\"\noutside = \"192.0.2.9:443\"\ninside = \"[2001:db8:1::80]:443\"\n"), vec![
                format!("10:11: 192.0.2.9/32 contains address4, 192.0.2.9 {own_errors}"),
            ]),
            (format!("{own}[siit]\neam = \"192.0.2.1 = 2001:db8:64::1\"\n"), vec![
                "9:7: 2001:db8:64::1/128 is under the pref64 2001:db8:64::/96, which represents IPv4 addresses \
                 (an inside host outside every pref64)".to_owned(),
            ]),
            (format!("{own}[siit]\neam = \"192.0.2.1 = 2001:db8:aaaa::1\"\n"), vec![]),
            (format!("{own}[siit]\neam = \"203.0.113.0/28 = 2001:db8:aaaa::/124\"\n"), vec![
                "9:7: 203.0.113.0/28 contains addresses of this host: 203.0.113.1 (eth0) (mapped addresses that this \
                 host does not receive itself)".to_owned(),
            ]),
            (format!("{own}[siit]\neam = \"198.18.77.9 = 2001:db8:aaaa::1\"\n"), vec![
                "9:7: 198.18.77.9/32 contains addresses of this host: the local route 198.18.77.0/24 (mapped \
                 addresses that this host does not receive itself)".to_owned(),
            ]),
            (BOTH.replace("192.0.2.64/28", "198.18.77.64/28"), vec![
                "3:9: 198.18.77.64/28 overlaps 198.18.77.0/24, a local route of this host (addresses without a local \
                 route: this host keeps their packets)".to_owned(),
            ]),
        ];
        for (text, want) in cases {
            assert_eq!(problems(&text), want, "{text}");
        }
    }

    #[test]
    fn invalid_and_doubtful_mappings() {
        // ids 7757-3.2-defaultlen, 7757-3.2-suffix, 7757-5-dup, 7757-5-overlap, 6791-3.1-notprivate,
        // 6052-3.1-wkp-siit
        let eam = |list: &str| format!("{BOTH}[siit]\neam = {list}\n");
        let hosts = |more: &str| format!("{BOTH}[siit]\nhosts = \"192.0.2.32/28\"\n{more}\n");
        let cases = [
            (eam("\"192.0.2.1 = 2001:db8:aaaa::\""), ""),
            (eam("\"192.0.2.0/28 = 2001:db8::/124\""), ""),
            (eam("\"192.0.2.0/26 = 2001:db8::/64\""), ""),
            (
                eam("\"192.0.2.0/24 = 2001:db8::/124\""),
                "8:7: `192.0.2.0/24 = 2001:db8::/124`: the IPv4 suffix has 8 bits, the IPv6 suffix only 4",
            ),
            (eam("\"192.0.2.0/24\""), "8:7: `192.0.2.0/24`: expected two prefixes, such as"),
            (eam("\"192.0.2.1/24 = 2001:db8::\""), "8:7: `192.0.2.1/24 = 2001:db8::`: bits after the prefix"),
            (
                eam("[\"192.0.2.1 = 2001:db8::1\", \"192.0.2.2 = 2001:db8::1\"]"),
                "8:35: 192.0.2.2/32 = 2001:db8::1/128 uses a prefix of 192.0.2.1/32 = 2001:db8::1/128",
            ),
            (
                eam("[\"192.0.2.0/28 = 2001:db8::/124\", \"192.0.2.1 = 2001:db8:9::\"]"),
                "8:8: 192.0.2.0/28 = 2001:db8::/124 overlaps 1 other mappings; the longest prefix decides",
            ),
            (
                eam("[\"192.0.2.1 = 2001:db8::1\", \"192.0.2.2 = 2001:db8::/100\"]"),
                "8:35: 192.0.2.2/32 = 2001:db8::/100 overlaps 1 other mappings",
            ),
            (eam("\"192.0.2.65 = 2001:db8::1\""), "8:7: 192.0.2.65/32 overlaps 192.0.2.64/28 of a pool4"),
            (hosts(""), ""),
            (hosts("hosts_pref64 = \"64:ff9b::/96\""), "8:9: the `hosts` have addresses"),
            (hosts("pref64 = \"none\""), "8:9: `hosts` without a prefix"),
            (hosts("pref64 = \"2001:db8::/33\""), "9:10: `2001:db8::/33`: a pref64 has the length"),
            (
                hosts("pref64 = \"2001:db8:64::/64\""),
                "9:10: 2001:db8:64::/64 overlaps the pref64 2001:db8:64::/96",
            ),
            (hosts("inside = \"ipv4\""), "2:10: 2001:db8:64::/96 must be the prefix of a remote"),
            (
                hosts("hosts_pref64 = \"2001:db8:64::/64\""),
                "9:16: 2001:db8:64::/64 overlaps the pref64 2001:db8:64::/96",
            ),
            (
                hosts("pref64 = \"2001:db8:65::/96\"\ninside = \"ipv4\"\nhairpin = \"off\""),
                "11:11: `hairpin` together with inside = \"ipv4\"",
            ),
            (hosts("inside = \"v4\""), "9:10: unknown value `v4` (\"ipv6\", \"ipv4\")"),
            (hosts("error_pool4 = \"10.0.0.0/24\""), "9:15: 10.0.0.0/24 is private: other"),
            (hosts("untranslatable_source = \"pool\""), "9:25: \"pool\" without error_pool4"),
            (hosts("routes = \"x\""), "9:10: `x`: not an address or prefix of this family"),
            (format!("{BOTH}[siit]\n"), "7:1: no host has a mapping"),
        ];
        for (text, want) in cases {
            let found = problems(&text);
            let first = found.first().map_or("", String::as_str);
            assert!(first.starts_with(want) && first.is_empty() == want.is_empty(), "{text}\n{found:#?}");
        }
    }
}
