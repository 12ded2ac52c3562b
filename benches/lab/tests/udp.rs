//! UDP bulk as QUIC sends it: super-packets from a socket with segmentation offload, within a window that
//! acknowledgements advance. Without retransmission; counts the arriving bytes.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use gate64::lab::LabError;
use socket2::SockRef;

use super::rounds;
use crate::options::Options;
use crate::packets::sys::{set_option, within};
use crate::packets::tester::now;
use crate::record::{Record, Row};
use crate::testbed::{Testbed, failed};

const PORT: u16 = 5002;
/// The host's first datagram. Data datagrams start with a number below 2^56.
const HELLO: &[u8] = b"hello";
/// Bytes per datagram.
const SEGMENT: usize = 1400;
/// Datagrams per super-packet: the number that fits 64 KiB.
const SEGMENTS: usize = 44;
/// Window in bytes: fewer datagrams than the shortest queue holds.
const WINDOW: u64 = 448 << 10;
/// Bytes per acknowledgement.
const ACKNOWLEDGE: u64 = 32 << 10;
/// Without acknowledgement for this long, the bytes in flight count as lost.
const LOSS_TIMEOUT: Duration = Duration::from_millis(10);
/// Socket buffers in bytes.
const BUFFER: usize = 4 << 20;
/// Warm-up in seconds.
const SETTLE: f64 = 0.2;

const fn row(what: &'static str) -> Row {
    Row { test: "UDP bulk, GSO sender", what, unit: "Gbit/s", more: true }
}

pub(crate) const UP: Row = row("one flow, up");
pub(crate) const DOWN: Row = row("one flow, down");

pub(super) fn run(testbeds: &mut [Testbed], options: &Options, record: &mut Record) -> Result<(), LabError> {
    for testbed in testbeds.iter_mut() {
        testbed.pin_gateway(false)?;
        testbed.await_path()?;
    }
    rounds(testbeds, options.rounds, |testbed, round| {
        for (row, up) in [(&UP, true), (&DOWN, false)] {
            let rate = bulk(testbed, up, options.seconds(1.0)).map_err(failed("UDP"))?;
            let name = testbed.contestant.name();
            println!("round {}  {name:<22} UDP {:<18} {rate:>6.2} Gbit/s", round + 1, row.what);
            record.add(row, testbed.contestant, rate, false);
        }
        Ok(())
    })
}

fn bulk(testbed: &Testbed, up: bool, seconds: f64) -> std::io::Result<f64> {
    // Bound, since connect would select another local address.
    let service = testbed.server_addr(PORT);
    let far = within(testbed.lab.internet.name(), || UdpSocket::bind(service))?;
    let any = if testbed.contestant.hosts_have_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let near = within(testbed.lab.host().name(), || UdpSocket::bind(any))?;
    for socket in [&near, &far] {
        SockRef::from(socket).set_recv_buffer_size(BUFFER)?;
        SockRef::from(socket).set_send_buffer_size(BUFFER)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    }
    for (socket, v6) in [(&near, !testbed.contestant.hosts_have_ipv4()), (&far, service.is_ipv6())] {
        // QUIC's datagrams are never fragmented (RFC 9000 §14); Linux sends super-packets without DF
        // otherwise.
        let (level, option) = match v6 {
            true => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
            false => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
        };
        set_option(socket, level, option, libc::IP_PMTUDISC_PROBE)?;
    }
    // The server learns the mapped address. Skips late datagrams of the previous trial.
    near.connect(testbed.server_addr_from_host(PORT))?;
    near.send(HELLO)?;
    let mut first = [0; HELLO.len()];
    let host = loop {
        let (read, from) = far.recv_from(&mut first)?;
        if &first[..read] == HELLO {
            break from;
        }
    };
    far.connect(host)?;
    let (from, to) = if up { (&near, &far) } else { (&far, &near) };
    set_option(from, libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT as i32)?;
    set_option(to, libc::SOL_UDP, libc::UDP_GRO, 1i32)?;
    from.set_read_timeout(Some(LOSS_TIMEOUT))?;
    to.set_read_timeout(Some(LOSS_TIMEOUT))?;
    let (over, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    Ok(thread::scope(|scope| {
        scope.spawn(|| send(from, &over));
        scope.spawn(|| receive(to, &over, &arrived));
        thread::park_timeout(Duration::from_secs_f64(SETTLE));
        let (start, before) = (now(), arrived.load(Ordering::Relaxed));
        thread::park_timeout(Duration::from_secs_f64(seconds));
        let (elapsed, after) = (start.elapsed(), arrived.load(Ordering::Relaxed));
        over.store(true, Ordering::Relaxed);
        (after - before) as f64 * 8.0 / 1e9 / elapsed.as_secs_f64()
    }))
}

/// Sends while the window allows. Each datagram starts with the number of bytes sent so far.
fn send(socket: &UdpSocket, over: &AtomicBool) {
    let mut packet = vec![7; SEGMENT * SEGMENTS];
    let (mut sent, mut acknowledged) = (0u64, 0u64);
    while !over.load(Ordering::Relaxed) {
        while sent - acknowledged > WINDOW - packet.len() as u64 {
            let mut number = [0; 8];
            acknowledged = match socket.recv(&mut number) {
                Ok(8) => acknowledged.max(u64::from_be_bytes(number)),
                Ok(_) | Err(_) => sent,
            };
        }
        for segment in packet.chunks_exact_mut(SEGMENT) {
            sent += SEGMENT as u64;
            segment[..8].copy_from_slice(&sent.to_be_bytes());
        }
        // Datagrams that the kernel refuses count as lost.
        let _ = socket.send(&packet);
    }
}

fn receive(socket: &UdpSocket, over: &AtomicBool, arrived: &AtomicU64) {
    let mut packet = vec![0; 1 << 16];
    let (mut highest, mut unacknowledged) = (0u64, 0u64);
    while !over.load(Ordering::Relaxed) {
        let Ok(read) = socket.recv(&mut packet) else { continue };
        let last = read.saturating_sub(1) / SEGMENT * SEGMENT;
        let Some(number) = packet[last..read].first_chunk() else { continue };
        highest = highest.max(u64::from_be_bytes(*number));
        arrived.fetch_add(read as u64, Ordering::Relaxed);
        unacknowledged += read as u64;
        if unacknowledged >= ACKNOWLEDGE {
            unacknowledged = 0;
            // The next acknowledgement covers a lost one.
            let _ = socket.send(&highest.to_be_bytes());
        }
    }
}
