//! `gate64 drops`: dropped packets by reason, with the meaning and the advice of each reason.

use std::fmt;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::admin::{AdminSocket, fetch};
use crate::observe::status::Status;
use crate::output::{out, outln};
use crate::reason::Reason;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    socket: AdminSocket,
    /// Only drops of this zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Only drops for this reason.
    #[arg(long, value_parser = reason())]
    reason: Option<Reason>,
    /// List every reason instead, without counts. Needs no running gateway.
    #[arg(long)]
    list: bool,
    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

fn reason() -> impl TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(Reason::ALL.map(Reason::name)).map(|name| {
        let found = Reason::ALL.into_iter().find(|reason| reason.name() == name);
        found.expect("one of the possible values")
    })
}

/// The packets dropped for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Drops {
    pub(super) reason: Reason,
    /// Name of the zone and number of packets; an empty name for packets without a zone.
    pub(super) zones: Vec<(String, u64)>,
}

impl Drops {
    /// Number of packets in all zones.
    pub(super) fn count(&self) -> u64 {
        self.zones.iter().map(|(_, count)| count).sum()
    }

    /// The drops of a gateway, the most frequent reason first. Reasons without drops are left out.
    pub(super) fn of(status: &Status) -> Vec<Self> {
        let rows = status.zones.iter().map(|zone| (zone.name.as_str(), &zone.drops));
        let rows: Vec<_> = rows.chain([("", &status.dropped_without_zone)]).collect();
        let of_reason = |reason: Reason| {
            let count = |(name, counts): &(&str, &std::collections::BTreeMap<String, u64>)| {
                counts.get(reason.name()).map(|count| ((*name).to_owned(), *count))
            };
            Self { reason, zones: rows.iter().filter_map(count).collect() }
        };
        let mut all: Vec<_> =
            Reason::ALL.map(of_reason).into_iter().filter(|d| !d.zones.is_empty()).collect();
        all.sort_by_key(|drops| std::cmp::Reverse(drops.count()));
        all
    }

    fn keep_zone(&mut self, name: &str) {
        self.zones.retain(|(zone, _)| zone == name);
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zones = self.zones.iter().map(|(name, count)| match name.as_str() {
            "" => format!("no zone {count}"),
            name => format!("{name} {count}"),
        });
        let zones: Vec<_> = zones.collect();
        writeln!(f, "{}  {} packets ({})", self.reason, self.count(), zones.join(", "))?;
        explain(f, self.reason)
    }
}

fn explain(f: &mut impl fmt::Write, reason: Reason) -> fmt::Result {
    writeln!(f, "  {}\n  {}", reason.meaning().trim(), reason.advice())
}

/// Prints the drops of a running gateway, or all reasons.
pub(super) fn drops(args: &Args) -> ExitCode {
    let is_shown = |reason| args.reason.is_none_or(|only| only == reason);
    if args.list {
        Reason::ALL.into_iter().filter(|reason| is_shown(*reason)).for_each(|reason| list(reason, args.json));
        return ExitCode::SUCCESS;
    }
    let socket = args.socket.path();
    let (status, _) = match fetch::<Status>(&socket, "/status") {
        Ok(fetched) => fetched,
        Err(code) => return code,
    };
    let mut all = Drops::of(&status);
    if let Some(zone) = &args.zone {
        all.iter_mut().for_each(|drops| drops.keep_zone(zone));
    }
    all.retain(|drops| !drops.zones.is_empty() && is_shown(drops.reason));
    for drops in &all {
        if args.json {
            drops.zones.iter().for_each(|(zone, count)| outln!("{}", of_count(drops.reason, zone, *count)));
        } else {
            out!("{drops}");
        }
    }
    if all.is_empty() && !args.json {
        outln!("no drops");
    }
    ExitCode::SUCCESS
}

fn list(reason: Reason, json: bool) {
    if json {
        let (meaning, advice) = (reason.meaning().trim(), reason.advice());
        outln!("{}", json!({ "reason": reason.name(), "meaning": meaning, "advice": advice }));
        return;
    }
    let mut text = format!("{reason}\n");
    // Writing to a String cannot fail.
    let _ = explain(&mut text, reason);
    out!("{text}");
}

fn of_count(reason: Reason, zone: &str, count: u64) -> serde_json::Value {
    json!({
        "reason": reason.name(),
        "zone": (!zone.is_empty()).then_some(zone),
        "packets": count,
        "meaning": reason.meaning().trim(),
        "advice": reason.advice(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let zone = |name: &str, drops: serde_json::Value| {
            json!({
                "name": name, "clients": [], "pref64": [], "pool4": [], "packets": [0, 0], "bytes": [0, 0],
                "sessions": {}, "bindings": {}, "blocks": 0, "drops": drops, "dns64": {}, "ipv6_support": {},
                "names": [],
            })
        };
        let status = json!({
            "version": "0", "uptime": 1, "stateless": null, "workers": [], "offloads": {},
            "zones": [zone("a", json!({ "denied": 2, "host_quota": 1 })), zone("b", json!({ "denied": 3 }))],
            "dropped_without_zone": { "no_zone": 7 }, "steering": false, "overload_filter": "off",
            "settings": {}, "dns64": { "cache": [0, 0], "without_zone": {}, "upstreams": [] },
            "host": { "problems": [], "repairs": {}, "last_repairs": [], "last_reload": null },
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn the_most_frequent_reason_comes_first_with_its_zones() {
        let all = Drops::of(&status());
        let text: String = all.iter().map(ToString::to_string).collect();
        let want = "\
no_zone  7 packets (no zone 7)
  The IPv6 source lies in no zone.
  Add the client's prefix to `clients` of a [[zone]] if it may use the gateway.
denied  5 packets (a 2, b 3)
  The IPv4 destination is on the deny list.
  Remove the destination from `deny` if clients may reach it.
host_quota  1 packets (a 1)
";
        assert!(text.starts_with(want), "{text}");
    }

    #[test]
    fn one_zone_of_several() {
        let mut all = Drops::of(&status());
        all.iter_mut().for_each(|drops| drops.keep_zone("b"));
        all.retain(|drops| !drops.zones.is_empty());
        assert_eq!(all, [Drops { reason: Reason::Denied, zones: vec![("b".to_owned(), 3)] }]);
        let printed = of_count(Reason::NoZone, "", 7);
        assert_eq!((&printed["zone"], &printed["packets"]), (&json!(null), &json!(7)));
    }
}
