//! The status that `gate64 status` prints, as JSON or text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::format::{pairs, size, span};
use super::host_status::HostStatus;
use super::view::{ShownZone, View};
use crate::addr::Proto;
use crate::addr::ZoneId;
use crate::counters::ZoneCounters;
use crate::dns64::Outcome;
use crate::reason::Reason;
use crate::resolver::{Report, UpstreamCounters, ZoneReport};

/// Status of a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of gate64.
    pub version: String,
    /// Uptime in seconds.
    pub uptime: u64,
    /// The zones, in the order of the file.
    pub zones: Vec<ZoneStatus>,
    /// Stateless translation; `None` without `[siit]`.
    pub stateless: Option<StatelessStatus>,
    /// Dropped packets outside every zone, by reason.
    pub dropped_without_zone: BTreeMap<String, u64>,
    /// Workers, by number.
    pub workers: Vec<WorkerStatus>,
    /// Offloads of the device: checksum, tcp, udp.
    pub offloads: BTreeMap<String, bool>,
    /// DNS64 outside the zones.
    pub dns64: Dns64Status,
    /// Whether the kernel steers packets to workers; otherwise workers hand them over.
    pub steering: bool,
    /// State of the overload filter: `off`, `unavailable`, `idle` or `active`.
    pub overload_filter: String,
    /// Settings in effect, by key.
    pub settings: BTreeMap<String, String>,
    /// The host of the gateway.
    pub host: HostStatus,
}

/// Status of DNS64 outside the zones.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dns64Status {
    /// Names in the cache, and its size in bytes.
    pub cache: [u64; 2],
    /// Queries and connections from outside every zone, by outcome, without zeros.
    pub without_zone: BTreeMap<String, u64>,
    /// Upstream resolvers used so far.
    pub upstreams: Vec<UpstreamStatus>,
}

/// Status of an upstream resolver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Address and port.
    pub address: String,
    /// Whether it is used last, because it does not reply.
    pub demoted: bool,
    /// Smoothed response time in microseconds; 0 before the first reply.
    pub srtt_us: u64,
    /// Counters, by name, without zeros.
    pub queries: BTreeMap<String, u64>,
}

/// Status of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Name.
    pub name: String,
    /// Client prefixes.
    pub clients: Vec<String>,
    /// Prefixes, the advertised one first.
    pub pref64: Vec<String>,
    /// Public IPv4 addresses with port ranges.
    pub pool4: Vec<String>,
    /// Rules for new sessions, in their order.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Packets translated, to IPv4 and to IPv6.
    pub packets: [u64; 2],
    /// Bytes translated to IPv4 and to IPv6: lengths of the packets before translation.
    pub bytes: [u64; 2],
    /// Live sessions, by protocol.
    pub sessions: BTreeMap<String, u64>,
    /// Live bindings, by protocol.
    pub bindings: BTreeMap<String, u64>,
    /// Assigned port blocks.
    pub blocks: u64,
    /// Dropped packets by reason, without zeros.
    pub drops: BTreeMap<String, u64>,
    /// DNS queries by outcome, without zeros.
    pub dns64: BTreeMap<String, u64>,
    /// Names in the ledger, by IPv6 support.
    pub ipv6_support: BTreeMap<String, u64>,
    /// The names with the most queries.
    pub names: Vec<NameStatus>,
}

/// A name in the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameStatus {
    /// Domain name.
    pub name: String,
    /// IPv6 support: `native`, `ipv4_only` or `broken_aaaa`.
    pub ipv6_support: String,
    /// Target of the alias, if it is one.
    pub alias: Option<String>,
    /// Number of queries.
    pub times: u64,
    /// Seconds since the first query.
    pub first: u64,
    /// Seconds since the last query.
    pub last: u64,
}

/// Status of stateless translation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatelessStatus {
    /// Number of mappings.
    pub mappings: usize,
    /// Packets translated, to IPv4 and to IPv6.
    pub packets: [u64; 2],
    /// Bytes translated, to IPv4 and to IPv6.
    pub bytes: [u64; 2],
}

/// Status of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Packets read, super-packets counted once.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets handed over to another worker.
    pub handed_over: u64,
    /// Live sessions.
    pub sessions: u64,
}

