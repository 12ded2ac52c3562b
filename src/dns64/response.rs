//! What upstreams' answers mean for the client: the rules of RFC 6147 §5.1 and §5.5.

use core::net::Ipv6Addr;

use super::answer::Draft;
use super::pending::PendingQuery;
use super::upstream_query::{self, Fate, Heard};
use super::wire::{self, ede, flag, rcode};
use super::{Outcome, WhenDown, WithDo, synthesis};
use crate::message::{AliasLoop, Reply};
use crate::time::Instant;

const AAAA: usize = 0;
const A: usize = 1;

/// Why there is no AAAA record to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    Nodata,
    Excluded,
    Rcode,
    Timeout,
    /// There may be one, but a rule says to ignore it.
    Ignored,
}

/// Longest life of a synthesised record if no SOA record says how long AAAA is absent, in seconds
/// (RFC 6147 §5.1.7).
const NO_SOA_TTL: u32 = 600;

/// There is no AAAA answer to fall back on.
#[derive(Debug)]
struct NoAnswer;

impl PendingQuery {
    /// The upstream's answer, its AD bit believed or not (RFC 6840 §5.8).
    fn passed(&self, reply: &[u8]) -> Draft {
        Draft::passed(reply).authentic(self.query.wants_ad() && self.is_authentic(reply))
    }

    fn is_authentic(&self, reply: &[u8]) -> bool {
        self.settings.trust_ad && wire::u16_at(reply, 2).is_some_and(|flags| flags & flag::AD != 0)
    }

    pub(super) fn pass(&self, fate: &Fate, outcome: Outcome) -> (Draft, Outcome) {
        match fate {
            Fate::Silent => silence(),
            Fate::Reply(reply) if upstream_query::is_failure(reply) => {
                (self.passed(reply), Outcome::UpstreamError)
            }
            Fate::Reply(reply) => (self.passed(reply), outcome),
        }
    }

    /// RFC 6147 §5.3.1, second option: an alias to the IPv4 name, if that has PTR records.
    pub(super) fn reverse(&self, fate: &Fate) -> (Draft, Outcome) {
        let reply = match fate {
            Fate::Silent => return silence(),
            Fate::Reply(reply) => reply,
        };
        match wire::rcode_of(reply) {
            rcode::NXDOMAIN => (Draft::empty(rcode::NXDOMAIN), Outcome::PtrMissing),
            rcode::NOERROR => match Reply::decode(reply) {
                Some(Ok(decoded)) => match decoded.reverse(self.query.name()) {
                    Some(records) => (Draft::records(records, rcode::NOERROR), Outcome::Ptr),
                    None => (Draft::empty(rcode::NOERROR), Outcome::PtrMissing),
                },
                Some(Err(AliasLoop)) => alias_loop(),
                None => (Draft::empty(rcode::SERVFAIL), Outcome::UpstreamError),
            },
            code => (Draft::empty(code), Outcome::UpstreamError),
        }
    }

    pub(super) fn synthesis(&self, now: Instant) -> Option<(Draft, Outcome)> {
        if self.ignores_aaaa() {
            match self.fate(A)? {
                Fate::Reply(reply) => {
                    if let Some(done) = self.ignoring_aaaa(reply) {
                        return Some(done);
                    }
                }
                Fate::Silent => {}
            }
        }
        let aaaa = self.fate(AAAA);
        let (missing, denial) = match aaaa {
            None if now < self.patience => return None,
            None => (Missing::Timeout, None),
            Some(Fate::Silent) => (Missing::Timeout, None),
            Some(Fate::Reply(reply)) => match self.judge_aaaa(reply) {
                Ok(done) => return Some(done),
                Err(missing) => (missing, Some(reply)),
            },
        };
        match self.fate(A)? {
            // Without A records the late AAAA answer is still worth waiting for.
            Fate::Reply(reply) => match self.judge_a(missing, denial, reply) {
                Err(NoAnswer) if aaaa.is_none() => None,
                Err(NoAnswer) => Some(silence()),
                Ok(done) => Some(done),
            },
            Fate::Silent if aaaa.is_none() => None,
            Fate::Silent => Some(silence()),
        }
    }

