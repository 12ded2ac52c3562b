//! Fairness: what hosts keep while an attacker in their network, or outside, sends as much as the tester can.
//!
//! Each attack has a gateway of its own. Hosts send established flows, new flows, DNS queries and packets that need
//! path MTU discovery. The figures are the share of packets delivered or answered, and the 99th percentile of the delay.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::packet_builder::{Packet4, Packet6, Tcp};
use gate64::lab::LabError;
use gate64::wire::tcp::Flags;

use crate::contestant::Contestant;
use crate::options::Options;
use crate::packets::tester::{Count, Length, Side, Stream, now};
use crate::packets::{frame, sys};
use crate::record::{Record, Row, median, quantile};
use crate::report::figure;
use crate::testbed::{Testbed, failed};
use crate::{SESSIONS, machine};

/// Number of different packets of an attack.
const MANY: u32 = 60_000;
/// The attacker's /64 and another one.
const ATTACKED: u16 = 0x100;
const ELSEWHERE: u16 = 0x101;
/// The host that uses sockets, in the attacker's /64. Its other address, 2001:db8:1::10, is elsewhere.
const HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, ATTACKED, 0, 0, 0, 0xd);
/// Rates in packets per second: established flows, and new flows and hosts.
const FLOW: f64 = 2000.0;
const NEW: f64 = 100.0;
/// DNS queries of one client per second: equal answers are limited to 50 (`responses_per_second`).
const QUERIES: f64 = 40.0;
/// Packets per second that are due an ICMP error: a host receives a quarter of `error_rate`, 25.
const PROBES: f64 = 20.0;

/// An attack: its name, where it comes from, its rate and its packet `n`.
struct Attack {
    name: &'static str,
    from: Side,
    rate: f64,
    packet: fn(u32) -> Vec<u8>,
}

const ATTACKS: [Attack; 7] = [
    Attack { name: "none", from: Side::Zone, rate: 1.0, packet: bulk },
    Attack { name: "a packet from each address", from: Side::Zone, rate: 250e3, packet: newcomer },
    Attack { name: "SYNs from forged sources", from: Side::Zone, rate: 250e3, packet: forged },
    Attack { name: "bulk of one host", from: Side::Zone, rate: 700e3, packet: bulk },
    Attack { name: "refused packets of one host", from: Side::Zone, rate: 400e3, packet: refused },
    Attack { name: "UDP from outside", from: Side::Internet, rate: 400e3, packet: outside },
    Attack { name: "DNS queries of many hosts", from: Side::Zone, rate: 100e3, packet: query },
];

/// A pseudo-random number from `n`.
const fn scatter(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x7feb_352d);
    (n ^ n >> 15).wrapping_mul(0x846c_a68b)
}

/// Host `number` of a /64 of the zone.
const fn host(site: u16, number: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, site, 0, 0, (number >> 16) as u16, number as u16)
}

/// The address of server `n`.
fn server4(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, 1 + (n % 250) as u8)
}

/// Server `n` as hosts see it.
fn server(n: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc612, 1 + (n % 250) as u16)
}

fn newcomer(n: u32) -> Vec<u8> {
    Packet6::new(host(ATTACKED, scatter(n) | 1 << 31), server(n)).udp(4000, 5000, b"newcomer")
}

fn forged(n: u32) -> Vec<u8> {
    let bits = scatter(n);
    let syn = Tcp::new(bits as u16 | 1, 80).flags(Flags::SYN);
    Packet6::new(host(ATTACKED, bits % 1000 + 0x4000_0000), server(n >> 3)).tcp(syn, b"")
}

fn bulk(_: u32) -> Vec<u8> {
    Packet6::new(host(ATTACKED, 0xa), server(9)).udp(4000, 5000, &[0; 18])
}

/// To an IPv4 address that must not be translated: each is due an ICMP error.
fn refused(n: u32) -> Vec<u8> {
    let private = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0x7f00, n as u16);
    Packet6::new(host(ATTACKED, 0xa), private).udp(4000, 5000, b"refused")
}

