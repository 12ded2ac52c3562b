//! `[translator]`, `[timers]` and `[limits]`: settings of the translator that no zone overrides.

use std::time::Duration;

use super::reader::Reader;
use super::schema;
use super::shape::{TextOr, WordOrNumber};
use super::zones::Zones;
use crate::addr::Ipv4Prefix;
use crate::nat64::{Filtering, Limits, Pairing, Timers, UnsolicitedSyn};
use crate::xlat::{Plateaus, RewriteRules, TrafficClass};

pub(super) fn rules(reader: &mut Reader<'_>, section: &schema::Translator, mtu: u16) -> RewriteRules {
    let default = RewriteRules::default();
    let mtu6 = reader.number(section.mtu6.as_ref(), mtu, 1280..=mtu);
    let mtu4 = reader.number(section.mtu4.as_ref(), mtu, 68..=mtu);
    if let Some(number) = section.mtu4.as_ref().filter(|_| mtu4 <= 1260) {
        let advice = "more than 1260 bytes: else IPv6 packets of 1280 bytes, the minimum MTU, must be fragmented \
                      (RFC 7915 §1.4)";
        reader.warn(number.span(), format!("an IPv4 MTU of {mtu4} bytes"), advice);
    }
    RewriteRules {
        mtu6,
        mtu4,
        plateaus: plateaus(reader, section.plateaus.as_ref()),
        lowest_ipv6_mtu: lowest_ipv6_mtu(reader, section.lowest_ipv6_mtu.as_ref(), mtu6),
        traffic_class: class(reader, section.traffic_class.as_ref()),
        tos: class(reader, section.tos.as_ref()),
        mss_clamp: section.mss_clamp.unwrap_or(default.mss_clamp),
        tcp_resegment: section.tcp_resegment.unwrap_or(default.tcp_resegment),
        silent_refusals: reader.word(
            section.refusals.as_ref(),
            default.silent_refusals,
            &[("icmp", false), ("silent", true)],
        ),
        reset_unknown_tcp: reader.word(
            section.unknown_tcp.as_ref(),
            default.reset_unknown_tcp,
            &[("reset", true), ("drop", false)],
        ),
        error_rate: error_rates(reader, section, default.error_rate),
        error_burst: reader.number(section.error_burst.as_ref(), default.error_burst, 1..=100_000),
    }
}

/// Errors per second towards IPv6 and IPv4.
fn error_rates(reader: &mut Reader<'_>, section: &schema::Translator, default: [u32; 2]) -> [u32; 2] {
    let allowed = 0..=100_000;
    let both = reader.number(section.error_rate.as_ref(), default[0], allowed.clone());
    [&section.error_rate6, &section.error_rate4]
        .map(|side| reader.number(side.as_ref(), both, allowed.clone()))
}

fn plateaus(reader: &mut Reader<'_>, value: Option<&toml::Spanned<Vec<schema::Number>>>) -> Plateaus {
    let Some(value) = value else { return Plateaus::RFC_1191 };
    let each: Vec<u16> =
        value.get_ref().iter().map(|mtu| reader.number(Some(mtu), 68, 68..=u16::MAX)).collect();
    Plateaus::new(&each).unwrap_or_else(|| {
        let allowed = format!("at most {} path MTUs", Plateaus::MAX);
        reader.error(value.span(), format!("{} plateaus", each.len()), allowed);
        Plateaus::RFC_1191
    })
}

/// Parses `lowest_ipv6_mtu`; "auto" is the MTU of the IPv6 side.
fn lowest_ipv6_mtu(reader: &mut Reader<'_>, value: Option<&toml::Spanned<WordOrNumber>>, mtu6: u16) -> u16 {
    let default = RewriteRules::default().lowest_ipv6_mtu;
    let Some(value) = value else { return default };
    let found = match value.get_ref() {
        WordOrNumber::Word(word) if word == "auto" => return mtu6,
        WordOrNumber::Word(word) => format!("`{word}` is not an MTU"),
        WordOrNumber::Number(number) => match u16::try_from(*number) {
            Ok(value) if (default..=mtu6).contains(&value) => return value,
            _ => format!("{number} is out of range"),
        },
    };
    reader.error(value.span(), found, format!("\"auto\", or {default} to {mtu6}"));
    default
}