    /// The answer, if AAAA decides it; else why it doesn't.
    fn judge_aaaa(&self, reply: &[u8]) -> Result<(Draft, Outcome), Missing> {
        match wire::rcode_of(reply) {
            rcode::NXDOMAIN => return Ok((self.passed(reply), Outcome::Nxdomain)),
            rcode::NOERROR => {}
            _ if upstream_query::is_bogus(reply) => return Ok((self.passed(reply), Outcome::Bogus)),
            _ => return Err(Missing::Rcode),
        }
        let decoded = match Reply::decode(reply) {
            Some(Ok(decoded)) => decoded,
            Some(Err(AliasLoop)) => return Ok(alias_loop()),
            None => return Err(Missing::Rcode),
        };
        let (mut kept, mut excluded) = (false, false);
        for addr in decoded.aaaa() {
            if self.excludes(addr) {
                excluded = true;
            } else {
                kept = true;
            }
        }
        match (kept, excluded) {
            (true, false) => Ok((self.passed(reply), Outcome::Native)),
            (true, true) => match decoded.without_excluded(|addr| self.excludes(addr)) {
                Some(records) => Ok((Draft::records(records, rcode::NOERROR), Outcome::NativeFiltered)),
                None => Err(Missing::Excluded),
            },
            (false, true) => Err(Missing::Excluded),
            (false, false) => Err(Missing::Nodata),
        }
    }

    /// The answer made of the A answer, or of `denial`, the AAAA answer, if that is no use.
    fn judge_a(
        &self,
        missing: Missing,
        denial: Option<&Heard>,
        reply: &[u8],
    ) -> Result<(Draft, Outcome), NoAnswer> {
        match wire::rcode_of(reply) {
            rcode::NOERROR => {}
            // The name exists, as the AAAA answer says: an upstream that is of two minds must not
            // make it vanish.
            rcode::NXDOMAIN if matches!(missing, Missing::Nodata | Missing::Excluded) => {
                return self.without_records(missing, denial, Outcome::NoAddress);
            }
            rcode::NXDOMAIN => return Ok((self.passed(reply), Outcome::Nxdomain)),
            _ => return Ok((self.passed(reply), Outcome::UpstreamError)),
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
            return self.without_records(missing, denial, Outcome::NoAddress);
        }
        if !usable {
            return Ok(self.untranslatable(missing, denial, decoded));
        }
        if self.query.dnssec_ok() && !self.synthesises_with_do(&decoded) {
            return self.without_records(missing, denial, Outcome::PassedDo);
        }
        if missing == Missing::Rcode && denial.is_some_and(|d| wire::rcode_of(d) == rcode::SERVFAIL) {
            // No word of why AAAA failed, but A is proven genuine: then the zone is signed, and a
            // forged denial would look just like this.
            if self.is_authentic(reply) {
                return self.without_records(missing, denial, Outcome::Bogus);
            }
        }
        Ok(self.synthesise(missing, denial, reply, decoded))
    }

    /// The answer made of the A answer, whatever AAAA says; `None` if nothing can be made of it.
    fn ignoring_aaaa(&self, reply: &Heard) -> Option<(Draft, Outcome)> {
        let decoded = Reply::decode(reply)?.ok().filter(|_| wire::rcode_of(reply) == rcode::NOERROR)?;
        let usable = decoded.a().any(|v4| synthesis::addresses(self.zone(), v4).next().is_some());
        let may = !self.query.dnssec_ok() || self.synthesises_with_do(&decoded);
        (usable && may).then(|| self.synthesise(Missing::Ignored, None, reply, decoded))
    }

    /// Nothing translates: no address is made that leads nowhere.
    fn down(&self, missing: Missing, denial: Option<&Heard>) -> (Draft, Outcome) {
        let outcome = Outcome::TranslatorDown;
        match self.zone().rules.when_down {
            WhenDown::Servfail => (Draft::empty(rcode::SERVFAIL).error(ede::NOT_READY), outcome),
            WhenDown::Native => match self.without_records(missing, denial, outcome) {
                Ok((draft, _)) => (draft, outcome),
                Err(NoAnswer) => (Draft::empty(rcode::SERVFAIL).error(ede::NOT_READY), outcome),
            },
        }
    }

