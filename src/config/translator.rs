//! `[translator]`, `[timers]` and `[limits]`: what the translator is told apart from zones.

use std::time::Duration;

use super::reader::Reader;
use super::schema;
use super::shape::{TextOr, WordOrNumber};
use super::zones::Zones;
use crate::addr::Ipv4Prefix;
use crate::nat64::{Filtering, Limits, Pairing, Timers, UnsolicitedSyn};
use crate::xlat::{Plateaus, Rules, TrafficClass};

/// Destinations that are denied unless the file says otherwise: the host itself and link-local.
const DENY: [&str; 2] = ["127.0.0.0/8", "169.254.0.0/16"];

pub(super) fn rules(reader: &mut Reader<'_>, told: &schema::Translator, mtu: u16) -> Rules {
    let default = Rules::default();
    let mtu6 = reader.number(told.mtu6.as_ref(), mtu, 1280..=mtu);
    let mtu4 = reader.number(told.mtu4.as_ref(), mtu, 68..=mtu);
    if let Some(number) = told.mtu4.as_ref().filter(|_| mtu4 <= 1260) {
        let advice = "more than 1260 bytes: below that, IPv6 packets of the minimum size 1280 must be cut \
                      on the IPv4 side (RFC 7915 §1.4)";
        reader.warn(number.span(), format!("an IPv4 MTU of {mtu4} bytes"), advice);
    }
    Rules {
        mtu6,
        mtu4,
        plateaus: plateaus(reader, told.plateaus.as_ref()),
        lowest_ipv6_mtu: lowest(reader, told.lowest_ipv6_mtu.as_ref(), mtu6),
        traffic_class: class(reader, told.traffic_class.as_ref()),
        tos: class(reader, told.tos.as_ref()),
        mss_clamp: told.mss_clamp.unwrap_or(default.mss_clamp),
        tcp_resegment: told.tcp_resegment.unwrap_or(default.tcp_resegment),
        error_rate: error_rates(reader, told, default.error_rate),
        error_burst: reader.number(told.error_burst.as_ref(), default.error_burst, 1..=100_000),
    }
}

/// Errors per second towards IPv6 and IPv4.
fn error_rates(reader: &mut Reader<'_>, told: &schema::Translator, default: [u32; 2]) -> [u32; 2] {
    let allowed = 0..=100_000;
    let both = reader.number(told.error_rate.as_ref(), default[0], allowed.clone());
    [&told.error_rate6, &told.error_rate4].map(|side| reader.number(side.as_ref(), both, allowed.clone()))
}

fn plateaus(reader: &mut Reader<'_>, told: Option<&toml::Spanned<Vec<schema::Number>>>) -> Plateaus {
    let Some(told) = told else { return Plateaus::RFC_1191 };
    let each: Vec<u16> =
        told.get_ref().iter().map(|mtu| reader.number(Some(mtu), 68, 68..=u16::MAX)).collect();
    Plateaus::new(&each).unwrap_or_else(|| {
        let allowed = format!("at most {} path MTUs", Plateaus::MOST);
        reader.refuse(told.span(), format!("{} plateaus", each.len()), allowed);
        Plateaus::RFC_1191
    })
}

/// What may be fragmented is cut for this MTU: for any IPv6 link, or for ours (6mops).
fn lowest(reader: &mut Reader<'_>, told: Option<&toml::Spanned<WordOrNumber>>, mtu6: u16) -> u16 {
    let default = Rules::default().lowest_ipv6_mtu;
    let Some(told) = told else { return default };
    let found = match told.get_ref() {
        WordOrNumber::Word(word) if word == "auto" => return mtu6,
        WordOrNumber::Word(word) => format!("`{word}` is no MTU"),
        WordOrNumber::Number(number) => match u16::try_from(*number) {
            Ok(value) if (default..=mtu6).contains(&value) => return value,
            _ => format!("{number} is out of range"),
        },
    };
    reader.refuse(told.span(), found, format!("\"auto\", or {default} to {mtu6}"));
    default
}

