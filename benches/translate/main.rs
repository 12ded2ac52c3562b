//! Cost of a packet in the core, by shape, direction and state: known, new or refused.
//!
//! Times only `process`, in batches as a worker passes them; filling the buffers is not included.
#![allow(missing_docs, unreachable_pub)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod packets;
mod rig;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gate64::translator::Verdict;

use packets::{Packet, Shape};
use rig::Rig;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    V6ToV4,
    V4ToV6,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::V6ToV4 => "v6_to_v4",
            Self::V4ToV6 => "v4_to_v6",
        }
    }
}

fn forwarded(verdict: Verdict) -> bool {
    verdict == Verdict::Forward
}

fn dropped(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Drop(_))
}

/// Packets of 64 flows with sessions; 4 super-packets, as many as one read returns.
fn known(rig: &mut Rig, shape: Shape, direction: Direction) -> Vec<Packet> {
    let flows = if shape == Shape::Super64k { 4 } else { 64 };
    (0..flows)
        .map(|n| {
            let (client, server) = (packets::client(n), packets::server(n));
            let mapped = rig.open(shape, n);
            let embedded = rig::embedded(server);
            match direction {
                Direction::V6ToV4 => packets::shaped6(shape, client, embedded),
                Direction::V4ToV6 => packets::shaped4(shape, server, mapped),
            }
        })
        .collect()
}

/// Packets that create a session each, as many as fit in a new rig.
fn unknown(rig: &mut Rig, shape: Shape, direction: Direction) -> Vec<Packet> {
    let syn = |p6: bool, n: u16, mapped| match (shape.is_tcp(), p6) {
        (true, true) => {
            packets::tcp6(packets::client(n), rig::embedded(packets::server(0)), packets::Tcp::Syn, 0)
        }
        (true, false) => packets::tcp4(packets::server(n), mapped, packets::Tcp::Syn, 0),
        (false, true) => packets::udp6(packets::client(n), rig::embedded(packets::server(0))),
        (false, false) => packets::udp4(packets::server(n), mapped),
    };
    let mapped = match direction {
        Direction::V6ToV4 => None,
        Direction::V4ToV6 => Some(rig.open(shape, 0)),
    };
    (1..rig::FLOWS)
        .map(|n| match mapped {
            None => syn(true, n, packets::server(0)),
            Some(mapped) => syn(false, n, mapped),
        })
        .collect()
}

/// Packets from a source outside every zone, or to an unused port.
fn refused(shape: Shape, direction: Direction) -> Vec<Packet> {
    let batch = if shape == Shape::Super64k { 4 } else { 64 };
    (0..batch)
        .map(|n| match direction {
            Direction::V6ToV4 => {
                packets::shaped6(shape, rig::outside_zones(n), rig::embedded(packets::server(n)))
            }
            Direction::V4ToV6 => packets::shaped4(shape, packets::server(n), rig::unused(n)),
        })
        .collect()
}

fn measure(
    c: &mut Criterion,
    (state, shape, direction): (&str, Shape, Direction),
    packets: &[Packet],
    rig: (&mut Rig, Option<&dyn Fn() -> Rig>),
    expected: fn(Verdict) -> bool,
) {
    let (rig, renew) = rig;
    let mut group = c.benchmark_group(format!("{state}/{}", direction.name()));
    let bytes = packets[0].bytes.len() as u64;
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes });
    group.bench_function(shape.name(), |bencher| {
        bencher.iter_custom(|rounds| {
            let mut time = Duration::ZERO;
            let (mut left, mut next) = (rounds as usize, 0);
            while left > 0 {
                if next == packets.len() {
                    next = 0;
                    if let Some(renew) = renew {
                        *rig = renew();
                    }
                }
                let batch = left.min(64).min(packets.len() - next);
                time += rig.timed(&packets[next..next + batch], expected);
                next += batch;
                left -= batch;
            }
            // The next call starts with the first packet again.
            if let Some(renew) = renew {
                *rig = renew();
            }
            time
        });
    });
    group.finish();
}

fn translate(c: &mut Criterion) {
    for direction in [Direction::V6ToV4, Direction::V4ToV6] {
        for shape in Shape::ALL {
            let mut rig = Rig::new();
            let packets = known(&mut rig, shape, direction);
            measure(c, ("hit", shape, direction), &packets, (&mut rig, None), forwarded);
        }
        for shape in [Shape::Udp64, Shape::TcpAck] {
            let packets = unknown(&mut Rig::new(), shape, direction);
            let renew = || {
                let mut rig = Rig::new();
                if direction == Direction::V4ToV6 {
                    rig.open(shape, 0);
                }
                rig
            };
            measure(c, ("new", shape, direction), &packets, (&mut renew(), Some(&renew)), forwarded);
        }
        for shape in Shape::ALL {
            let packets = refused(shape, direction);
            measure(c, ("refused", shape, direction), &packets, (&mut Rig::new(), None), dropped);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1200));
    targets = translate
}
criterion_main!(benches);