    fn synthesise(
        &self,
        missing: Missing,
        denial: Option<&Heard>,
        reply: &[u8],
        decoded: Reply,
    ) -> (Draft, Outcome) {
        if self.is_down {
            return self.down(missing, denial);
        }
        let outcome = match missing {
            Missing::Nodata => Outcome::SynthesisedNodata,
            Missing::Excluded => Outcome::SynthesisedExcluded,
            Missing::Rcode => Outcome::SynthesisedRcode,
            Missing::Timeout => Outcome::SynthesisedTimeout,
            Missing::Ignored => Outcome::SynthesisedIgnored,
        };
        let soa_ttl = denial.and_then(|d| Reply::decode(d)?.ok()?.negative_ttl());
        let authentic = missing == Missing::Nodata
            && self.query.dnssec_ok()
            && self.is_authentic(reply)
            && denial.is_some_and(|d| self.is_authentic(d));
        match decoded.synthesise(|v4| synthesis::addresses(self.zone(), v4), soa_ttl.unwrap_or(NO_SOA_TTL)) {
            Some(records) => {
                let draft = Draft::records(records, rcode::NOERROR).authentic(authentic);
                (draft.error(ede::SYNTHESISED), outcome)
            }
            None => (Draft::empty(rcode::SERVFAIL), Outcome::UpstreamError),
        }
    }

    fn excludes(&self, addr: Ipv6Addr) -> bool {
        synthesis::is_excluded(self.zone(), addr)
    }

    fn synthesises_with_do(&self, decoded: &Reply) -> bool {
        let pin = if self.settings.trust_ad { WithDo::Validated } else { WithDo::UnsignedOnly };
        match self.zone().rules.with_do.unwrap_or(pin) {
            WithDo::Never => false,
            WithDo::UnsignedOnly => !decoded.is_signed(),
            WithDo::Validated => true,
        }
    }

    /// The AAAA answer after all (RFC 6147 §5.1.6, §5.4), stripped of excluded records.
    fn without_records(
        &self,
        missing: Missing,
        denial: Option<&Heard>,
        outcome: Outcome,
    ) -> Result<(Draft, Outcome), NoAnswer> {
        let reply = denial.ok_or(NoAnswer)?;
        Ok(match missing {
            Missing::Nodata => (self.passed(reply), outcome),
            Missing::Excluded => {
                let stripped = Reply::decode(reply)
                    .and_then(Result::ok)
                    .and_then(|decoded| decoded.without_excluded(|addr| self.excludes(addr)));
                (stripped.map_or_else(|| Draft::empty(rcode::NOERROR), ok), outcome)
            }
            Missing::Rcode if outcome == Outcome::Bogus => (self.passed(reply), outcome),
            Missing::Rcode | Missing::Timeout | Missing::Ignored => {
                (self.passed_error(reply), Outcome::UpstreamError)
            }
        })
    }

    /// The AAAA answer if it is an error, else, if it could not be decoded, SERVFAIL.
    fn passed_error(&self, reply: &[u8]) -> Draft {
        if upstream_query::is_failure(reply) { self.passed(reply) } else { Draft::empty(rcode::SERVFAIL) }
    }

    /// The name has only A records that stay untranslated: no data for a host without IPv4.
    fn untranslatable(&self, missing: Missing, denial: Option<&Heard>, a: Reply) -> (Draft, Outcome) {
        let outcome = Outcome::Untranslatable;
        match missing {
            Missing::Nodata | Missing::Excluded => {
                self.without_records(missing, denial, outcome).unwrap_or_else(|NoAnswer| silence())
            }
            Missing::Rcode | Missing::Timeout | Missing::Ignored => {
                (a.without_a().map_or_else(|| Draft::empty(rcode::NOERROR), ok), outcome)
            }
        }
    }
}

fn ok(records: Vec<u8>) -> Draft {
    Draft::records(records, rcode::NOERROR)
}

fn silence() -> (Draft, Outcome) {
    (Draft::empty(rcode::SERVFAIL).error(ede::NO_REACHABLE_AUTHORITY), Outcome::UpstreamTimeout)
}

fn alias_loop() -> (Draft, Outcome) {
    (Draft::empty(rcode::SERVFAIL), Outcome::AliasLoop)
}
