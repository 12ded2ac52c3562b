//! Messages that no scenario can express: forwarded unchanged, or malformed.

use std::sync::Arc;

use super::wire::{self, flag, rcode};
use super::*;
use crate::addr::{Pref64, ZoneId};
use crate::time::Instant;

mod simulation;
mod sizes;

use simulation::simulate;

const NAME: &[u8] = b"\x03www\x07example\x00";

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        zones: vec![Zone {
            id: ZoneId(0),
            name: "test".to_owned(),
            clients: vec!["2001:db8:1::/64".parse().expect("literal")],
            pref64: vec!["2001:db8:64::/96".parse::<Pref64>().expect("literal").into()],
            rules: Rules::default(),
        }],
        upstreams: vec!["192.0.2.53:53".parse().expect("literal")],
        ..Settings::default()
    })
}

fn answer_to(query: &[u8], upstream: impl FnMut(&Transmit) -> Option<Vec<u8>>) -> Option<Answer> {
    let client = "2001:db8:1::5".parse().expect("literal");
    simulate(&settings(), client, query, upstream).map(|simulation| simulation.answer)
}

fn query(kind: u16, edns: bool) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(NAME);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if edns {
        wire::push_opt(&mut message, 0, false, &[]);
    }
    message
}

/// A reply to `transmit` with one record for its name in each of the sections given, OPT at `opt`.
fn reply(transmit: &Transmit, kind: u16, rdata: &[u8], additional: &[&[u8]], opt: usize) -> Vec<u8> {
    let question = wire::question(&transmit.query).expect("our own query");
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    message.extend_from_slice(&transmit.query[question]);
    let push = |message: &mut Vec<u8>, rdata: &[u8]| {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
        message.extend_from_slice(&u16::try_from(rdata.len()).expect("short").to_be_bytes());
        message.extend_from_slice(rdata);
    };
    push(&mut message, rdata);
    for index in 0..=additional.len() {
        if index == opt {
            wire::push_opt(&mut message, 0, false, &[]);
        }
        if let Some(rdata) = additional.get(index) {
            push(&mut message, rdata);
            let count = wire::u16_at(&message, 10).expect("a header");
            wire::set_u16(&mut message, 10, count + 1);
        }
    }
    message
}

#[test]
fn malformed_records_are_forwarded_unchanged() {
    // ids 6147-5.3.3-rr, svcb-hints: HTTPS with parameters out of order, which a decoder refuses.
    let broken = b"\x00\x01\x00\x00\x04\x00\x04\xc6\x33\x64\x07\x00\x01\x00\x03\x02h2";
    let answer =
        answer_to(&query(65, true), |transmit| Some(reply(transmit, 65, broken, &[], 0))).expect("answered");
    assert_eq!(answer.outcome, Outcome::PassedType);
    assert_eq!(wire::u16_at(&answer.message, 0), Some(0xabcd));
    let layout = wire::layout(&answer.message).expect("well formed");
    let record = layout.question.end..layout.opt.expect("EDNS was asked for").at.start;
    assert!(answer.message[record].ends_with(broken));
}

/// A reply to `transmit` with these records for its name, and these EDNS options.
fn reply_with(transmit: &Transmit, records: &[(u16, &[u8])], options: &[u8]) -> Vec<u8> {
    let question = wire::question(&transmit.query).expect("our own query");
    let count = u8::try_from(records.len()).expect("few");
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
    message.extend_from_slice(&transmit.query[question]);
    for (kind, rdata) in records {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
        message.extend_from_slice(&u16::try_from(rdata.len()).expect("short").to_be_bytes());
        message.extend_from_slice(rdata);
    }
    wire::push_opt(&mut message, 0, false, options);
    message
}

