//! Special-use names, which are answered locally and not forwarded (RFC 6761, RFC 6762, RFC 7686, RFC 9462,
//! RFC 6303, RFC 7793).
//!
//! Local records and forward zones take precedence, except a forward zone for the root.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::answer::Draft;
use super::query::Query;
use super::wire::{self, rcode, rr};
use super::{Outcome, Settings};
use crate::message;

/// TTL of denials, in seconds (RFC 6303 §3).
const TTL: u32 = 10_800;

/// The answer for the names of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SpecialZone {
    /// The zone has no records.
    Empty,
    /// Neither the name nor names below it exist in the DNS, but they are not an error (RFC 9462 §6.1).
    Nodata,
    /// Every name is the loopback address (RFC 6761 §6.3).
    Loopback,
}

/// Special zones besides private reverse zones, as uncompressed names.
const ZONES: [(&[u8], SpecialZone); 5] = [
    (b"\x08resolver\x04arpa\0", SpecialZone::Nodata),
    (b"\x09localhost\0", SpecialZone::Loopback),
    (b"\x07invalid\0", SpecialZone::Empty),
    (b"\x05local\0", SpecialZone::Empty),
    (b"\x05onion\0", SpecialZone::Empty),
];

/// Reverse zones of IPv4 addresses without global meaning: the octets, the range of the last one, both in the
/// order of the address.
const IN_ADDR: [(&[u8], core::ops::RangeInclusive<u8>); 7] = [
    (&[], 0..=0),
    (&[], 10..=10),
    (&[100], 64..=127),
    (&[], 127..=127),
    (&[169], 254..=254),
    (&[172], 16..=31),
    (&[192], 168..=168),
];

/// Reverse zones of IPv6 addresses without global meaning: the nibbles, in the order of the address. Unique
/// local addresses with the L bit set, and link-local addresses.
const IP6: [&[u8]; 5] = [b"fd", b"fe8", b"fe9", b"fea", b"feb"];

/// Top-level names of class CH that ask about the server (RFC 4892).
const SERVER: [&[u8]; 2] = [b"bind", b"server"];

/// The answer to a query of class CH about the server, which reveals nothing.
pub(super) fn about_server(query: &Query) -> Option<(Draft, Outcome)> {
    let last = wire::labels(query.name()).last()?;
    let is_about_server =
        query.class() == rr::CH && SERVER.iter().any(|label| last.eq_ignore_ascii_case(label));
    is_about_server.then(|| (Draft::empty(rcode::REFUSED), Outcome::SpecialName))
}

/// The local answer to a query for a special name of class IN. `None` for other names, and for names that a
/// forward zone covers.
pub(super) fn answer(settings: &Settings, query: &Query) -> Option<(Draft, Outcome)> {
    let name = query.name().to_ascii_lowercase();
    let (apex, zone) = zone_of(&name).filter(|_| !settings.forwards_name(&name))?;
    draft(query, &name, apex, zone).map(|draft| (draft, Outcome::SpecialName))
}

/// Whether `name` (uncompressed, lowercase) is in a special zone and in no forward zone.
pub(super) fn denies(settings: &Settings, name: &[u8]) -> bool {
    zone_of(name).is_some() && !settings.forwards_name(name)
}

fn draft(query: &Query, name: &[u8], apex: &[u8], zone: SpecialZone) -> Option<Draft> {
    let (asked, kind) = (query.name(), query.kind());
    let denial = |code| Draft::denial(query, code, apex, TTL);
    let draft = match (zone, kind) {
        (SpecialZone::Loopback, rr::A) => {
            Draft::records(message::local_v4(asked, kind, TTL, &[Ipv4Addr::LOCALHOST])?, rcode::NOERROR)
        }
        (SpecialZone::Loopback, rr::AAAA) => Draft::records(
            message::local_addresses(asked, kind, TTL, &[Ipv6Addr::LOCALHOST])?,
            rcode::NOERROR,
        ),
        (SpecialZone::Empty, rr::SOA) if name == apex && is_reverse(apex) => {
            Draft::records(message::local_soa(asked, TTL)?, rcode::NOERROR)
        }
        (SpecialZone::Empty, _) if name != apex || !is_reverse(apex) => denial(rcode::NXDOMAIN)?,
        (SpecialZone::Empty | SpecialZone::Nodata | SpecialZone::Loopback, _) => denial(rcode::NOERROR)?,
    };
    Some(draft.authoritative())
}