/// To random ports of the pool.
fn outside(n: u32) -> Vec<u8> {
    let bits = scatter(n);
    let from = Ipv4Addr::new(203, 0, 113, 1 + (n % 250) as u8);
    Packet4::new(from, Ipv4Addr::new(198, 19, 0, bits as u8)).udp(53, (bits >> 16) as u16, b"scan")
}

fn query(n: u32) -> Vec<u8> {
    let name = format!("x{n}");
    let resolver = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53);
    let message = dns_query(n as u16, &[&name, "example", "org"]);
    Packet6::new(host(ATTACKED, scatter(n) | 1 << 31), resolver).udp(4000 + (n % 1000) as u16, 53, &message)
}

/// An AAAA query.
fn dns_query(id: u16, labels: &[&str]) -> Vec<u8> {
    let mut message = [id.to_be_bytes(), [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]].concat();
    for label in labels {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 28, 0, 1]);
    message
}

/// What is measured, as columns of the table.
const VICTIMS: [&str; 9] = [
    "same /64, established",
    "same /64, new flow",
    "same /64, DNS",
    "same /64, PMTUD",
    "elsewhere, established",
    "elsewhere, new flow",
    "elsewhere, new host",
    "elsewhere, DNS",
    "same /64, new host",
];
/// The last columns have no target.
const REPORTED: usize = 1;

const SHARE: &str = "share delivered or answered";
const DELAY: &str = "delay, 99th percentile, ms";

const fn row(attack: &'static str, what: &'static str, unit: &'static str) -> Row {
    Row { test: attack, what, unit, more: unit.len() == SHARE.len() }
}

pub(super) fn run(options: &Options, record: &mut Record) -> Result<(), LabError> {
    for round in 0..options.rounds.min(3) {
        for attack in &ATTACKS {
            let mut testbed = Testbed::build(Contestant::Gate64, SESSIONS / 8, options.rps.as_deref())?;
            testbed.pin_gateway(true)?;
            prepare(&testbed)?;
            let figures = measure(&mut testbed, attack, options.seconds(3.0))?;
            println!("round {}  {}", round + 1, attack.name);
            for (what, [share, delay]) in VICTIMS.into_iter().zip(figures) {
                println!("    {what:<24} {share:.3}  {delay:8.2} ms");
                record.add(&row(attack.name, what, SHARE), Contestant::Gate64, share, false);
                record.add(&row(attack.name, what, DELAY), Contestant::Gate64, delay, false);
            }
        }
    }
    Ok(())
}

/// Gives the host an address in the attacker's /64.
fn prepare(testbed: &Testbed) -> Result<(), LabError> {
    testbed.lab.host().ip(&format!("addr add {HOST}/128 dev eth0 nodad"))?;
    testbed.lab.gateway.ip(&format!("-6 route add {HOST}/128 via 2001:db8:1::10 dev lan0"))?;
    testbed.await_path()
}

/// Frames of synthetic hosts: established, new flows and new hosts.
fn frames(testbed: &Testbed, kind: &str, site: u16, count: u32, trial: u16) -> Vec<Vec<u8>> {
    let packet = |n: u32| {
        let (number, port) = match kind {
            "established" => (2, 5001),
            "new flow" => (2, 6000 + n as u16),
            _ => (0x1000 + n, 5001),
        };
        let from = SocketAddr::new(host(site, number).into(), port);
        let to = SocketAddr::new(server(3).into(), 5000);
        frame::ethernet(testbed.macs[0], &frame::udp(from, to, trial, n))
    };
    (0..count).map(packet).collect()
}

/// Makes a host known: sends its first packet, and answers it. Until then the host has one port block.
fn make_known(testbed: &mut Testbed, frames: &[Vec<u8>], trial: u16) -> Result<(), LabError> {
    let mut mapped = None;
    let first = Stream { from: Side::Zone, frames, rate: 100.0, trial, stamped: false };
    let watch = |arrived: &frame::Arrived| mapped = Some(arrived.src);
    testbed.tester.run(&[first], Length::Once, watch).map_err(failed("sending"))?;
    let mapped = mapped.ok_or_else(|| LabError::DemoFailed("the first packet does not pass".to_owned()))?;
    let from = SocketAddr::new(server4(3).into(), 5000);
    let answer = [frame::ethernet(testbed.macs[1], &frame::udp(from, mapped, trial, 0))];
    let answer = Stream { from: Side::Internet, frames: &answer, rate: 100.0, trial, stamped: false };
    let counts = testbed.tester.run(&[answer], Length::Once, |_| {}).map_err(failed("sending"))?;
    match counts.first() {
        Some(count) if count.arrived > 0 => Ok(()),
        _ => Err(LabError::DemoFailed("the answer to the first packet does not pass".to_owned())),
    }
}

