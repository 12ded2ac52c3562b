//! Traces as a stream of JSON lines, which `gate64 trace` reads.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::Stream;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};

use super::view::View;
use crate::addr::{Ipv6Prefix, Proto};
use crate::translator::Verdict;
use crate::worker::{Trace, TraceEvent, TraceFilter, TraceRecord};

/// Interval at which the queues of the workers are read.
const INTERVAL: Duration = Duration::from_millis(50);

/// A line of the stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TraceLine {
    /// A packet.
    Packet(TracedPacket),
    /// Total number of records lost because they were not read in time.
    Lost {
        /// Number of records.
        records: u64,
    },
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TracedPacket {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// Worker.
    pub worker: u8,
    /// What happened: `forwarded`, `refused`, `dropped`, `held`, `handed over`, or `sent`.
    pub event: String,
    /// The drop reason of dropped and refused packets.
    pub reason: Option<String>,
    /// The worker that received a handed over packet.
    pub to: Option<u8>,
    /// Length of the packet.
    pub len: u32,
    /// Its first bytes, in hexadecimal.
    pub bytes: String,
}

impl TracedPacket {
    fn of(worker: u8, record: &TraceRecord) -> Self {
        let (event, reason, to) = match record.event {
            TraceEvent::Sent => ("sent", None, None),
            TraceEvent::Received(Verdict::Forward) => ("forwarded", None, None),
            TraceEvent::Received(Verdict::Hold) => ("held", None, None),
            TraceEvent::Received(Verdict::HandOver(to)) => ("handed over", None, Some(to.0)),
            TraceEvent::Received(Verdict::Drop(reason)) => ("dropped", Some(reason), None),
            TraceEvent::Received(Verdict::Reject(reason)) => ("refused", Some(reason), None),
        };
        let at = record.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            at: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            worker,
            event: event.to_owned(),
            reason: reason.map(|reason| reason.name().to_owned()),
            to,
            len: record.len,
            bytes: record.bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Parses conditions such as `host=2001:db8::/64&port=53`; the zones of `view` give `zone=NAME` a meaning.
///
/// # Errors
/// The first condition that is invalid.
pub(super) fn filter(view: &View, query: &str) -> Result<TraceFilter, String> {
    let mut filter = TraceFilter::default();
    for condition in query.split('&').filter(|condition| !condition.is_empty()) {
        let (key, value) = condition.split_once('=').unwrap_or((condition, ""));
        let invalid = || format!("invalid condition `{condition}`");
        match key {
            "host" => filter.hosts.push(value.parse().map_err(|_| invalid())?),
            "zone" => {
                let zones = view.shown().zones;
                let zone = zones.iter().find(|zone| zone.name == value);
                let clients = &zone.ok_or_else(|| format!("no zone has the name `{value}`"))?.clients;
                filter.hosts.extend(clients.iter().filter_map(|text| text.parse::<Ipv6Prefix>().ok()));
            }
            "address" => filter.address = Some(value.parse().map_err(|_| invalid())?),
            "port" => filter.port = Some(value.parse().map_err(|_| invalid())?),
            "protocol" => {
                let proto = Proto::ALL.into_iter().find(|proto| proto.name() == value);
                filter.proto = Some(proto.ok_or_else(invalid)?);
            }
            "dropped" => filter.only_dropped = true,
            _ => return Err(invalid()),
        }
    }
    Ok(filter)
}

/// The state of a stream.
struct Reading {
    trace: Trace,
    lines: VecDeque<TraceLine>,
    lost: u64,
}

/// The lines of a trace, until the reader drops the stream.
pub(super) fn lines(trace: Trace) -> impl Stream<Item = Result<String, std::convert::Infallible>> {
    unfold(Reading { trace, lines: VecDeque::new(), lost: 0 }, |mut reading| async move {
        while reading.lines.is_empty() {
            if reading.trace.has_ended() {
                return None;
            }
            tokio::time::sleep(INTERVAL).await;
            let lines = &mut reading.lines;
            reading.trace.read(|worker, record| {
                lines.push_back(TraceLine::Packet(TracedPacket::of(worker, record)));
            });
            let records = reading.trace.lost();
            if records > reading.lost {
                reading.lost = records;
                reading.lines.push_back(TraceLine::Lost { records });
            }
        }
        let text = reading.lines.drain(..).filter_map(|line| serde_json::to_string(&line).ok());
        let text: String = text.map(|line| line + "\n").collect();
        Some((Ok(text), reading))
    })
}
