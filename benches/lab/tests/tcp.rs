//! TCP bulk: one flow and eight, each way, between sockets on either side.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use gate64::lab::LabError;

use super::rounds;
use crate::options::Options;
use crate::packets::sys::{ready, within};
use crate::packets::tester::now;
use crate::record::{Record, Row};
use crate::testbed::{Testbed, failed};

const PORT: u16 = 5001;
/// Bytes per write.
const CHUNK: usize = 128 << 10;
/// Warm-up in seconds, for the windows to open.
const SETTLE: f64 = 0.3;

const fn row(what: &'static str) -> Row {
    Row { test: "TCP bulk", what, unit: "Gbit/s", more: true }
}

pub(crate) const SHAPES: [(Row, usize, bool); 4] = [
    (row("one flow, up"), 1, true),
    (row("one flow, down"), 1, false),
    (row("eight flows, up"), 8, true),
    (row("eight flows, down"), 8, false),
];

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter_mut() {
        testbed.pin_gateway(false)?;
        testbed.await_path()?;
    }
    rounds(testbeds, options.rounds, |testbed, round| {
        for (row, flows, up) in &SHAPES {
            let rate = bulk(testbed, *flows, *up, options.seconds(1.2)).map_err(failed("TCP"))?;
            println!(
                "round {}  {:<22} TCP {:<18} {rate:>6.2} Gbit/s",
                round + 1,
                testbed.contestant.name(),
                row.what
            );
            record.add(row, testbed.contestant, rate, false);
        }
        Ok(())
    })
}

/// Throughput in Gbit/s.
fn bulk(testbed: &Testbed, flows: usize, up: bool, seconds: f64) -> std::io::Result<f64> {
    let service = testbed.server_addr(PORT);
    let listener = within(testbed.lab.internet.name(), || TcpListener::bind(service))?;
    let target = testbed.server_addr_from_host(PORT);
    let connect = || {
        let timeout = Duration::from_secs(5);
        (0..flows).map(|_| TcpStream::connect_timeout(&target, timeout)).collect::<std::io::Result<Vec<_>>>()
    };
    let near = within(testbed.lab.host().name(), connect)?;
    let far = (0..flows).map(|_| Ok(listener.accept()?.0)).collect::<std::io::Result<Vec<_>>>()?;
    let (from, to) = if up { (near, far) } else { (far, near) };
    from.iter().chain(&to).try_for_each(|socket| socket.set_nonblocking(true))?;
    let arrived = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    // One thread per side, as in a program with many connections. More threads would take CPU time from
    // the gateway.
    let rate = thread::scope(|scope| {
        scope.spawn(|| send(&from, &over));
        scope.spawn(|| receive(&to, &over, &arrived));
        thread::park_timeout(Duration::from_secs_f64(SETTLE));
        let (start, before) = (now(), arrived.load(Ordering::Relaxed));
        thread::park_timeout(Duration::from_secs_f64(seconds));
        let (elapsed, after) = (start.elapsed(), arrived.load(Ordering::Relaxed));
        over.store(true, Ordering::Relaxed);
        (after - before) as f64 * 8.0 / 1e9 / elapsed.as_secs_f64()
    });
    Ok(rate)
}

fn send(sockets: &[TcpStream], over: &AtomicBool) {
    let chunk = vec![7; CHUNK];
    while !over.load(Ordering::Relaxed) && ready(sockets, false).is_ok() {
        for mut socket in sockets {
            // A full buffer is not an error; the loop tries again.
            let _ = socket.write(&chunk);
        }
    }
}

fn receive(sockets: &[TcpStream], over: &AtomicBool, arrived: &AtomicU64) {
    let mut chunk = vec![0; CHUNK];
    while !over.load(Ordering::Relaxed) && ready(sockets, true).is_ok() {
        for mut socket in sockets {
            let read = socket.read(&mut chunk).unwrap_or(0);
            arrived.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}
