//! Answers from upstream replies: the rules of RFC 6147 §5.1 and §5.5.

use core::net::Ipv6Addr;

use super::answer::Draft;
use super::pending::PendingQuery;
use super::upstream_query::{self, UpstreamReply, UpstreamResult};
use super::wire::{self, ede, flag, rcode};
use super::{Outcome, WhenDown, WithDo, reverse, synthesis};
use crate::message::{AddressKind, AliasLoop, Reply};
use crate::time::Instant;

const AAAA: usize = 0;
const A: usize = 1;

/// Why the AAAA reply is not the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AaaaAbsence {
    Nodata,
    Excluded,
    Rcode,
    Timeout,
    /// A rule ignores AAAA records of the name.
    Ignored,
}

/// Maximum TTL of a synthesized record without an SOA record in the AAAA reply, in seconds (RFC 6147
/// §5.1.7).
const NO_SOA_TTL: u32 = 600;

/// There is no AAAA reply to fall back on.
#[derive(Debug)]
struct NoFallback;

impl PendingQuery {
    /// The upstream's reply, with AD only if the upstream is trusted (RFC 6840 §5.8).
    fn forwarded(&self, reply: &[u8]) -> Draft {
        Draft::forwarded(reply).authentic(self.query.wants_ad() && self.is_authentic(reply))
    }

    fn is_authentic(&self, reply: &[u8]) -> bool {
        self.settings.trust_ad && wire::u16_at(reply, 2).is_some_and(|flags| flags & flag::AD != 0)
    }

    pub(super) fn pass(&self, result: &UpstreamResult, outcome: Outcome) -> (Draft, Outcome) {
        match result {
            UpstreamResult::NoReply => timeout_answer(),
            UpstreamResult::Reply(reply) if upstream_query::is_failure(reply) => {
                (self.forwarded(reply), Outcome::UpstreamError)
            }
            UpstreamResult::Reply(reply) => {
                let draft = self.forwarded(reply);
                (if self.denies_tree(reply) { draft.nodata() } else { draft }, outcome)
            }
        }
    }

    /// Whether the reply denies a name above the reverse name of a pref64. It would deny the PTR names that
    /// gate64 serves as well (RFC 8020). A client with DO may verify the denial, so that one stays.
    fn denies_tree(&self, reply: &[u8]) -> bool {
        self.zone().rules.enabled
            && wire::rcode_of(reply) == rcode::NXDOMAIN
            && !self.query.dnssec_ok()
            && reverse::is_above_tree(self.zone(), &self.lookups[0].key.name)
    }

    /// RFC 6147 §5.3.1, second option: an alias to the IPv4 reverse name, if it has PTR records.
    pub(super) fn reverse(&self, result: &UpstreamResult) -> (Draft, Outcome) {
        let reply = match result {
            UpstreamResult::NoReply => return timeout_answer(),
            UpstreamResult::Reply(reply) => reply,
        };
        let ttl = Reply::decode(reply).and_then(|reply| reply.ok()?.negative_ttl());
        match wire::rcode_of(reply) {
            rcode::NXDOMAIN => (self.ptr_denial(rcode::NXDOMAIN, ttl), Outcome::PtrMissing),
            rcode::NOERROR => match Reply::decode(reply) {
                Some(Ok(decoded)) => match decoded.reverse(self.query.name()) {
                    Some(records) => (Draft::records(records, rcode::NOERROR), Outcome::Ptr),
                    None => (self.ptr_denial(rcode::NOERROR, ttl), Outcome::PtrMissing),
                },
                Some(Err(AliasLoop)) => alias_loop(),
                None => (Draft::empty(rcode::SERVFAIL), Outcome::UpstreamError),
            },
            code => (Draft::empty(code), Outcome::UpstreamError),
        }
    }

