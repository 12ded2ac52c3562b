//! The checks that need a test domain.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::asker::{Asker, Bits, CNAME, HTTPS, RRSIG, Reply};
use super::everywhere::{arpa, said};
use super::findings::Findings;
use super::zone::{DENIAL, MANY, PRIVATE, TTL, V4, V6};
use crate::addr::Pref64;
use crate::dns64::wire::{rcode, rr};

/// Time limit for names whose AAAA query is never answered.
const BROKEN_AAAA_LIMIT: Duration = Duration::from_secs(1);

/// `v4` under each prefix.
fn under(pref64: &[Pref64], v4: Ipv4Addr) -> Vec<Ipv6Addr> {
    let mut all: Vec<_> = pref64.iter().map(|p| p.embed(v4)).collect();
    all.sort_unstable();
    all
}

fn sorted(reply: Option<&Reply>) -> Vec<Ipv6Addr> {
    let mut all = reply.map(Reply::v6).unwrap_or_default();
    all.sort_unstable();
    all
}

/// Queries names of the test domain and records the findings.
struct Look<'a> {
    asker: &'a Asker,
    findings: &'a mut Findings,
    domain: &'a str,
}

impl Look<'_> {
    fn ask(&self, name: &str, kind: u16, bits: Bits) -> Option<Reply> {
        self.asker.ask(&format!("{name}.{}", self.domain.trim_end_matches('.')), kind, bits)
    }

    fn aaaa(
        &mut self,
        name: &str,
        what: &'static str,
        source: &'static str,
        want: &[Ipv6Addr],
    ) -> Option<Reply> {
        let reply = self.ask(name, rr::AAAA, Bits::default());
        let good = reply.as_ref().is_some_and(|r| r.code == rcode::NOERROR) && sorted(reply.as_ref()) == want;
        self.findings.record_required(what, source, good, said(reply.as_ref()));
        reply
    }
}

/// Runs the checks on all names of the test domain.
pub(super) fn look(asker: &Asker, findings: &mut Findings, pref64: &[Pref64], domain: &str) {
    let mut look = Look { asker, findings, domain };
    synthesis(&mut look, pref64);
    exclusions(&mut look, pref64);
    aliases(&mut look, pref64);
    dnssec(&mut look, pref64);
    big(&mut look, pref64);
    untouched(&mut look);
    let reply = asker.ask(&arpa(pref64[0].embed(V4)), rr::PTR, Bits::default());
    let good = reply.as_ref().is_some_and(|r| matches!(r.code, rcode::NOERROR | rcode::NXDOMAIN));
    findings.record_required("PTR of a synthesized address", "RFC 6147 §5.3.1", good, said(reply.as_ref()));
}

fn synthesis(look: &mut Look<'_>, pref64: &[Pref64]) {
    let expected = under(pref64, V4);
    let reply = look.aaaa("v4only", "a name with A only", "RFC 6147 §5.1.7", &expected);
    let ttl = reply.iter().flat_map(|r| &r.answers).filter(|r| r.kind == rr::AAAA).map(|r| r.ttl).max();
    let good = ttl.is_some_and(|ttl| ttl <= DENIAL.min(TTL));
    let seen = ttl.map_or_else(|| "none".to_owned(), |ttl| format!("{ttl} s, at most {DENIAL}"));
    look.findings.record_required("TTL at most that of A and of SOA", "RFC 6147 §5.1.7", good, seen);
    look.aaaa("dual", "a name with AAAA", "RFC 6147 §5.1.1", &[V6]);
    look.aaaa("nothing", "a name without addresses", "RFC 6147 §5.1.6", &[]);
    let missing = look.ask("no-such-name", rr::AAAA, Bits::default());
    let good = missing.as_ref().is_some_and(|r| r.code == rcode::NXDOMAIN);
    look.findings.record_required(
        "a name that does not exist",
        "RFC 6147 §5.1.2",
        good,
        said(missing.as_ref()),
    );
}

fn exclusions(look: &mut Look<'_>, pref64: &[Pref64]) {
    look.aaaa("mapped", "IPv4-mapped AAAA counts as none", "RFC 6147 §5.1.4", &under(pref64, V4));
    look.aaaa("mixed", "and is ignored beside a native AAAA", "RFC 6147 §5.1.4", &[V6]);
    if pref64.iter().all(|p| p.is_well_known()) {
        look.aaaa("private", "private A under the well-known prefix", "RFC 6052 §3.1", &[]);
    } else {
        let reply = look.ask("private", rr::AAAA, Bits::default());
        let synthesized = sorted(reply.as_ref()) == under(pref64, PRIVATE);
        let seen = if synthesized { "translated" } else { "not translated" };
        look.findings.record_optional("private A under a network-specific prefix", "RFC 6052 §3.1", seen);
    }
}

