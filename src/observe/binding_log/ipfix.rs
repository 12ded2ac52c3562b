//! Records as IPFIX messages (RFC 7011), with the NAT events of RFC 8158.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::record::{Kind, Protocol, Record, Session};
use crate::addr::Ipv6Prefix;
use crate::observe::unix_seconds;

/// Maximum size of a message: fits the minimum MTU of IPv6 (RFC 7011 §10.3.3).
const MAX_MESSAGE: usize = 1232;
/// Interval after which templates are sent again over UDP (RFC 7011 §8.4).
const RESEND: Duration = Duration::from_secs(60);
/// Version of IPFIX.
const VERSION: u16 = 10;
/// Set id of templates.
const TEMPLATES: u16 = 2;
/// Length of a field whose length is in the record.
const VARIABLE: u16 = 65_535;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;

/// A template: its id, and the fields as element and length.
struct Template {
    id: u16,
    fields: &'static [(u16, u16)],
}

/// Port block allocation and de-allocation (RFC 8158 §4.6.10).
const BLOCK: Template = Template {
    id: 256,
    fields: &[
        (323, 8),        // observationTimeMilliseconds
        (230, 1),        // natEvent
        (27, 16),        // sourceIPv6Address
        (29, 1),         // sourceIPv6PrefixLength
        (225, 4),        // postNATSourceIPv4Address
        (361, 2),        // portRangeStart
        (362, 2),        // portRangeEnd
        (464, VARIABLE), // internalAddressRealm: the zone
    ],
};

/// BIB creation and deletion, of static bindings (RFC 8158 §4.6.4).
const BINDING: Template = Template {
    id: 257,
    fields: &[
        (323, 8),        // observationTimeMilliseconds
        (230, 1),        // natEvent
        (27, 16),        // sourceIPv6Address
        (225, 4),        // postNATSourceIPv4Address
        (4, 1),          // protocolIdentifier
        (7, 2),          // sourceTransportPort
        (227, 2),        // postNAPTSourceTransportPort
        (464, VARIABLE), // internalAddressRealm: the zone
    ],
};

/// NAT64 session creation and deletion, without destination (RFC 8158 §4.6.2).
const SESSION: Template = Template {
    id: 258,
    // The elements of a binding.
    fields: BINDING.fields,
};

/// NAT64 session creation and deletion, with destination (RFC 8158 §4.6.2).
const SESSION_TO: Template = Template {
    id: 259,
    fields: &[
        (323, 8),        // observationTimeMilliseconds
        (230, 1),        // natEvent
        (27, 16),        // sourceIPv6Address
        (225, 4),        // postNATSourceIPv4Address
        (4, 1),          // protocolIdentifier
        (7, 2),          // sourceTransportPort
        (227, 2),        // postNAPTSourceTransportPort
        (28, 16),        // destinationIPv6Address
        (226, 4),        // postNATDestinationIPv4Address
        (11, 2),         // destinationTransportPort
        (228, 2),        // postNAPTDestinationTransportPort
        (464, VARIABLE), // internalAddressRealm: the zone
    ],
};

/// Values of natEvent (RFC 8158 §4.3).
mod nat_event {
    pub(super) const SESSION_CREATE: u8 = 6;
    pub(super) const SESSION_DELETE: u8 = 7;
    pub(super) const BIB_CREATE: u8 = 10;
    pub(super) const BIB_DELETE: u8 = 11;
    pub(super) const BLOCK_ALLOCATE: u8 = 16;
    pub(super) const BLOCK_DEALLOCATE: u8 = 17;
}

/// Encodes records for one transport session.
#[derive(Debug)]
pub(super) struct Exporter {
    /// Number of data records sent so far, modulo 2^32.
    sequence: u32,
    /// When the templates were sent last.
    templates_sent: Option<SystemTime>,
}