/// Shares and delays, in the order of [`VICTIMS`].
fn measure(testbed: &mut Testbed, attack: &Attack, seconds: f64) -> Result<[[f64; 2]; 9], LabError> {
    let streams: Vec<(&str, u16, f64)> = vec![
        ("established", ATTACKED, FLOW),
        ("new flow", ATTACKED, NEW),
        ("established", ELSEWHERE, FLOW),
        ("new flow", ELSEWHERE, NEW),
        ("new host", ELSEWHERE, NEW),
        ("new host", ATTACKED, NEW),
    ];
    let trial = testbed.trial + 1;
    testbed.trial += streams.len() as u16;
    let lists: Vec<_> = (trial..)
        .zip(&streams)
        .map(|(trial, &(kind, site, rate))| frames(testbed, kind, site, (2.0 * rate * seconds) as u32, trial))
        .collect();
    for (trial, (list, (kind, ..))) in (trial..).zip(lists.iter().zip(&streams)) {
        if *kind == "established" {
            make_known(testbed, &list[..1], trial)?;
        }
    }
    let attack_frames: Vec<_> =
        (0..MANY).map(|n| frame::ethernet(testbed.macs[attack.from as usize], &(attack.packet)(n))).collect();
    let mut all: Vec<_> = (trial..)
        .zip(lists.iter().zip(&streams))
        .map(|(trial, (frames, &(_, _, rate)))| Stream {
            from: Side::Zone,
            frames,
            rate,
            trial,
            stamped: true,
        })
        .collect();
    all.push(Stream {
        from: attack.from,
        frames: &attack_frames,
        rate: attack.rate,
        trial: 0,
        stamped: false,
    });
    let sockets = Sockets::open(testbed).map_err(failed("sockets"))?;
    let tester = &mut testbed.tester;
    let (counts, [near, far, path]) = thread::scope(|scope| {
        let queries = [&sockets.near, &sockets.far].map(|s| scope.spawn(move || dns(s, seconds)));
        let path = scope.spawn(|| path_mtu(&sockets.server, seconds));
        let counts = tester.run(&all, Length::For(Duration::from_secs_f64(seconds)), |_| {});
        let [near, far] = queries.map(|thread| thread.join().expect("the thread does not panic"));
        (counts, [near, far, path.join().expect("the thread does not panic")])
    });
    let counts = counts.map_err(failed("sending"))?;
    let [a, b, c, d, e, f] = std::array::from_fn(|n| of_count(&counts[n]));
    if let Some(attacker) = counts.last() {
        println!("  {:.0} packets/s of the attack", attacker.sent as f64 / seconds);
    }
    Ok([a, b, near, path, c, d, e, far, f])
}

/// Share and delay of a stream.
fn of_count(count: &Count) -> [f64; 2] {
    let mut delays: Vec<_> = count.delays.iter().map(|&nanos| nanos as f64 / 1e6).collect();
    delays.sort_by(f64::total_cmp);
    [1.0 - count.loss(), quantile(&delays, 0.99)]
}

/// The sockets of the host and of a server.
struct Sockets {
    near: UdpSocket,
    far: UdpSocket,
    /// Connected to the host's mapped address.
    server: UdpSocket,
}

