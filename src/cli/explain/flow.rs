//! `gate64 explain PROTOCOL SOURCE DESTINATION`: what the gateway would do with a packet now, and why.
//!
//! A translator of its own receives the configuration of the file and the sessions that the workers saved within the
//! last seconds. It translates one packet; the running gateway is not involved.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::addr::{Proto, WorkerId};
use crate::cli::sessions::visit_saved;
use crate::config::Config;
use crate::control::host_info::LocalHost;
use crate::output::{out, outln};
use crate::replay::{Explanation, Replay};
use crate::time::Instant;
use crate::translator::SessionRecord;
use crate::wire::checksum::Sum;
use crate::wire::{ICMP4, ICMP6, TCP, UDP};

/// A flow: protocol, source and destination with their ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flow {
    pub(super) proto: Proto,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
}

impl Flow {
    /// Parses `tcp`, `udp` or `icmp` with two addresses and ports, such as `[2001:db8::1]:5000`. For ICMP, the port of the
    /// source is the identifier; ports may be missing.
    ///
    /// # Errors
    /// The word that is wrong.
    pub(super) fn parse(proto: &str, words: &[String]) -> Result<Self, String> {
        let known = Proto::ALL.into_iter().find(|known| known.name() == proto);
        let proto = known.ok_or_else(|| format!("`{proto}` is not tcp, udp or icmp"))?;
        let [src, dst] = words else { return Err("name a source and a destination".to_owned()) };
        Ok(Self { proto, src: endpoint(src, proto)?, dst: endpoint(dst, proto)? })
    }
}

/// An address with a port; for ICMP the port may be missing.
fn endpoint(text: &str, proto: Proto) -> Result<SocketAddr, String> {
    let addr = || text.parse::<IpAddr>().ok().filter(|_| proto == Proto::Icmp);
    let parsed = text.parse().ok().or_else(|| Some(SocketAddr::new(addr()?, 0)));
    parsed.ok_or_else(|| format!("`{text}` is not an address with a port, such as [2001:db8::1]:5000"))
}

/// Prints what the gateway would do with a packet of a flow.
///
/// # Errors
/// The configuration cannot be used, as text.
pub(super) fn explain(config: &Path, flow: Flow) -> Result<(), String> {
    let system = LocalHost::read_blocking(None).map_err(|why| why.to_string())?;
    let config = Config::load(config, &system).map_err(|why| why.to_string())?;
    let flow = Flow { dst: towards(&config, &flow), ..flow };
    let mut replay = Replay::new(config.worker(WorkerId(0), 1, 0, 0));
    replay.advance(START);
    let mut known = None;
    let mut imported = 0_u64;
    let saved = visit_saved(&config.host.state_dir, |record| {
        imported += u64::from(replay.import(record).is_ok());
        if is_of(record, &flow) {
            known = Some(*record);
        }
    });
    zone(&config, &flow);
    match (&saved, &known) {
        (Err(_), _) => outln!("sessions   unknown: none are saved; a running gateway may have one"),
        (Ok(()), None) => outln!("session    none among {imported} saved ones"),
        (Ok(()), Some(record)) => {
            outln!("session    {} from {}, public {}", record.remote, record.v6, record.v4);
        }
    }
    let bytes = packet(&flow, known.is_some());
    let Some(outcome) = replay.translate(&bytes) else { return Err("the packet is too long".to_owned()) };
    let mut text = Vec::new();
    let mut explanation = Explanation::new(&mut text);
    let written = explanation.packet(1, replay.now(), 0, &bytes, &outcome);
    written.map_err(|why| why.to_string())?;
    out!("{}", String::from_utf8_lossy(&text));
    if outcome.opened.binding {
        outln!("The public address and port are an example: the gateway chooses them randomly.");
    }
    Ok(())
}

/// Time of the translator: earlier sessions have been silent since before.
const START: Instant = Instant::from_secs(1_000_000);

/// The destination; an IPv4 destination of an IPv6 client is embedded in the pref64 of its zone.
fn towards(config: &Config, flow: &Flow) -> SocketAddr {
    let (IpAddr::V6(client), IpAddr::V4(server)) = (flow.src.ip(), flow.dst.ip()) else { return flow.dst };
    let zone = zone_of(config, client).and_then(|index| config.nat64.zones[index].pref64.first());
    let pref64 = zone.copied().or_else(|| config.pref64s().first().copied());
    pref64.map_or(flow.dst, |pref64| SocketAddr::new(pref64.embed(server).into(), flow.dst.port()))
}

/// The zone with the longest prefix that contains a client.
fn zone_of(config: &Config, client: Ipv6Addr) -> Option<usize> {
    let zones = config.nat64.zones.iter().enumerate();
    let all = zones.flat_map(|(index, zone)| zone.clients.iter().map(move |prefix| (prefix, index)));
    all.filter(|(prefix, _)| prefix.contains(client))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, index)| index)
}

/// Prints the zone of the client, if it is known.
fn zone(config: &Config, flow: &Flow) {
    let IpAddr::V6(client) = flow.src.ip() else { return };
    match zone_of(config, client) {
        Some(index) => outln!("zone       {}", config.zone_names[index]),
        None => outln!("zone       none contains {client}"),
    }
}

