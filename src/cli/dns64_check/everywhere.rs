//! The checks that work on every DNS64: `ipv4only.arpa`, EDNS and TCP.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::asker::{Asker, Bits, Reply, SVCB, TXT};
use super::findings::Findings;
use crate::addr::{Ipv6Prefix, Pref64};
use crate::dns64::wire::{rcode, rr};

/// The well-known name and its addresses (RFC 7050 §2.2).
const NAME: &str = "ipv4only.arpa";
const KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// A record type from the private use range.
const UNKNOWN: u16 = 65_280;

/// Runs these checks; returns the prefixes found, in the order of the answer. `None` if there are none.
pub(super) fn look(asker: &Asker, findings: &mut Findings) -> Option<Vec<Pref64>> {
    let none = Bits::default();
    let reply = asker.ask(NAME, rr::AAAA, none);
    let addresses = reply.as_ref().map(Reply::v6).unwrap_or_default();
    let pref64 = prefixes(&addresses);
    let seen = match &reply {
        None => "no answer".to_owned(),
        Some(_) if pref64.is_empty() => "no prefix in the answer".to_owned(),
        Some(_) => pref64.iter().map(|p| p.prefix().to_string()).collect::<Vec<_>>().join(" "),
    };
    findings.record_required("a prefix is announced", "RFC 7050 §3", !pref64.is_empty(), seen);
    let whole = pref64.iter().all(|p| KNOWN.iter().all(|v4| addresses.contains(&p.embed(*v4))));
    let seen = format!("{} addresses", addresses.len());
    findings.record_required(
        "each prefix has both addresses",
        "RFC 7050 §2.2",
        whole && !pref64.is_empty(),
        seen,
    );
    if pref64.is_empty() {
        return None;
    }
    let v4 = asker.ask(NAME, rr::A, none);
    let mut found = v4.as_ref().map(Reply::v4).unwrap_or_default();
    found.sort_unstable();
    findings.record_required("its A records", "RFC 7050 §2.2", found == KNOWN, said(v4.as_ref()));
    let other = asker.ask(NAME, TXT, none);
    let good = other.as_ref().is_some_and(|r| r.code == rcode::NOERROR && r.answers.is_empty());
    findings.record_required("no other records", "RFC 8880 §7", good, said(other.as_ref()));
    let below = asker.ask(&format!("gate64-check.{NAME}"), rr::AAAA, none);
    let good = below.as_ref().is_some_and(|r| r.code == rcode::NXDOMAIN);
    findings.record_required("no names below it", "RFC 8880 §7", good, said(below.as_ref()));
    reverse(asker, findings, &pref64);
    local(asker, findings);
    transport(asker, findings);
    Some(pref64)
}

/// Reverse lookup of the well-known address under the first prefix.
fn reverse(asker: &Asker, findings: &mut Findings, pref64: &[Pref64]) {
    let reply = asker.ask(&arpa(pref64[0].embed(KNOWN[0])), rr::PTR, Bits::default());
    let named = reply.as_ref().is_some_and(|r| r.has(rr::PTR) && r.code == rcode::NOERROR);
    findings.record_required("PTR of its synthesized address", "RFC 8880 §7.2", named, said(reply.as_ref()));
    // Its name without the first nibble: PTR names exist below it.
    let short = arpa(pref64[0].embed(KNOWN[0])).split_off(2);
    let reply = asker.ask(&short, rr::PTR, Bits::default());
    let exists = reply.as_ref().is_some_and(|r| r.code == rcode::NOERROR && r.answers.is_empty());
    findings.record_required("the ip6.arpa name above it exists", "RFC 8020", exists, said(reply.as_ref()));
}

/// Names that a resolver answers itself.
fn local(asker: &Asker, findings: &mut Findings) {
    let reply = asker.ask("_dns.resolver.arpa", SVCB, Bits::default());
    let good = reply.as_ref().is_some_and(|r| r.code == rcode::NOERROR);
    findings.record_required("discovery of designated resolvers", "RFC 9462 §4", good, said(reply.as_ref()));
    let reply = asker.ask("localhost", rr::AAAA, Bits::default());
    let good = reply.as_ref().is_some_and(|r| r.v6() == [Ipv6Addr::LOCALHOST]);
    findings.record_required(
        "localhost is the loopback address",
        "RFC 6761 §6.3",
        good,
        said(reply.as_ref()),
    );
}

