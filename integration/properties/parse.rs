//! Any bytes as a packet: the constructors of the views never panic. What they accept lies within the packet
//! and agrees with an independent parser.

use etherparse::{SlicedPacket, TransportSlice};
use gate64::wire::buf::{Checksum, Offload, Segmentation};
use gate64::wire::ipv4::Ipv4Packet;
use gate64::wire::ipv6::Ipv6Packet;
use gate64::wire::{Transport, tcp};

/// The first byte selects the checksum state, the rest is the packet.
pub(crate) fn parse(data: &[u8]) {
    let Some((first, packet)) = data.split_first() else { return };
    let checksum = [Checksum::Unverified, Checksum::Verified, Checksum::Partial][usize::from(first % 3)];
    let offload = Offload { segmentation: Segmentation::None, checksum };
    if let Ok(view) = Ipv4Packet::parse(packet, &offload) {
        ipv4(packet, &view);
    }
    if let Ok(view) = Ipv6Packet::parse(packet, &offload) {
        ipv6(packet, &view);
    }
    // Options of an unverified TCP header.
    if let Some(len) = tcp::header_len(packet) {
        let header = &packet[..len];
        assert_eq!(tcp::mss(header).is_some(), tcp::mss_at(header).is_some());
        assert!(tcp::mss_at(header).is_none_or(|at| at + 2 <= len));
    }
}

fn ipv4(packet: &[u8], view: &Ipv4Packet) {
    assert!((20..=60).contains(&view.header_len) && view.header_len <= view.total_len);
    assert!(view.total_len <= packet.len());
    if let Transport::Error(error) = &view.transport {
        let quoted = &error.quoted;
        within(view.total_len, error.extension_at, error.extension_len, quoted.at, quoted.len);
        assert!(quoted.header_len <= quoted.len && quoted.header_len <= quoted.total_len);
    }
    let packet = &packet[..view.total_len];
    same_ports(packet, ports(&view.transport));
    if let Some(fragment) = view.fragment {
        assert!(fragment.offset % 8 == 0 && (fragment.offset != 0 || fragment.more));
    }
}

fn ipv6(packet: &[u8], view: &Ipv6Packet) {
    assert!(40 <= view.upper_at && view.upper_at <= view.len && view.len <= packet.len());
    assert!(view.segments_left_at.is_none_or(|at| usize::from(at) < view.upper_at));
    if let Transport::Error(error) = &view.transport {
        let quoted = &error.quoted;
        within(view.len, error.extension_at, error.extension_len, quoted.at, quoted.len);
        assert!(quoted.header_len <= quoted.len && quoted.header_len <= quoted.total_len);
    }
    same_ports(&packet[..view.len], ports(&view.transport));
}

/// The parts of an ICMP error follow each other in the packet.
fn within(packet: usize, extension_at: usize, extension_len: usize, quoted_at: usize, quoted_len: usize) {
    assert!(quoted_at + quoted_len <= extension_at && extension_at + extension_len <= packet);
}

fn ports<Q>(transport: &Transport<Q>) -> Option<(u8, u16, u16)> {
    match transport {
        Transport::Tcp { src, dst, .. } => Some((6, *src, *dst)),
        Transport::Udp { src, dst, .. } => Some((17, *src, *dst)),
        Transport::Echo { .. }
        | Transport::Error(_)
        | Transport::Icmp
        | Transport::Fragment
        | Transport::Other => None,
    }
}

/// The ports equal those that etherparse finds, if any.
fn same_ports(packet: &[u8], ours: Option<(u8, u16, u16)>) {
    let (Some(ours), Ok(sliced)) = (ours, SlicedPacket::from_ip(packet)) else { return };
    let theirs = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => (6, tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (17, udp.source_port(), udp.destination_port()),
        _ => return,
    };
    assert_eq!(ours, theirs);
}