fn class(reader: &mut Reader<'_>, told: Option<&toml::Spanned<WordOrNumber>>) -> TrafficClass {
    let Some(told) = told else { return TrafficClass::Copy };
    let found = match told.get_ref() {
        WordOrNumber::Word(word) if word == "copy" => return TrafficClass::Copy,
        WordOrNumber::Word(word) => format!("`{word}` is no traffic class"),
        WordOrNumber::Number(number) => match u8::try_from(*number) {
            Ok(value) => return TrafficClass::Set(value),
            Err(_) => format!("{number} is out of range"),
        },
    };
    reader.refuse(told.span(), found, "\"copy\", or a number from 0 to 255");
    TrafficClass::Copy
}

pub(super) fn filtering(reader: &mut Reader<'_>, told: &schema::Translator) -> [Filtering; 3] {
    const WORDS: [(&str, Filtering); 3] = [
        ("endpoint-independent", Filtering::EndpointIndependent),
        ("address-dependent", Filtering::AddressDependent),
        ("address-and-port-dependent", Filtering::AddressAndPortDependent),
    ];
    let default = Filtering::default();
    match told.filtering.as_ref().map(|f| (f.span(), f.get_ref())) {
        None => [default; 3],
        Some((at, TextOr::Text(word))) => [reader.word_at(at, word, default, &WORDS); 3],
        Some((_, TextOr::Table(each))) => {
            [&each.tcp, &each.udp, &each.icmp].map(|word| reader.word(word.as_ref(), default, &WORDS))
        }
    }
}

pub(super) fn pairing(reader: &mut Reader<'_>, told: &schema::Translator) -> Pairing {
    let words = [("strict", Pairing::Strict), ("soft", Pairing::Soft)];
    reader.word(told.pairing.as_ref(), Pairing::default(), &words)
}

pub(super) fn unsolicited_syn(reader: &mut Reader<'_>, told: &schema::Translator) -> UnsolicitedSyn {
    let words = [("store", UnsolicitedSyn::Store), ("drop", UnsolicitedSyn::Drop)];
    reader.word(told.unsolicited_syn.as_ref(), UnsolicitedSyn::default(), &words)
}

/// The deny list of the file, or the default one; the host's own addresses come on top, except
/// those that are pool4 by egress.
pub(super) fn deny(reader: &mut Reader<'_>, told: &schema::Translator, zones: &Zones) -> Vec<Ipv4Prefix> {
    let what = "IPv4 addresses or prefixes, such as \"127.0.0.0/8\"";
    if let Some(opened) = told.wkp_private.as_ref().filter(|_| told.opens_private() && told.deny.is_none()) {
        let advice = "a deny list of what clients must not reach: that the prefix was closed was no firewall";
        reader.warn(opened.span(), "all private addresses are open to clients", advice);
    }
    let mut deny: Vec<Ipv4Prefix> = match &told.deny {
        Some(list) => list.items.iter().filter_map(|text| reader.parse(text, what)).collect(),
        None => DENY.iter().filter_map(|text| text.parse().ok()).collect(),
    };
    let own = reader.around.addresses().iter().filter_map(|own| match own.addr {
        std::net::IpAddr::V4(addr) => Some(Ipv4Prefix::host(addr)),
        std::net::IpAddr::V6(_) => None,
    });
    let own: Vec<_> = own.filter(|own| !deny.iter().any(|prefix| prefix.overlaps(*own))).collect();
    deny.extend(own);
    let pooled = |prefix: &Ipv4Prefix| {
        prefix.len() == 32
            && zones.pools.pools.iter().flat_map(|p| &p.ranges).any(|(range, _)| range.overlaps(*prefix))
    };
    deny.retain(|prefix| !pooled(prefix));
    deny.sort_unstable();
    deny.dedup();
    deny
}

