//! Records for tests.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use super::record::{Kind, Mapping, Protocol, Record, timestamp};

/// A time on 2026-11-29, `secs` after 10:00 UTC.
pub(super) fn at(secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_946_400 + secs)
}

pub(super) fn mapping(host: &str, first: u16, start: u64) -> Mapping {
    Mapping {
        zone: "floor-3".to_owned(),
        host: host.to_owned(),
        address: Ipv4Addr::new(192, 0, 2, 64),
        ports: (first, first + 15),
        protocols: Protocol::ALL.to_vec(),
        host_port: None,
        start: timestamp(at(start)),
        end: None,
    }
}

pub(super) fn record(secs: u64, event: Kind, mapping: Option<Mapping>) -> Record {
    Record { mapping, ..Record::of_gateway(timestamp(at(secs)), event, "gw1") }
}
