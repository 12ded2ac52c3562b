//! Layout of a DNS message (RFC 1035 §4, RFC 6891): header, question and OPT, by offset.
//!
//! Forwarded messages are not decoded into records, so unknown and malformed records reach the client
//! unchanged.

use core::ops::Range;

/// Length of the header, in bytes.
pub(crate) const HEADER: usize = 12;
/// Largest UDP message that gate64 sends and announces, in bytes: passes every path without fragments.
pub(crate) const UDP_SIZE: u16 = 1232;
/// Largest UDP answer to a client without EDNS, in bytes (RFC 1035 §2.3.4).
pub(crate) const PLAIN_UDP_SIZE: u16 = 512;

/// Header flags: the two bytes after the id.
pub(crate) mod flag {
    pub(crate) const QR: u16 = 0x8000;
    pub(crate) const OPCODE: u16 = 0x7800;
    pub(crate) const AA: u16 = 0x0400;
    pub(crate) const TC: u16 = 0x0200;
    pub(crate) const RD: u16 = 0x0100;
    pub(crate) const RA: u16 = 0x0080;
    pub(crate) const AD: u16 = 0x0020;
    pub(crate) const CD: u16 = 0x0010;
    pub(crate) const RCODE: u16 = 0x000f;
}

/// Response codes (RFC 1035 §4.1.1, RFC 6891 §9).
pub(crate) mod rcode {
    pub(crate) const NOERROR: u16 = 0;
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const SERVFAIL: u16 = 2;
    pub(crate) const NXDOMAIN: u16 = 3;
    pub(crate) const NOTIMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    pub(crate) const BADVERS: u16 = 16;
}

/// Types and classes with special handling.
pub(crate) mod rr {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const DS: u16 = 43;
    pub(crate) const SVCB: u16 = 64;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
    pub(crate) const IN: u16 = 1;
    pub(crate) const CH: u16 = 3;
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// Writes a number. The caller checks that the message is long enough.
pub(crate) fn set_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// As [`set_u16`].
pub(crate) fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// Offset of the end of the name at `at`.
pub(crate) fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            64..=191 => return None,
            192.. => return Some(at + 2),
        }
    }
}

/// Offsets of the parts of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// The first question: an uncompressed name, type and class.
    pub(crate) question: Range<usize>,
    /// The OPT record.
    pub(crate) opt: Option<OptAt>,
    /// End of the last record.
    pub(crate) end: usize,
}

/// Position of the OPT record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OptAt {
    pub(crate) at: Range<usize>,
    /// Number of additional records before it.
    pub(crate) number: u16,
}

/// The question of a message that has exactly one.
pub(crate) fn question(bytes: &[u8]) -> Option<Range<usize>> {
    if u16_at(bytes, 4)? != 1 {
        return None;
    }
    let mut at = HEADER;
    loop {
        match *bytes.get(at)? {
            0 => break,
            len @ 1..=63 => at += 1 + usize::from(len),
            64.. => return None,
        }
    }
    let end = at + 1 + 4;
    (end <= bytes.len() && at - HEADER < 255).then_some(HEADER..end)
}

/// Reads the layout of a message with one question. `None` if it is truncated or has two OPT records.
pub(crate) fn layout(bytes: &[u8]) -> Option<Layout> {
    let question = question(bytes)?;
    let mut at = question.end;
    let mut opt = None;
    let plain = u32::from(u16_at(bytes, 6)?) + u32::from(u16_at(bytes, 8)?);
    for number in 0..plain + u32::from(u16_at(bytes, 10)?) {
        let start = at;
        let fixed = skip_name(bytes, at)?;
        let kind = u16_at(bytes, fixed)?;
        at = fixed + 10 + usize::from(u16_at(bytes, fixed + 8)?);
        if at > bytes.len() {
            return None;
        }
        if kind == rr::OPT {
            let number = u16::try_from(number.checked_sub(plain)?).ok()?;
            if fixed != start + 1 || opt.replace(OptAt { at: start..at, number }).is_some() {
                return None;
            }
        }
    }
    Some(Layout { question, opt, end: at })
}