impl Sockets {
    fn open(testbed: &Testbed) -> io::Result<Self> {
        let (zone, internet) = (testbed.lab.host().name(), testbed.lab.internet.name());
        let bound = |netns: &str, addr: SocketAddr| sys::within(netns, || UdpSocket::bind(addr));
        let resolver = SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53).into(), 53);
        let near = bound(zone, SocketAddr::new(HOST.into(), 0))?;
        let far = bound(zone, SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10).into(), 0))?;
        for socket in [&near, &far] {
            socket.connect(resolver)?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        }
        let server = bound(internet, SocketAddr::new(Ipv4Addr::new(198, 51, 100, 80).into(), 5000))?;
        server.set_read_timeout(Some(Duration::from_secs(2)))?;
        // IP_PMTUDISC_PROBE: sets DF, and ignores what it learns.
        sys::set_option(&server, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
        let client = bound(zone, SocketAddr::new(HOST.into(), 0))?;
        client.send_to(b"hello", testbed.server_addr_from_host(5000))?;
        let (_, mapped) = server.recv_from(&mut [0; 16])?;
        server.connect(mapped)?;
        Ok(Self { near, far, server })
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark paces its packets")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// Repeats `attempt` until the time is over; it returns whether it succeeded. Returns share and delay.
fn repeat(seconds: f64, rate: f64, mut attempt: impl FnMut(u16) -> bool) -> [f64; 2] {
    let start = now();
    let (mut delays, mut attempts) = (Vec::new(), 0u16);
    while start.elapsed().as_secs_f64() < seconds {
        let before = now();
        attempts += 1;
        if attempt(attempts) {
            delays.push(before.elapsed().as_secs_f64() * 1e3);
        }
        pause(Duration::from_secs_f64(1.0 / rate).saturating_sub(before.elapsed()));
    }
    delays.sort_by(f64::total_cmp);
    [delays.len() as f64 / f64::from(attempts.max(1)), quantile(&delays, 0.99)]
}

/// Sends queries and waits for each answer.
fn dns(socket: &UdpSocket, seconds: f64) -> [f64; 2] {
    repeat(seconds, QUERIES, |id| {
        let sent = socket.send(&dns_query(id, &["ipv4only", "arpa"]));
        let mut answer = [0; 512];
        while sent.is_ok()
            && let Ok(len) = socket.recv(&mut answer)
        {
            if len > 12 && answer[..2] == id.to_be_bytes() {
                return true;
            }
        }
        false
    })
}

/// Sends datagrams that are too long for the IPv6 side and waits for each ICMP error.
fn path_mtu(socket: &UdpSocket, seconds: f64) -> [f64; 2] {
    repeat(seconds, PROBES, |_| {
        // The result may be an earlier error.
        if socket.send(&[0; 1472]).is_err() {
            let _ = socket.send(&[0; 1472]);
        }
        let start = now();
        while start.elapsed() < Duration::from_millis(100) {
            if let Ok(Some(error)) = socket.take_error() {
                return error.raw_os_error() == Some(libc::EMSGSIZE);
            }
            pause(Duration::from_micros(100));
        }
        false
    })
}

/// The tests in the record that are attacks.
pub(crate) fn is_attack(test: &str) -> bool {
    ATTACKS.iter().any(|attack| attack.name == test)
}

/// The table of PERFORMANCE.md; `None` if nothing was measured.
pub(crate) fn table(record: &Record) -> Option<String> {
    let mut text = format!(
        "`{}`, {}. Each cell: {SHARE}; {DELAY}.\n\n| attack | {} |\n|---|{}\n",
        Options::command(),
        machine::describe(),
        VICTIMS.join(" | "),
        "---|".repeat(VICTIMS.len()),
    );
    let mut misses = 0;
    for attack in ATTACKS.iter().map(|attack| attack.name) {
        let _ = write!(text, "| {attack} |");
        for (column, what) in VICTIMS.into_iter().enumerate() {
            let [share, delay] = [SHARE, DELAY]
                .map(|unit| median(&record.values(&row(attack, what, unit), Contestant::Gate64)));
            let (share, delay) = (share?, delay?);
            let missed = column < VICTIMS.len() - REPORTED && !(share >= 0.9 && delay <= 5.0);
            misses += u32::from(missed);
            let mark = if missed { "**" } else { "" };
            let _ = write!(text, " {mark}{share:.2}; {}{mark} |", figure(delay));
        }
        text.push('\n');
    }
    let cells = ATTACKS.len() * (VICTIMS.len() - REPORTED);
    let _ = write!(
        text,
        "\nTarget: at least 0.9 and at most 5 ms, but for new hosts in the attacked /64. Met in {} of {cells} cells; the others \
         are bold.\n",
        cells as u32 - misses
    );
    Some(text)
}
