//! The metrics of the gateway.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::addr::Proto;
use crate::addr::ZoneId;
use crate::counters::{Counters, ZoneCounters};
use crate::device::Tallies;
use crate::dns64::{Ipv6Support, Outcome};
use crate::observe::binding_log::SinkStatus;
use crate::observe::health::Health;
use crate::observe::host::Part;
use crate::observe::view::{Shown, View};
use crate::reason::Reason;
use crate::resolver::{self, Report};

/// What a scrape shows: the gateway, and the report of its resolver if there is one.
#[derive(Debug)]
pub(super) struct Scrape(pub(super) Arc<View>, pub(super) Option<Report>);

/// Label of packets and queries outside every zone.
const NO_ZONE: &str = "";

/// A metric while it is written.
pub(super) struct Metric<'a>(MetricEncoder<'a>);

impl Metric<'_> {
    fn counter(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// The value of a metric without labels.
    fn lone_counter(&mut self, value: u64) -> fmt::Result {
        self.0.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// The value of a metric without labels.
    pub(super) fn lone_gauge(&mut self, value: u64) -> fmt::Result {
        self.0.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
    }
}

pub(super) fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Metric<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter).map(Metric)
}

pub(super) fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Metric<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge).map(Metric)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = &*self.0;
        let shown = view.shown();
        let zones: Vec<(Option<ZoneId>, &str)> =
            shown.zones.iter().map(|z| (Some(z.id), z.name.as_str())).chain([(None, NO_ZONE)]).collect();
        build(&mut encoder, view, &shown)?;
        traffic(&mut encoder, view, &zones)?;
        tables(&mut encoder, view, &zones)?;
        limits(&mut encoder, &shown)?;
        drops(&mut encoder, view, &zones)?;
        workers(&mut encoder, view)?;
        binding_log(&mut encoder, view)?;
        dns64(&mut encoder, view, &zones)?;
        self.1.as_ref().map_or(Ok(()), |known| dns64_known(&mut encoder, known, &zones))
    }
}

type Zones<'a> = [(Option<ZoneId>, &'a str)];

const DIRECTIONS: [&str; 2] = ["v6_to_v4", "v4_to_v6"];

/// Version, start and last reload.
fn build(encoder: &mut DescriptorEncoder<'_>, view: &View, shown: &Shown) -> fmt::Result {
    gauge(encoder, "build_info", "Version of the running program; always 1")?
        .gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1)?;
    let up = view.uptime().as_secs();
    gauge(encoder, "uptime_seconds", "Time since the start")?.lone_gauge(up)?;
    gauge(encoder, "zones", "Configured zones")?.lone_gauge(shown.zones.len() as u64)?;
    let host = view.condition().host;
    let help = "Parts of the host that gate64 found changed and repaired";
    let mut repairs = counter(encoder, "host_repairs", help)?;
    for (part, count) in Part::ALL.iter().zip(host.repairs) {
        repairs.counter(&[("part", part.name())], count)?;
    }
    gauge(encoder, "host_problems", "What is wrong with the host and not repaired; see gate64 status")?
        .lone_gauge(host.problems.len() as u64)?;
    let health = Health::of(view);
    let mut checks = gauge(encoder, "health", "Result of a check: 0 ok, 1 degraded, 2 failed")?;
    for check in &health.checks {
        checks.gauge(&[("check", check.name.as_str())], check.level as u64)?;
    }
    let Some(reload) = view.condition().last_reload else { return Ok(()) };
    let help = "Whether the last reload succeeded, 0 or 1; absent before the first";
    gauge(encoder, "last_reload_successful", help)?.lone_gauge(reload.succeeded.into())?;
    let help = "Unix time of the last reload; absent before the first";
    gauge(encoder, "last_reload_timestamp_seconds", help)?.lone_gauge(reload.unix_seconds)
}

