//! Edits of encoded messages: TTLs, options, truncation and case of names.

use super::query_key::PADDING;
use crate::dns64::wire::{self, flag, rr};

/// Offsets of the TTLs, offset of the OPT record, and smallest TTL of an answer. `None` unless it may be
/// reused: not truncated, not an error, with at least one record.
pub(super) fn ttl_offsets(message: &[u8]) -> Option<(Vec<u16>, Option<usize>, u32)> {
    let flags = wire::u16_at(message, 2)?;
    if flags & flag::TC != 0 || !matches!(flags & flag::RCODE, wire::rcode::NOERROR | wire::rcode::NXDOMAIN) {
        return None;
    }
    let layout = wire::layout(message)?;
    let opt = layout.opt.map(|opt| opt.at.start);
    let (mut at, mut ttls, mut least) = (layout.question.end, Vec::new(), u32::MAX);
    while at < layout.end {
        let fixed = wire::skip_name(message, at)?;
        if Some(at) != opt {
            let ttl = u32::from_be_bytes(*message.get(fixed + 4..)?.first_chunk()?);
            ttls.push(u16::try_from(fixed + 4).ok()?);
            least = least.min(ttl);
        }
        at = fixed + 10 + usize::from(wire::u16_at(message, fixed + 8)?);
    }
    (!ttls.is_empty()).then_some((ttls, opt, least))
}

/// Reduces the TTL at `at` by `seconds`.
pub(super) fn age(message: &mut [u8], at: usize, seconds: u32) {
    if let Some(bytes) = message.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *bytes = u32::from_be_bytes(*bytes).saturating_sub(seconds).to_be_bytes();
    }
}

/// Adds an option to the OPT record at `opt`, which must be the last record.
pub(super) fn push_option(message: &mut Vec<u8>, opt: usize, number: u16, content: &[u8]) {
    let len = wire::u16_at(message, opt + 9).unwrap_or(0);
    let more = u16::try_from(content.len()).unwrap_or(0);
    wire::set_u16(message, opt + 9, len + 4 + more);
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&more.to_be_bytes());
    message.extend_from_slice(content);
}

/// Pads a message whose last record is OPT to a multiple of `block` bytes (RFC 7830 §3).
pub(super) fn pad(message: &mut Vec<u8>, block: usize) {
    let Some(opt) = last_opt(message) else { return };
    let end = message.len() + 4;
    let whole = end.next_multiple_of(block).min(usize::from(u16::MAX));
    if let Some(more) = whole.checked_sub(end) {
        push_option(message, opt, PADDING, &vec![0; more]);
    }
}

/// Removes the OPT record, which must be the last one. `false` if there is none.
pub(super) fn remove_opt(message: &mut Vec<u8>) -> bool {
    let Some(opt) = last_opt(message) else { return false };
    message.truncate(opt);
    let count = wire::u16_at(message, 10).unwrap_or(0);
    wire::set_u16(message, 10, count.saturating_sub(1));
    true
}

/// Removes the options of the OPT record at `opt`, which must be the last record.
pub(super) fn clear_options(message: &mut Vec<u8>, opt: usize) {
    wire::set_u16(message, opt + 9, 0);
    message.truncate(opt + 11);
}

/// Offset of the OPT record, if it is the last record.
pub(super) fn last_opt(message: &[u8]) -> Option<usize> {
    let layout = wire::layout(message)?;
    let opt = layout.opt?.at;
    (opt.end == message.len()).then_some(opt.start)
}

/// Removes all records except OPT at `opt`, and sets TC.
pub(super) fn truncate(message: &mut Vec<u8>, opt: Option<usize>) {
    let Some(question) = wire::question(message) else { return };
    let kept = opt.map(|at| message.split_off(at)).unwrap_or_default();
    message.truncate(question.end);
    message[6..wire::HEADER].fill(0);
    message[11] = u8::from(!kept.is_empty());
    message[2] |= (flag::TC >> 8) as u8;
    message.extend_from_slice(&kept);
}

/// Content of the first option `number` in the OPT record of `message`.
pub(super) fn option(message: &[u8], number: u16) -> Option<&[u8]> {
    let opt = wire::layout(message)?.opt?;
    let mut rest = message.get(opt.at)?.get(11..)?;
    loop {
        let len = usize::from(wire::u16_at(rest, 2)?);
        let content = rest.get(4..4 + len)?;
        if wire::u16_at(rest, 0)? == number {
            return Some(content);
        }
        rest = &rest[4 + len..];
    }
}

