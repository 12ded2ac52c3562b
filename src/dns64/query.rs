//! A client query, decoded as far as DNS64 needs it.

use super::Outcome;
use super::wire::{self, Opt, flag, rcode, rr};

/// Transport of a client query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Datagram: answers have a size limit. Refused queries get no answer, so that forged sources cannot
    /// abuse it for reflection.
    Udp,
    /// Stream: answers may have 65,535 bytes, and refused queries get REFUSED.
    Tcp,
}

/// A client's query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Query {
    pub(super) id: u16,
    /// Opcode, RD, AD and CD as received.
    pub(super) flags: u16,
    /// Name, type and class as received; the answer repeats them, including case.
    pub(super) question: Vec<u8>,
    /// Present if the query has an OPT record; only then may the answer have one (RFC 6891 §6.1.1).
    pub(super) edns: Option<Edns>,
    /// Largest answer that the client accepts, in bytes.
    pub(super) limit: u16,
}

/// The client's OPT record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edns {
    pub(super) dnssec_ok: bool,
    pub(super) version: u8,
}

impl Query {
    /// Reads a query. `None` if the message is not a query.
    ///
    /// A query that is malformed after its header gets an empty question and a [`refusal`](Self::refusal).
    pub(super) fn read(bytes: &[u8], transport: Transport) -> Option<Self> {
        let flags = wire::u16_at(bytes, 2)?;
        if bytes.len() < wire::HEADER || flags & flag::QR != 0 {
            return None;
        }
        let mut query = Self {
            id: wire::u16_at(bytes, 0)?,
            flags: flags & (flag::OPCODE | flag::RD | flag::AD | flag::CD),
            question: Vec::new(),
            edns: None,
            limit: match transport {
                Transport::Udp => wire::PLAIN_UDP_SIZE,
                Transport::Tcp => u16::MAX,
            },
        };
        if let Some(layout) = wire::layout(bytes) {
            query.question = bytes[layout.question].to_vec();
            if let Some(opt) = layout.opt.and_then(|opt| Opt::read(bytes, &opt.at)) {
                query.edns = Some(Edns { dnssec_ok: opt.dnssec_ok, version: opt.version });
                if transport == Transport::Udp {
                    query.limit = opt.size.min(wire::UDP_SIZE);
                }
            }
        }
        Some(query)
    }

    /// The response code and outcome if the query is rejected (RFC 1035 §4.1.1, RFC 6891 §6.1.3).
    pub(super) fn refusal(&self) -> Option<(u16, Outcome)> {
        if self.flags & flag::OPCODE != 0 {
            Some((rcode::NOTIMP, Outcome::Notimp))
        } else if self.question.is_empty() {
            Some((rcode::FORMERR, Outcome::Formerr))
        } else if self.edns.is_some_and(|edns| edns.version != 0) {
            Some((rcode::BADVERS, Outcome::Badvers))
        } else if matches!(self.kind(), rr::AXFR | rr::IXFR) {
            Some((rcode::REFUSED, Outcome::Transfer))
        } else {
            None
        }
    }

    /// The queried name, uncompressed.
    pub(super) fn name(&self) -> &[u8] {
        &self.question[..self.question.len().saturating_sub(4)]
    }

    /// The queried type.
    pub(super) fn kind(&self) -> u16 {
        wire::u16_at(&self.question, self.name().len()).unwrap_or(0)
    }

    /// The queried class.
    pub(super) fn class(&self) -> u16 {
        wire::u16_at(&self.question, self.name().len() + 2).unwrap_or(0)
    }

    /// Whether the client requests DNSSEC records.
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client validates.
    pub(super) const fn checking_disabled(&self) -> bool {
        self.flags & flag::CD != 0
    }

    /// Whether the upstream may recurse.
    pub(super) const fn recursion_desired(&self) -> bool {
        self.flags & flag::RD != 0
    }

    /// Whether the answer to this client may have AD (RFC 6840 §5.8).
    pub(super) fn wants_ad(&self) -> bool {
        self.dnssec_ok() || self.flags & flag::AD != 0
    }

    /// The upstream query with this query's flags and DO, for another name and type.
    pub(super) fn upstream(&self, name: &[u8], kind: u16) -> Vec<u8> {
        wire::upstream_query(name, kind, self.class(), self.flags & (flag::RD | flag::CD), self.dnssec_ok())
    }
}