/// EDNS, TCP and unknown record types.
fn transport(asker: &Asker, findings: &mut Findings) {
    let reply = asker.ask(NAME, rr::AAAA, Bits::default());
    findings.record_required(
        "EDNS",
        "RFC 6891",
        reply.as_ref().is_some_and(|r| r.edns),
        said(reply.as_ref()),
    );
    let reply = asker.ask(NAME, rr::AAAA, Bits { version_1: true, ..Bits::default() });
    let good = reply.as_ref().is_some_and(|r| r.code == rcode::BADVERS);
    findings.record_required("an unknown EDNS version", "RFC 6891 §6.1.3", good, said(reply.as_ref()));
    let reply = asker.ask(NAME, rr::AAAA, Bits { tcp: true, ..Bits::default() });
    let good = reply.as_ref().is_some_and(|r| !r.v6().is_empty());
    findings.record_required("TCP", "RFC 7766", good, said(reply.as_ref()));
    for (what, half_closes) in [("two queries at once on a connection", false), ("and half-closed", true)] {
        let answers = asker.pipelined(&[NAME, "localhost"], rr::AAAA, half_closes);
        findings.record_required(what, "RFC 7766 §6.2", answers == 2, format!("{answers} answers"));
    }
    let reply = asker.ask(NAME, UNKNOWN, Bits::default());
    let good = reply.as_ref().is_some_and(|r| r.code == rcode::NOERROR);
    findings.record_required("an unknown record type", "RFC 3597", good, said(reply.as_ref()));
    let reply = asker.ask(NAME, rr::AAAA, Bits { dnssec_ok: true, ..Bits::default() });
    findings.record_required(
        "no AD on synthesized records",
        "RFC 6147 §5.5",
        reply.is_some_and(|r| !r.authentic),
        "DO set",
    );
}

/// An answer in words.
pub(super) fn said(reply: Option<&Reply>) -> String {
    reply.map_or_else(|| "no answer".to_owned(), Reply::said)
}

/// The prefixes that contain the well-known IPv4 addresses.
fn prefixes(addresses: &[Ipv6Addr]) -> Vec<Pref64> {
    let mut found = Vec::new();
    for addr in addresses {
        // Longest first: the bytes at a shorter length's offset may match randomly.
        let fits = [96, 64, 56, 48, 40, 32].into_iter().find_map(|len| {
            let pref64 = Pref64::new(Ipv6Prefix::containing(*addr, len)).ok()?;
            pref64.extract(*addr).filter(|v4| KNOWN.contains(v4)).map(|_| pref64)
        });
        found.extend(fits.filter(|pref64| !found.contains(pref64)));
    }
    found
}

/// The ip6.arpa name of an IPv6 address.
pub(super) fn arpa(addr: Ipv6Addr) -> String {
    let nibbles = format!("{:032x}", addr.to_bits());
    let mut name: String = nibbles.chars().rev().flat_map(|nibble| [nibble, '.']).collect();
    name.push_str("ip6.arpa");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_length_are_found() {
        for text in
            ["2001:db8:64::/96", "64:ff9b::/96", "2001:db8:1:2::/64", "2001:db8:100::/40", "2001:db8::/32"]
        {
            let pref64: Pref64 = text.parse().unwrap();
            assert_eq!(prefixes(&KNOWN.map(|v4| pref64.embed(v4))), [pref64], "{text}");
        }
        assert!(prefixes(&["2001:db8::1".parse().unwrap()]).is_empty());
    }

    #[test]
    fn reverse_names() {
        let name = arpa("64:ff9b::c000:aa".parse().unwrap());
        assert!(name.starts_with("a.a.0.0.0.0.0.c.0."), "{name}");
        assert!(name.ends_with("b.9.f.f.4.6.0.0.ip6.arpa"), "{name}");
    }
}