fn traffic(encoder: &mut DescriptorEncoder<'_>, view: &View, zones: &Zones<'_>) -> fmt::Result {
    let both = |z: &ZoneCounters| [z.packets_v6_to_v4.read(), z.packets_v4_to_v6.read()];
    let mut packets =
        counter(encoder, "packets", "Translated packets; a super-packet counts as its segments")?;
    for (zone, name) in zones {
        for (index, direction) in DIRECTIONS.iter().enumerate() {
            packets
                .counter(&[("zone", *name), ("direction", direction)], view.sum(*zone, |z| both(z)[index]))?;
        }
    }
    let both = |z: &ZoneCounters| [z.bytes_v6_to_v4.read(), z.bytes_v4_to_v6.read()];
    let mut bytes = counter(encoder, "bytes", "Translated bytes: lengths of the packets before translation")?;
    for (zone, name) in zones {
        for (index, direction) in DIRECTIONS.iter().enumerate() {
            bytes
                .counter(&[("zone", *name), ("direction", direction)], view.sum(*zone, |z| both(z)[index]))?;
        }
    }
    let mut errors = counter(encoder, "icmp_errors", "ICMP errors that gate64 has sent")?;
    for (zone, name) in zones {
        errors.counter(&[("zone", *name)], view.sum(*zone, |z| z.errors_sent.read()))?;
    }
    let mut held =
        counter(encoder, "held_packets", "Packets stored temporarily: fragments and unsolicited SYNs")?;
    for (zone, name) in zones {
        held.counter(&[("zone", *name)], view.sum(*zone, |z| z.held.read()))?;
    }
    Ok(())
}

fn tables(encoder: &mut DescriptorEncoder<'_>, view: &View, zones: &Zones<'_>) -> fmt::Result {
    let mut sessions = gauge(encoder, "sessions", "Live sessions")?;
    for (zone, name) in zones {
        for proto in Proto::ALL {
            let alive = view.sum(*zone, |z| z.sessions[proto as usize].read());
            sessions.gauge(&[("zone", *name), ("protocol", proto.name())], alive)?;
        }
    }
    let mut bindings = gauge(encoder, "bindings", "Live bindings (BIB entries)")?;
    for (zone, name) in zones {
        for proto in Proto::ALL {
            let alive = view.sum(*zone, |z| z.bindings[proto as usize].read());
            bindings.gauge(&[("zone", *name), ("protocol", proto.name())], alive)?;
        }
    }
    let mut blocks = gauge(encoder, "blocks", "Assigned port blocks")?;
    for (zone, name) in zones {
        blocks.gauge(&[("zone", *name)], view.sum(*zone, |z| z.blocks.read()))?;
    }
    let help = "Ports and ICMP identifiers of the assigned port blocks";
    let mut ports = gauge(encoder, "assigned_ports", help)?;
    for (zone, name) in zones {
        ports.gauge(&[("zone", *name)], view.sum(*zone, |z| z.ports.read()))?;
    }
    let help = "Port blocks without an answer that were reclaimed for other hosts";
    let mut reclaimed = counter(encoder, "blocks_reclaimed", help)?;
    for (zone, name) in zones {
        reclaimed.counter(&[("zone", *name)], view.sum(*zone, |z| z.blocks_reclaimed.read()))?;
    }
    Ok(())
}

/// What the tables and pools can store at most.
fn limits(encoder: &mut DescriptorEncoder<'_>, shown: &Shown) -> fmt::Result {
    let mut limits =
        gauge(encoder, "limit", "Maximum number of entries of a table, over all workers and zones")?;
    for (table, most) in &shown.limits {
        limits.gauge(&[("table", *table)], *most)?;
    }
    let help = "Ports and ICMP identifiers in pool4 of a zone; zones can share a pool";
    let mut ports = gauge(encoder, "pool4_ports", help)?;
    for zone in &shown.zones {
        ports.gauge(&[("zone", zone.name.as_str())], zone.pool4_ports)?;
    }
    Ok(())
}