    /// A denial of the queried PTR name. It may be cached as long as that of the IPv4 name (RFC 2308 §5).
    fn ptr_denial(&self, code: u16, ttl: Option<u32>) -> Draft {
        let apex = reverse::tree_of(self.zone(), &self.query.name().to_ascii_lowercase());
        let denial = ttl.zip(apex).and_then(|(ttl, apex)| Draft::denial(&self.query, code, &apex, ttl));
        denial.unwrap_or_else(|| Draft::empty(code))
    }

    pub(super) fn synthesis(&self, now: Instant) -> Option<(Draft, Outcome)> {
        if self.ignores_aaaa() {
            match self.result(A)? {
                UpstreamResult::Reply(reply) => {
                    if let Some(done) = self.ignoring_aaaa(reply) {
                        return Some(done);
                    }
                }
                UpstreamResult::NoReply => {}
            }
        }
        let aaaa = self.result(AAAA);
        let (absence, denial) = match aaaa {
            None if now < self.aaaa_deadline => return None,
            None => (AaaaAbsence::Timeout, None),
            Some(UpstreamResult::NoReply) => (AaaaAbsence::Timeout, None),
            Some(UpstreamResult::Reply(reply)) => match self.evaluate_aaaa(reply) {
                Ok(done) => return Some(done),
                Err(absence) => (absence, Some(reply)),
            },
        };
        match self.result(A)? {
            // Without A records, a late AAAA reply is still useful.
            UpstreamResult::Reply(reply) => match self.evaluate_a(absence, denial, reply) {
                Err(NoFallback) if aaaa.is_none() => None,
                Err(NoFallback) => Some(timeout_answer()),
                Ok(done) => Some(done),
            },
            UpstreamResult::NoReply if aaaa.is_none() => None,
            UpstreamResult::NoReply => Some(timeout_answer()),
        }
    }

    /// The answer if AAAA decides it, otherwise why it does not.
    fn evaluate_aaaa(&self, reply: &[u8]) -> Result<(Draft, Outcome), AaaaAbsence> {
        match wire::rcode_of(reply) {
            rcode::NXDOMAIN => return Ok((self.forwarded(reply), Outcome::Nxdomain)),
            rcode::NOERROR => {}
            _ if upstream_query::is_bogus(reply) => return Ok((self.forwarded(reply), Outcome::Bogus)),
            _ => return Err(AaaaAbsence::Rcode),
        }
        let decoded = match Reply::decode(reply) {
            Some(Ok(decoded)) => decoded,
            Some(Err(AliasLoop)) => return Ok(alias_loop()),
            None => return Err(AaaaAbsence::Rcode),
        };
        let (mut included, mut excluded) = (false, false);
        for addr in decoded.aaaa() {
            if self.excludes(addr) {
                excluded = true;
            } else {
                included = true;
            }
        }
        match (included, excluded) {
            (true, false) => Ok((self.forwarded(reply), Outcome::Native)),
            // Without its excluded records, a signed set fails validation.
            (true, true) if self.may_validate(&decoded) => Ok((self.forwarded(reply), Outcome::Native)),
            (true, true) => match decoded.without_excluded(|addr| self.excludes(addr)) {
                Some(records) => Ok((Draft::records(records, rcode::NOERROR), Outcome::NativeFiltered)),
                None => Err(AaaaAbsence::Excluded),
            },
            (false, true) => Err(AaaaAbsence::Excluded),
            (false, false) => Err(AaaaAbsence::Nodata),
        }
    }