/// An answer with a response code only, to a query that is malformed after its question.
pub(super) fn refusal(query: &[u8], code: u16) -> Option<Vec<u8>> {
    let flags = wire::u16_at(query, 2)?;
    let end = wire::question(query)?.end;
    let mut answer = query.get(..end)?.to_vec();
    let own = flags & (flag::OPCODE | flag::RD | flag::CD);
    wire::set_u16(&mut answer, 2, flag::QR | flag::RA | own | code);
    answer[6..wire::HEADER].fill(0);
    Some(answer)
}

/// Randomizes the case of the question's name (0x20), which a forger must guess in addition to id and port.
/// Each letter uses one bit of `random`.
pub(super) fn shuffle_case(message: &mut [u8], random: [u8; 32]) {
    let Some(question) = wire::question(message) else { return };
    let name = question.start..question.end - 4;
    for (n, byte) in message[name].iter_mut().enumerate() {
        if byte.is_ascii_alphabetic() && random[n / 8 % 32] >> (n % 8) & 1 == 1 {
            *byte ^= 0x20;
        }
    }
}

/// Offset of the OPT record, if it is at the end of `query` and has no options.
pub(super) fn trailing_empty_opt(query: &[u8]) -> Option<usize> {
    let at = query.len().checked_sub(11)?;
    (query[at..at + 3] == [0, 0, rr::OPT as u8] && query[at + 9..] == [0, 0]).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x01a\x07example\x00\x00\x1c\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    fn message(flags: u16, counts: [u8; 3], rest: &[&[u8]]) -> Vec<u8> {
        let [high, low] = flags.to_be_bytes();
        let mut bytes = vec![1, 2, high, low, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        bytes.extend_from_slice(QUESTION);
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn the_smallest_ttl_excludes_opt() {
        let record = |ttl: u8| [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 1, 9];
        let mut bytes = message(0x8180, [1, 1, 1], &[&record(60), &record(20), OPT]);
        let (ttls, opt, least) = ttl_offsets(&bytes).expect("has records");
        assert_eq!(least, 20);
        assert_eq!(opt, Some(bytes.len() - OPT.len()));
        assert_eq!(ttls, [33, 46]);
        age(&mut bytes, 46, 25);
        assert_eq!(ttl_offsets(&bytes).expect("still").2, 0);
        assert_eq!(ttl_offsets(&message(0x8182, [1, 0, 0], &[&record(60)])), None, "SERVFAIL");
        assert_eq!(ttl_offsets(&message(0x8380, [1, 0, 0], &[&record(60)])), None, "TC");
        assert_eq!(ttl_offsets(&message(0x8180, [0, 0, 1], &[OPT])), None, "nothing says how long");
    }

    #[test]
    fn options_are_added_and_found() {
        let mut bytes = message(0x8180, [0, 0, 1], &[OPT]);
        let opt = last_opt(&bytes).expect("the last record");
        push_option(&mut bytes, opt, 15, &[0, 22]);
        push_option(&mut bytes, opt, 10, b"cookies!");
        assert_eq!(option(&bytes, 10), Some(&b"cookies!"[..]));
        assert_eq!(option(&bytes, 15), Some(&[0, 22][..]));
        assert_eq!(option(&bytes, 3), None);
        assert_eq!(last_opt(&bytes), Some(opt));
    }

    #[test]
    fn messages_are_padded_to_whole_blocks() {
        // id dns-pad
        for before in 0..300 {
            let mut bytes = message(0x8180, [0, 0, 1], &[OPT]);
            let opt = last_opt(&bytes).expect("the last record");
            push_option(&mut bytes, opt, 65_001, &vec![7; before]);
            pad(&mut bytes, 128);
            assert!(bytes.len().is_multiple_of(128), "{before}");
            assert!(option(&bytes, PADDING).is_some_and(|zeros| zeros.iter().all(|byte| *byte == 0)));
            assert!(remove_opt(&mut bytes));
            assert_eq!(bytes, message(0x8180, [0, 0, 0], &[]));
        }
    }

    #[test]
    fn a_truncated_answer_keeps_its_opt_record() {
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 1, 9];
        let mut bytes = message(0x8180, [1, 0, 1], &[&record, OPT]);
        let opt = last_opt(&bytes);
        truncate(&mut bytes, opt);
        assert_eq!(bytes, message(0x8380, [0, 0, 1], &[OPT]));
    }

    #[test]
    fn only_the_case_changes() {
        let mut bytes = message(0x0100, [0, 0, 0], &[]);
        let before = bytes.clone();
        shuffle_case(&mut bytes, [0xff; 32]);
        assert_ne!(bytes, before);
        bytes.make_ascii_lowercase();
        assert_eq!(bytes, before);
    }
}
