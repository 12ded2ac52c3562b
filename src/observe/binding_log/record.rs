//! Records of the binding log, as the sinks write them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::addr::Proto;

/// A transport protocol in a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP queries; the identifier takes the role of the port.
    Icmp,
}

impl Protocol {
    /// All protocols: those of a port block.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// The name in records.
    pub const fn name(self) -> &'static str {
        self.proto().name()
    }

    const fn proto(self) -> Proto {
        match self {
            Self::Tcp => Proto::Tcp,
            Self::Udp => Proto::Udp,
            Self::Icmp => Proto::Icmp,
        }
    }
}

impl From<Proto> for Protocol {
    fn from(proto: Proto) -> Self {
        match proto {
            Proto::Tcp => Self::Tcp,
            Proto::Udp => Self::Udp,
            Proto::Icmp => Self::Icmp,
        }
    }
}

/// What a record reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A host was assigned ports.
    Assign,
    /// The host's ports returned to the pool.
    Release,
    /// The host's ports were taken back for another host before any answer from outside.
    Reclaim,
    /// The host still has the ports at the beginning of a day, so that each day is complete in itself.
    Held,
    /// A session started.
    #[serde(rename = "session_start")]
    SessionStart,
    /// A session ended.
    #[serde(rename = "session_end")]
    SessionEnd,
    /// gate64 started. Ports that no later record assigns have returned to the pool.
    Start,
    /// gate64 stopped in an orderly way.
    Stop,
    /// Records are missing.
    Lost,
}

impl Kind {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assign => "assign",
            Self::Release => "release",
            Self::Reclaim => "reclaim",
            Self::Held => "held",
            Self::SessionStart => "session_start",
            Self::SessionEnd => "session_end",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Lost => "lost",
        }
    }

    /// Whether the record ends an assignment.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Release | Self::Reclaim)
    }
}

/// Ports of an outside address, and their host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mapping {
    /// Zone of the host.
    pub zone: String,
    /// Address or prefix of the host, or its hash.
    pub host: String,
    /// The outside address.
    pub address: Ipv4Addr,
    /// First and last port.
    pub ports: (u16, u16),
    /// The protocols.
    pub protocols: Vec<Protocol>,
    /// The host's port, if the mapping is a static binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// When the host was assigned the ports.
    pub start: Timestamp,
    /// When the ports returned to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

impl Mapping {
    /// The names of its protocols.
    pub(super) fn protocol_names(&self) -> Vec<&'static str> {
        self.protocols.iter().map(|protocol| protocol.name()).collect()
    }

    /// Whether it contains a port of its address.
    pub fn has(&self, port: u16, protocol: Option<Protocol>) -> bool {
        (self.ports.0..=self.ports.1).contains(&port)
            && protocol.is_none_or(|protocol| self.protocols.contains(&protocol))
    }

    /// Whether both are assignments of the same ports to the same host, at whatever time.
    pub fn is_same_assignment(&self, other: &Self) -> bool {
        (&self.host, &self.zone) == (&other.host, &other.zone)
            && (self.address, self.ports, &self.protocols) == (other.address, other.ports, &other.protocols)
    }

    /// Whether both have a port of a protocol in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.address == other.address
            && self.ports.0 <= other.ports.1
            && other.ports.0 <= self.ports.1
            && self.protocols.iter().any(|protocol| other.protocols.contains(protocol))
    }
}

/// A session, if each has records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Zone of the host.
    pub zone: String,
    /// Address of the host, or its hash.
    pub host: String,
    /// Port of the host, or ICMP identifier.
    pub host_port: u16,
    /// The outside address.
    pub address: Ipv4Addr,
    /// The outside port, or ICMP identifier.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Where it goes to, if the log contains destinations.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Whether the binding is static.
    #[serde(skip)]
    pub is_static: bool,
}

/// The destination of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Destination {
    /// Its IPv4 address.
    pub destination: Ipv4Addr,
    /// Its port; 0 with ICMP.
    pub destination_port: u16,
    /// The address by which the host addresses it.
    pub destination6: Ipv6Addr,
}

/// A record. `time` comes first: readers rely on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub event: Kind,
    /// Name of the gateway.
    pub node: String,
    /// The session. In front of `mapping`: an attempt to read a mapping takes the fields that both have.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The ports and their host.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
    /// Number of missing records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

impl Record {
    /// A record without ports.
    pub fn of_gateway(time: Timestamp, event: Kind, node: &str) -> Self {
        Self { time, event, node: node.to_owned(), mapping: None, session: None, lost: None }
    }

    /// The record as a line of JSON, with the line feed.
    pub fn to_line(&self, out: &mut Vec<u8>) {
        // Writing to memory cannot fail, and no key is anything but a string.
        if serde_json::to_writer(&mut *out, self).is_ok() {
            out.push(b'\n');
        }
    }
}

/// A time in milliseconds; the present precision of records.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::{at, destination, mapping, record, session, session_record};
    use super::*;

    fn line(record: &Record) -> String {
        let mut out = Vec::new();
        record.to_line(&mut out);
        String::from_utf8(out).expect("JSON")
    }

    #[test]
    fn a_record_of_a_session_has_its_destination_only_if_asked() {
        // id 6888-12
        let want = "{\"time\":\"2026-11-29T10:01:01Z\",\"event\":\"session_end\",\"node\":\"gw1\",\
                    \"zone\":\"floor-3\",\"host\":\"2001:db8:1::5\",\"host_port\":40000,\
                    \"address\":\"192.0.2.64\",\"port\":1030,\"protocol\":\"tcp\",\
                    \"start\":\"2026-11-29T10:00:00Z\",\"end\":\"2026-11-29T10:01:01Z\"}\n";
        let ended = session_record(61, Kind::SessionEnd, session(0, Some(61)));
        assert_eq!(line(&ended), want);
        assert_eq!(serde_json::from_str::<Record>(want).expect("valid"), ended);
        let with = Session { destination: Some(destination()), ..session(0, None) };
        let with = session_record(0, Kind::SessionStart, with);
        let text = line(&with);
        let part = "\"protocol\":\"tcp\",\"destination\":\"198.51.100.7\",\"destination_port\":443,\
                    \"destination6\":\"64:ff9b::c633:6407\",\"start\"";
        assert!(text.contains(part), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).expect("valid"), with);
    }

    #[test]
    fn a_record_is_a_line_of_json() {
        // id 6888-12
        let mut ended = mapping("2001:db8:1::5", 1024, 0);
        ended.end = Some(timestamp(at(61) + Duration::from_millis(250)));
        let released = record(61, Kind::Release, Some(ended));
        let want = "{\"time\":\"2026-11-29T10:01:01Z\",\"event\":\"release\",\"node\":\"gw1\",\
                    \"zone\":\"floor-3\",\"host\":\"2001:db8:1::5\",\"address\":\"192.0.2.64\",\
                    \"ports\":[1024,1039],\"protocols\":[\"tcp\",\"udp\",\"icmp\"],\
                    \"start\":\"2026-11-29T10:00:00Z\",\"end\":\"2026-11-29T10:01:01.25Z\"}\n";
        assert_eq!(line(&released), want);
        assert_eq!(serde_json::from_str::<Record>(want).expect("valid"), released);
        let lost = Record { lost: Some(3), ..record(5, Kind::Lost, None) };
        let want = "{\"time\":\"2026-11-29T10:00:05Z\",\"event\":\"lost\",\"node\":\"gw1\",\"lost\":3}\n";
        assert_eq!(line(&lost), want);
        assert_eq!(serde_json::from_str::<Record>(want).expect("valid"), lost);
    }
}