fn drops(encoder: &mut DescriptorEncoder<'_>, view: &View, zones: &Zones<'_>) -> fmt::Result {
    let mut dropped = counter(encoder, "dropped_packets", "Dropped packets, by reason")?;
    for (zone, name) in zones {
        for reason in Reason::ALL {
            let count = view.sum(*zone, |z| z.drops(reason).read());
            dropped.counter(&[("zone", *name), ("reason", reason.name())], count)?;
        }
    }
    Ok(())
}

/// Name, help text and value of a metric.
type Column<'a, T> = (&'a str, &'a str, fn(&T) -> u64);

fn workers(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let names: Vec<_> = (0..view.counters().len()).map(|n| n.to_string()).collect();
    let of_translators: [Column<'_, Counters>; 2] = [
        ("handed_over_packets", "Packets handed over to another worker", |c| c.handed_over.read()),
        ("lost_events", "Events lost because the event queue was full", |c| c.events_lost.read()),
    ];
    for (name, help, number) in of_translators {
        let mut metric = counter(encoder, name, help)?;
        for (worker, counters) in names.iter().zip(view.counters()) {
            metric.counter(&[("worker", worker.as_str())], number(counters))?;
        }
    }
    let of_devices: [Column<'_, Tallies>; 8] = [
        ("device_received", "Packets read from the device; a super-packet counts once", |t| {
            t.received.read()
        }),
        ("device_received_super", "Super-packets read from the device", |t| t.received_super.read()),
        ("device_unreadable", "Malformed packets read from the device", |t| t.unreadable.read()),
        ("device_sent", "Packets written to the device; a super-packet counts once", |t| t.sent.read()),
        ("device_writes", "Write calls to the device", |t| t.writes.read()),
        ("device_joined", "Packets that were joined into a super-packet", |t| t.joined.read()),
        ("device_segmented_in_software", "Super-packets segmented in software", |t| {
            t.segmented_in_software.read()
        }),
        ("device_refused", "Packets that the device rejected", |t| t.refused.read()),
    ];
    for (name, help, number) in of_devices {
        let mut metric = counter(encoder, name, help)?;
        for (worker, tallies) in names.iter().zip(view.tallies()) {
            metric.counter(&[("worker", worker.as_str())], number(tallies))?;
        }
    }
    Ok(())
}

fn binding_log(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let Some(log) = view.binding_log() else { return Ok(()) };
    let columns: [Column<'_, SinkStatus>; 2] = [
        ("binding_log_records", "Records of the binding log that were written", SinkStatus::written),
        ("binding_log_lost", "Records of the binding log that were lost", SinkStatus::lost),
    ];
    for (name, help, number) in columns {
        let mut metric = counter(encoder, name, help)?;
        for sink in log.sinks() {
            metric.counter(&[("sink", sink.name.as_str())], number(sink))?;
        }
    }
    let mut failing = gauge(encoder, "binding_log_failing", "Whether the sink fails at present, 0 or 1")?;
    for sink in log.sinks() {
        failing.gauge(&[("sink", sink.name.as_str())], sink.is_failing().into())?;
    }
    Ok(())
}

fn dns64_known(encoder: &mut DescriptorEncoder<'_>, known: &Report, zones: &Zones<'_>) -> fmt::Result {
    let mut names = gauge(encoder, "dns64_names", "Names in the DNS64 ledger, by IPv6 support")?;
    for (zone, name) in zones {
        let Some(report) = zone.and_then(|id| known.zones.get(&id)) else { continue };
        for ipv6_support in Ipv6Support::ALL {
            let count = report.ipv6_support.get(&ipv6_support).copied().unwrap_or(0);
            names.gauge(&[("zone", *name), ("ipv6_support", ipv6_support.name())], count)?;
        }
    }
    for (name, help, number) in [
        ("dns64_cached_names", "Names in the DNS64 cache", known.cached_names),
        ("dns64_cached_bytes", "Size of the DNS64 cache in bytes", known.cached_bytes),
    ] {
        gauge(encoder, name, help)?.lone_gauge(number as u64)?;
    }
    Ok(())
}

