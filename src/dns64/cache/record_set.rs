//! Conversion between a reply and its cached form.

use std::sync::Arc;

use super::super::key::Key;
use super::super::wire::{self, Opt, flag, rcode, rr};
use super::entry::{AUTHENTIC, RecordSetHeader};
use super::limits::CacheLimits;

/// TTL of stale records, in seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// The parts of a reply that the cache stores.
pub(super) struct Reading {
    /// TTL in seconds; `None` if the reply has none.
    pub(super) ttl: Option<u32>,
    pub(super) error: u16,
    pub(super) counts: [u16; 3],
    pub(super) records: Vec<u8>,
}

impl Reading {
    /// Reads a reply that is not an error. `None` if it is malformed.
    pub(super) fn of(key: &Key, reply: &[u8], cache_limits: &CacheLimits) -> Option<Self> {
        let layout = wire::layout(reply)?;
        let mut counts = [6, 8, 10].map(|at| wire::u16_at(reply, at).unwrap_or(0));
        let mut end = layout.end;
        if let Some(opt) = &layout.opt {
            // Additional records after OPT are optional.
            counts[2] = opt.number;
            end = opt.at.start;
        }
        let mut message = reply[..end].to_vec();
        let (answers, denial) = (u32::from(counts[0]), u32::from(counts[0]) + u32::from(counts[1]));
        let total = denial + u32::from(counts[2]);
        let (mut ttl, mut has_kind, mut negative) = (u32::MAX, false, None);
        for (number, record) in (0..total).zip(wire::records(reply, layout.question.end)) {
            // A TTL above 2^31 - 1 counts as 0 (RFC 2181 §8).
            let own = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
            ttl = ttl.min(own);
            has_kind |= number < answers && (record.kind == key.kind || key.kind == rr::ANY);
            if (answers..denial).contains(&number) && record.kind == rr::SOA {
                let minimum = wire::u32_at(reply, record.data.end.checked_sub(4)?)?;
                let holds = own.min(minimum);
                negative.get_or_insert(holds);
                wire::set_u32(&mut message, record.ttl_at, holds);
            }
        }
        let is_denial = wire::rcode_of(reply) == rcode::NXDOMAIN || !has_kind;
        let ttl = match (is_denial, negative) {
            (true, None) => None,
            (true, Some(holds)) => Some(ttl.min(holds).min(cache_limits.max_negative_ttl)),
            (false, _) => Some(ttl.min(cache_limits.max_ttl)),
        };
        let records = message.split_off(layout.question.end);
        Some(Self { ttl, error: error_of(reply), counts, records })
    }
}

/// Code of a reply's first extended error plus one; 0 if there is none.
pub(super) fn error_of(reply: &[u8]) -> u16 {
    let opt = wire::layout(reply).and_then(|layout| layout.opt);
    let opt = opt.and_then(|opt| Opt::read(reply, &opt.at));
    opt.and_then(|opt| opt.errors().next()).map_or(0, |(code, _)| code.saturating_add(1))
}

/// A reply built from cached records, which are `age` seconds old; `None` marks stale data.
pub(super) fn message(key: &Key, header: &RecordSetHeader, records: &[u8], age: Option<u32>) -> Arc<[u8]> {
    let mut message = Vec::with_capacity(wire::HEADER + key.name.len() + 4 + records.len() + 17);
    let authentic = if header.bits & AUTHENTIC != 0 { flag::AD } else { 0 };
    let flags = flag::QR | flag::RD | flag::RA | authentic | header.rcode & flag::RCODE;
    let [an, ns, ar] = header.counts;
    for number in [0, flags, 1, an, ns, ar] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(&key.name);
    message.extend_from_slice(&key.kind.to_be_bytes());
    message.extend_from_slice(&key.class.to_be_bytes());
    let start = message.len();
    message.extend_from_slice(records);
    let total = usize::from(an) + usize::from(ns) + usize::from(ar);
    let ttls: Vec<_> = wire::records(&message, start).take(total).map(|r| (r.ttl_at, r.ttl)).collect();
    for (at, ttl) in ttls {
        wire::set_u32(&mut message, at, age.map_or(STALE_TTL, |age| ttl.saturating_sub(age)));
    }
    if header.error != 0 || header.rcode > flag::RCODE {
        let option = wire::ede::option(header.error.saturating_sub(1));
        let options = if header.error == 0 { &[][..] } else { &option };
        wire::push_opt(&mut message, (header.rcode >> 4).to_le_bytes()[0], false, options);
    }
    message.into()
}