/// The special zone that contains `name`, and the zone's name.
fn zone_of(name: &[u8]) -> Option<(&[u8], SpecialZone)> {
    let named = ZONES.iter().find_map(|(apex, zone)| Some((suffix(name, apex)?, *zone)));
    named.or_else(|| Some((reverse_zone(name)?, SpecialZone::Empty)))
}

fn is_reverse(apex: &[u8]) -> bool {
    wire::labels(apex).last().is_some_and(|label| label == b"arpa")
}

/// The part of `name` that equals `apex`, if `name` is `apex` or a name below it.
fn suffix<'a>(name: &'a [u8], apex: &[u8]) -> Option<&'a [u8]> {
    let mut rest = name;
    loop {
        if rest == apex {
            return Some(rest);
        }
        let len = rest.first().filter(|len| **len > 0)?;
        rest = rest.get(1 + usize::from(*len)..)?;
    }
}

/// The special reverse zone that contains `name`.
fn reverse_zone(name: &[u8]) -> Option<&[u8]> {
    let labels: Vec<&[u8]> = wire::labels(name).collect();
    let (arpa, labels) = labels.split_last()?;
    let (tree, labels) = labels.split_last()?;
    // From the top of the tree down: the order of the address.
    let address = labels.iter().rev();
    let depth = match (*tree, *arpa) {
        (b"in-addr", b"arpa") => {
            let mut octets = address.map(|label| core::str::from_utf8(label).ok()?.parse::<u8>().ok());
            let (first, second) = (octets.next()??, octets.next().flatten());
            let is_in = |(head, range): &&(&[u8], core::ops::RangeInclusive<u8>)| match **head {
                [] => range.contains(&first),
                [octet] => octet == first && second.is_some_and(|second| range.contains(&second)),
                _ => false,
            };
            IN_ADDR.iter().find(is_in)?.0.len() + 1
        }
        (b"ip6", b"arpa") => {
            let is_in = |nibbles: &&&[u8]| {
                let mut labels = address.clone();
                nibbles.iter().all(|nibble| labels.next().is_some_and(|label| **label == [*nibble]))
            };
            IP6.iter().find(is_in)?.len()
        }
        _ => return None,
    };
    let below = labels.len() - depth;
    let at: usize = labels[..below].iter().map(|label| 1 + label.len()).sum();
    name.get(at..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apex(name: &str) -> Option<String> {
        let name = wire::name_of(name).expect("a name");
        zone_of(&name).map(|(apex, _)| wire::text_of(apex))
    }

    #[test]
    fn zones_of_names() {
        // id special-names
        for (name, want) in [
            ("_dns.resolver.arpa", "resolver.arpa."),
            ("localhost", "localhost."),
            ("printer.local", "local."),
            ("1.0.0.10.in-addr.arpa", "10.in-addr.arpa."),
            ("10.in-addr.arpa", "10.in-addr.arpa."),
            ("16.172.in-addr.arpa", "16.172.in-addr.arpa."),
            ("9.31.172.in-addr.arpa", "31.172.in-addr.arpa."),
            ("1.1.168.192.in-addr.arpa", "168.192.in-addr.arpa."),
            ("1.0.64.100.in-addr.arpa", "64.100.in-addr.arpa."),
            ("1.0.0.127.in-addr.arpa", "127.in-addr.arpa."),
            ("d.f.ip6.arpa", "d.f.ip6.arpa."),
            ("0.1.d.f.ip6.arpa", "d.f.ip6.arpa."),
            ("0.b.e.f.ip6.arpa", "b.e.f.ip6.arpa."),
        ] {
            assert_eq!(apex(name).as_deref(), Some(want), "{name}");
        }
        for name in [
            "example",
            "resolver.arpa.example",
            "xlocal",
            "172.in-addr.arpa",
            "15.172.in-addr.arpa",
            "32.172.in-addr.arpa",
            "63.100.in-addr.arpa",
            "168.193.in-addr.arpa",
            "11.in-addr.arpa",
            "in-addr.arpa",
            "c.f.ip6.arpa",
            "f.ip6.arpa",
            "ip6.arpa",
            "c.e.f.ip6.arpa",
            "x.in-addr.arpa",
            ".",
        ] {
            assert_eq!(apex(name), None, "{name}");
        }
    }
}