    /// The answer from the A reply, or from `denial`, the AAAA reply, if A is unusable.
    fn evaluate_a(
        &self,
        absence: AaaaAbsence,
        denial: Option<&UpstreamReply>,
        reply: &[u8],
    ) -> Result<(Draft, Outcome), NoFallback> {
        match wire::rcode_of(reply) {
            rcode::NOERROR => {}
            // The AAAA reply shows that the name exists. An inconsistent upstream must not turn it into
            // NXDOMAIN.
            rcode::NXDOMAIN if matches!(absence, AaaaAbsence::Nodata | AaaaAbsence::Excluded) => {
                return self.without_records(absence, denial, Outcome::NoAddress);
            }
            rcode::NXDOMAIN => return Ok((self.forwarded(reply), Outcome::Nxdomain)),
            _ => return Ok((self.forwarded(reply), Outcome::UpstreamError)),
        }
        let decoded = match Reply::decode(reply) {
            Some(Ok(decoded)) => decoded,
            Some(Err(AliasLoop)) => return Ok(alias_loop()),
            None => return Ok((Draft::empty(rcode::SERVFAIL), Outcome::UpstreamError)),
        };
        let (mut any, mut usable) = (false, false);
        for v4 in decoded.a() {
            any = true;
            usable |= synthesis::addresses(self.zone(), v4).next().is_some();
        }
        if !any {
            return self.without_records(absence, denial, Outcome::NoAddress);
        }
        if !usable {
            return Ok(self.untranslatable(absence, denial, decoded));
        }
        if self.query.dnssec_ok() && !self.synthesizes_with_do(&decoded) {
            return self.without_records(absence, denial, Outcome::PassedDo);
        }
        if absence == AaaaAbsence::Rcode && denial.is_some_and(|d| wire::rcode_of(d) == rcode::SERVFAIL) {
            // AAAA failed without a reason, but A is authenticated, so the zone is signed. A forged
            // negative answer would look the same.
            if self.is_authentic(reply) {
                return self.without_records(absence, denial, Outcome::Bogus);
            }
        }
        Ok(self.synthesize(absence, denial, reply, decoded))
    }

    /// The answer from the A reply alone. `None` if it is unusable.
    fn ignoring_aaaa(&self, reply: &UpstreamReply) -> Option<(Draft, Outcome)> {
        let decoded = Reply::decode(reply)?.ok().filter(|_| wire::rcode_of(reply) == rcode::NOERROR)?;
        let usable = decoded.a().any(|v4| synthesis::addresses(self.zone(), v4).next().is_some());
        let may = !self.query.dnssec_ok() || self.synthesizes_with_do(&decoded);
        (usable && may).then(|| self.synthesize(AaaaAbsence::Ignored, None, reply, decoded))
    }

    /// The answer while the translator is down: no synthesized addresses, since they would be unreachable.
    fn answer_translator_down(
        &self,
        absence: AaaaAbsence,
        denial: Option<&UpstreamReply>,
    ) -> (Draft, Outcome) {
        let outcome = Outcome::TranslatorDown;
        match self.zone().rules.when_down {
            WhenDown::Servfail => (Draft::empty(rcode::SERVFAIL).error(ede::NOT_READY), outcome),
            WhenDown::Native => match self.without_records(absence, denial, outcome) {
                Ok((draft, _)) => (draft, outcome),
                Err(NoFallback) => (Draft::empty(rcode::SERVFAIL).error(ede::NOT_READY), outcome),
            },
        }
    }

    fn synthesize(
        &self,
        absence: AaaaAbsence,
        denial: Option<&UpstreamReply>,
        reply: &[u8],
        decoded: Reply,
    ) -> (Draft, Outcome) {
        if self.translator_down {
            return self.answer_translator_down(absence, denial);
        }
        let outcome = match absence {
            AaaaAbsence::Nodata => Outcome::SynthesizedNodata,
            AaaaAbsence::Excluded => Outcome::SynthesizedExcluded,
            AaaaAbsence::Rcode => Outcome::SynthesizedRcode,
            AaaaAbsence::Timeout => Outcome::SynthesizedTimeout,
            AaaaAbsence::Ignored => Outcome::SynthesizedIgnored,
        };
        let soa_ttl = denial.and_then(|d| Reply::decode(d)?.ok()?.negative_ttl());
        let authentic = absence == AaaaAbsence::Nodata
            && self.query.dnssec_ok()
            && self.is_authentic(reply)
            && denial.is_some_and(|d| self.is_authentic(d));
        match decoded.synthesize(|v4| synthesis::addresses(self.zone(), v4), soa_ttl.unwrap_or(NO_SOA_TTL)) {
            Some(records) => {
                let draft = Draft::records(records, rcode::NOERROR).authentic(authentic);
                (draft.error(ede::SYNTHESIZED), outcome)
            }
            None => (Draft::empty(rcode::SERVFAIL), Outcome::UpstreamError),
        }
    }

