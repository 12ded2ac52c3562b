//! ICMP errors that quote any bytes, about existing flows: they change no state, and leave as errors about
//! the same flow.

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::translator::{SessionRecord, Verdict};

use super::harness::{Harness, mend};
use crate::script::build::{Blank, build};
use crate::script::fixture::fixture;
use crate::script::oracle::transport_is_right;
use crate::script::packet::{Packet, Vars};

const FLOWS: [&str; 3] = ["udp C.40000 > Z6.53 data=9", "tcp C.40001 > Z6.80 S mss=1440", "echo C > Z6 id=7"];

/// A byte of choices, then type, code and second word of the error, then the quoted packet.
pub(crate) fn quoted(data: &[u8]) {
    let [choice, head @ ..] = data else { return };
    let Some((head, inner)) = head.split_first_chunk::<6>() else { return };
    // Echo messages are not errors.
    if inner.len() > 2000 || matches!((choice & 1, head[0]), (0, 0 | 8) | (1, 128 | 129)) {
        return;
    }
    let mut harness = Harness::new(fixture());
    for line in FLOWS {
        let (packet, vars) = (Packet::parse(line).expect("literal"), Vars::new());
        let blank = Blank { vars: &vars, hop: Some(64), actual: None, input: &[] };
        assert_eq!(harness.put(&build(&packet, blank).expect("complete")).verdict, Verdict::Forward);
    }
    let mut sessions = harness.sessions();
    sessions.sort_by_key(|record| record.v6.port);
    // By the client's port or identifier: 7, 40000 and 40001.
    let about = sessions[[1, 2, 0][usize::from(choice >> 2) % 3]];
    let from_v4 = choice & 1 == 0;
    let error = error(from_v4, choice & 2 == 0, head, inner, &about);
    let outcome = harness.put(&error);
    let mut after = harness.sessions();
    after.sort_by_key(|record| record.v6.port);
    assert_eq!(sessions, after, "an ICMP error changed state: {error:02x?}");
    let ([out], Verdict::Forward) = (&outcome.packets[..], outcome.verdict) else { return };
    assert_eq!(transport_is_right(out), Some(true), "{out:02x?}");
    if from_v4 {
        assert!(out.len() <= 1280);
        assert_eq!(out[24..40], about.v6.addr.octets());
        assert_eq!(out[56..72], about.v6.addr.octets(), "quotes what the client did not send");
    } else {
        assert!(out.len() <= 576);
        assert_eq!(out[12..16], about.v4.addr.octets());
        assert_eq!(out[44..48], about.v4.addr.octets(), "quotes what the server did not send");
    }
}

/// The whole packet. `aimed` overwrites the quoted addresses and ports with the flow's.
fn error(from_v4: bool, aimed: bool, head: &[u8; 6], inner: &[u8], about: &SessionRecord) -> Vec<u8> {
    let mut inner = inner.to_vec();
    if aimed {
        aim(from_v4, &mut inner, about);
    }
    let mut message = vec![head[0], head[1], 0, 0];
    message.extend(&head[2..]);
    message.extend(inner);
    let len = message.len() as u16;
    let mut packet = match from_v4 {
        true => {
            let mut packet = vec![0x45, 0];
            packet.extend((len + 20).to_be_bytes());
            packet.extend([0, 7, 0, 0, 64, 1, 0, 0, 192, 0, 2, 77]);
            packet.extend(about.v4.addr.octets());
            packet
        }
        false => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(len.to_be_bytes());
            packet.extend([58, 64]);
            packet.extend(about.v6.addr.octets());
            packet.extend(about.pref64.embed(about.remote.addr).octets());
            packet
        }
    };
    packet.extend(message);
    mend(&mut packet);
    packet
}

fn aim(from_v4: bool, inner: &mut [u8], about: &SessionRecord) {
    let protocol = match about.proto {
        gate64::addr::Proto::Tcp => 6,
        gate64::addr::Proto::Udp => 17,
        gate64::addr::Proto::Icmp => [58, 1][usize::from(from_v4)],
    };
    let server: Ipv4Addr = about.remote.addr;
    if from_v4 && inner.len() >= 28 {
        inner[0] = 0x45 | inner[0] & 3;
        (inner[6], inner[7], inner[9]) = (inner[6] & 0x40, 0, protocol);
        inner[12..16].copy_from_slice(&about.v4.addr.octets());
        inner[16..20].copy_from_slice(&server.octets());
        let header = (usize::from(inner[0] & 15) * 4).min(inner.len() - 8);
        let (src, dst) = (about.v4.port, about.remote.port);
        put_ports(&mut inner[header..], protocol, src, dst);
        mend(inner);
    }
    if !from_v4 && inner.len() >= 48 {
        let client: Ipv6Addr = about.v6.addr;
        (inner[0], inner[6]) = (0x60 | inner[0] & 15, protocol);
        inner[8..24].copy_from_slice(&about.pref64.embed(server).octets());
        inner[24..40].copy_from_slice(&client.octets());
        put_ports(&mut inner[40..], protocol, about.remote.port, about.v6.port);
    }
}

fn put_ports(message: &mut [u8], protocol: u8, src: u16, dst: u16) {
    match protocol {
        1 | 58 => {
            message[0] = if protocol == 1 { 8 } else { 129 };
            message[1] = 0;
            let id = if protocol == 1 { src } else { dst };
            message[4..6].copy_from_slice(&id.to_be_bytes());
        }
        _ => {
            message[..2].copy_from_slice(&src.to_be_bytes());
            message[2..4].copy_from_slice(&dst.to_be_bytes());
        }
    }
}
