//! A one-line summary of a packet. Uses smoltcp's parsers, independently of ours.

use std::fmt::Write as _;

use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
    UdpPacket,
};

/// `IPv6 2001:db8::1 -> 2001:db8::2  TCP 49152 -> 80 SYN  hops 64  60 bytes`, in columns.
pub(super) fn line(packet: &[u8]) -> String {
    let read = match packet.first().map(|byte| byte >> 4) {
        Some(4) => four(packet),
        Some(6) => six(packet),
        _ => None,
    };
    read.unwrap_or_else(|| format!("{} bytes without an IP header", packet.len()))
}

fn four(packet: &[u8]) -> Option<String> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    let transport = transport(ip.next_header(), ip.payload());
    let ends = format!("{} -> {}", ip.src_addr(), ip.dst_addr());
    Some(format!("IPv4  {ends:<42}  {transport:<34}  TTL  {:>2}  {:>4} bytes", ip.hop_limit(), packet.len()))
}

fn six(packet: &[u8]) -> Option<String> {
    let ip = Ipv6Packet::new_checked(packet).ok()?;
    let transport = transport(ip.next_header(), ip.payload());
    let ends = format!("{} -> {}", ip.src_addr(), ip.dst_addr());
    Some(format!("IPv6  {ends:<42}  {transport:<34}  hops {:>2}  {:>4} bytes", ip.hop_limit(), packet.len()))
}

fn transport(protocol: IpProtocol, payload: &[u8]) -> String {
    let read = match protocol {
        IpProtocol::Tcp => TcpPacket::new_checked(payload).ok().map(|tcp| segment(&tcp)),
        IpProtocol::Udp => UdpPacket::new_checked(payload)
            .ok()
            .map(|udp| format!("UDP {} -> {}", udp.src_port(), udp.dst_port())),
        IpProtocol::Icmp => Icmpv4Packet::new_checked(payload).ok().map(|icmp| {
            let what = match icmp.msg_type() {
                Icmpv4Message::EchoRequest => "echo request",
                Icmpv4Message::EchoReply => "echo reply",
                _ => return format!("ICMP {}", icmp.msg_type()),
            };
            format!("ICMP {what} id {} seq {}", icmp.echo_ident(), icmp.echo_seq_no())
        }),
        IpProtocol::Icmpv6 => Icmpv6Packet::new_checked(payload).ok().map(|icmp| {
            let what = match icmp.msg_type() {
                Icmpv6Message::EchoRequest => "echo request",
                Icmpv6Message::EchoReply => "echo reply",
                _ => return format!("ICMPv6 {}", icmp.msg_type()),
            };
            format!("ICMPv6 {what} id {} seq {}", icmp.echo_ident(), icmp.echo_seq_no())
        }),
        _ => None,
    };
    read.unwrap_or_else(|| protocol.to_string())
}

fn segment(tcp: &TcpPacket<&[u8]>) -> String {
    let mut text = format!("TCP {} -> {}", tcp.src_port(), tcp.dst_port());
    let flags =
        [(tcp.syn(), "SYN"), (tcp.ack(), "ACK"), (tcp.fin(), "FIN"), (tcp.rst(), "RST"), (tcp.psh(), "PSH")];
    for (_, name) in flags.into_iter().filter(|(set, _)| *set) {
        let _ = write!(text, " {name}");
    }
    match tcp.payload().len() {
        0 => text,
        data => text + &format!(" +{data}"),
    }
}