impl Exporter {
    /// An exporter for a new transport session.
    pub(super) const fn new() -> Self {
        Self { sequence: 0, templates_sent: None }
    }

    /// Encodes records as messages. Over a datagram transport (`resend`), templates precede them once per interval;
    /// over a stream, once.
    pub(super) fn encode(&mut self, records: &[Arc<Record>], now: SystemTime, resend: bool) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let age = self.templates_sent.map(|sent| now.duration_since(sent).unwrap_or(RESEND));
        if age.is_none_or(|age| resend && age >= RESEND) {
            messages.push(self.message(now, &[(TEMPLATES, templates())], 0));
            self.templates_sent = Some(now);
        }
        let mut sets: Vec<(u16, Vec<u8>)> = Vec::new();
        let (mut size, mut count) = (HEADER, 0);
        for (template, data) in records.iter().filter_map(|record| data(record)) {
            let is_new_set = sets.last().is_none_or(|(id, _)| *id != template);
            let needed = data.len() + if is_new_set { SET_HEADER } else { 0 };
            if size + needed > MAX_MESSAGE {
                messages.push(self.message(now, &std::mem::take(&mut sets), count));
                (size, count) = (HEADER, 0);
            }
            match sets.last_mut().filter(|(id, _)| *id == template) {
                Some((_, set)) => set.extend(&data),
                None => {
                    sets.push((template, data.clone()));
                    size += SET_HEADER;
                }
            }
            size += data.len();
            count += 1;
        }
        if count > 0 {
            messages.push(self.message(now, &sets, count));
        }
        messages
    }

    fn message(&mut self, now: SystemTime, sets: &[(u16, Vec<u8>)], records: u32) -> Vec<u8> {
        let length = HEADER + sets.iter().map(|(_, set)| SET_HEADER + set.len()).sum::<usize>();
        let seconds = unix_seconds(now);
        let mut out = Vec::with_capacity(length);
        out.extend(VERSION.to_be_bytes());
        // At most `MAX_MESSAGE`. Export times are 32 bits long (RFC 7011 §3.1).
        out.extend((length as u16).to_be_bytes());
        out.extend((seconds as u32).to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        // One observation domain: the gateway.
        out.extend(0u32.to_be_bytes());
        for (id, set) in sets {
            out.extend(id.to_be_bytes());
            out.extend(((SET_HEADER + set.len()) as u16).to_be_bytes());
            out.extend(set);
        }
        self.sequence = self.sequence.wrapping_add(records);
        out
    }
}

/// The template set.
fn templates() -> Vec<u8> {
    let mut out = Vec::new();
    for Template { id, fields } in [BLOCK, BINDING, SESSION, SESSION_TO] {
        out.extend(id.to_be_bytes());
        out.extend((fields.len() as u16).to_be_bytes());
        for (element, length) in fields {
            out.extend(element.to_be_bytes());
            out.extend(length.to_be_bytes());
        }
    }
    out
}

/// The template of a session's record, and its data. Without destination it would repeat the record of a static binding,
/// so that there is none (RFC 8158 §4.6.1).
fn session(record: &Record, session: &Session) -> Option<(u16, Vec<u8>)> {
    if session.destination.is_none() && session.is_static {
        return None;
    }
    let (host, _) = prefix(&session.host)?;
    let is_end = record.event == Kind::SessionEnd;
    let mut out = Vec::with_capacity(80);
    out.extend(record.time.as_millisecond().to_be_bytes());
    out.push(if is_end { nat_event::SESSION_DELETE } else { nat_event::SESSION_CREATE });
    out.extend(host.octets());
    out.extend(session.address.octets());
    out.push(protocol_number(Some(session.protocol)));
    out.extend(session.host_port.to_be_bytes());
    out.extend(session.port.to_be_bytes());
    let template = match session.destination {
        None => SESSION.id,
        Some(to) => {
            out.extend(to.destination6.octets());
            out.extend(to.destination.octets());
            out.extend(to.destination_port.to_be_bytes());
            out.extend(to.destination_port.to_be_bytes());
            SESSION_TO.id
        }
    };
    push_zone(&mut out, &session.zone);
    Some((template, out))
}

