//! When a certificate expires.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::tls;

/// The earliest end of validity in a PEM file with a chain of certificates.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub(crate) fn expiry(path: &Path) -> io::Result<Timestamp> {
    let chain = tls::certificates(path)?;
    let ends = chain.iter().map(|certificate| not_after(certificate));
    let ends: Option<Vec<_>> = ends.collect();
    let first = ends.and_then(|ends| ends.into_iter().min());
    first
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a certificate without an end of validity"))
}

/// DER tags (X.690).
mod tag {
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    /// The version of a certificate, which may be missing.
    pub(super) const VERSION: u8 = 0xa0;
}

/// Tag and content of the first element, and what follows it.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// The content of a sequence.
fn sequence(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(input)?;
    (tag == tag::SEQUENCE).then_some((content, rest))
}

/// The end of validity of a certificate (RFC 5280 §4.1.2.5).
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = sequence(certificate)?;
    let (mut fields, _) = sequence(certificate)?;
    if let (tag::VERSION, _, rest) = element(fields)? {
        fields = rest;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (validity, _) = sequence(fields)?;
    let (_, _, end) = element(validity)?;
    let (tag, text, _) = element(end)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, rest) = match (tag, digits.len()) {
        (tag::UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (tag::GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let number = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let day = jiff::civil::Date::new(year, number(0)?, number(2)?).ok()?;
    let time = jiff::civil::Time::new(number(4)?, number(6)?, number(8)?, 0).ok()?;
    TimeZone::UTC.to_timestamp(day.to_datetime(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = u8::try_from(content.len()).expect("short");
        let head = if len < 0x80 { vec![tag, len] } else { vec![tag, 0x81, len] };
        [head, content.to_vec()].concat()
    }

    fn certificate(version: &[u8], end: &[u8]) -> Vec<u8> {
        let validity = [der(tag::UTC_TIME, b"250101000000Z"), end.to_vec()].concat();
        let fields = [
            version.to_vec(),
            der(2, &[1; 20]),
            der(tag::SEQUENCE, &[6, 1, 1]),
            der(tag::SEQUENCE, &[0; 100]),
            der(tag::SEQUENCE, &validity),
            der(tag::SEQUENCE, &[]),
        ];
        der(tag::SEQUENCE, &der(tag::SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_end_of_validity() {
        let version = der(tag::VERSION, &[2, 1, 2]);
        for (version, tag, text, want) in [
            (&version[..], tag::UTC_TIME, "261129120501Z", Some("2026-11-29T12:05:01Z")),
            (&[], tag::UTC_TIME, "991231235959Z", Some("1999-12-31T23:59:59Z")),
            (&version, tag::GENERALIZED_TIME, "20500101000000Z", Some("2050-01-01T00:00:00Z")),
            (&version, tag::GENERALIZED_TIME, "20501301000000Z", None),
            (&version, tag::UTC_TIME, "2611291205Z", None),
        ] {
            let found = not_after(&certificate(version, &der(tag, text.as_bytes())));
            assert_eq!(found.map(|end| end.to_string()).as_deref(), want, "{text}");
        }
        let whole = certificate(&version, &der(tag::UTC_TIME, b"261129120501Z"));
        for len in 0..whole.len() {
            assert_eq!(not_after(&whole[..len]), None, "{len}");
        }
    }
}
