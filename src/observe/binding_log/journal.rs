//! Records for the systemd journal, with fields (systemd's native protocol).

use std::fmt::Write as _;

use super::record::{Destination, Record, Session};

/// The journal's socket.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Severity informational.
const PRIORITY: u8 = 6;

/// A record as a datagram: `KEY=value` lines. No value contains a line feed.
pub(super) fn entry(record: &Record) -> String {
    let Record { time, event, node, mapping, session, lost } = record;
    let event = event.name();
    let mut text = format!(
        "PRIORITY={PRIORITY}\nSYSLOG_IDENTIFIER=gate64\nGATE64_EVENT={event}\nGATE64_NODE={node}\nGATE64_TIME={time}\n"
    );
    if let Some(session) = session {
        // Writing to a string cannot fail.
        let _ = write_session(&mut text, event, session);
        return text;
    }
    // Writing to a string cannot fail.
    let _ = match (mapping, lost) {
        (Some(mapping), _) => {
            let (first, last) = mapping.ports;
            let (host, address, protocols) =
                (&mapping.host, mapping.address, mapping.protocol_names().join(","));
            if let Some(port) = mapping.host_port {
                let _ = writeln!(text, "GATE64_HOST_PORT={port}");
            }
            if let Some(end) = mapping.end {
                let _ = writeln!(text, "GATE64_END={end}");
            }
            writeln!(
                text,
                "GATE64_ZONE={}\nGATE64_HOST={host}\nGATE64_ADDRESS={address}\nGATE64_FIRST_PORT={first}\n\
                 GATE64_LAST_PORT={last}\nGATE64_PROTOCOLS={protocols}\nGATE64_START={}\n\
                 MESSAGE={event} {host} {address}:{first}-{last}",
                mapping.zone, mapping.start
            )
        }
        (None, Some(lost)) => {
            writeln!(text, "GATE64_LOST={lost}\nMESSAGE=binding log: {lost} records are missing")
        }
        (None, None) => writeln!(text, "MESSAGE=binding log: gate64 {event}"),
    };
    text
}

fn write_session(out: &mut String, event: &str, session: &Session) -> std::fmt::Result {
    let Session { zone, host, host_port, address, port, protocol, destination, start, end, .. } = session;
    let protocol = protocol.name();
    write!(
        out,
        "GATE64_ZONE={zone}\nGATE64_HOST={host}\nGATE64_HOST_PORT={host_port}\nGATE64_ADDRESS={address}\n\
         GATE64_PORT={port}\nGATE64_PROTOCOL={protocol}\nGATE64_START={start}\n"
    )?;
    if let Some(end) = end {
        writeln!(out, "GATE64_END={end}")?;
    }
    write!(out, "MESSAGE={event} {protocol} {host} port {host_port}, {address}:{port}")?;
    if let Some(Destination { destination, destination_port, destination6 }) = destination {
        write!(
            out,
            ", to {destination}:{destination_port}\nGATE64_DESTINATION={destination}\n\
             GATE64_DESTINATION_PORT={destination_port}\nGATE64_DESTINATION6={destination6}"
        )?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{destination, mapping, record, session, session_record};
    use super::super::record::Kind;
    use super::*;

    #[test]
    fn a_session_is_an_entry_with_fields() {
        let ended = entry(&session_record(61, Kind::SessionEnd, session(0, Some(61))));
        let want = "GATE64_TIME=2026-11-29T10:01:01Z\nGATE64_ZONE=floor-3\nGATE64_HOST=2001:db8:1::5\n\
                    GATE64_HOST_PORT=40000\nGATE64_ADDRESS=192.0.2.64\nGATE64_PORT=1030\nGATE64_PROTOCOL=tcp\n\
                    GATE64_START=2026-11-29T10:00:00Z\nGATE64_END=2026-11-29T10:01:01Z\n\
                    MESSAGE=session_end tcp 2001:db8:1::5 port 40000, 192.0.2.64:1030\n";
        assert!(ended.ends_with(want), "{ended}");
        let with = Session { destination: Some(destination()), ..session(0, None) };
        let text = entry(&session_record(0, Kind::SessionStart, with));
        let want = ", to 198.51.100.7:443\nGATE64_DESTINATION=198.51.100.7\nGATE64_DESTINATION_PORT=443\n\
                    GATE64_DESTINATION6=64:ff9b::c633:6407\n";
        assert!(text.ends_with(want), "{text}");
    }

    #[test]
    fn a_block_is_an_entry_with_fields() {
        let want = "PRIORITY=6\nSYSLOG_IDENTIFIER=gate64\nGATE64_EVENT=assign\nGATE64_NODE=gw1\n\
                    GATE64_TIME=2026-11-29T10:00:05Z\nGATE64_ZONE=floor-3\nGATE64_HOST=2001:db8:1::5\n\
                    GATE64_ADDRESS=192.0.2.64\nGATE64_FIRST_PORT=1024\nGATE64_LAST_PORT=1039\n\
                    GATE64_PROTOCOLS=tcp,udp,icmp\nGATE64_START=2026-11-29T10:00:05Z\n\
                    MESSAGE=assign 2001:db8:1::5 192.0.2.64:1024-1039\n";
        assert_eq!(entry(&record(5, Kind::Assign, Some(mapping("2001:db8:1::5", 1024, 5)))), want);
        let stop = entry(&record(5, Kind::Stop, None));
        assert!(stop.ends_with("\nMESSAGE=binding log: gate64 stop\n"), "{stop}");
    }
}