/// Appends the name of a zone: at most 63 bytes, so that one byte for the length suffices (RFC 7011 §7).
fn push_zone(out: &mut Vec<u8>, zone: &str) {
    let zone = &zone.as_bytes()[..zone.len().min(254)];
    out.push(zone.len() as u8);
    out.extend(zone);
}

/// The template of a record, and its data; `None` for records without ports.
fn data(record: &Record) -> Option<(u16, Vec<u8>)> {
    if let Some(of) = &record.session {
        return session(record, of);
    }
    let mapping = record.mapping.as_ref().filter(|_| record.event != Kind::Held)?;
    let is_end = record.event.is_end();
    let (host, len) = prefix(&mapping.host)?;
    let mut out = Vec::with_capacity(64);
    out.extend(record.time.as_millisecond().to_be_bytes());
    let template = match mapping.host_port {
        None => {
            out.push(if is_end { nat_event::BLOCK_DEALLOCATE } else { nat_event::BLOCK_ALLOCATE });
            out.extend(host.octets());
            out.push(len);
            out.extend(mapping.address.octets());
            out.extend(mapping.ports.0.to_be_bytes());
            out.extend(mapping.ports.1.to_be_bytes());
            BLOCK.id
        }
        Some(port) => {
            out.push(if is_end { nat_event::BIB_DELETE } else { nat_event::BIB_CREATE });
            out.extend(host.octets());
            out.extend(mapping.address.octets());
            out.push(protocol_number(mapping.protocols.first().copied()));
            out.extend(port.to_be_bytes());
            out.extend(mapping.ports.0.to_be_bytes());
            BINDING.id
        }
    };
    push_zone(&mut out, &mapping.zone);
    Some((template, out))
}

/// Address and prefix length of a host.
fn prefix(host: &str) -> Option<(Ipv6Addr, u8)> {
    let parsed = host.parse().map(|addr| (addr, 128));
    parsed.ok().or_else(|| host.parse::<Ipv6Prefix>().ok().map(|prefix| (prefix.addr(), prefix.len())))
}

