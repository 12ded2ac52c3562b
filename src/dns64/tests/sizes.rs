//! Size limits of answers (RFC 6891 §6.2.5, RFC 6147 §5.4), to the byte.

use super::*;

/// Header, question and one record without its data.
const AROUND: usize = wire::HEADER + NAME.len() + 4 + 12;
/// An OPT record without options.
const OPT: usize = 11;

/// A query for TYPE10 with this UDP payload size, or without an OPT record.
fn query_of_size(size: Option<u16>) -> Vec<u8> {
    let mut message = query(10, size.is_some());
    if let Some(size) = size {
        let at = message.len() - OPT + 3;
        wire::set_u16(&mut message, at, size);
    }
    message
}

/// The answer to `query` if the upstream has one record of `data` bytes and these EDNS options.
fn answer(transport: Transport, query: &[u8], data: usize, options: &[u8]) -> Answer {
    let client = "2001:db8:1::5".parse().expect("literal");
    let mut engine = Engine::new(settings(), 0);
    let taken = engine.query(Instant::ZERO, client, transport, query, || Ok(()));
    assert!(matches!(taken, QueryAction::Pending), "{taken:?}");
    let transmit = engine.poll_transmit().expect("one question");
    let mut reply = reply(&transmit, 10, &vec![7; data], &[], 9);
    if !options.is_empty() {
        wire::push_opt(&mut reply, 0, false, options);
    }
    assert!(engine.reply(Instant::ZERO, transmit.id, &reply));
    engine.poll_answer().expect("answered").1
}

fn is_truncated(answer: &Answer) -> bool {
    let has_tc = wire::u16_at(&answer.message, 2).is_some_and(|flags| flags & flag::TC != 0);
    assert_eq!(answer.truncated, has_tc);
    assert_eq!(wire::u16_at(&answer.message, 6), Some(u16::from(!has_tc)), "all records or none");
    has_tc
}

#[test]
fn an_answer_of_the_limit_is_whole_and_one_byte_more_is_truncated() {
    // id 6147-5.4-trunc
    let cases = [
        (Transport::Udp, None, 512),
        (Transport::Udp, Some(0), 512),
        (Transport::Udp, Some(511), 512),
        (Transport::Udp, Some(513), 513),
        (Transport::Udp, Some(700), 700),
        (Transport::Udp, Some(1231), 1231),
        (Transport::Udp, Some(1232), 1232),
        // A larger datagram may be fragmented on its way.
        (Transport::Udp, Some(1233), 1232),
        (Transport::Udp, Some(u16::MAX), 1232),
        (Transport::Tcp, None, 65_535),
        (Transport::Tcp, Some(512), 65_535),
    ];
    for (transport, size, limit) in cases {
        let query = query_of_size(size);
        let fits = limit - AROUND - if size.is_some() { OPT } else { 0 };
        let whole = answer(transport, &query, fits, &[]);
        assert_eq!(whole.message.len(), limit, "{transport:?} {size:?}");
        assert!(!is_truncated(&whole), "{transport:?} {size:?}");
        let longer = answer(transport, &query, fits + 1, &[]);
        assert!(is_truncated(&longer), "{transport:?} {size:?}");
    }
}

#[test]
fn extended_errors_count_towards_the_limit() {
    let query = query_of_size(Some(700));
    let error = wire::ede::option(15);
    let fits = 700 - AROUND - OPT - error.len();
    assert!(!is_truncated(&answer(Transport::Udp, &query, fits, &error)));
    let truncated = answer(Transport::Udp, &query, fits + 1, &error);
    assert!(is_truncated(&truncated));
    assert!(truncated.message.ends_with(&error), "the reason fits without the records");
}

#[test]
fn an_extended_error_that_does_not_fit_is_left_out() {
    let query = query_of_size(Some(512));
    let text = [&[0, 15, 2, 2, 0, 15][..], &[b'x'; 512]].concat();
    let truncated = answer(Transport::Udp, &query, 1, &text);
    assert!(is_truncated(&truncated));
    assert_eq!(truncated.message.len(), AROUND - 12 + OPT);
}