/// A record, by offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Start of its owner name.
    pub(crate) at: usize,
    pub(crate) kind: u16,
    pub(crate) ttl_at: usize,
    pub(crate) ttl: u32,
    pub(crate) data: Range<usize>,
}

/// The complete records from offset `at` on.
pub(crate) fn records(bytes: &[u8], mut at: usize) -> impl Iterator<Item = Record> {
    core::iter::from_fn(move || {
        let fixed = skip_name(bytes, at)?;
        let data = fixed + 10..fixed + 10 + usize::from(u16_at(bytes, fixed + 8)?);
        bytes.get(data.clone())?;
        let ttl_at = fixed + 4;
        let record = Record { at, kind: u16_at(bytes, fixed)?, ttl_at, ttl: u32_at(bytes, ttl_at)?, data };
        at = record.data.end;
        Some(record)
    })
}

/// The records of a reply's answer section.
pub(crate) fn answers(reply: &[u8]) -> impl Iterator<Item = Record> {
    let count = usize::from(u16_at(reply, 6).unwrap_or(0));
    let start = question(reply).map_or(reply.len(), |question| question.end);
    records(reply, start).take(count)
}

/// The name at `at`, uncompressed, lowercase. `None` if it is malformed.
pub(crate) fn name_at(bytes: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    // Pointers must point backwards (RFC 1035 §4.1.4), so the loop ends.
    let mut before = at;
    loop {
        match *bytes.get(at)? {
            0 => break,
            len @ 1..=63 => {
                let end = at + 1 + usize::from(len);
                name.extend(bytes.get(at..end)?.iter().map(u8::to_ascii_lowercase));
                at = end;
            }
            64..=191 => return None,
            192.. => {
                at = usize::from(u16_at(bytes, at)? & 0x3fff);
                if at >= before || name.len() > 255 {
                    return None;
                }
                before = at;
            }
        }
    }
    name.push(0);
    (name.len() <= 255).then_some(name)
}

/// Content of an OPT record (RFC 6891 §6.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opt<'a> {
    /// Largest UDP message that its sender accepts, at least 512 bytes.
    pub(crate) size: u16,
    /// Upper eight bits of the response code.
    pub(crate) rcode_high: u8,
    /// The EDNS version.
    pub(crate) version: u8,
    /// Whether DNSSEC records are requested (DO).
    pub(crate) dnssec_ok: bool,
    options: &'a [u8],
}

impl<'a> Opt<'a> {
    /// Reads the OPT record that [`layout`] found at `range`.
    pub(crate) fn read(bytes: &'a [u8], range: &Range<usize>) -> Option<Self> {
        let [_, _, _, size0, size1, rcode_high, version, flags, _, _, _, options @ ..] =
            bytes.get(range.clone())?
        else {
            return None;
        };
        let size = u16::from_be_bytes([*size0, *size1]).max(PLAIN_UDP_SIZE);
        Some(Self { size, rcode_high: *rcode_high, version: *version, dnssec_ok: flags & 0x80 != 0, options })
    }

    /// Its extended errors (RFC 8914): the code, and the whole option as received.
    pub(crate) fn errors(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.options;
        core::iter::from_fn(move || {
            loop {
                let len = 4 + usize::from(u16_at(rest, 2)?);
                let option = rest.get(..len)?;
                rest = &rest[len..];
                if u16_at(option, 0)? == ede::OPTION && len >= 6 {
                    return Some((u16_at(option, 4)?, option));
                }
            }
        })
    }
}

/// Extended DNS errors (RFC 8914).
pub(crate) mod ede {
    /// The option code.
    pub(crate) const OPTION: u16 = 15;
    /// The answer was synthesized.
    pub(crate) const SYNTHESIZED: u16 = 29;
    /// No upstream could be reached.
    pub(crate) const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Stale answer.
    pub(crate) const STALE: u16 = 3;
    /// Stale NXDOMAIN answer.
    pub(crate) const STALE_NXDOMAIN: u16 = 19;
    /// The server is not ready.
    pub(crate) const NOT_READY: u16 = 14;
    /// The client is not served.
    pub(crate) const PROHIBITED: u16 = 18;

