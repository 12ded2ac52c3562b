//! Any packets from both sides, in sequence, through one translator.

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::addr::Pref64;
use gate64::nat64::Filtering;
use gate64::translator::{Settings, Verdict};

use super::harness::{Harness, LONGEST, mend};
use crate::script::build::transport;
use crate::script::fixture::fixture;
use crate::script::oracle::transport_is_right;

/// The first byte selects settings. Then come packets, each after four bytes: the addresses and checksums to
/// overwrite, the time to advance, the length.
pub(crate) fn translate(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else { return };
    let settings = settings(*choice);
    let pref64 = settings.nat64.zones[0].pref64[0];
    let mut harness = Harness::new(settings);
    while let [aim, time, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(LONGEST).min(tail.len());
        let (packet, after) = tail.split_at(len);
        rest = after;
        let mut packet = packet.to_vec();
        if aim & 1 == 0 {
            let z = pref64.embed(Ipv4Addr::new(198, 51, 100, 7));
            let t = pref64.embed(Ipv4Addr::new(203, 0, 113, 1));
            put_addresses(&mut packet, if aim & 8 == 0 { z } else { t });
        }
        if aim & 2 == 0 {
            put_length(&mut packet);
        }
        if aim & 4 == 0 {
            mend(&mut packet);
        }
        let outcome = harness.put(&packet);
        if let (Verdict::Forward, [only]) = (outcome.verdict, &outcome.packets[..]) {
            there_and_back(&mut harness, pref64, &packet, only);
        }
        harness.wait(u64::from(*time) * 50);
    }
}

/// Small tables, and settings by bits.
fn settings(choice: u8) -> Settings {
    let mut settings = fixture();
    let limits = &mut settings.nat64.limits;
    (limits.sessions, limits.bindings, limits.blocks, limits.hosts) = (64, 64, 16, 8);
    (limits.fragment_bytes, limits.unsolicited_syns, limits.events) = (16 << 10, 8, 16);
    if choice & 1 != 0 {
        settings.nat64.zones[0].pref64 = vec!["2001:db8:64::/64".parse().expect("literal")];
    }
    if choice & 2 != 0 {
        settings.nat64.filtering = [Filtering::AddressDependent; 3];
    }
    if choice & 4 != 0 {
        (settings.rules.mtu6, settings.rules.lowest_ipv6_mtu) = (1400, 1300);
    }
    if choice & 8 != 0 {
        settings.rules.mtu4 = 576;
    }
    settings.rules.mss_clamp = choice & 16 != 0;
    settings
}

/// Addresses that pass the first checks: from client to server, or from server to pool.
fn put_addresses(packet: &mut [u8], server: Ipv6Addr) {
    match packet.first().map(|b| b >> 4) {
        Some(6) if packet.len() >= 40 => {
            packet[8..24].copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).octets());
            packet[24..40].copy_from_slice(&server.octets());
        }
        Some(4) if packet.len() >= 20 => {
            packet[12..16].copy_from_slice(&[198, 51, 100, 7]);
            packet[16..20].copy_from_slice(&[203, 0, 113, 1]);
        }
        _ => {}
    }
}

/// Corrects the length fields.
fn put_length(packet: &mut [u8]) {
    let len = packet.len() as u16;
    match packet.first().map(|b| b >> 4) {
        Some(6) if packet.len() >= 40 => packet[4..6].copy_from_slice(&(len - 40).to_be_bytes()),
        Some(4) if packet.len() >= 20 => packet[2..4].copy_from_slice(&len.to_be_bytes()),
        _ => {}
    }
    if let Some((17, at)) = transport(packet)
        && packet.len() >= at + 8
    {
        let len = (packet.len() - at) as u16;
        packet[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
    }
}

/// An IPv6 packet translated to IPv4 and returned by its receiver arrives unchanged, except for fields that
/// IPv4 lacks and the suffix after the server's IPv4 address (RFC 6052 §2.2).
fn there_and_back(harness: &mut Harness, pref64: Pref64, packet: &[u8], translated: &[u8]) {
    if packet[0] >> 4 != 6 || translated[0] >> 4 != 4 || packet[7] < 3 {
        return;
    }
    let (Some((protocol, at)), Some((_, at4))) = (transport(packet), transport(translated)) else { return };
    let is_error = protocol == 58 && packet[at] < 128;
    if is_error || translated[6] & 0x20 != 0 {
        return;
    }
    let mut back = translated.to_vec();
    swap(&mut back, 12, 4);
    if protocol != 58 {
        swap(&mut back, at4, 2);
    }
    let outcome = harness.put(&back);
    assert_eq!(outcome.verdict, Verdict::Forward, "the answer {back:02x?} to {packet:02x?}");
    let end = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let mut expected = packet[..40].to_vec();
    expected.extend(&packet[at..end]);
    (expected[1], expected[2], expected[3]) = (expected[1] & 0xf0, 0, 0);
    expected[4..6].copy_from_slice(&((end - at) as u16).to_be_bytes());
    (expected[6], expected[7]) = (protocol, packet[7] - 2);
    swap(&mut expected, 8, 16);
    let server = Ipv4Addr::new(translated[16], translated[17], translated[18], translated[19]);
    let was_right = transport_is_right(&expected);
    expected[8..24].copy_from_slice(&pref64.embed(server).octets());
    if protocol != 58 {
        swap(&mut expected, 40, 2);
    }
    let mut got = outcome.packets[0].clone();
    assert_eq!(transport_is_right(&got), was_right);
    // A checksum of zero has two forms, and a clamped MSS changes the checksum.
    for bytes in [&mut expected, &mut got] {
        let offset = 40 + [2, 16, 6][usize::from(protocol == 6) + 2 * usize::from(protocol == 17)];
        bytes[offset..offset + 2].fill(0);
        if protocol == 6 && bytes.len() >= 60 && bytes[53] & 2 != 0 {
            let end = (40 + usize::from(bytes[52] >> 4) * 4).clamp(60, bytes.len());
            bytes[60..end].fill(0);
        }
    }
    assert_eq!(got, expected, "back from {translated:02x?}");
}

/// Exchanges two adjacent fields of this many bytes.
fn swap(bytes: &mut [u8], at: usize, len: usize) {
    let (a, b) = bytes[at..at + 2 * len].split_at_mut(len);
    a.swap_with_slice(b);
}