impl Status {
    /// The present status. `known` is the report of the resolver, if there is one.
    pub fn of(view: &View, known: Option<&Report>) -> Self {
        let shown = view.shown();
        let offloads = shown.offloads;
        let workers = view.counters().iter().zip(view.tallies()).map(|(counters, tallies)| WorkerStatus {
            received: tallies.received.read(),
            sent: tallies.sent.read(),
            handed_over: counters.handed_over.read(),
            sessions: shown.zones.iter().map(|z| sessions(counters.zone(Some(z.id)))).sum(),
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: view.uptime().as_secs(),
            zones: shown.zones.iter().map(|zone| ZoneStatus::of(view, zone, known)).collect(),
            stateless: shown.mappings.map(|mappings| StatelessStatus {
                mappings,
                packets: [
                    view.sum(None, |z| z.packets_v6_to_v4.read()),
                    view.sum(None, |z| z.packets_v4_to_v6.read()),
                ],
                bytes: [
                    view.sum(None, |z| z.bytes_v6_to_v4.read()),
                    view.sum(None, |z| z.bytes_v4_to_v6.read()),
                ],
            }),
            dropped_without_zone: drops(view, None),
            workers: workers.collect(),
            offloads: [("checksum", offloads.checksum), ("tcp", offloads.tcp), ("udp", offloads.udp)]
                .map(|(name, on)| (name.to_owned(), on))
                .into(),
            dns64: Dns64Status::of(view, known),
            steering: shown.steering,
            overload_filter: view.overload_filter().to_owned(),
            host: HostStatus::of(view),
            settings: shown.settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }
}

impl Dns64Status {
    fn of(view: &View, known: Option<&Report>) -> Self {
        let upstreams = view.resolver().map(|counters| counters.upstreams()).unwrap_or_default();
        let upstream = |(address, counters): (SocketAddr, Arc<UpstreamCounters>)| UpstreamStatus {
            address: address.to_string(),
            demoted: counters.is_demoted(),
            srtt_us: u64::try_from(counters.srtt().as_micros()).unwrap_or(u64::MAX),
            queries: counters
                .all()
                .into_iter()
                .filter(|(.., count)| *count > 0)
                .map(|(name, _, count)| (name.to_owned(), count))
                .collect(),
        };
        Self {
            cache: known.map_or([0; 2], |known| [known.cached_names as u64, known.cached_bytes as u64]),
            without_zone: outcomes(view, None),
            upstreams: upstreams.into_iter().map(upstream).collect(),
        }
    }
}

impl ZoneStatus {
    fn of(view: &View, zone: &ShownZone, known: Option<&Report>) -> Self {
        let ledger = known.and_then(|known| known.zones.get(&zone.id));
        let sum = |number: fn(&ZoneCounters) -> u64| view.sum(Some(zone.id), number);
        let by_protocol = |number: fn(&ZoneCounters, usize) -> u64| {
            let each = Proto::ALL.into_iter().map(|proto| {
                (proto.name().to_owned(), view.sum(Some(zone.id), |z| number(z, proto as usize)))
            });
            each.collect()
        };
        Self {
            name: zone.name.clone(),
            clients: zone.clients.clone(),
            pref64: zone.pref64.clone(),
            pool4: zone.pool4.clone(),
            rules: zone.rules.clone(),
            packets: [sum(|z| z.packets_v6_to_v4.read()), sum(|z| z.packets_v4_to_v6.read())],
            bytes: [sum(|z| z.bytes_v6_to_v4.read()), sum(|z| z.bytes_v4_to_v6.read())],
            sessions: by_protocol(|z, proto| z.sessions[proto].read()),
            bindings: by_protocol(|z, proto| z.bindings[proto].read()),
            blocks: sum(|z| z.blocks.read()),
            drops: drops(view, Some(zone.id)),
            dns64: outcomes(view, Some(zone.id)),
            ipv6_support: ledger.map(ipv6_support).unwrap_or_default(),
            names: ledger.map(names).unwrap_or_default(),
        }
    }
}

fn sessions(zone: &ZoneCounters) -> u64 {
    zone.sessions.iter().map(crate::counters::Tally::read).sum()
}

fn drops(view: &View, zone: Option<ZoneId>) -> BTreeMap<String, u64> {
    let all = Reason::ALL.iter().map(|r| (r.name().to_owned(), view.sum(zone, |z| z.drops(*r).read())));
    all.filter(|(_, count)| *count > 0).collect()
}

fn ipv6_support(ledger: &ZoneReport) -> BTreeMap<String, u64> {
    ledger.ipv6_support.iter().map(|(ipv6_support, count)| (ipv6_support.name().to_owned(), *count)).collect()
}

fn names(ledger: &ZoneReport) -> Vec<NameStatus> {
    let each = ledger.names.iter().map(|name| NameStatus {
        name: name.name.clone(),
        ipv6_support: name.ipv6_support.name().to_owned(),
        alias: name.alias.clone(),
        times: name.times,
        first: name.first.as_secs(),
        last: name.last.as_secs(),
    });
    each.collect()
}

fn outcomes(view: &View, zone: Option<ZoneId>) -> BTreeMap<String, u64> {
    let Some(counters) = view.resolver() else { return BTreeMap::new() };
    let row = counters.zone(zone);
    let all = Outcome::ALL.iter().map(|o| (o.name().to_owned(), row.outcome(*o)));
    all.filter(|(_, count)| *count > 0).collect()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gate64 {}, up {}", self.version, span(self.uptime))?;
        for problem in &self.host.problems {
            writeln!(f, "problem: {problem}")?;
        }
        for zone in &self.zones {
            writeln!(f, "\nzone {}", zone.name)?;
            writeln!(f, "  clients   {}", zone.clients.join(" "))?;
            writeln!(f, "  pref64    {}", zone.pref64.join(" "))?;
            writeln!(f, "  pool4     {} ({} blocks in use)", zone.pool4.join(" "), zone.blocks)?;
            for rule in &zone.rules {
                writeln!(f, "  rule      {rule}")?;
            }
            writeln!(f, "  to IPv4   {} packets, {}", zone.packets[0], size(zone.bytes[0]))?;
            writeln!(f, "  to IPv6   {} packets, {}", zone.packets[1], size(zone.bytes[1]))?;
            writeln!(f, "  sessions  {}", pairs(&zone.sessions))?;
            writeln!(f, "  bindings  {}", pairs(&zone.bindings))?;
            if !zone.drops.is_empty() {
                writeln!(f, "  dropped   {}", pairs(&zone.drops))?;
            }
            if !zone.dns64.is_empty() {
                writeln!(f, "  dns64     {}", pairs(&zone.dns64))?;
            }
            if !zone.ipv6_support.is_empty() {
                writeln!(f, "  names     {}", pairs(&zone.ipv6_support))?;
            }
        }
        if let Some(stateless) = &self.stateless {
            writeln!(f, "\nstateless, {} mappings", stateless.mappings)?;
            writeln!(f, "  to IPv4   {} packets, {}", stateless.packets[0], size(stateless.bytes[0]))?;
            writeln!(f, "  to IPv6   {} packets, {}", stateless.packets[1], size(stateless.bytes[1]))?;
        }
        let rows = [("dropped", &self.dropped_without_zone), ("dns64", &self.dns64.without_zone)];
        if rows.iter().any(|(_, counts)| !counts.is_empty()) {
            writeln!(f, "\nno zone")?;
        }
        for (row, counts) in rows.iter().filter(|(_, counts)| !counts.is_empty()) {
            writeln!(f, "  {row:<9} {}", pairs(counts))?;
        }
        write!(f, "{}", self.dns64)?;
        writeln!(f, "\nworkers")?;
        for (number, w) in self.workers.iter().enumerate() {
            let WorkerStatus { received, sent, handed_over, sessions } = w;
            writeln!(
                f,
                "  {number}  received {received}  sent {sent}  handed over {handed_over}  sessions {sessions}"
            )?;
        }
        let (steering, filter) = (self.steering, &self.overload_filter);
        writeln!(f, "\noffloads  {}  steering {steering}  overload filter {filter}", pairs(&self.offloads))?;
        write!(f, "{}", self.host)?;
        writeln!(f, "\nsettings")?;
        for (key, value) in &self.settings {
            writeln!(f, "  {key:<16} {value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Dns64Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.upstreams.is_empty() {
            writeln!(f, "\nupstream resolvers")?;
        }
        for upstream in &self.upstreams {
            let state = if upstream.demoted { "does not reply" } else { "in use" };
            let millis = upstream.srtt_us as f64 / 1_000.0;
            writeln!(f, "  {}  {state}  {millis:.1} ms  {}", upstream.address, pairs(&upstream.queries))?;
        }
        Ok(())
    }
}
