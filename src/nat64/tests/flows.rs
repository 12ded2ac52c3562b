//! Lifetimes, filtering, TCP, hairpinning and ICMP errors.

use super::*;
use crate::wire::Transport;
use crate::wire::icmp;
use crate::wire::quoted::QuotedTransport;

#[test]
fn lifetimes_are_refreshed_from_both_sides() {
    // ids 6146-3.5.1-timer-def, 6146-3.5.1-refresh-out, 6146-3.5.1-refresh-in, 6146-5.3-noextend,
    // 6146-3.1-dyn-del
    for (inbound_refresh, outward, alive) in [(true, true, true), (true, false, true), (false, false, false)]
    {
        let mut settings = n1();
        settings.nat64.inbound_refresh = inbound_refresh;
        let mut n1 = Bench::new(settings);
        let mapped = n1.udp_mapping(C, 40_000);
        n1.secs(200);
        if outward {
            n1.udp_mapping(C, 40_000);
        } else {
            n1.to6(&udp4(Z, 53, mapped));
        }
        n1.secs(299);
        assert_eq!(n1.sessions() == 1, alive);
        n1.secs(2);
        assert_eq!((n1.sessions(), n1.bindings()), (0, 0));
    }
}

#[test]
fn a_session_ends_at_its_deadline_even_without_expire() {
    let mut n1 = Bench::new(n1());
    let mapped = n1.udp_mapping(C, 40_000);
    n1.now = n1.now + Duration::from_secs(301);
    assert_eq!(n1.drop_of(&udp4(Z, 53, mapped)), Reason::NoBinding);
    assert_eq!(n1.sessions(), 0);
}

#[test]
fn filtering() {
    // ids 6146-3.5.1-eif, 6146-3.5.1-adf-ok, 6146-3.5.1-adf-no, 6146-3.5.3-adf, 7857-7
    let mut n1 = Bench::new(n1());
    let mapped = n1.udp_mapping(C, 40_000);
    let (out, _) = n1.to6(&udp4(W, 7777, mapped));
    assert_eq!(out.src, under(W));
    assert_eq!(n1.sessions(), 2);

    let mut settings = super::n1();
    settings.nat64.filtering = [Filtering::AddressDependent; 3];
    let mut adf = Bench::new(settings);
    let mapped = adf.udp_mapping(C, 40_000);
    adf.to6(&udp4(Z, 9999, mapped));
    assert_eq!(adf.drop_of(&udp4(W, 53, mapped)), Reason::Filtered);
    adf.secs(200);
    assert_eq!(adf.drop_of(&udp4(W, 53, mapped)), Reason::Filtered);
    adf.secs(101);
    assert_eq!(adf.sessions(), 0);
}

#[test]
fn an_idle_connection_is_probed() {
    // ids 6146-3.5.2-estmin, 6146-3.5.2-probe, 6146-3.5.2-probe-alive
    let mut n1 = Bench::new(n1());
    n1.to4(&tcp6(C, 40_000, Z, Flags::SYN));
    let mapped = Transport4::new(v4(T), 40_000);
    n1.to6(&tcp4(Z, mapped, Flags::SYN.with(Flags::ACK)));
    assert!(n1.secs(7199).is_empty());
    let sent = n1.secs(2);
    assert_eq!(sent.len(), 1);
    assert!(checksums_are_right(&sent[0]));
    let probe = Ipv6Packet::parse(&sent[0], &crate::wire::buf::Offload::default()).expect("IPv6");
    assert_eq!((probe.src, probe.dst), (under(Z), v6(C)));
    assert!(matches!(probe.transport, Transport::Tcp { src: 80, dst: 40_000, flags: Flags::ACK }));
    n1.to4(&tcp6(C, 40_000, Z, Flags::ACK));
    assert_eq!(n1.secs(7201).len(), 1);
    n1.secs(241);
    assert_eq!(n1.sessions(), 0);
}

