//! Records for tests.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use super::record::{Destination, Kind, Mapping, Protocol, Record, Session, timestamp};

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

pub(super) fn session(start: u64, end: Option<u64>) -> Session {
    Session {
        zone: "floor-3".to_owned(),
        host: "2001:db8:1::5".to_owned(),
        host_port: 40_000,
        address: Ipv4Addr::new(192, 0, 2, 64),
        port: 1030,
        protocol: Protocol::Tcp,
        destination: None,
        start: timestamp(at(start)),
        end: end.map(|end| timestamp(at(end))),
        is_static: false,
    }
}

pub(super) fn destination() -> Destination {
    Destination {
        destination: Ipv4Addr::new(198, 51, 100, 7),
        destination_port: 443,
        destination6: "64:ff9b::198.51.100.7".parse().expect("literal"),
    }
}

pub(super) fn session_record(secs: u64, event: Kind, session: Session) -> Record {
    Record { session: Some(session), ..Record::of_gateway(timestamp(at(secs)), event, "gw1") }
}