    /// Whether the code reports a validation failure.
    pub(crate) const fn is_bogus(code: u16) -> bool {
        matches!(code, 1 | 2 | 5..=12 | 27)
    }

    /// Meaning of a code (RFC 8914 §5.2 and its IANA registry).
    pub(crate) const fn meaning(code: u16) -> &'static str {
        match code {
            0 => "other",
            1 => "unsupported DNSKEY algorithm",
            2 => "unsupported DS digest type",
            3 => "stale answer",
            4 => "forged answer",
            5 => "DNSSEC indeterminate",
            6 => "DNSSEC bogus",
            7 => "signature expired",
            8 => "signature not yet valid",
            9 => "DNSKEY missing",
            10 => "RRSIGs missing",
            11 => "no zone key bit set",
            12 => "NSEC missing",
            13 => "cached error",
            14 => "not ready",
            15 => "blocked",
            16 => "censored",
            17 => "filtered",
            18 => "prohibited",
            19 => "stale NXDOMAIN answer",
            20 => "not authoritative",
            21 => "not supported",
            22 => "no reachable authority",
            23 => "network error",
            24 => "invalid data",
            25 => "signature expired before valid",
            26 => "too early",
            27 => "unsupported NSEC3 iterations value",
            28 => "unable to conform to policy",
            29 => "synthesized",
            _ => "unknown",
        }
    }

    /// The option with this code and no text.
    pub(crate) const fn option(code: u16) -> [u8; 6] {
        let [high, low] = code.to_be_bytes();
        [0, OPTION as u8, 0, 2, high, low]
    }
}

/// Appends an OPT record and increments the count. `message` has a header and no OPT record.
pub(crate) fn push_opt(message: &mut Vec<u8>, rcode_high: u8, dnssec_ok: bool, options: &[u8]) {
    let flags = u8::from(dnssec_ok) << 7;
    message.extend_from_slice(&[0, 0, rr::OPT as u8]);
    message.extend_from_slice(&UDP_SIZE.to_be_bytes());
    message.extend_from_slice(&[rcode_high, 0, flags, 0]);
    message.extend_from_slice(&u16::try_from(options.len()).unwrap_or(0).to_be_bytes());
    message.extend_from_slice(options);
    let count = u16_at(message, 10).unwrap_or(0);
    set_u16(message, 10, count.wrapping_add(1));
}

/// An upstream query with id 0; the sender sets the id. `flags` are RD and CD.
///
/// AD requests the AD bit in the reply even without DO (RFC 6840 §5.7).
pub(crate) fn upstream_query(name: &[u8], kind: u16, class: u16, flags: u16, dnssec_ok: bool) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    set_u16(&mut message, 2, flags | flag::AD);
    set_u16(&mut message, 4, 1);
    message.extend_from_slice(name);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&class.to_be_bytes());
    push_opt(&mut message, 0, dnssec_ok, &[]);
    message
}

/// The response code of a reply, including the bits in its OPT record.
pub(crate) fn rcode_of(reply: &[u8]) -> u16 {
    let low = u16_at(reply, 2).unwrap_or(0) & flag::RCODE;
    let opt = layout(reply).and_then(|layout| layout.opt);
    let high = opt.and_then(|opt| Opt::read(reply, &opt.at)).map_or(0, |opt| opt.rcode_high);
    u16::from(high) << 4 | low
}

/// The labels of an uncompressed name, without the root.
pub(crate) fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    core::iter::from_fn(move || {
        let (len, after) = rest.split_first()?;
        let label = after.get(..usize::from(*len)).filter(|label| !label.is_empty())?;
        rest = &after[label.len()..];
        Some(label)
    })
}

/// Converts a text such as `www.example.com` to an uncompressed, lowercase name. `None` if it is not a
/// name. Escapes are not supported.
pub(crate) fn name_of(text: &str) -> Option<Vec<u8>> {
    if text == "." {
        return Some(vec![0]);
    }
    let mut name = Vec::with_capacity(text.len() + 2);
    for label in text.strip_suffix('.').unwrap_or(text).split('.') {
        let plain = label.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let len = u8::try_from(label.len()).ok().filter(|len| plain && matches!(len, 1..=63))?;
        name.push(len);
        name.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
    }
    name.push(0);
    (name.len() <= 255).then_some(name)
}

