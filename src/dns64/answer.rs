//! Answers to clients, built from records or from an upstream reply.

use super::query::Query;
use super::wire::{self, Opt, ede, flag, rcode};
use crate::message;

/// An answer without the client's id, flags, question and OPT record.
pub(super) struct Draft {
    /// Header, question and records without OPT.
    message: Vec<u8>,
    rcode: u16,
    /// AA and AD bits.
    flags: u16,
    /// EDNS options, encoded.
    options: Vec<u8>,
}

impl Draft {
    /// A response code without records.
    pub(super) fn empty(rcode: u16) -> Self {
        Self { message: Vec::new(), rcode, flags: 0, options: Vec::new() }
    }

    /// Records encoded by [`crate::message`].
    pub(super) fn records(message: Vec<u8>, rcode: u16) -> Self {
        Self { message, rcode, flags: 0, options: Vec::new() }
    }

    /// A local denial with the SOA record of `zone`, an uncompressed name (RFC 2308 §2).
    pub(super) fn denial(query: &Query, rcode: u16, zone: &[u8], ttl: u32) -> Option<Self> {
        let message = message::local_denial(query.name(), query.kind(), zone, ttl)?;
        Some(Self::records(message, rcode).authoritative())
    }

    /// The same answer as a denial of the type instead of the name.
    pub(super) fn nodata(mut self) -> Self {
        self.rcode = rcode::NOERROR;
        self
    }

    /// An upstream reply with its records unchanged. Keeps extended errors (RFC 8914) and drops other EDNS
    /// options: those were addressed to gate64.
    pub(super) fn forwarded(reply: &[u8]) -> Self {
        let Some(layout) = wire::layout(reply) else {
            let code = wire::rcode_of(reply);
            return Self::empty(if code == rcode::NOERROR { rcode::SERVFAIL } else { code });
        };
        let mut message = reply[..layout.end].to_vec();
        let mut options = Vec::new();
        if let Some(at) = layout.opt {
            if let Some(opt) = Opt::read(reply, &at.at) {
                options = opt.errors().flat_map(|(_, option)| option.iter().copied()).collect();
            }
            // Drops the additional records after OPT too: a compressed name in them may point past it.
            // Additional records are optional.
            message.truncate(at.at.start);
            wire::set_u16(&mut message, 10, at.number);
        }
        let flags = wire::u16_at(reply, 2).unwrap_or(0) & flag::AA;
        Self { message, rcode: wire::rcode_of(reply), flags, options }
    }

    /// Sets AA: the data is local.
    pub(super) fn authoritative(mut self) -> Self {
        self.flags |= flag::AA;
        self
    }

    /// Sets AD if `authentic`.
    pub(super) fn authentic(mut self, authentic: bool) -> Self {
        if authentic {
            self.flags |= flag::AD;
        }
        self
    }

    /// Adds an extended error (RFC 8914).
    pub(super) fn error(mut self, code: u16) -> Self {
        self.options.extend_from_slice(&ede::option(code));
        self
    }

    /// Marks the data as stale (RFC 8914 §4.4, §4.20).
    pub(super) fn stale(self) -> Self {
        let code = if self.rcode == rcode::NXDOMAIN { ede::STALE_NXDOMAIN } else { ede::STALE };
        self.error(code)
    }

    /// The message for the client, and whether it was truncated to fit the client's limit (RFC 6147 §5.4,
    /// RFC 2181 §9).
    pub(super) fn finish(mut self, query: &Query) -> (Vec<u8>, bool) {
        let question_end = wire::HEADER + query.question.len();
        if self.message.len() < question_end {
            self.message.resize(wire::HEADER, 0);
            self.message[4..].fill(0);
            wire::set_u16(&mut self.message, 4, u16::from(!query.question.is_empty()));
            self.message.extend_from_slice(&query.question);
        }
        // The names differ at most in case, so pointers into the question remain valid.
        self.message[wire::HEADER..question_end].copy_from_slice(&query.question);
        let own = query.flags & (flag::OPCODE | flag::RD | flag::CD);
        let mut flags = flag::QR | flag::RA | own | self.flags | self.rcode & flag::RCODE;
        let opt_len = if query.edns.is_some() { 11 + self.options.len() } else { 0 };
        let truncated = self.message.len() + opt_len > usize::from(query.limit);
        if truncated {
            flags |= flag::TC;
            self.message.truncate(question_end);
            self.message[6..wire::HEADER].fill(0);
            if question_end + opt_len > usize::from(query.limit) {
                // An extended error may carry a text of any length (RFC 8914 §2).
                self.options.clear();
            }
        }
        wire::set_u16(&mut self.message, 0, query.id);
        wire::set_u16(&mut self.message, 2, flags);
        if let Some(edns) = query.edns {
            let high = u8::try_from(self.rcode >> 4).unwrap_or(0);
            wire::push_opt(&mut self.message, high, edns.dnssec_ok, &self.options);
        }
        (self.message, truncated)
    }
}