/// Whether a session is that of the flow, in either direction.
fn is_of(record: &SessionRecord, flow: &Flow) -> bool {
    let client = SocketAddr::new(record.v6.addr.into(), record.v6.port);
    let public = SocketAddr::new(record.v4.addr.into(), record.v4.port);
    let (inner, outer) = (record.pref64.embed(record.remote.addr).into(), record.remote.addr.into());
    // ICMP queries have one identifier.
    let is_remote = |end: SocketAddr, addr: IpAddr| {
        end.ip() == addr && (flow.proto == Proto::Icmp || end.port() == record.remote.port)
    };
    let outbound = flow.src == client && is_remote(flow.dst, inner);
    let inbound = flow.dst == public && is_remote(flow.src, outer);
    record.proto == flow.proto && (outbound || inbound)
}

/// A packet of the flow: without a session a SYN, else an ACK.
fn packet(flow: &Flow, has_session: bool) -> Vec<u8> {
    let is_v6 = flow.src.is_ipv6();
    let [src, dst] = [flow.src, flow.dst].map(|end| end.port().to_be_bytes());
    let ports = [src, dst].concat();
    let (protocol, mut payload, checksum_at) = match flow.proto {
        Proto::Udp => (UDP, [&ports[..], &[0, 8, 0, 0]].concat(), 6),
        Proto::Tcp => {
            let flags = if has_session { 0x10 } else { 0x02 };
            (TCP, [&ports[..], &[0; 8], &[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]].concat(), 16)
        }
        Proto::Icmp => {
            let (protocol, kind) = if is_v6 { (ICMP6, 128) } else { (ICMP4, 8) };
            (protocol, [&[kind, 0, 0, 0][..], &src, &[0, 1]].concat(), 2)
        }
    };
    let pseudo = match (flow.src.ip(), flow.dst.ip()) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => Sum::pseudo6(src, dst, protocol, payload.len()),
        // ICMPv4 has no pseudo header.
        (IpAddr::V4(src), IpAddr::V4(dst)) if protocol != ICMP4 => {
            Sum::pseudo4(src, dst, protocol, payload.len())
        }
        _ => Sum::of(&[]),
    };
    let checksum = pseudo.plus(Sum::of(&payload)).udp_checksum();
    payload[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    // A packet has at most 60 bytes.
    let len = payload.len() as u8;
    match (flow.src.ip(), flow.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header =
                [&[0x45, 0, 0, 20 + len, 0, 1, 0, 0, 64, protocol, 0, 0], &src.octets()[..], &dst.octets()]
                    .concat();
            let checksum = Sum::of(&header).checksum();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            [header, payload].concat()
        }
        (src, dst) => {
            let octets = |addr: IpAddr| match addr {
                IpAddr::V6(addr) => addr.octets(),
                IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
            };
            let head = [0x60, 0, 0, 0, 0, len, protocol, 64];
            [&head[..], &octets(src), &octets(dst), &payload].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{FakeHost, load_on};
    use crate::packet_builder::checksums_are_right;
    use crate::replay::Outcome;
    use crate::translator::Verdict;

    fn flow(proto: &str, src: &str, dst: &str) -> Flow {
        Flow::parse(proto, &[src.to_owned(), dst.to_owned()]).expect("a flow")
    }

    #[test]
    fn packets_are_well_formed() {
        for (proto, src, dst) in [
            ("udp", "[2001:db8:1::5]:5000", "[2001:db8:64::c633:6407]:53"),
            ("tcp", "[2001:db8:1::5]:5000", "[2001:db8:64::c633:6407]:443"),
            ("icmp", "[2001:db8:1::5]:9", "2001:db8:64::c633:6407"),
            ("udp", "198.51.100.7:53", "192.0.2.65:4000"),
            ("tcp", "198.51.100.7:53", "192.0.2.65:4000"),
            ("icmp", "198.51.100.7:53", "192.0.2.65"),
        ] {
            for has_session in [false, true] {
                assert!(checksums_are_right(&packet(&flow(proto, src, dst), has_session)), "{proto} {src}");
            }
        }
        for (proto, src, dst) in
            [("sctp", "1.2.3.4:5", "1.2.3.4:5"), ("udp", "1.2.3.4", "1.2.3.4:5"), ("tcp", "x", "y")]
        {
            assert!(Flow::parse(proto, &[src.to_owned(), dst.to_owned()]).is_err(), "{proto} {src}");
        }
        assert!(Flow::parse("udp", &[]).is_err());
    }

    #[test]
    fn an_ipv4_destination_is_embedded_and_translated() {
        let config = load_on(include_str!("../../../configs/nat64.toml"), &FakeHost::new()).expect("good");
        let to4 = |client: &str, server: &str| -> Outcome {
            let flow = flow("udp", client, server);
            let flow = Flow { dst: towards(&config, &flow), ..flow };
            let mut replay = Replay::new(config.worker(WorkerId(0), 1, 0, 0));
            replay.advance(START);
            replay.translate(&packet(&flow, false)).expect("short")
        };
        let outcome = to4("[2001:db8:1::5]:5000", "198.51.100.7:53");
        assert_eq!((outcome.verdict, outcome.opened.binding), (Verdict::Forward, true));
        assert_eq!(outcome.sent[0].bytes[16..20], [198, 51, 100, 7]);
        let outcome = to4("[2001:db8:2::5]:5000", "198.51.100.7:53");
        assert_eq!(outcome.verdict, Verdict::Drop(crate::reason::Reason::NoZone));
    }
}