fn aliases(look: &mut Look<'_>, pref64: &[Pref64]) {
    let expected = under(pref64, V4);
    let reply = look.aaaa("alias", "a CNAME chain", "RFC 6147 §5.1.5", &expected);
    let links = reply.iter().flat_map(|r| &r.answers).filter(|r| r.kind == CNAME).count();
    look.findings.record_required(
        "and all its CNAMEs are present",
        "RFC 6147 §5.1.5",
        links == 2,
        format!("{links} CNAME"),
    );
    look.aaaa("www.tree", "a DNAME", "RFC 6147 §5.1.5", &expected);
}

fn dnssec(look: &mut Look<'_>, pref64: &[Pref64]) {
    let expected = under(pref64, V4);
    for (what, checking_disabled) in [("DO set", false), ("DO and CD set", true)] {
        let reply =
            look.ask("v4only", rr::AAAA, Bits { dnssec_ok: true, checking_disabled, ..Bits::default() });
        let synthesized = sorted(reply.as_ref()) == expected;
        if checking_disabled {
            look.findings.record_required(
                what,
                "RFC 6147 §5.5: no synthesis",
                !synthesized && reply.is_some(),
                said(reply.as_ref()),
            );
        } else {
            look.findings.record_optional(what, "RFC 6147 §5.5", said(reply.as_ref()));
            let signed = reply.as_ref().is_some_and(|r| synthesized && r.has(RRSIG) && !r.has(CNAME));
            look.findings.record_required("no RRSIG of the A records", "RFC 6147 §5.5", !signed, "DO set");
        }
    }
    let reply = look.ask("v4only", rr::AAAA, Bits { checking_disabled: true, ..Bits::default() });
    look.findings.record_optional("CD set", "RFC 6147 §5.5", said(reply.as_ref()));
    let reply = look.ask("v4only", rr::AAAA, Bits::default());
    let good = reply.as_ref().is_some_and(|r| !r.authentic);
    look.findings.record_required("no AD unless requested", "RFC 6840 §5.8", good, said(reply.as_ref()));
}

fn big(look: &mut Look<'_>, pref64: &[Pref64]) {
    let want = usize::from(MANY) * pref64.len();
    let reply = look.ask("big", rr::AAAA, Bits::default());
    let good = reply.as_ref().is_some_and(|r| r.truncated || r.v6().len() == want);
    look.findings.record_required(
        "TC if too large for a datagram",
        "RFC 6147 §5.4",
        good,
        said(reply.as_ref()),
    );
    let reply = look.ask("big", rr::AAAA, Bits { tcp: true, ..Bits::default() });
    let good = reply.as_ref().is_some_and(|r| r.v6().len() == want);
    look.findings.record_required("and complete over TCP", "RFC 6147 §5.4", good, said(reply.as_ref()));
}

fn untouched(look: &mut Look<'_>) {
    let reply = look.ask("v4only", rr::A, Bits::default());
    let good = reply.as_ref().is_some_and(|r| r.v4() == [V4]);
    look.findings.record_required("A records unchanged", "RFC 6147 §5.3.3", good, said(reply.as_ref()));
    let reply = look.ask("svc", HTTPS, Bits::default());
    let hint = reply.iter().flat_map(|r| &r.answers).any(|r| r.data.ends_with(&V4.octets()));
    look.findings.record_required("ipv4hint of HTTPS unchanged", "RFC 9460 §7.3", hint, said(reply.as_ref()));
}

/// Checks a name whose AAAA query is never answered.
pub(super) fn look_at_broken(asker: &Asker, findings: &mut Findings, pref64: &[Pref64], name: &str) {
    let v4 = asker.ask(name, rr::A, Bits::default()).map(|r| r.v4()).unwrap_or_default();
    let reply = asker.ask(name, rr::AAAA, Bits::default());
    let mut want: Vec<_> = v4.iter().flat_map(|v4| under(pref64, *v4)).collect();
    want.sort_unstable();
    let elapsed = reply.as_ref().map_or(Duration::MAX, |r| r.elapsed);
    let good = elapsed <= BROKEN_AAAA_LIMIT && sorted(reply.as_ref()) == want && !want.is_empty();
    let seen = match &reply {
        Some(reply) => format!("{} after {} ms", reply.said(), elapsed.as_millis()),
        None => "no answer".to_owned(),
    };
    findings.record_required("unanswered AAAA: synthesis within 1 s", "RFC 6147 §5.1.3", good, seen);
}