#[test]
fn a_reset_leaves_four_minutes() {
    // ids 6146-3.5.2-rst-grace, 6146-3.5.2-lifetime-rst-in-init
    let mut n1 = Bench::new(n1());
    n1.to4(&tcp6(C, 40_000, Z, Flags::SYN));
    let mapped = Transport4::new(v4(T), 40_000);
    n1.to6(&tcp4(Z, mapped, Flags::RST.with(Flags::ACK)));
    n1.secs(239);
    assert_eq!(n1.sessions(), 1);
    n1.to6(&tcp4(Z, mapped, Flags::SYN.with(Flags::ACK)));
    n1.to6(&tcp4(Z, mapped, Flags::RST));
    n1.secs(10);
    n1.to4(&tcp6(C, 40_000, Z, Flags::ACK));
    n1.secs(7000);
    assert_eq!(n1.sessions(), 1);
}

#[test]
fn an_unsolicited_syn_is_answered_after_six_seconds() {
    // ids 6146-3.5.2-unsol-6s, 6146-3.5.2-unsol-icmp, 6146-3.5.2-unsol-policy, 6146-3.5.2-unsol-limit
    let mut n1 = Bench::new(n1());
    let syn = tcp4(Z, Transport4::new(v4(T), 81), Flags::SYN);
    assert_eq!(n1.send(&syn).0, Verdict::Hold);
    assert_eq!(n1.drop_of(&syn), Reason::UnsolicitedSyn);
    assert!(n1.wait(Duration::from_millis(5999)).is_empty());
    let sent = n1.wait(Duration::from_millis(2));
    let [error] = &sent[..] else { panic!("{sent:?}") };
    assert!(checksums_are_right(error));
    assert_eq!(error[20..22], [3, 3]);
    assert_eq!(error[28..], syn);
    for port in 0..5 {
        assert_eq!(n1.send(&tcp4(Z, Transport4::new(v4(T), 90 + port), Flags::SYN)).0, Verdict::Hold);
    }
    assert_eq!(n1.drop_of(&tcp4(Z, Transport4::new(v4(T), 99), Flags::SYN)), Reason::SynLimit);
    let mut settings = super::n1();
    settings.nat64.unsolicited_syn = UnsolicitedSyn::Drop;
    assert_eq!(Bench::new(settings).drop_of(&syn), Reason::UnsolicitedSyn);
}

#[test]
fn a_stored_syn_counts_in_one_zone() {
    let mut settings = n1();
    settings.nat64.filtering = [Filtering::AddressDependent; 3];
    let mut n1 = Bench::new(settings);
    let (out, _) = n1.to4(&tcp6(C, 40_000, Z, Flags::SYN));
    assert_eq!(n1.send(&tcp4(W, Transport4::new(out.src, 40_000), Flags::SYN)).0, Verdict::Hold);
    assert_eq!(n1.send(&tcp4(W, Transport4::new(out.src, 81), Flags::SYN)).0, Verdict::Hold);
    n1.secs(7);
    // The binding's zone counts the first, no zone the second.
    for zone in [Some(ZoneId(0)), None] {
        let row = n1.gate.counters().zone(zone);
        let counts = [&row.held, row.drops(Reason::UnsolicitedSyn), &row.errors_sent];
        assert_eq!(counts.map(crate::counters::Tally::read), [1; 3], "{zone:?}");
    }
}

#[test]
fn simultaneous_open() {
    // ids 6146-3.5.2-simopen, 6146-3.5.2-unsol-cancel, 5382-2
    for filtering in [Filtering::EndpointIndependent, Filtering::AddressDependent] {
        let mut settings = n1();
        settings.nat64.filtering = [filtering; 3];
        let mut n1 = Bench::new(settings);
        let mapped = Transport4::new(v4(T), 40_000);
        assert_eq!(n1.send(&tcp4(Z, mapped, Flags::SYN)).0, Verdict::Hold);
        n1.secs(3);
        let (out, _) = n1.to4(&tcp6(C, 40_000, Z, Flags::SYN));
        assert_eq!(out.src, mapped.addr);
        assert!(n1.secs(7000).is_empty(), "no error, and established");
        assert_eq!(n1.sessions(), 1);
    }
}