    fn excludes(&self, addr: Ipv6Addr) -> bool {
        synthesis::is_excluded(self.zone(), addr)
    }

    /// Whether the client may validate the AAAA records of the reply.
    fn may_validate(&self, decoded: &Reply) -> bool {
        self.query.dnssec_ok() && decoded.is_signed(AddressKind::Aaaa)
    }

    fn synthesizes_with_do(&self, decoded: &Reply) -> bool {
        let default = if self.settings.trust_ad { WithDo::Validated } else { WithDo::UnsignedOnly };
        match self.zone().rules.with_do.unwrap_or(default) {
            WithDo::Never => false,
            WithDo::UnsignedOnly => !decoded.is_signed(AddressKind::A),
            WithDo::Validated => true,
        }
    }

    /// The AAAA reply (RFC 6147 §5.1.6, §5.4) without excluded records.
    fn without_records(
        &self,
        absence: AaaaAbsence,
        denial: Option<&UpstreamReply>,
        outcome: Outcome,
    ) -> Result<(Draft, Outcome), NoFallback> {
        let reply = denial.ok_or(NoFallback)?;
        Ok(match absence {
            AaaaAbsence::Nodata => (self.forwarded(reply), outcome),
            AaaaAbsence::Excluded => {
                let draft = match Reply::decode(reply) {
                    Some(Ok(decoded)) if self.may_validate(&decoded) => self.forwarded(reply),
                    Some(Ok(decoded)) => decoded
                        .without_excluded(|addr| self.excludes(addr))
                        .map_or_else(|| Draft::empty(rcode::NOERROR), ok),
                    Some(Err(AliasLoop)) | None => Draft::empty(rcode::NOERROR),
                };
                (draft, outcome)
            }
            AaaaAbsence::Rcode if outcome == Outcome::Bogus => (self.forwarded(reply), outcome),
            AaaaAbsence::Rcode | AaaaAbsence::Timeout | AaaaAbsence::Ignored => {
                (self.forwarded_error(reply), Outcome::UpstreamError)
            }
        })
    }

    /// The AAAA reply if it is an error, otherwise (it was malformed) SERVFAIL.
    fn forwarded_error(&self, reply: &[u8]) -> Draft {
        if upstream_query::is_failure(reply) { self.forwarded(reply) } else { Draft::empty(rcode::SERVFAIL) }
    }

    /// The name has only A records that are not translated: an IPv6-only host gets no data.
    fn untranslatable(
        &self,
        absence: AaaaAbsence,
        denial: Option<&UpstreamReply>,
        a: Reply,
    ) -> (Draft, Outcome) {
        let outcome = Outcome::Untranslatable;
        match absence {
            AaaaAbsence::Nodata | AaaaAbsence::Excluded => {
                self.without_records(absence, denial, outcome).unwrap_or_else(|NoFallback| timeout_answer())
            }
            AaaaAbsence::Rcode | AaaaAbsence::Timeout | AaaaAbsence::Ignored => {
                (a.without_a().map_or_else(|| Draft::empty(rcode::NOERROR), ok), outcome)
            }
        }
    }
}

fn ok(records: Vec<u8>) -> Draft {
    Draft::records(records, rcode::NOERROR)
}

fn timeout_answer() -> (Draft, Outcome) {
    (Draft::empty(rcode::SERVFAIL).error(ede::NO_REACHABLE_AUTHORITY), Outcome::UpstreamTimeout)
}

fn alias_loop() -> (Draft, Outcome) {
    (Draft::empty(rcode::SERVFAIL), Outcome::AliasLoop)
}