/// Protocol number of a static binding or session. On the IPv6 side of ICMP it is 58.
fn protocol_number(protocol: Option<Protocol>) -> u8 {
    match protocol {
        Some(Protocol::Tcp) => 6,
        Some(Protocol::Udp) => 17,
        Some(Protocol::Icmp) => 58,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, at, destination, mapping, record, session_record};
    use super::super::record::{Kind, Mapping, timestamp};
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn assigned(secs: u64) -> Arc<Record> {
        Arc::new(record(secs, Kind::Assign, Some(mapping("2001:db8:1::5", 1024, secs))))
    }

    #[test]
    fn templates_precede_the_data() {
        // ids 8158-4-7011, 8158-4.6.10, 8158-4.1
        let mut exporter = Exporter::new();
        let messages = exporter.encode(&[assigned(0)], at(0), true);
        let export_time = hex(&1_795_946_400u32.to_be_bytes());
        let templates = "000200a4\
            010000080143000800e60001001b0010001d000100e1000401690002016a000201d0ffff\
            010100080143000800e60001001b001000e10004000400010007000200e3000201d0ffff\
            010200080143000800e60001001b001000e10004000400010007000200e3000201d0ffff\
            0103000c0143000800e60001001b001000e10004000400010007000200e30002001c0010\
            00e20004000b000200e4000201d0ffff";
        let template = format!("000a00b4{export_time}0000000000000000{templates}");
        assert_eq!(hex(&messages[0]), template);
        let millis = hex(&1_795_946_400_000u64.to_be_bytes());
        let (host, zone) = ("20010db8000100000000000000000005", hex(b"floor-3"));
        let data = format!(
            "000a003e{export_time}00000000000000000100002e{millis}10{host}80c00002400400040f07{zone}"
        );
        assert_eq!(hex(&messages[1]), data);
        assert_eq!(messages.len(), 2);
    }

    #[test]
    fn a_static_binding_is_a_bib_entry() {
        // id 8158-4.6.4
        let tcp = vec![Protocol::Tcp];
        let mut binding =
            Mapping { protocols: tcp, host_port: Some(443), ..mapping("2001:db8:1::80", 8443, 0) };
        binding.end = Some(timestamp(at(9)));
        let (template, bytes) = data(&record(9, Kind::Release, Some(binding))).expect("has ports");
        let millis = hex(&1_795_946_409_000u64.to_be_bytes());
        let want =
            format!("{millis}0b20010db8000100000000000000000080c00002400601bb20fb07{}", hex(b"floor-3"));
        assert_eq!((template, hex(&bytes)), (257, want));
    }

    #[test]
    fn a_session_has_its_template() {
        // ids 8158-4.6.2, 8158-4.6-nodup, 8158-4.1
        let (zone, host) = (hex(b"floor-3"), "20010db8000100000000000000000005");
        let millis = |secs: u64| hex(&(1_795_946_400_000 + secs * 1_000).to_be_bytes());
        let exported = |record: &Record| data(record).map(|(template, bytes)| (template, hex(&bytes)));
        let ended = session_record(61, Kind::SessionEnd, fixtures::session(0, Some(61)));
        let want = format!("{}07{host}c0000240069c40040607{zone}", millis(61));
        assert_eq!(exported(&ended), Some((258, want)));
        let with =
            Session { destination: Some(destination()), is_static: true, ..fixtures::session(0, None) };
        let want = format!(
            "{}06{host}c0000240069c4004060064ff9b0000000000000000c6336407c633640701bb01bb07{zone}",
            millis(0)
        );
        assert_eq!(exported(&session_record(0, Kind::SessionStart, with)), Some((259, want)));
        let of_static = Session { is_static: true, ..fixtures::session(0, None) };
        assert_eq!(
            exported(&session_record(0, Kind::SessionStart, of_static)),
            None,
            "the binding has a record"
        );
    }

    #[test]
    fn the_sequence_number_counts_data_records() {
        // id 8158-4-7011
        let mut exporter = Exporter::new();
        let many: Vec<_> = (0..60).map(assigned).collect();
        let messages = exporter.encode(&many, at(0), true);
        assert!(messages.iter().all(|message| message.len() <= MAX_MESSAGE));
        let sequences: Vec<_> =
            messages.iter().map(|m| u32::from_be_bytes([m[8], m[9], m[10], m[11]])).collect();
        // 42 bytes a record: 28 fit beside the headers.
        assert_eq!(sequences, [0, 0, 28, 56]);
        let next = exporter.encode(&[assigned(61)], at(59), true);
        assert_eq!((next.len(), next[0][11]), (1, 60));
        assert_eq!(exporter.encode(&[assigned(61)], at(60), true).len(), 2, "templates again");
        assert_eq!(exporter.encode(&[assigned(61)], at(900), false).len(), 1, "not on a stream");
    }

    #[test]
    fn records_without_ports_are_not_exported() {
        let mut exporter = Exporter::new();
        let held = record(0, Kind::Held, Some(mapping("2001:db8:1::5", 1024, 0)));
        let records = [record(0, Kind::Start, None), held].map(Arc::new);
        assert_eq!(exporter.encode(&records, at(0), true).len(), 1, "templates only");
        let prefixes = ["2001:db8:1::/64", "2001:db8:1::5", "hmac-sha256:00"].map(prefix);
        assert_eq!(prefixes.map(|found| found.map(|(_, len)| len)), [Some(64), Some(128), None]);
    }
}
