//! Any bytes from either side: no panic, and what is forwarded is a packet of the other family.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use gate64::addr::{PortRange, Pref64, WorkerId, ZoneId};
use gate64::nat64;
use gate64::time::Instant;
use gate64::translator::{Settings, Translator, Verdict};
use gate64::wire::batch::Batch;
use gate64::wire::buf::PacketBuf;
use gate64::xlat::Rules;
use libfuzzer_sys::fuzz_target;

fn pref64() -> Pref64 {
    "2001:db8:64::/96".parse().expect("literal")
}

fn settings() -> Settings {
    let limits = nat64::Limits {
        sessions: 64,
        bindings: 64,
        blocks: 16,
        hosts: 8,
        hold_bytes: 64 << 10,
        ..nat64::Limits::default()
    };
    let zone = nat64::Zone {
        id: ZoneId(0),
        clients: vec!["2001:db8:1::/64".parse().expect("literal")],
        pref64: vec![pref64()],
        pool: 0,
        host_len: 128,
        blocks_per_host: 2,
        sessions_per_host: 32,
        bindings_per_second: 0,
    };
    let pool = nat64::Pool { ranges: vec![("192.0.2.1/32".parse().expect("literal"), PortRange::ALL)] };
    Settings {
        worker: WorkerId(0),
        workers: 1,
        seed: 1,
        owner_seed: 1,
        rules: Rules::default(),
        siit: None,
        nat64: nat64::Settings {
            zones: vec![zone],
            pools: vec![pool],
            limits,
            address6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            address4: Ipv4Addr::new(192, 0, 2, 2),
            ..nat64::Settings::default()
        },
    }
}

/// Puts addresses that get past the first checks over those of the input, if its second byte is even.
fn aim(packet: &mut [u8]) {
    if packet.len() < 40 || packet[1] % 2 == 1 {
        return;
    }
    match packet[0] >> 4 {
        6 => {
            packet[8..24].copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7).octets());
            packet[24..40].copy_from_slice(&pref64().embed(Ipv4Addr::new(198, 51, 100, 1)).octets());
        }
        4 => {
            packet[12..16].copy_from_slice(&[198, 51, 100, 1]);
            packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
        }
        _ => {}
    }
}

// Each input is a run of packets: two bytes of length, then so many bytes.
fuzz_target!(|data: &[u8]| {
    let mut translator = Translator::new(settings(), 1);
    let mut extra = Batch::new(32, 2048);
    let mut buffer = PacketBuf::new(4096);
    let (mut rest, mut now) = (data, Instant::from_secs(1));
    while let [high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]) % 2048).min(tail.len());
        let (packet, after) = tail.split_at(len);
        rest = after;
        let mut packet = packet.to_vec();
        aim(&mut packet);
        buffer.fill(&packet);
        let mut verdicts = [Verdict::Hold];
        extra.clear();
        translator.process(now, std::slice::from_mut(&mut buffer), &mut verdicts, &mut extra);
        match verdicts[0] {
            // A hairpin comes out in the family it came in.
            Verdict::Forward | Verdict::Reject(_) => assert!(matches!(buffer.bytes()[0] >> 4, 4 | 6)),
            Verdict::Drop(_) | Verdict::HandOver(_) => assert_eq!(buffer.bytes(), packet),
            Verdict::Hold => assert!(buffer.is_empty()),
        }
        now = now + std::time::Duration::from_millis(100 * u64::from(*low));
        extra.clear();
        translator.expire(now, 8, &mut extra);
    }
});
