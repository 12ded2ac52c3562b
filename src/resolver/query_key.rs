//! Keys of the answer cache, computed from a query without allocation.

use crate::dns64::Transport;
use crate::dns64::wire::{self, Opt, flag, rr};

/// Code of the cookie option (RFC 7873 §4).
pub(super) const COOKIE: u16 = 10;
/// Code of the padding option (RFC 7830 §3).
pub(super) const PADDING: u16 = 12;
/// Longest key: a name and seven bytes before it.
const KEY: usize = 255 + 7;

/// A well-formed query that the answer cache can serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SimpleQuery<'a> {
    pub(super) id: [u8; 2],
    /// Name, type and class as received.
    pub(super) question: &'a [u8],
    /// RD, AD and CD as received.
    flags: u16,
    edns: bool,
    dnssec_ok: bool,
    /// Content of the cookie option.
    pub(super) cookie: Option<&'a [u8]>,
    /// Largest answer that the client accepts, in bytes.
    pub(super) limit: usize,
}

impl<'a> SimpleQuery<'a> {
    /// Reads a query. `None` unless it is one question, optionally with an OPT record whose only options are a
    /// cookie and padding. Other queries take the slow path.
    pub(super) fn read(bytes: &'a [u8], transport: Transport) -> Option<Self> {
        let head: &[u8; wire::HEADER] = bytes.first_chunk()?;
        let flags = u16::from_be_bytes([head[2], head[3]]);
        let usual = flag::RD | flag::AD | flag::CD;
        let [0, 1, 0, 0, 0, 0, 0, additional @ 0..=1] = head[4..] else { return None };
        if flags & !usual != 0 {
            return None;
        }
        let question = wire::question(bytes)?;
        let end = question.end;
        let mut simple = Self {
            id: [head[0], head[1]],
            question: &bytes[question],
            flags,
            edns: additional == 1,
            dnssec_ok: false,
            cookie: None,
            limit: usize::from(wire::PLAIN_UDP_SIZE),
        };
        if simple.edns {
            simple.read_opt(bytes.get(end..)?)?;
        } else if bytes.len() != end {
            return None;
        }
        if transport == Transport::Tcp {
            simple.limit = usize::from(u16::MAX);
        }
        let kind = simple.kind();
        (simple.class() == rr::IN && !matches!(kind, rr::AXFR | rr::IXFR | rr::OPT)).then_some(simple)
    }

    fn read_opt(&mut self, record: &'a [u8]) -> Option<()> {
        if record.get(..3)? != [0, 0, rr::OPT as u8] {
            return None;
        }
        let opt = Opt::read(record, &(0..record.len()))?;
        let mut options = record.get(11..)?;
        if opt.version != 0 || wire::u16_at(record, 9)? as usize != options.len() {
            return None;
        }
        self.dnssec_ok = opt.dnssec_ok;
        self.limit = usize::from(opt.size.min(wire::UDP_SIZE));
        while !options.is_empty() {
            let (content, rest) = options.get(4..)?.split_at_checked(wire::u16_at(options, 2)?.into())?;
            match wire::u16_at(options, 0)? {
                COOKIE if self.cookie.is_none() => self.cookie = Some(content),
                PADDING => {}
                _ => return None,
            }
            options = rest;
        }
        Some(())
    }

    fn kind(&self) -> u16 {
        wire::u16_at(self.question, self.question.len() - 4).unwrap_or(0)
    }

    fn class(&self) -> u16 {
        wire::u16_at(self.question, self.question.len() - 2).unwrap_or(0)
    }

    /// The key: zone, flags and the question in lowercase.
    pub(super) fn key(&self, zone: u16) -> Key {
        let mut key = Key { bytes: [0; KEY], len: 0 };
        let [high, low] = self.flags.to_be_bytes();
        let edns = u8::from(self.edns) | u8::from(self.dnssec_ok) << 1;
        key.bytes[..2].copy_from_slice(&zone.to_be_bytes());
        key.bytes[2] = high << 4 | low >> 4 << 2 | edns;
        let (name, kind) = self.question.split_at(self.question.len() - 4);
        key.bytes[3..7].copy_from_slice(kind);
        key.len = 7 + name.len();
        for (to, from) in key.bytes[7..].iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        key
    }
}

/// The zone index in a key, and a query for the key's question.
pub(super) fn query_of(key: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (head, name) = key.split_first_chunk::<7>()?;
    let mut query = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(name);
    query.extend_from_slice(&head[3..]);
    Some((u16::from_be_bytes([head[0], head[1]]), query))
}