pub(super) fn timers(reader: &mut Reader<'_>, told: Option<&schema::Timers>) -> Timers {
    let default = Timers::default();
    let Some(told) = told else { return default };
    let secs = Duration::from_secs;
    let transitory = reader.duration(told.tcp_transitory.as_ref(), default.tcp_opening, secs(1), "");
    let timers = Timers {
        udp: reader.duration(told.udp.as_ref(), default.udp, secs(120), " (RFC 6146 §4, UDP_MIN)"),
        tcp_established: reader.duration(
            told.tcp_established.as_ref(),
            default.tcp_established,
            secs(7_200),
            " (RFC 6146 §4, TCP_EST)",
        ),
        tcp_opening: reader.duration(told.tcp_opening.as_ref(), transitory, secs(1), ""),
        tcp_closing: reader.duration(told.tcp_closing.as_ref(), transitory, secs(1), ""),
        icmp: reader.duration(told.icmp.as_ref(), default.icmp, secs(60), " (RFC 6146 §4, ICMP_DEFAULT)"),
        tcp_incoming_syn: reader.duration(
            told.unsolicited_syn.as_ref(),
            default.tcp_incoming_syn,
            secs(6),
            " (RFC 6146 §4, TCP_INCOMING_SYN)",
        ),
        fragment: reader.duration(told.fragment.as_ref(), default.fragment, secs(1), ""),
        port_rest: reader.duration(told.port_rest.as_ref(), default.port_rest, secs(0), ""),
    };
    let opted = [
        (&told.tcp_transitory, transitory),
        (&told.tcp_opening, timers.tcp_opening),
        (&told.tcp_closing, timers.tcp_closing),
    ];
    for (text, _) in opted.iter().filter(|(_, time)| *time < secs(240)) {
        let Some(text) = text else { continue };
        let advice =
            "at least 240s (RFC 6146 §4, TCP_TRANS), unless you know that less will do (RFC 7857 §2.1)";
        reader.warn(text.span(), format!("`{}` is short", text.get_ref()), advice);
    }
    if let Some(text) = told.fragment.as_ref().filter(|_| timers.fragment < secs(2)) {
        let advice = "at least 2s (RFC 6146 §4, FRAGMENT_MIN)";
        reader.warn(text.span(), format!("`{}` is short", text.get_ref()), advice);
    }
    timers
}

/// Lifetimes of UDP by the server's port. Only applications that end in a known time may have less than
/// the floor, and those have well-known ports (RFC 4787 REQ-5a).
pub(super) fn udp_ports(reader: &mut Reader<'_>, told: Option<&schema::Timers>) -> Vec<(u16, Duration)> {
    let mut read = Vec::new();
    for (port, time) in told.and_then(|t| t.udp_ports.as_ref()).into_iter().flatten() {
        let Some(number) = port.get_ref().parse().ok().filter(|port| (1..1024).contains(port)) else {
            let found = format!("`{}` is no well-known port", port.get_ref());
            reader.refuse(port.span(), found, "1 to 1023 (RFC 4787 REQ-5a)");
            continue;
        };
        let default = Timers::default().udp;
        read.push((number, reader.duration(Some(time), default, Duration::from_secs(1), "")));
    }
    read.sort_unstable();
    read
}

/// Without a zone nothing needs state, nor memory for it.
const NO_STATE: Limits = Limits {
    sessions: 1,
    bindings: 1,
    blocks: 1,
    hosts: 1,
    hold_bytes: 65_536,
    unsolicited_syns: 0,
    unsolicited_syns_per_source: 1,
    events: 256,
};

pub(super) fn limits(reader: &mut Reader<'_>, told: Option<&schema::Limits>, zones: &Zones) -> Limits {
    let default = if zones.zones.is_empty() { NO_STATE } else { Limits::default() };
    let Some(told) = told else { return default };
    Limits {
        sessions: reader.number(told.sessions.as_ref(), default.sessions, 1..=100_000_000),
        bindings: reader.number(told.bindings.as_ref(), default.bindings, 1..=100_000_000),
        blocks: reader.number(told.blocks.as_ref(), default.blocks, 1..=16_777_216),
        hosts: reader.number(told.hosts.as_ref(), default.hosts, 1..=16_777_216),
        hold_bytes: reader.number(told.hold_bytes.as_ref(), default.hold_bytes, 65_536..=1 << 30),
        unsolicited_syns: reader.number(
            told.unsolicited_syns.as_ref(),
            default.unsolicited_syns,
            0..=1_000_000,
        ),
        unsolicited_syns_per_source: reader.number(
            told.unsolicited_syns_per_source.as_ref(),
            default.unsolicited_syns_per_source,
            1..=1_000_000,
        ),
        events: reader.number(told.events.as_ref(), default.events, 16..=1_048_576),
    }
}