fn class(reader: &mut Reader<'_>, value: Option<&toml::Spanned<WordOrNumber>>) -> TrafficClass {
    let Some(value) = value else { return TrafficClass::Copy };
    let found = match value.get_ref() {
        WordOrNumber::Word(word) if word == "copy" => return TrafficClass::Copy,
        WordOrNumber::Word(word) => format!("`{word}` is not a traffic class"),
        WordOrNumber::Number(number) => match u8::try_from(*number) {
            Ok(value) => return TrafficClass::Set(value),
            Err(_) => format!("{number} is out of range"),
        },
    };
    reader.error(value.span(), found, "\"copy\", or a number from 0 to 255");
    TrafficClass::Copy
}

pub(super) fn filtering(reader: &mut Reader<'_>, section: &schema::Translator) -> [Filtering; 3] {
    const WORDS: [(&str, Filtering); 3] = [
        ("endpoint-independent", Filtering::EndpointIndependent),
        ("address-dependent", Filtering::AddressDependent),
        ("address-and-port-dependent", Filtering::AddressAndPortDependent),
    ];
    let default = Filtering::default();
    match section.filtering.as_ref().map(|f| (f.span(), f.get_ref())) {
        None => [default; 3],
        Some((at, TextOr::Text(word))) => [reader.word_at(at, word, default, &WORDS); 3],
        Some((_, TextOr::Table(each))) => {
            [&each.tcp, &each.udp, &each.icmp].map(|word| reader.word(word.as_ref(), default, &WORDS))
        }
    }
}

pub(super) fn pairing(reader: &mut Reader<'_>, section: &schema::Translator) -> Pairing {
    let words = [("strict", Pairing::Strict), ("soft", Pairing::Soft)];
    reader.word(section.pairing.as_ref(), Pairing::default(), &words)
}

pub(super) fn unsolicited_syn(reader: &mut Reader<'_>, section: &schema::Translator) -> UnsolicitedSyn {
    let words = [("store", UnsolicitedSyn::Store), ("drop", UnsolicitedSyn::Drop)];
    reader.word(section.unsolicited_syn.as_ref(), UnsolicitedSyn::default(), &words)
}

/// The deny list of the file. The translator refuses addresses of this host by itself.
pub(super) fn deny(reader: &mut Reader<'_>, section: &schema::Translator, zones: &Zones) -> Vec<Ipv4Prefix> {
    let what = "IPv4 addresses or prefixes, such as \"127.0.0.0/8\"";
    if let Some(opened) = section
        .wkp_private
        .as_ref()
        .filter(|_| section.allows_private_destinations() && section.deny.is_none())
    {
        let advice = "a deny list of the private addresses that clients must not reach";
        reader.warn(opened.span(), "clients can reach all private addresses", advice);
    }
    let listed = section.deny.iter().flat_map(|list| &list.items);
    let mut deny: Vec<Ipv4Prefix> = listed.filter_map(|text| reader.parse(text, what)).collect();
    let pooled = |prefix: &Ipv4Prefix| {
        prefix.len() == 32
            && zones.pools.pools.iter().flat_map(|p| &p.ranges).any(|(range, _)| range.overlaps(*prefix))
    };
    deny.retain(|prefix| !pooled(prefix));
    deny.sort_unstable();
    deny.dedup();
    deny
}

