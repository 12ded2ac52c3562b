//! The faults: each is injected from outside, as an operator, another program or the kernel would cause it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use gate64::device::pcap::Writer;
use gate64::lab::{Deadline, LabError, until};

use super::super::wrong;
use super::load;
use super::site::{self, run, write};

/// What a fault ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    Nothing,
    Process,
    Device,
}

/// When a fault is injected: with a pool4 or with masquerading, before or after the memory was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    OneProcess,
    Restarts,
    Masquerade,
}

/// A row of the table.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// How often in a run of 20 minutes.
    pub(super) times: u32,
    pub(super) phase: Phase,
    pub(super) ends: Ends,
    /// Injects it. Returns what the gateway said, for the table.
    pub(super) inject: fn(&mut World) -> Result<String, LabError>,
}

const fn fault(
    name: &'static str,
    times: u32,
    (phase, ends): (Phase, Ends),
    inject: fn(&mut World) -> Result<String, LabError>,
) -> Fault {
    Fault { name, times, phase, ends, inject }
}

const STAYS: (Phase, Ends) = (Phase::OneProcess, Ends::Nothing);
const RESTARTS: (Phase, Ends) = (Phase::Restarts, Ends::Process);

/// All faults.
pub(super) const FAULTS: &[Fault] = &[
    fault("none", 3, STAYS, |_| Ok(hold(2000))),
    fault("reload (`systemctl reload`)", 50, STAYS, reload),
    fault("upstream resolver silent, 6 s", 5, STAYS, upstream_outage),
    fault("`ip link set gate64 down`, up after 1 s", 5, STAYS, |_| link("gate64")),
    fault("uplink down, up after 1 s", 5, STAYS, |_| link("wan")),
    fault("zone link down, up after 1 s", 5, STAYS, |_| link("lan")),
    fault("`networkctl reload`, a new `Name=*` file", 5, STAYS, networkd),
    fault("`ip_forward=0`, `all.forwarding=0`", 5, STAYS, |_| {
        run("sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
    }),
    fault("uplink address changed", 4, STAYS, uplink_address),
    fault("disk full (state and binding log), 3 s", 3, STAYS, disk_full),
    fault("clock 25 h forward", 2, STAYS, |world| clock(world, DAY)),
    fault("clock 25 h back", 2, STAYS, |world| clock(world, 0)),
    fault("1,000 malformed packets", 10, STAYS, malformed_packets),
    fault("100 malformed requests (admin, metrics)", 10, STAYS, malformed_requests),
    fault("100 malformed configurations", 10, STAYS, malformed_configurations),
    fault("restart (`systemctl restart`)", 20, RESTARTS, restart),
    fault("`kill -9`", 10, RESTARTS, kill),
    fault("clock 25 h forward, restart", 2, RESTARTS, |world| clock(world, DAY).and_then(|_| restart(world))),
    fault("clock 25 h back, restart", 2, RESTARTS, |world| clock(world, 0).and_then(|_| restart(world))),
    fault("disk full, restart", 2, RESTARTS, full_restart),
    fault("`ip link del gate64`", 5, (Phase::Restarts, Ends::Device), delete_device),
    fault("`nft flush ruleset` (masquerade)", 5, (Phase::Masquerade, Ends::Nothing), |_| {
        run("nft flush ruleset")
    }),
];

const DAY: i64 = 25 * 3600;
/// A small file system.
const STATE: &str = "/var/lib/gate64";

/// What the faults change, and the inputs that the outer test made.
#[derive(Default)]
pub(super) struct World {
    /// Number of faults so far.
    pub(super) number: u32,
    pub(super) is_masquerading: bool,
    /// Whether the faults follow each other without a pause.
    pub(super) is_short: bool,
    packets: Vec<Vec<u8>>,
    configurations: Vec<String>,
    /// Hosts that have opened a session so far.
    hosts: u16,
}

impl World {
    pub(super) fn new(packets: Vec<Vec<u8>>, configurations: Vec<String>, is_short: bool) -> Self {
        Self { packets, configurations, is_short, ..Self::default() }
    }

    /// The configuration in effect.
    pub(super) fn configuration(&self) -> String {
        let pool = match self.is_masquerading {
            true => "egress = \"masquerade\"",
            false => "pool4 = [\"192.0.2.64/28\"]",
        };
        include_str!("gate64.toml").replace("POOL", pool)
    }

    pub(super) fn write_configuration(&self) -> Result<(), LabError> {
        write(site::CONFIG, self.configuration())
    }

    /// New hosts of the zone open sessions, each in a port block of its own: the binding log gets records.
    fn new_hosts(&mut self) -> Result<(), LabError> {
        const COUNT: u16 = 32;
        // As many as drive.sh has added.
        let first = self.hosts % 128;
        self.hosts += COUNT;
        load::hosts(first + 1..=first + COUNT)
    }
}

/// The length of a fault.
fn hold(millis: u64) -> String {
    thread::park_timeout(Duration::from_millis(millis));
    String::new()
}

fn reload(world: &mut World) -> Result<String, LabError> {
    let mut text = world.configuration();
    if world.number.is_multiple_of(2) {
        text.push_str("\n[[zone]]\nname = \"other\"\nclients = [\"2001:db8:2::/48\"]\n");
    }
    write(site::CONFIG, text)?;
    run("systemctl reload gate64.service")?;
    Ok("reloaded".to_owned())
}

fn upstream_outage(_: &mut World) -> Result<String, LabError> {
    run("pkill -STOP -F /run/lab/upstream.pid")?;
    let finding = "no upstream resolver answers";
    let waited = until(Deadline::ample(), finding, || site::property("StatusText").contains(finding));
    let _ = hold(2000);
    run("pkill -CONT -F /run/lab/upstream.pid")?;
    waited?;
    Ok(format!("status: “{finding}”"))
}

fn link(name: &str) -> Result<String, LabError> {
    run(&format!("ip link set {name} down"))?;
    let _ = hold(1000);
    // Of the device it is already up again.
    run(&format!("ip link set {name} up"))?;
    Ok(String::new())
}

fn networkd(world: &mut World) -> Result<String, LabError> {
    let text = format!("# {}\n[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\n", world.number);
    write("/run/systemd/network/99-all.network", text)?;
    run("networkctl reload")?;
    let _ = hold(1000);
    run("networkctl reconfigure gate64 lan wan")
}

fn uplink_address(_: &mut World) -> Result<String, LabError> {
    let file = "/run/systemd/network/20-wan.network";
    let text = std::fs::read_to_string(file).map_err(|why| wrong(format!("{file}: {why}")))?;
    let other = match text.contains("192.0.2.2/24") {
        true => text.replace("192.0.2.2/24", "192.0.2.3/24"),
        false => text.replace("192.0.2.3/24", "192.0.2.2/24"),
    };
    write(file, other)?;
    run("networkctl reload")
}

/// Fills the file system of the state directory.
fn fill() -> Result<(), LabError> {
    let mut file = File::create(format!("{STATE}/fill")).map_err(|why| wrong(why.to_string()))?;
    for size in [1 << 20, 1 << 12] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
    Ok(())
}

fn empty() -> Result<(), LabError> {
    std::fs::remove_file(format!("{STATE}/fill")).map_err(|why| wrong(why.to_string()))
}

fn disk_full(world: &mut World) -> Result<String, LabError> {
    fill()?;
    let used = world.new_hosts();
    let _ = hold(3000);
    let reloaded = reload(world);
    empty()?;
    used.and(reloaded).map(|_| "reloads and translates".to_owned())
}

fn full_restart(world: &mut World) -> Result<String, LabError> {
    fill()?;
    let restarted = restart(world);
    empty()?;
    restarted
}

/// Sets the gateway's wall clock to `offset` seconds from the true time.
fn clock(world: &mut World, offset: i64) -> Result<String, LabError> {
    // The same file: the gateway has mapped it.
    let mut file =
        File::options().write(true).open("/run/lab/clock").map_err(|why| wrong(format!("clock: {why}")))?;
    file.write_all(&offset.to_ne_bytes()).map_err(|why| wrong(format!("clock: {why}")))?;
    world.new_hosts().map(|()| String::new())
}

fn malformed_packets(world: &mut World) -> Result<String, LabError> {
    let failed = |why: std::io::Error| wrong(format!("the wire of the device: {why}"));
    let before = site::received(&site::status());
    let mut wire = Command::new("/run/lab/gate64")
        .args(["lab", "wire", "gate64"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut to = Writer::new(BufWriter::new(wire.stdin.take().expect("piped"))).map_err(failed)?;
    for packets in world.packets.chunks(100) {
        for packet in packets {
            to.write(Duration::ZERO, packet).map_err(failed)?;
        }
        to.flush().map_err(failed)?;
        // The queue of the device holds some hundred packets.
        let _ = hold(50);
    }
    let wanted = world.packets.len() as u64;
    let waited = until(Deadline::ample(), "the malformed packets are read", || {
        site::received(&site::status()) >= before + wanted
    });
    let _ = wire.kill();
    let _ = wire.wait();
    let third = world.packets.len() / 3;
    world.packets.rotate_left(third);
    waited.map(|()| String::new())
}

/// A malformed request, of the kind `number`.
fn request(number: u32) -> Vec<u8> {
    let noise = (0..400u32).map(|n| (n.wrapping_mul(number * 2 + 1) >> 3) as u8);
    match number % 9 {
        0 => noise.collect(),
        1 => b"GET /status".to_vec(),
        2 => b"DELETE /status HTTP/1.1\r\nHost: gate64\r\n\r\n".to_vec(),
        3 => format!("GET /{} HTTP/1.1\r\nHost: gate64\r\n\r\n", "a".repeat(200_000)).into_bytes(),
        4 => format!("GET /status HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5000)).into_bytes(),
        5 => {
            b"GET /bindings/192.0.2.999/70000 HTTP/1.1\r\nHost: gate64\r\nConnection: close\r\n\r\n".to_vec()
        }
        6 => b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_vec(),
        7 => [&b"GET /failures/%ff%00 HTTP/9.9\r\n"[..], &noise.collect::<Vec<_>>()].concat(),
        _ => b"\r\n\r\n\r\n".to_vec(),
    }
}

fn malformed_requests(_: &mut World) -> Result<String, LabError> {
    for number in 0..100 {
        let bytes = request(number);
        if number.is_multiple_of(2) {
            let answer = site::send(&bytes, true).map_err(|why| wrong(format!("request {number}: {why}")))?;
            if answer.starts_with(b"HTTP/1.1 2") {
                return Err(wrong(format!("request {number} was not refused")));
            }
        } else {
            let mut stream = TcpStream::connect("[::1]:6464").map_err(|why| wrong(why.to_string()))?;
            // It may close the connection before it has read everything.
            let _ = stream.write_all(&bytes);
        }
    }
    if site::status().is_null() { Err(wrong("no status any more")) } else { Ok("all refused".to_owned()) }
}

fn malformed_configurations(world: &mut World) -> Result<String, LabError> {
    let mut accepted = None;
    for text in world.configurations.iter().take(100) {
        write(site::CONFIG, text)?;
        if site::reload()? < 400 {
            accepted = Some(text.clone());
        }
    }
    world.configurations.rotate_left(100);
    world.write_configuration()?;
    if site::reload()? != 200 {
        return Err(wrong("the good configuration was refused"));
    }
    accepted.map_or_else(|| Ok("all refused".to_owned()), |text| Err(wrong(format!("accepted:\n{text}"))))
}

fn restart(_: &mut World) -> Result<String, LabError> {
    run("systemctl restart gate64.service").map(|_| String::new())
}

fn kill(_: &mut World) -> Result<String, LabError> {
    let before = site::identity();
    run(&format!("kill -KILL {}", before.process))?;
    site::until_restarted(before).map(|()| String::new())
}

fn delete_device(_: &mut World) -> Result<String, LabError> {
    let before = site::identity();
    run("ip link del gate64")?;
    site::until_restarted(before).map(|()| String::new())
}
