//! Block assignments and sessions that a translator receives from its predecessor.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gate64::addr::{HostKey, PortRange, Proto, Transport4, Transport6, ZoneId};
use gate64::nat64::Pairing;
use gate64::reason::Reason;
use gate64::time::Instant;
use gate64::translator::{BlockAssignment, ExtraPackets, SessionRecord, Settings, Translator};

use crate::script::fixture::fixture;
use crate::script::settings::apply;

const NOW: Instant = Instant::from_secs(1000);
const FIRST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

fn client(net: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, 2)
}

/// Two pool addresses, and a second zone with hosts of another length.
fn translator(pairing: Pairing) -> Translator {
    let mut settings = fixture();
    for words in [
        &["pool", "203.0.113.1/32", "203.0.113.2/32"][..],
        &["zone", "1", "clients=2001:db8:2::/48", "host=64"],
    ] {
        apply(&mut settings, words).expect("settings");
    }
    settings.nat64.pairing = pairing;
    Translator::new(Settings { ..settings }, 2)
}

fn block(host: HostKey, addr: Ipv4Addr, first: u16) -> BlockAssignment {
    BlockAssignment { host, addr, ports: PortRange::new(first, first + 255).expect("a range") }
}

fn session(v6: Ipv6Addr, v4: Transport4) -> SessionRecord {
    SessionRecord {
        proto: Proto::Udp,
        v6: Transport6::new(v6, v4.port),
        v4,
        remote: Transport4::new(Ipv4Addr::new(198, 51, 100, 7), 53),
        pref64: "2001:db8:64::/96".parse().expect("literal"),
        state: 0,
        remaining: Duration::from_secs(100),
        silent: Duration::ZERO,
        inbound: false,
        answered: false,
        packets: [0; 2],
        bytes: [0; 2],
    }
}

#[test]
fn strict_pairing_keeps_blocks_of_one_address() {
    // ids 7857-4, 6888-8-restart
    let host = HostKey::new(ZoneId(0), client(1), 128);
    let (one, more, other) =
        (block(host, SECOND, 40_960), block(host, SECOND, 41_216), block(host, FIRST, 40_960));
    for (pairing, want) in [(Pairing::Strict, Err(Reason::PoolExhausted)), (Pairing::Soft, Ok(()))] {
        let mut translator = translator(pairing);
        assert_eq!(translator.restore_block(NOW, &one), Ok(()));
        assert_eq!(translator.restore_block(NOW, &more), Ok(()));
        assert_eq!(translator.restore_block(NOW, &other), want, "{pairing:?}");
        let elsewhere = session(client(1), Transport4::new(FIRST, 42_000));
        assert_eq!(translator.import(NOW, &elsewhere), want, "{pairing:?}");
        assert_eq!(translator.import(NOW, &session(client(1), Transport4::new(SECOND, 42_001))), Ok(()));
    }
}

#[test]
fn a_block_returns_to_its_own_host_alone() {
    // id 6888-8-restart
    let mut translator = translator(Pairing::Strict);
    let second = HostKey::new(ZoneId(1), client(2), 64);
    assert_eq!(translator.restore_block(NOW, &block(second, FIRST, 40_960)), Ok(()));
    assert_eq!(translator.counters().zone(Some(ZoneId(1))).blocks.read(), 1);
    assert_eq!(translator.counters().zone(Some(ZoneId(0))).blocks.read(), 0);
    let another = HostKey::new(ZoneId(0), client(1), 128);
    assert_eq!(
        translator.restore_block(NOW, &block(another, FIRST, 40_960)),
        Err(Reason::PoolExhausted),
        "it has an owner"
    );
    for (what, host) in [
        ("of a zone that now has other hosts", HostKey::new(ZoneId(0), client(2), 64)),
        ("of another length", HostKey::new(ZoneId(1), client(2), 128)),
        ("in no zone", HostKey::new(ZoneId(0), client(3), 128)),
    ] {
        assert_eq!(
            translator.restore_block(NOW, &block(host, SECOND, 40_960)),
            Err(Reason::NoZone),
            "{what}"
        );
    }
    let far = block(another, Ipv4Addr::new(203, 0, 113, 3), 40_960);
    assert_eq!(translator.restore_block(NOW, &far), Err(Reason::NotPool4));
}

#[test]
fn a_quarantine_goes_on_in_the_next_translator() {
    // id 6888-8-restart
    let mapped = Transport4::new(FIRST, 41_000);
    let mut before = translator(Pairing::Soft);
    assert_eq!(before.import(NOW, &session(client(1), mapped)), Ok(()));
    let ended = NOW + Duration::from_secs(101);
    before.expire(ended, 100, &mut ExtraPackets::new(4, 2048));
    let saved = before.quarantined(ended, 0).expect("in quarantine");
    assert_eq!((saved.v6, saved.v4), (Transport6::new(client(1), mapped.port), mapped));
    let left = Duration::from_secs(30);
    let mut next = translator(Pairing::Soft);
    assert_eq!(next.import_quarantined(NOW, &SessionRecord { remaining: left, ..saved }), Ok(()));
    // No other socket of the host gets the port until then.
    let other = SessionRecord { v6: Transport6::new(client(1), 9), ..session(client(1), mapped) };
    assert_eq!(next.import(NOW, &other), Err(Reason::PoolExhausted));
    next.expire(NOW + (left - Duration::from_secs(1)), 100, &mut ExtraPackets::new(4, 2048));
    assert!(next.quarantined(NOW, 0).is_some());
    next.expire(NOW + left + Duration::from_secs(1), 100, &mut ExtraPackets::new(4, 2048));
    assert_eq!(next.import(NOW, &other), Ok(()));
}