fn dns64(encoder: &mut DescriptorEncoder<'_>, view: &View, zones: &Zones<'_>) -> fmt::Result {
    let Some(counters) = view.resolver() else { return Ok(()) };
    let mut queries = counter(encoder, "dns64_queries", "DNS64 queries, by outcome")?;
    for (zone, name) in zones {
        let row = counters.zone(*zone);
        for outcome in Outcome::ALL {
            queries.counter(&[("zone", *name), ("outcome", outcome.name())], row.outcome(outcome))?;
        }
    }
    let columns: [Column<'_, resolver::ZoneCounters>; 2] = [
        ("dns64_truncated", "DNS64 responses sent empty with TC", resolver::ZoneCounters::truncated),
        (
            "dns64_ready",
            "DNS64 queries answered from the cache of encoded responses",
            resolver::ZoneCounters::cached_answers,
        ),
    ];
    for (name, help, number) in columns {
        let mut metric = counter(encoder, name, help)?;
        for (zone, zone_name) in zones {
            metric.counter(&[("zone", *zone_name)], number(&counters.zone(*zone)))?;
        }
    }
    for (name, help, number) in [
        (
            "dns64_lost_queries",
            "Datagrams dropped because the receive buffer of a DNS64 socket was full",
            counters.lost_queries(),
        ),
        ("dns64_lost_answers", "DNS64 responses that the kernel rejected", counters.lost_answers()),
        (
            "dns64_refused_connections",
            "DNS64 connections refused by a connection limit",
            counters.refused_connections(),
        ),
        (
            "dns64_evicted_connections",
            "DNS64 connections closed while idle to make room for a new one",
            counters.evicted_connections(),
        ),
    ] {
        counter(encoder, name, help)?.lone_counter(number)?;
    }
    dns64_waits(encoder, &counters, zones)?;
    dns64_upstreams(encoder, &counters)?;
    Ok(())
}

/// Histogram of the time that queries waited for upstream resolvers.
fn dns64_waits(
    encoder: &mut DescriptorEncoder<'_>,
    counters: &resolver::Counters,
    zones: &Zones<'_>,
) -> fmt::Result {
    let help = "Time that DNS64 queries waited for upstream resolvers";
    let unit = Some(&Unit::Seconds);
    let mut waits = encoder.encode_descriptor("dns64_wait", help, unit, MetricType::Histogram)?;
    for (zone, name) in zones {
        let row = counters.zone(*zone);
        let ends = resolver::WAIT_BUCKETS.iter().map(|millis| *millis as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<_> = ends.zip(row.waits()).collect();
        let count = row.waits().iter().sum();
        waits.encode_family(&[("zone", *name)])?.encode_histogram::<NoLabelSet>(
            row.waited().as_secs_f64(),
            count,
            &buckets,
            None,
        )?;
    }
    Ok(())
}

fn dns64_upstreams(encoder: &mut DescriptorEncoder<'_>, counters: &resolver::Counters) -> fmt::Result {
    let upstreams: Vec<_> =
        counters.upstreams().into_iter().map(|(addr, row)| (addr.to_string(), row)).collect();
    let Some((_, first)) = upstreams.first() else { return Ok(()) };
    for (index, (name, help, _)) in first.all().into_iter().enumerate() {
        let name = format!("dns64_upstream_{name}");
        let mut metric = counter(encoder, &name, help)?;
        for (addr, row) in &upstreams {
            metric.counter(&[("upstream", addr.as_str())], row.all()[index].2)?;
        }
    }
    let mut demoted = gauge(
        encoder,
        "dns64_upstream_demoted",
        "Whether the upstream resolver is used last after timeouts, 0 or 1",
    )?;
    for (addr, row) in &upstreams {
        demoted.gauge(&[("upstream", addr.as_str())], row.is_demoted().into())?;
    }
    let mut time = gauge(
        encoder,
        "dns64_upstream_response_seconds",
        "Smoothed response time of the upstream resolver in seconds",
    )?;
    for (addr, row) in &upstreams {
        let labels = [("upstream", addr.as_str())];
        time.0.encode_family(&labels)?.encode_gauge(&row.srtt().as_secs_f64())?;
    }
    Ok(())
}
