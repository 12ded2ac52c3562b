//! Reverse names: ip6.arpa and in-addr.arpa (RFC 6147 §5.3.1).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::answer::Draft;
use super::query::Query;
use super::wire::{self, rcode, rr};
use super::{Outcome, Settings, Zone, special_names};
use crate::addr::Ipv6Prefix;
use crate::message;

/// The local answer to a query at or below the reverse name of a pref64. `None` for names elsewhere, and for
/// PTR queries that an upstream answers.
///
/// Names above and below a PTR name, and other types, have no records. They do exist: a denial of the name
/// would also deny the PTR names below it (RFC 8020).
pub(super) fn answer(settings: &Settings, zone: &Zone, query: &Query) -> Option<(Draft, Outcome)> {
    if query.checking_disabled() {
        return None;
    }
    let name = query.name().to_ascii_lowercase();
    let apex = tree_of(zone, &name).filter(|_| !settings.forwards_name(&name))?;
    let ttl = settings.discovery_ttl;
    let draft = match (mapped_by(zone, query), query.kind()) {
        (Some(v4), _) if special_names::denies(settings, &in_addr_arpa(v4)) => {
            Draft::denial(query, rcode::NXDOMAIN, &apex, ttl)?
        }
        (Some(_), _) => return None,
        (None, rr::DS) if name == apex => return None,
        (None, rr::SOA) if name == apex => {
            Draft::records(message::local_soa(query.name(), ttl)?, rcode::NOERROR).authoritative()
        }
        (None, _) => Draft::denial(query, rcode::NOERROR, &apex, ttl)?,
    };
    Some((draft, Outcome::PtrMissing))
}

/// The IPv4 address of a reverse query under a pref64 of the zone (RFC 6147 §5.3.1).
pub(super) fn mapped_by(zone: &Zone, query: &Query) -> Option<Ipv4Addr> {
    if query.kind() != rr::PTR {
        return None;
    }
    let v6 = ip6_arpa(query.name())?;
    zone.pref64.iter().find_map(|m| {
        let v4 = m.pref64.extract(v6)?;
        m.only.is_none_or(|only| only.contains(v4)).then_some(v4)
    })
}

/// The reverse name of the pref64 of `zone` that contains the reverse name `name` (uncompressed, lowercase).
pub(super) fn tree_of(zone: &Zone, name: &[u8]) -> Option<Vec<u8>> {
    trees(zone).find(|apex| name.ends_with(apex) && starts_label(name, name.len() - apex.len()))
}

/// Whether the reverse name of a pref64 of `zone` is below `name` (uncompressed, lowercase).
pub(super) fn is_above_tree(zone: &Zone, name: &[u8]) -> bool {
    trees(zone).any(|apex| {
        apex.len() > name.len() && apex.ends_with(name) && starts_label(&apex, apex.len() - name.len())
    })
}

fn trees(zone: &Zone) -> impl Iterator<Item = Vec<u8>> {
    zone.pref64.iter().map(|mapping| name_of_prefix(mapping.pref64.prefix()))
}

/// The reverse name of a prefix whose length is a multiple of 4, uncompressed.
fn name_of_prefix(prefix: Ipv6Prefix) -> Vec<u8> {
    let bits = prefix.addr().to_bits();
    let mut name = Vec::with_capacity(74);
    for index in (0..u32::from(prefix.len() / 4)).rev() {
        // A nibble is a digit of base 16.
        let digit = char::from_digit((bits >> (124 - 4 * index)) as u32 & 15, 16).map_or(b'0', |c| c as u8);
        name.extend_from_slice(&[1, digit]);
    }
    name.extend_from_slice(b"\x03ip6\x04arpa\0");
    name
}

/// Whether a label of `name` starts at `at`.
pub(super) fn starts_label(name: &[u8], at: usize) -> bool {
    let mut begin = 0;
    for label in wire::labels(name) {
        if begin >= at {
            break;
        }
        begin += 1 + label.len();
    }
    begin == at
}

/// The address of an uncompressed name in ip6.arpa. `None` for other names, and unless there are 32
/// nibbles.
pub(super) fn ip6_arpa(name: &[u8]) -> Option<Ipv6Addr> {
    let mut labels = wire::labels(name);
    let mut bits = 0u128;
    for index in 0..32 {
        let [digit] = labels.next()? else { return None };
        let nibble = char::from(*digit).to_digit(16)?;
        bits |= u128::from(nibble) << (4 * index);
    }
    let arpa = labels.next()?.eq_ignore_ascii_case(b"ip6") && labels.next()?.eq_ignore_ascii_case(b"arpa");
    (arpa && labels.next().is_none()).then(|| Ipv6Addr::from_bits(bits))
}

/// The address of an uncompressed name in in-addr.arpa. `None` for other names.
pub(super) fn of_in_addr_arpa(name: &[u8]) -> Option<Ipv4Addr> {
    let mut labels = wire::labels(name);
    let mut octets = [0; 4];
    for octet in octets.iter_mut().rev() {
        *octet = core::str::from_utf8(labels.next()?).ok()?.parse().ok()?;
    }
    let addr = Ipv4Addr::from(octets);
    // Rejects other spellings, such as leading zeros.
    name.eq_ignore_ascii_case(&in_addr_arpa(addr)).then_some(addr)
}

/// The reverse name of an IPv4 address, uncompressed.
pub(super) fn in_addr_arpa(addr: Ipv4Addr) -> Vec<u8> {
    let mut name = Vec::with_capacity(30);
    for octet in addr.octets().into_iter().rev() {
        let text = octet.to_string();
        // At most three digits.
        name.push(text.len() as u8);
        name.extend_from_slice(text.as_bytes());
    }
    name.extend_from_slice(b"\x07in-addr\x04arpa\x00");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> Vec<u8> {
        let mut name = Vec::new();
        for label in text.split('.') {
            name.push(u8::try_from(label.len()).expect("short"));
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        name
    }

    #[test]
    fn names_of_ipv6_addresses() {
        // ids 6147-5.3.1-strip, 6147-5.3.1-badnibbles
        let good = "1.2.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0";
        let want: Ipv6Addr = "64:ff9b::c000:221".parse().expect("literal");
        assert_eq!(ip6_arpa(&encode(&format!("{good}.ip6.arpa"))), Some(want));
        assert_eq!(ip6_arpa(&encode(&format!("{}.IP6.Arpa", good.to_uppercase()))), Some(want));
        let bad = [
            format!("{}.ip6.arpa", &good[2..]),
            format!("0.{good}.ip6.arpa"),
            format!("{}.ip6.arpa", good.replacen('1', "g", 1)),
            format!("{}.ip6.arpa", good.replacen('1', "11", 1)),
            format!("{good}.ip6.arpa.example"),
            format!("{good}.ip4.arpa"),
            good.to_owned(),
            "ip6.arpa".to_owned(),
        ];
        for text in bad {
            assert_eq!(ip6_arpa(&encode(&text)), None, "{text}");
        }
    }

    #[test]
    fn names_of_ipv4_addresses() {
        let got = in_addr_arpa(Ipv4Addr::new(192, 0, 2, 33));
        assert_eq!(got, encode("33.2.0.192.in-addr.arpa"));
        assert_eq!(of_in_addr_arpa(&encode("33.2.0.192.IN-addr.arpa")), Some(Ipv4Addr::new(192, 0, 2, 33)));
        for text in ["033.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa", "1.33.2.0.192.in-addr.arpa", "a.b"] {
            assert_eq!(of_in_addr_arpa(&encode(text)), None, "{text}");
        }
    }
}