/// Everything that an answer depends on.
#[derive(Debug)]
pub(super) struct Key {
    bytes: [u8; KEY],
    len: usize,
}

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(flags: u16, question: &[u8], more: &[u8], additional: u8) -> Vec<u8> {
        let [high, low] = flags.to_be_bytes();
        let mut bytes = vec![0x12, 0x34, high, low, 0, 1, 0, 0, 0, 0, 0, additional];
        bytes.extend_from_slice(question);
        bytes.extend_from_slice(more);
        bytes
    }

    const QUESTION: &[u8] = b"\x01A\x07exAmple\x00\x00\x1c\x00\x01";

    #[test]
    fn the_key_has_everything_the_answer_depends_on() {
        let opt = |flags: u8| [0, 0, 41, 4, 208, 0, 0, flags, 0, 0, 0];
        let lower = b"\x01a\x07example\x00\x00\x1c\x00\x01";
        let key = |bytes: &[u8], zone| {
            SimpleQuery::read(bytes, Transport::Udp).expect("usual").key(zone).bytes().to_vec()
        };
        let plain = key(&query(0x0100, QUESTION, &[], 0), 1);
        assert_eq!(plain, key(&query(0x0100, lower, &[], 0), 1), "the case of letters");
        let others = [
            key(&query(0x0100, QUESTION, &[], 0), 2),
            key(&query(0x0000, QUESTION, &[], 0), 1),
            key(&query(0x0110, QUESTION, &[], 0), 1),
            key(&query(0x0120, QUESTION, &[], 0), 1),
            key(&query(0x0100, QUESTION, &opt(0), 1), 1),
            key(&query(0x0100, QUESTION, &opt(0x80), 1), 1),
            key(&query(0x0100, b"\x01b\x07example\x00\x00\x1c\x00\x01", &[], 0), 1),
            key(&query(0x0100, b"\x01a\x07example\x00\x00\x01\x00\x01", &[], 0), 1),
        ];
        let (zone, query) = query_of(&plain).expect("a key of ours");
        assert_eq!((zone, &query[wire::HEADER..]), (1, &lower[..]));
        let all: std::collections::BTreeSet<_> = others.iter().chain([&plain]).collect();
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn sizes_and_cookies_are_read() {
        let cookie = b"\x00\x00\x29\x20\x00\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x08cookies!";
        let bytes = query(0x0100, QUESTION, cookie, 1);
        let simple = SimpleQuery::read(&bytes, Transport::Udp).expect("usual");
        assert_eq!(simple.cookie, Some(&b"cookies!"[..]));
        assert_eq!(simple.limit, 1_232);
        assert_eq!(SimpleQuery::read(&bytes, Transport::Tcp).map(|a| a.limit), Some(65_535));
        let plain = simple;
        let padded =
            b"\x00\x00\x29\x20\x00\x00\x00\x00\x00\x00\x12\x00\x0c\x00\x02\x00\x00\x00\x0a\x00\x08cookies!";
        let bytes = query(0x0100, QUESTION, padded, 1);
        let simple = SimpleQuery::read(&bytes, Transport::Udp).expect("usual");
        assert_eq!(simple, plain);
        assert_eq!(simple.key(1).bytes(), plain.key(1).bytes(), "padding does not change the answer");
    }

    #[test]
    fn unusual_queries_take_the_slow_path() {
        let ecs = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0b\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02";
        let version = b"\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00";
        let two_cookies =
            b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x18\x00\x0a\x00\x08cookies!\x00\x0a\x00\x08cookies!";
        let cases = [
            query(0x8100, QUESTION, &[], 0),
            query(0x2100, QUESTION, &[], 0),
            query(0x0100, QUESTION, b"x", 0),
            query(0x0100, QUESTION, ecs, 1),
            query(0x0100, QUESTION, version, 1),
            query(0x0100, QUESTION, two_cookies, 1),
            query(0x0100, b"\x01a\x00\x00\xfc\x00\x01", &[], 0),
            query(0x0100, b"\x01a\x00\x00\x01\x00\x03", &[], 0),
        ];
        for bytes in cases {
            assert_eq!(SimpleQuery::read(&bytes, Transport::Udp), None, "{bytes:02x?}");
        }
        let whole = query(0x0100, QUESTION, ecs, 1);
        for end in 0..whole.len() {
            assert_eq!(SimpleQuery::read(&whole[..end], Transport::Udp), None);
        }
    }
}