#[test]
fn a_closed_session_does_not_block_its_binding() {
    // With a binding, every packet except a SYN passes without a session.
    let mut n1 = Bench::new(n1());
    n1.to4(&tcp6(C, 40_000, Z, Flags::SYN));
    let mapped = Transport4::new(v4(T), 40_000);
    for flags in [Flags::FIN, Flags::RST, Flags::ACK] {
        n1.to4(&tcp6(C, 40_000, W, flags));
        n1.to6(&tcp4(W, mapped, flags));
    }
    assert_eq!(n1.sessions(), 1);
    n1.to6(&tcp4(W, mapped, Flags::SYN));
    assert_eq!(n1.sessions(), 2);
}

#[test]
fn hairpin() {
    // ids 6146-3.8-udp, 6146-3.8-tcp, 6146-3.8-query, 6146-3.8-self, 6146-3.8-nomap, 6146-3.8-ttl
    let mut n1 = Bench::new(n1());
    let two = n1.udp_mapping(C2, 50_000);
    let (out, _) = n1.to6(&Packet6::new(v6(C), under(T)).hop_limit(9).udp(40_000, two.port, b"hi"));
    assert_eq!((out.src, out.dst, out.hop_limit), (under(T), v6(C2), 8));
    assert!(matches!(out.transport, Transport::Udp { src: 40_000, dst: 50_000, .. }));
    let (out, _) = n1.to6(&Packet6::new(v6(C2), under(T)).udp(50_000, two.port, b"self"));
    assert_eq!((out.src, out.dst), (under(T), v6(C2)));
    let nobody = Packet6::new(v6(C), under(T)).udp(40_000, 12, b"");
    assert_eq!(n1.drop_of(&nobody), Reason::NoBinding);
    n1.to4(&tcp6(C2, 80, Z, Flags::SYN));
    let connect = Packet6::new(v6(C), under(T)).tcp(Tcp::new(40_001, 80).flags(Flags::SYN), b"");
    let (out, _) = n1.to6(&connect);
    assert!(matches!(out.transport, Transport::Tcp { src: 40_001, dst: 80, .. }));
    // An echo has one identifier. Inbound it is the sender's, so the host pings itself.
    let (out, _) = n1.to6(&Packet6::new(v6(C), under(T)).echo(77, 1, b""));
    assert_eq!((out.src, out.dst), (under(T), v6(C)));
    assert!(matches!(out.transport, Transport::Echo { id: 77, reply: false }));
    let (out, _) = n1.to6(&Packet6::new(v6(C), under(T)).echo_reply(77, 1, b""));
    assert!(matches!(out.transport, Transport::Echo { id: 77, reply: true }));
}

/// The packet with an ICMP error around it.
fn about6(from: &str, to: Ipv6Addr, packet: &[u8]) -> Vec<u8> {
    Packet6::new(v6(from), to).icmp(icmp::v6::UNREACHABLE, 4, 0, packet)
}

#[test]
fn icmp_errors_from_the_ipv4_side() {
    // ids 6146-3.4-icmperr, 6146-3.4-icmperr-query, 6146-3.7-icmperr-inner, 6146-3.5-icmperr-nostate,
    // 5508-4, 5508-6
    let mut n1 = Bench::new(n1());
    let (_, sent) = n1.to4(&Packet6::new(v6(C), under(Z)).udp(40_000, 53, b"query"));
    n1.secs(200);
    let router = Packet4::new(v4(W), v4(T));
    let (out, _) = n1.to6(&router.icmp(icmp::v4::UNREACHABLE, 1, 0, &sent));
    assert_eq!((out.src, out.dst), (under(W), v6(C)));
    let Transport::Error(error) = out.transport else { panic!("{out:?}") };
    assert_eq!((error.quoted.src, error.quoted.dst), (v6(C), under(Z)));
    assert_eq!(error.quoted.transport, QuotedTransport::Ports { src: 40_000, dst: 53 });
    n1.secs(101);
    assert_eq!(n1.sessions(), 0);
    assert_eq!(n1.drop_of(&router.icmp(icmp::v4::UNREACHABLE, 1, 0, &sent)), Reason::IcmpNoBinding);
    assert_eq!(n1.drop_of(&router.icmp(icmp::v4::UNREACHABLE, 1, 0, &sent[..20])), Reason::IcmpQuoted);

    let (_, sent) = n1.to4(&Packet6::new(v6(C), under(Z)).echo(77, 1, b"ping"));
    let (out, _) = n1.to6(&router.icmp(icmp::v4::TIME_EXCEEDED, 0, 0, &sent));
    let Transport::Error(error) = out.transport else { panic!("{out:?}") };
    assert_eq!(error.quoted.transport, QuotedTransport::Echo { id: 77, reply: false });
}