pub(super) fn timers(reader: &mut Reader<'_>, section: Option<&schema::Timers>) -> Timers {
    let default = Timers::default();
    let Some(section) = section else { return default };
    let secs = Duration::from_secs;
    let transitory = reader.duration(section.tcp_transitory.as_ref(), default.tcp_opening, secs(1), "");
    let timers = Timers {
        udp: reader.duration(section.udp.as_ref(), default.udp, secs(120), " (RFC 6146 §4, UDP_MIN)"),
        tcp_established: reader.duration(
            section.tcp_established.as_ref(),
            default.tcp_established,
            secs(7_200),
            " (RFC 6146 §4, TCP_EST)",
        ),
        tcp_opening: reader.duration(section.tcp_opening.as_ref(), transitory, secs(1), ""),
        tcp_closing: reader.duration(section.tcp_closing.as_ref(), transitory, secs(1), ""),
        icmp: reader.duration(section.icmp.as_ref(), default.icmp, secs(60), " (RFC 6146 §4, ICMP_DEFAULT)"),
        tcp_incoming_syn: reader.duration(
            section.unsolicited_syn.as_ref(),
            default.tcp_incoming_syn,
            secs(6),
            " (RFC 6146 §4, TCP_INCOMING_SYN)",
        ),
        fragment: reader.duration(section.fragment.as_ref(), default.fragment, secs(1), ""),
        quarantine: reader.duration(section.port_quarantine.as_ref(), default.quarantine, secs(0), ""),
    };
    let short = [
        (&section.tcp_transitory, transitory),
        (&section.tcp_opening, timers.tcp_opening),
        (&section.tcp_closing, timers.tcp_closing),
    ];
    for (text, _) in short.iter().filter(|(_, time)| *time < secs(240)) {
        let Some(text) = text else { continue };
        let advice = "at least 240s (RFC 6146 §4, TCP_TRANS), unless you need less (RFC 7857 §2.1)";
        reader.warn(text.span(), format!("`{}` is short", text.get_ref()), advice);
    }
    if let Some(text) = section.fragment.as_ref().filter(|_| timers.fragment < secs(2)) {
        let advice = "at least 2s (RFC 6146 §4, FRAGMENT_MIN)";
        reader.warn(text.span(), format!("`{}` is short", text.get_ref()), advice);
    }
    timers
}

/// UDP timeouts by destination port. Only well-known ports may be below the general minimum
/// (RFC 4787 REQ-5a).
pub(super) fn udp_ports(reader: &mut Reader<'_>, section: Option<&schema::Timers>) -> Vec<(u16, Duration)> {
    let mut read = Vec::new();
    for (port, time) in section.and_then(|t| t.udp_ports.as_ref()).into_iter().flatten() {
        let Some(number) = port.get_ref().parse().ok().filter(|port| (1..1024).contains(port)) else {
            let found = format!("`{}` is not a well-known port", port.get_ref());
            reader.error(port.span(), found, "1 to 1023 (RFC 4787 REQ-5a)");
            continue;
        };
        let default = Timers::default().udp;
        read.push((number, reader.duration(Some(time), default, Duration::from_secs(1), "")));
    }
    read.sort_unstable();
    read
}

/// Minimal tables for a gateway without zones, which keeps no state.
const NO_STATE: Limits = Limits {
    sessions: 1,
    bindings: 1,
    blocks: 1,
    hosts: 1,
    fragment_bytes: 65_536,
    unsolicited_syns: 0,
    unsolicited_syns_per_source: 1,
    events: 256,
};

pub(super) fn limits(reader: &mut Reader<'_>, section: Option<&schema::Limits>, zones: &Zones) -> Limits {
    let default = if zones.zones.is_empty() { NO_STATE } else { Limits::default() };
    let Some(section) = section else { return default };
    Limits {
        sessions: reader.number(section.sessions.as_ref(), default.sessions, 1..=100_000_000),
        bindings: reader.number(section.bindings.as_ref(), default.bindings, 1..=100_000_000),
        blocks: reader.number(section.blocks.as_ref(), default.blocks, 1..=16_777_216),
        hosts: reader.number(section.hosts.as_ref(), default.hosts, 1..=16_777_216),
        fragment_bytes: reader.number(
            section.fragment_bytes.as_ref(),
            default.fragment_bytes,
            65_536..=1 << 30,
        ),
        unsolicited_syns: reader.number(
            section.unsolicited_syns.as_ref(),
            default.unsolicited_syns,
            0..=1_000_000,
        ),
        unsolicited_syns_per_source: reader.number(
            section.unsolicited_syns_per_source.as_ref(),
            default.unsolicited_syns_per_source,
            1..=1_000_000,
        ),
        events: reader.number(section.events.as_ref(), default.events, 16..=1_048_576),
    }
}
