//! Records as syslog messages (RFC 5424).

use std::fmt::Write as _;

use super::record::{Destination, Mapping, Record, Session};

/// Priority: facility daemon (3), severity informational (6).
const PRIORITY: u8 = 3 * 8 + 6;

/// The structured data's id. 32473 is the enterprise number for examples (RFC 5612): gate64 has none of its own.
const ID: &str = "binding@32473";

/// A record as a message, without framing.
pub(super) fn message(record: &Record, process: u32) -> String {
    let Record { time, event, node, mapping, session, lost } = record;
    let event = event.name();
    let mut text = format!("<{PRIORITY}>1 {time} {node} gate64 {process} {event} ");
    // Writing to a string cannot fail.
    if let Some(session) = session {
        let _ = structured_session(&mut text, session);
        return text;
    }
    let _ = match (mapping, lost) {
        (Some(mapping), _) => structured(&mut text, mapping),
        (None, Some(lost)) => write!(text, "[{ID} lost=\"{lost}\"] {lost} records are missing"),
        (None, None) => write!(text, "[{ID}] gate64 {event}"),
    };
    text
}

fn structured(out: &mut String, mapping: &Mapping) -> std::fmt::Result {
    let (first, last) = mapping.ports;
    write!(out, "[{ID} zone=\"{}\" host=\"{}\"", escaped(&mapping.zone), escaped(&mapping.host))?;
    if let Some(port) = mapping.host_port {
        write!(out, " hostPort=\"{port}\"")?;
    }
    let protocols = mapping.protocol_names().join(",");
    write!(out, " address=\"{}\" firstPort=\"{first}\" lastPort=\"{last}\"", mapping.address)?;
    write!(out, " protocols=\"{protocols}\" start=\"{}\"", mapping.start)?;
    if let Some(end) = mapping.end {
        write!(out, " end=\"{end}\"")?;
    }
    write!(out, "] {} {}:{first}-{last}", mapping.host, mapping.address)
}

fn structured_session(out: &mut String, session: &Session) -> std::fmt::Result {
    let Session { host_port, address, port, protocol, start, .. } = session;
    let (zone, host, protocol) = (escaped(&session.zone), escaped(&session.host), protocol.name());
    write!(out, "[{ID} zone=\"{zone}\" host=\"{host}\" hostPort=\"{host_port}\" address=\"{address}\"")?;
    write!(out, " port=\"{port}\" protocol=\"{protocol}\" start=\"{start}\"")?;
    if let Some(end) = session.end {
        write!(out, " end=\"{end}\"")?;
    }
    if let Some(Destination { destination, destination_port, destination6 }) = session.destination {
        write!(out, " destination=\"{destination}\" destinationPort=\"{destination_port}\"")?;
        write!(out, " destination6=\"{destination6}\"")?;
    }
    write!(out, "] {protocol} {} port {host_port}, {address}:{port}", session.host)
}

/// A parameter value (RFC 5424 §6.3.3).
fn escaped(value: &str) -> String {
    let escape = |c: char| matches!(c, '"' | '\\' | ']').then_some('\\').into_iter().chain([c]);
    value.chars().flat_map(escape).collect()
}

/// A message for a stream, with its length in front (RFC 6587 §3.4.1, RFC 5425 §4.3).
pub(super) fn framed(message: &str) -> Vec<u8> {
    format!("{} {message}", message.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, destination, mapping, record, session, session_record};
    use super::super::record::{Kind, timestamp};
    use super::*;

    #[test]
    fn a_block_is_a_message_with_structured_data() {
        // id 6888-4-fields
        let mut block = mapping("2001:db8:1::5", 1024, 0);
        let assigned = record(0, Kind::Assign, Some(block.clone()));
        let want = "<30>1 2026-11-29T10:00:00Z gw1 gate64 77 assign [binding@32473 zone=\"floor-3\" \
                    host=\"2001:db8:1::5\" address=\"192.0.2.64\" firstPort=\"1024\" lastPort=\"1039\" \
                    protocols=\"tcp,udp,icmp\" start=\"2026-11-29T10:00:00Z\"] \
                    2001:db8:1::5 192.0.2.64:1024-1039";
        assert_eq!(message(&assigned, 77), want);
        (block.end, block.host_port) = (Some(timestamp(at(61))), Some(443));
        let text = message(&record(61, Kind::Release, Some(block)), 77);
        assert!(text.contains(" release [") && text.contains(" end=\"2026-11-29T10:01:01Z\"]"), "{text}");
        assert!(text.contains(" hostPort=\"443\""), "{text}");
    }

    #[test]
    fn a_session_is_a_message_with_structured_data() {
        let ended = message(&session_record(61, Kind::SessionEnd, session(0, Some(61))), 77);
        let want = "<30>1 2026-11-29T10:01:01Z gw1 gate64 77 session_end [binding@32473 zone=\"floor-3\" \
                    host=\"2001:db8:1::5\" hostPort=\"40000\" address=\"192.0.2.64\" port=\"1030\" \
                    protocol=\"tcp\" start=\"2026-11-29T10:00:00Z\" end=\"2026-11-29T10:01:01Z\"] \
                    tcp 2001:db8:1::5 port 40000, 192.0.2.64:1030";
        assert_eq!(ended, want);
        let with = Session { destination: Some(destination()), ..session(0, None) };
        let text = message(&session_record(0, Kind::SessionStart, with), 77);
        let part =
            " destination=\"198.51.100.7\" destinationPort=\"443\" destination6=\"64:ff9b::c633:6407\"] ";
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn other_records_have_no_ports() {
        let begin = "<30>1 2026-11-29T10:00:00Z gw1 gate64 77";
        let start = message(&record(0, Kind::Start, None), 77);
        assert_eq!(start, format!("{begin} start [binding@32473] gate64 start"));
        let lost = message(&Record { lost: Some(3), ..record(0, Kind::Lost, None) }, 77);
        assert_eq!(lost, format!("{begin} lost [binding@32473 lost=\"3\"] 3 records are missing"));
    }

    #[test]
    fn values_are_escaped_and_messages_framed() {
        assert_eq!(escaped("a\"b\\c]d"), "a\\\"b\\\\c\\]d");
        assert_eq!(framed("<30>1 - é"), "10 <30>1 - é".as_bytes(), "the length is in bytes");
    }
}