#[test]
fn icmp_errors_from_the_ipv6_side() {
    // ids 6146-3.7-err-outer-src, 5508-5
    let mut n1 = Bench::new(n1());
    let mapped = n1.udp_mapping(C, 40_000);
    let (_, came) = n1.to6(&udp4(Z, 53, mapped));
    for from in [C, "2001:db8:9::1"] {
        let (out, _) = n1.to4(&about6(from, under(Z), &came));
        assert_eq!((out.src, out.dst), (v4(T), v4(Z)));
        let Transport::Error(error) = out.transport else { panic!("{out:?}") };
        assert_eq!((error.quoted.src, error.quoted.dst), (v4(Z), v4(T)));
        assert_eq!(error.quoted.transport, QuotedTransport::Ports { src: 53, dst: 40_000 });
    }
}

#[test]
fn icmp_errors_are_hairpinned() {
    // ids 6146-3.8-icmp
    let mut n1 = Bench::new(n1());
    let two = n1.udp_mapping(C2, 50_000);
    let first = Packet6::new(v6(C), under(T)).udp(40_000, two.port, b"hi");
    let (_, came) = n1.to6(&first);
    let (out, _) = n1.to6(&about6(C2, under(T), &came));
    assert_eq!((out.src, out.dst), (under(T), v6(C)));
    let Transport::Error(error) = out.transport else { panic!("{out:?}") };
    assert_eq!((error.quoted.src, error.quoted.dst), (v6(C), under(T)));
    assert_eq!(error.quoted.transport, QuotedTransport::Ports { src: 40_000, dst: two.port });
}

#[test]
fn unknown_protocols_are_answered() {
    // ids 6146-3.4-proto6, 6146-3.4-proto4
    let mut n1 = Bench::new(n1());
    let (verdict, out) = n1.send(&Packet6::new(v6(C), under(Z)).payload(132, &[0; 20]));
    assert_eq!((verdict, &out[40..42]), (Verdict::Reject(Reason::Protocol), &[1, 4][..]));
    assert_eq!(out[8..24], v6("2001:db8:ffff::1").octets());
    let (verdict, out) = n1.send(&Packet4::new(v4(Z), v4(T)).payload(47, &[0; 20]));
    assert_eq!((verdict, &out[20..22]), (Verdict::Reject(Reason::Protocol), &[3, 2][..]));
    assert_eq!(out[12..16], [192, 0, 2, 1]);
}

#[test]
fn two_prefixes_at_once() {
    // id 8683-same
    let mut settings = n1();
    settings.nat64.zones[0].pref64.push(crate::addr::Pref64::WELL_KNOWN);
    let mut n1 = Bench::new(settings);
    let well_known = crate::addr::Pref64::WELL_KNOWN.embed(v4("8.8.8.8"));
    let (out, _) = n1.to4(&Packet6::new(v6(C), well_known).udp(40_000, 53, b""));
    n1.to4(&Packet6::new(v6(C), under(Z)).udp(40_000, 53, b""));
    assert_eq!((n1.bindings(), n1.sessions()), (1, 2));
    let mapped = Transport4::new(out.src, 40_000);
    assert_eq!(n1.to6(&udp4("8.8.8.8", 53, mapped)).0.src, well_known);
    assert_eq!(n1.to6(&udp4(Z, 53, mapped)).0.src, under(Z));
    // Addresses that the Well-Known Prefix must not represent (RFC 6052 §3.1).
    let banned = crate::addr::Pref64::WELL_KNOWN.embed(v4(Z));
    assert_eq!(n1.drop_of(&Packet6::new(v6(C), banned).udp(1, 2, b"")), Reason::WellKnownNotGlobal);
}
