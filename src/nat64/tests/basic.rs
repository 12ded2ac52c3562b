//! UDP, TCP and echo there and back.

use super::*;
use crate::wire::Transport;

#[test]
fn udp_there_and_back() {
    // ids 6146-3.5.1-new, 6146-3.5.1-reuse, 6146-5.2-eim, 6146-3.7-ports
    let mut n1 = Bench::new(n1());
    let mapped = n1.udp_mapping(C, 40_000);
    assert_eq!(mapped, Transport4::new(v4(T), 40_000), "the port is kept");
    let (out, _) = n1.to4(&Packet6::new(v6(C), under(W)).udp(40_000, 99, b"x"));
    assert!(matches!(out.transport, Transport::Udp { src: 40_000, dst: 99, .. }));
    assert_eq!((n1.bindings(), n1.sessions()), (1, 2));
    let (back, _) = n1.to6(&udp4(Z, 53, mapped));
    assert_eq!((back.src, back.dst), (under(Z), v6(C)));
    assert!(matches!(back.transport, Transport::Udp { src: 53, dst: 40_000, .. }));
}

#[test]
fn tcp_opens_and_closes() {
    let mut n1 = Bench::new(n1());
    let (out, _) = n1.to4(&tcp6(C, 40_000, Z, Flags::SYN));
    let mapped = Transport4::new(out.src, 40_000);
    n1.to6(&tcp4(Z, mapped, Flags::SYN.with(Flags::ACK)));
    n1.to4(&tcp6(C, 40_000, Z, Flags::ACK));
    assert!(n1.secs(7000).is_empty());
    assert_eq!(n1.sessions(), 1);
    n1.to4(&tcp6(C, 40_000, Z, Flags::FIN.with(Flags::ACK)));
    n1.to6(&tcp4(Z, mapped, Flags::FIN.with(Flags::ACK)));
    n1.to4(&tcp6(C, 40_000, Z, Flags::ACK));
    n1.secs(239);
    assert_eq!(n1.sessions(), 1);
    n1.secs(2);
    assert_eq!((n1.sessions(), n1.bindings()), (0, 0));
}

#[test]
fn echo_there_and_back() {
    // ids 6146-3.5.3-new, 6146-3.5.3-reply, 6146-3.7-icmpid
    let mut n1 = Bench::new(n1());
    let (out, _) = n1.to4(&Packet6::new(v6(C), under(Z)).echo(7, 1, b"ping"));
    let Transport::Echo { id, reply: false } = out.transport else { panic!("{out:?}") };
    let (back, _) = n1.to6(&Packet4::new(v4(Z), out.src).echo_reply(id, 1, b"ping"));
    assert_eq!((back.src, back.dst), (under(Z), v6(C)));
    assert!(matches!(back.transport, Transport::Echo { id: 7, reply: true }));
}

#[test]
fn packets_without_state_are_dropped() {
    // ids 6146-3.5.1-in-nobib, 6146-3.5.3-in-nobib, 6146-3.5-dstpool, 6146-3.5-dstpref, 6146-3.5-srcpref
    let mut n1 = Bench::new(n1());
    let nowhere = Transport4::new(v4(T), 9);
    assert_eq!(n1.drop_of(&udp4(Z, 53, nowhere)), Reason::NoBinding);
    assert_eq!(n1.drop_of(&Packet4::new(v4(Z), v4(T)).echo(9, 1, b"")), Reason::NoBinding);
    assert_eq!(n1.drop_of(&tcp4(Z, nowhere, Flags::ACK)), Reason::NoBinding);
    assert_eq!(n1.drop_of(&udp4(Z, 53, Transport4::new(v4("203.0.113.2"), 9))), Reason::NotPool4);
    assert_eq!(n1.drop_of(&tcp6(C, 40_000, Z, Flags::RST)), Reason::NoSession);
    let udp = |from, to| Packet6::new(from, to).udp(1, 2, b"");
    assert_eq!(n1.drop_of(&udp(v6(C2), v6("2001:db8:65::1"))), Reason::NotPref64);
    let looping = udp(under("1.2.3.4"), under(Z));
    assert_eq!(n1.send(&looping).0, Verdict::Drop(Reason::SourceInPref64), "silently");
    assert_eq!(n1.drop_of(&udp(v6("2001:db8:2::1"), under(Z))), Reason::NoZone);
    assert_eq!(n1.drop_of(&udp(v6(C), under("127.0.0.1"))), Reason::DestinationAddress);
    assert_eq!((n1.sessions(), n1.bindings(), n1.blocks()), (0, 0, 0));
}