/// A name as text.
pub(crate) fn text_of(name: &[u8]) -> String {
    let mut text = String::new();
    for label in labels(name) {
        text.extend(label.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '?' }));
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0x01, 0x00];
        for count in counts {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(rest);
        bytes
    }

    const QUESTION: &[u8] = b"\x01a\x07example\x00\x00\x1c\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    #[test]
    fn a_query_with_opt() {
        let bytes = message([1, 0, 0, 1], &[QUESTION, OPT].concat());
        let layout = layout(&bytes).expect("well formed");
        assert_eq!(layout.question, 12..27);
        assert_eq!(layout.end, bytes.len());
        let opt = Opt::read(&bytes, &layout.opt.expect("has one").at).expect("whole");
        assert_eq!((opt.size, opt.version, opt.dnssec_ok), (1232, 0, true));
        assert_eq!(opt.errors().count(), 0);
    }

    #[test]
    fn malformed_messages() {
        // id 6147-dns-basics
        let cases: [(&str, [u16; 4], Vec<u8>); 8] = [
            ("no question", [0, 0, 0, 0], vec![]),
            ("two questions", [2, 0, 0, 0], [QUESTION, QUESTION].concat()),
            ("a pointer in the question", [1, 0, 0, 0], b"\xc0\x0c\x00\x1c\x00\x01".to_vec()),
            ("an unknown label type", [1, 0, 0, 0], b"\x41\x00\x00\x1c\x00\x01".to_vec()),
            ("a question cut off", [1, 0, 0, 0], QUESTION[..QUESTION.len() - 1].to_vec()),
            ("a missing record", [1, 0, 0, 1], QUESTION.to_vec()),
            ("two OPT records", [1, 0, 0, 2], [QUESTION, OPT, OPT].concat()),
            ("OPT among the answers", [1, 1, 0, 0], [QUESTION, OPT].concat()),
        ];
        for (name, counts, rest) in cases {
            assert_eq!(layout(&message(counts, &rest)), None, "{name}");
        }
        let long = [[1, b'a'].repeat(128), b"\x00\x00\x1c\x00\x01".to_vec()].concat();
        assert_eq!(layout(&message([1, 0, 0, 0], &long)), None, "a name over 255 bytes");
    }

    #[test]
    fn truncated_and_damaged_messages() {
        let bytes = message([1, 0, 0, 1], &[QUESTION, OPT].concat());
        for end in 0..bytes.len() {
            assert_eq!(layout(&bytes[..end]), None, "cut at {end}");
        }
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut other = bytes.clone();
                other[at] = value;
                if let Some(opt) = layout(&other).and_then(|l| l.opt) {
                    let _ = Opt::read(&other, &opt.at).map(|o| o.errors().count());
                }
            }
        }
    }

    #[test]
    fn compression_loops_end() {
        let bytes = b"\x03WwW\xc0\x06\x07example\x00\xc0\x0f\xc0\x11\x01a\xc0\x13";
        assert_eq!(name_at(bytes, 0).as_deref(), None, "forward");
        assert_eq!(name_at(bytes, 6).as_deref(), Some(&b"\x07example\0"[..]));
        for at in 14..bytes.len() {
            // Loops and pointers into the middle of names: only termination matters.
            let _ = name_at(bytes, at);
        }
        let good = b"\x07eXample\x00\x03www\xc0\x00";
        assert_eq!(name_at(good, 9).as_deref(), Some(&b"\x03www\x07example\0"[..]));
    }

    #[test]
    fn extended_errors_are_found_among_options() {
        let options = b"\x00\x0a\x00\x08cookies!\x00\x0f\x00\x05\x00\x06bad\x00\x0f\x00\x02\x00\x16\x00\x0f";
        let mut bytes = message([1, 0, 0, 0], QUESTION);
        push_opt(&mut bytes, 0, false, options);
        let layout = layout(&bytes).expect("well formed");
        let opt = Opt::read(&bytes, &layout.opt.expect("has one").at).expect("whole");
        assert_eq!(opt.errors().map(|(code, _)| code).collect::<Vec<_>>(), [6, 22]);
    }
}