#[test]
fn records_that_do_not_decode_hide_no_others() {
    // id dns-opaque
    let v6: &[u8] = &[0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let ecs_family_0: &[u8] = &[0, 8, 0, 4, 0, 0, 0, 0];
    let odd: [(u16, &[u8]); 5] =
        [(65_400, b""), (10, b""), (42, b"\x00\x01\x20\x04"), (64, b"\x00"), (99, b"\xff")];
    for record in odd {
        let native = answer_to(&query(28, false), |transmit| {
            let is_aaaa = address_question(&transmit.query)?.1 == AddressKind::Aaaa;
            let records = [record, (28, v6)];
            Some(reply_with(transmit, if is_aaaa { &records } else { &[] }, ecs_family_0))
        });
        let native = native.expect("answered");
        assert_eq!(
            (native.outcome, wire::answers(&native.message).count()),
            (Outcome::Native, 2),
            "{record:?}"
        );
        let made = answer_to(&query(28, false), |transmit| {
            let is_a = address_question(&transmit.query)?.1 == AddressKind::A;
            let records = [record, (1, &[198, 51, 100, 7][..])];
            Some(reply_with(transmit, if is_a { &records } else { &[] }, ecs_family_0))
        });
        let made = made.expect("answered");
        assert_eq!(made.outcome, Outcome::SynthesizedNodata, "{record:?}");
        let kept = wire::answers(&made.message).find(|kept| kept.kind == record.0).expect("kept");
        assert_eq!(&made.message[kept.data], record.1);
        assert_eq!(wire::answers(&made.message).filter(|record| record.kind == 28).count(), 1);
    }
}

#[test]
fn clients_without_edns_get_no_opt_record() {
    for opt in 0..=2 {
        let extra: [&[u8]; 2] = [b"first", b"second"];
        let answer = answer_to(&query(10, false), |transmit| Some(reply(transmit, 10, b"data", &extra, opt)))
            .expect("answered");
        let layout = wire::layout(&answer.message).expect("well formed");
        assert_eq!(layout.opt, None);
        assert_eq!(layout.end, answer.message.len());
        // Records after OPT are left out.
        assert_eq!(wire::u16_at(&answer.message, 10).map(usize::from), Some(opt));
    }
}

#[test]
fn a_malformed_a_reply_is_servfail() {
    let answer = answer_to(&query(28, false), |transmit| {
        let asked = address_question(&transmit.query)?.1;
        if asked == AddressKind::Aaaa {
            address_reply(&transmit.query, &[], 0)
        } else {
            Some(reply(transmit, 1, b"abc", &[], 9))
        }
    });
    let answer = answer.expect("answered");
    assert_eq!(answer.outcome, Outcome::UpstreamError);
    assert_eq!(wire::rcode_of(&answer.message), rcode::SERVFAIL);
}

#[test]
fn synthesized_records_on_the_wire() {
    // id 6147-5.1.7-name
    let answer = answer_to(&query(28, false), |transmit| {
        address_reply(&transmit.query, &["198.51.100.7".parse().expect("literal")], 300)
    });
    let message = answer.expect("answered").message;
    let end = wire::question(&message).expect("one question").end;
    let want = b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x01\x2c\x00\x10\x20\x01\x0d\xb8\x00\x64\0\0\0\0\0\0\xc6\x33\x64\x07";
    assert_eq!(&message[end..], want);
}

#[test]
fn answers_above_the_size_limit_are_truncated() {
    // ids 6147-5.4-trunc, 3901bis-udp
    let forty: Vec<_> = (1..=40).map(|n| std::net::IpAddr::from([198, 51, 100, n])).collect();
    let settings = settings();
    let client = "2001:db8:1::5".parse().expect("literal");
    for (transport, edns, limit) in [
        (Transport::Udp, false, 512),
        (Transport::Udp, true, 1232),
        (Transport::Tcp, false, 65_535),
        (Transport::Tcp, true, 65_535),
    ] {
        let mut engine = Engine::new(Arc::clone(&settings), 0);
        let taken = engine.query(Instant::ZERO, client, transport, &query(28, edns), || Ok(()));
        assert!(matches!(taken, QueryAction::Pending), "{taken:?}");
        while let Some(transmit) = engine.poll_transmit() {
            let reply = address_reply(&transmit.query, &forty, 300).expect("an address query");
            engine.reply(Instant::ZERO, transmit.id, &reply);
        }
        let ((), answer) = engine.poll_answer().expect("all is answered");
        assert!(answer.message.len() <= limit);
        let whole = transport == Transport::Tcp || answer.message.len() > 512;
        assert_eq!(answer.truncated, !whole, "{transport:?} {edns}");
        let flags = wire::u16_at(&answer.message, 2).expect("a header");
        assert_eq!(flags & flag::TC != 0, answer.truncated);
        assert_eq!(addresses(&answer.message).len(), if answer.truncated { 0 } else { 40 });
    }
}

/// A small deterministic generator, so that tests are reproducible.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn damage(message: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..=next(state) % 4 {
        let at = usize::try_from(next(state)).expect("31 bits") % message.len();
        message[at] = next(state).to_le_bytes()[0];
    }
    if next(state).is_multiple_of(8) {
        message.truncate(usize::try_from(next(state)).expect("31 bits") % message.len() + 1);
    }
}

#[test]
fn damaged_messages_never_panic() {
    let mut state = 64;
    for round in 0..6_000 {
        let mut query = query([1, 12, 16, 28, 28, 28][round % 6], round % 2 == 0);
        if round % 3 == 0 {
            damage(&mut query, &mut state);
        }
        let answer = answer_to(&query, |transmit| {
            let mut reply = address_reply(&transmit.query, &["198.51.100.7".parse().expect("literal")], 300)
                .unwrap_or_else(|| reply(transmit, 16, b"\x04text", &[], 0));
            damage(&mut reply, &mut state);
            Some(reply)
        });
        if let Some(answer) = answer {
            assert!(answer.message.len() >= wire::HEADER);
            assert_eq!(answer.message[..2], query[..2]);
            if answer.outcome != Outcome::Formerr && answer.outcome != Outcome::Notimp {
                assert!(wire::layout(&answer.message).is_some(), "round {round}: {answer:?}");
            }
        }
    }
}
