//! Floods: what is left of a well-behaved flow while somebody floods the gateway at half of its
//! small-packet rate.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use gate64::lab::LabError;
use gate64::wire::build::{Packet4, Packet6, Tcp};
use gate64::wire::tcp::Flags;

use super::{rounds, small};
use crate::bed::{Bed, failed};
use crate::contestant::Contestant;
use crate::options::Options;
use crate::packets::frame;
use crate::packets::tester::{Length, Side, Stream};
use crate::record::{Record, Row, median};

/// Different packets of a flood.
const MANY: u32 = 60_000;
/// The well-behaved flow, in packets a second.
const FLOW: f64 = 10_000.0;

/// What a flood is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Syn,
    Scan,
    FirstFragments,
    Errors,
}

pub(crate) const TEST: &str = "Floods";

const fn row(what: &'static str) -> Row {
    Row { test: TEST, what, unit: "part of a well-behaved flow that arrives", more: true }
}

const FLOODS: [(Row, Kind); 4] = [
    (row("SYNs of one host"), Kind::Syn),
    (row("UDP scan from outside"), Kind::Scan),
    (row("first fragments from outside"), Kind::FirstFragments),
    (row("ICMP errors from outside"), Kind::Errors),
];

pub(super) fn run(beds: &mut [Bed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for bed in beds.iter() {
        bed.apart(true)?;
    }
    rounds(beds, options.rounds.min(3), |bed, round| {
        match bed.contestant {
            Contestant::Gate64 | Contestant::TaygaMasquerade => {}
            Contestant::Tayga | Contestant::Plain | Contestant::Nat44 => return Ok(()),
        }
        let peak = median(&record.values(&small::SHAPES[1].2[0], bed.contestant));
        let rate = peak.map_or(60_000.0, |kpps| kpps * 1000.0 / 2.0);
        for (row, kind) in &FLOODS {
            let mut flows = bed.flows(1, 1, 0);
            bed.open(&mut flows, 1000.0)?;
            let (from, frames) = kind.frames(bed, flows.outside[0]);
            let good = Stream {
                from: Side::Zone,
                frames: &flows.up,
                rate: FLOW,
                trial: flows.trial,
                stamped: false,
            };
            let bad = Stream { from, frames: &frames, rate, trial: 0, stamped: false };
            let length = Length::For(Duration::from_secs_f64(options.seconds(1.5)));
            let counts = bed.tester.run(&[good, bad], length, |_| {}).map_err(failed("sending"))?;
            let part = 1.0 - counts[0].loss();
            let name = bed.contestant.name();
            println!("round {}  {name:<22} {:<30} {part:.4} of the flow", round + 1, row.what);
            record.add(row, bed.contestant, part, counts.iter().any(|count| count.limited));
        }
        Ok(())
    })
}

impl Kind {
    /// The flood's frames, and where it comes from.
    fn frames(self, bed: &Bed, outside: SocketAddr) -> (Side, Vec<Vec<u8>>) {
        let side = if self == Self::Syn { Side::Zone } else { Side::Internet };
        let frames = (0..MANY).map(|n| frame::ethernet(bed.macs[side as usize], &self.packet(n, outside)));
        (side, frames.collect())
    }

    fn packet(self, n: u32, outside: SocketAddr) -> Vec<u8> {
        let attacker = Ipv4Addr::from_bits(Ipv4Addr::new(203, 0, 113, 0).to_bits() + n % 250 + 1);
        // Both families of the outside are IPv4 for all that are flooded.
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
