//! From a reply to what is kept of it, and back.

use std::sync::Arc;

use super::super::key::Key;
use super::super::wire::{self, Opt, flag, rcode, rr};
use super::Keeping;
use super::entry::{AUTHENTIC, Head};

/// TTL of stale records, in seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// What is kept of a reply.
pub(super) struct Reading {
    /// How long it holds, in seconds; `None` if it does not say.
    pub(super) ttl: Option<u32>,
    pub(super) error: u16,
    pub(super) counts: [u16; 3],
    pub(super) records: Vec<u8>,
}

impl Reading {
    /// Reads a reply that is no error. `None` if it is malformed.
    pub(super) fn of(key: &Key, reply: &[u8], keeping: &Keeping) -> Option<Self> {
        let layout = wire::layout(reply)?;
        let mut counts = [6, 8, 10].map(|at| wire::u16_at(reply, at).unwrap_or(0));
        let mut end = layout.end;
        if let Some(opt) = &layout.opt {
            // Additional records behind OPT may be left out.
            counts[2] = opt.number;
            end = opt.at.start;
        }
        let mut message = reply[..end].to_vec();
        let (answers, denial) = (u32::from(counts[0]), u32::from(counts[0]) + u32::from(counts[1]));
        let total = denial + u32::from(counts[2]);
        let (mut ttl, mut has_kind, mut negative) = (u32::MAX, false, None);
        for (number, record) in (0..total).zip(wire::records(reply, layout.question.end)) {
            // RFC 2181 §8.
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
            (true, Some(holds)) => Some(ttl.min(holds).min(keeping.most_negative)),
            (false, _) => Some(ttl.min(keeping.most)),
        };
        let records = message.split_off(layout.question.end);
        Some(Self { ttl, error: error_of(reply), counts, records })
    }
}

/// The first extended error of a reply, plus one.
pub(super) fn error_of(reply: &[u8]) -> u16 {
    let opt = wire::layout(reply).and_then(|layout| layout.opt);
    let opt = opt.and_then(|opt| Opt::read(reply, &opt.at));
    opt.and_then(|opt| opt.errors().next()).map_or(0, |(code, _)| code.saturating_add(1))
}

/// A reply made of what is kept, its records `age` seconds old, or stale.
pub(super) fn message(key: &Key, head: &Head, records: &[u8], age: Option<u32>) -> Arc<[u8]> {
    let mut message = Vec::with_capacity(wire::HEADER + key.name.len() + 4 + records.len() + 17);
    let authentic = if head.bits & AUTHENTIC != 0 { flag::AD } else { 0 };
    let flags = flag::QR | flag::RD | flag::RA | authentic | head.rcode & flag::RCODE;
    let [an, ns, ar] = head.counts;
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
    if head.error != 0 || head.rcode > flag::RCODE {
        let option = wire::ede::option(head.error.saturating_sub(1));
        let options = if head.error == 0 { &[][..] } else { &option };
        wire::push_opt(&mut message, (head.rcode >> 4).to_le_bytes()[0], false, options);
    }
    message.into()
}
