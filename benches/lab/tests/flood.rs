//! Floods: delivery of a well-behaved flow during a flood at half of the small-packet peak rate; delivery to
//! a new host after a flood at twice that rate; and peak memory.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::packet_builder::{Packet4, Packet6, Tcp};
use gate64::lab::LabError;
use gate64::wire::tcp::Flags;

use super::{rounds, small};
use crate::contestant::Contestant;
use crate::options::Options;
use crate::packets::frame;
use crate::packets::tester::{Count, Length, Side, Stream};
use crate::record::{Record, Row, median};
use crate::testbed::{Testbed, failed};
use crate::traffic::{Flows, Load};
use crate::{SESSIONS, machine};

/// Number of different packets in a flood.
const MANY: u32 = 60_000;
/// Rate of the well-behaved flow in packets per second.
const FLOW: f64 = 10_000.0;
/// The first new host after a flood. No other test uses it.
const NEWCOMER: u32 = 30_000;
/// Expected memory of gate64 in bytes: all sessions, plus the rest.
const ROOM: f64 = SESSIONS as f64 * 128.0 + 8e6;

/// Kind of flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Syn,
    Scan,
    FirstFragments,
    Errors,
}

pub(crate) const DURING: &str = "Floods";
pub(crate) const AFTER: &str = "After floods";

const fn rows(what: &'static str) -> [Row; 2] {
    [
        Row { test: DURING, what, unit: "part of a well-behaved flow that arrives", more: true },
        Row { test: AFTER, what, unit: "part of a new host's flow that arrives", more: true },
    ]
}

/// For each kind: the rows during the flood and after it.
pub(crate) const FLOODS: [([Row; 2], Kind); 4] = [
    (rows("SYNs of one host"), Kind::Syn),
    (rows("UDP scan from outside"), Kind::Scan),
    (rows("first fragments from outside"), Kind::FirstFragments),
    (rows("ICMP errors from outside"), Kind::Errors),
];

pub(crate) const MEMORY: Row =
    Row { test: AFTER, what: "memory", unit: "peak / what the tables have room for", more: false };

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter() {
        testbed.pin_gateway(true)?;
    }
    rounds(testbeds, options.rounds.min(3), |testbed, round| {
        match testbed.contestant {
            Contestant::Gate64 | Contestant::TaygaMasquerade => {}
            Contestant::Tayga | Contestant::Plain | Contestant::Nat44 => return Ok(()),
        }
        let peak = median(&record.values(&small::SHAPES[1].2[0], testbed.contestant));
        let peak = peak.map_or(120_000.0, |kpps| kpps * 1000.0);
        for (newcomer, ([during, after], kind)) in (NEWCOMER + 4 * round as u32..).zip(&FLOODS) {
            let mut flows = testbed.flows(1, 1, 0);
            testbed.open(&mut flows, 1000.0)?;
            let flood = kind.frames(testbed, flows.outside[0]);
            let seconds = options.seconds(1.5);
            let [good, bad] = beside(testbed, &flows, &flood, peak / 2.0, seconds)?;
            let left = 1.0 - good.loss();
            record.add(during, testbed.contestant, left, good.limited || bad.limited);

            let [_, bad] = beside(testbed, &flows, &flood, 2.0 * peak, seconds)?;
            let flows = testbed.flows(1, 1, newcomer);
            let alone = Load { from: Side::Zone, rate: FLOW, seconds: options.seconds(1.0), stamped: false };
            let count = testbed.load(&flows, alone)?;
            let back = 1.0 - count.loss();
            record.add(after, testbed.contestant, back, count.limited || bad.limited);
            println!(
                "round {}  {:<22} {:<30} {left:.4} of the flow; {back:.4} after {:.2} of the peak",
                round + 1,
                testbed.contestant.name(),
                during.what,
                2.0 * bad.kept,
            );
        }
        let peak = testbed.running.pid().and_then(|pid| machine::memory(pid, "VmHWM:"));
        if let (Contestant::Gate64, Some(peak)) = (testbed.contestant, peak) {
            record.add(&MEMORY, testbed.contestant, peak as f64 / ROOM, false);
        }
        Ok(())
    })
}

/// Sends the well-behaved flow and a flood at the same time.
fn beside(
    testbed: &mut Testbed,
    flows: &Flows,
    (from, flood): &(Side, Vec<Vec<u8>>),
    rate: f64,
    seconds: f64,
) -> Result<[Count; 2], LabError> {
    let good = Stream { from: Side::Zone, frames: &flows.up, rate: FLOW, trial: flows.trial, stamped: false };
    let bad = Stream { from: *from, frames: flood, rate, trial: 0, stamped: false };
    let length = Length::For(Duration::from_secs_f64(seconds));
    let counts = testbed.tester.run(&[good, bad], length, |_| {}).map_err(failed("sending"))?;
    Ok(counts.try_into().unwrap_or_default())
}

impl Kind {
    /// The flood's frames, and where it comes from.
    fn frames(self, testbed: &Testbed, outside: SocketAddr) -> (Side, Vec<Vec<u8>>) {
        let side = if self == Self::Syn { Side::Zone } else { Side::Internet };
        let frames =
            (0..MANY).map(|n| frame::ethernet(testbed.macs[side as usize], &self.packet(n, outside)));
        (side, frames.collect())
    }

    fn packet(self, n: u32, outside: SocketAddr) -> Vec<u8> {
        let attacker = Ipv4Addr::from_bits(Ipv4Addr::new(203, 0, 113, 0).to_bits() + n % 250 + 1);
        // Mapped addresses are IPv4 for all flooded contestants.
        let SocketAddr::V4(outside) = outside else { return Vec::new() };
        let port = 1024 + (n * 7919 % 60_000) as u16;
        let to = Packet4::new(attacker, *outside.ip());
        match self {
            Self::Syn => {
                let host = Ipv6Addr::new(0x2001, 0xdb8, 1, 0x100, 0, 0, 0, 0xffff);
                let server = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc612, 1 + (n % 250) as u16);
                Packet6::new(host, server).tcp(Tcp::new(port, 80).flags(Flags::SYN), b"")
            }
            Self::Scan => to.udp(53, port, b"scan"),
            Self::FirstFragments => to.id(n as u16).fragment(0, true).udp(53, port, &[0; 24]),
            Self::Errors => {
                let quoted = Packet4::new(*outside.ip(), attacker).udp(port, 53, &[0; 8]);
                to.icmp(3, 3, 0, &quoted)
            }
        }
    }
}
