//! TCP bulk through gate64 and through Debian's tayga with masquerade, interleaved, in the kernel lab.
//! Needs root. Prints medians and their ratio; asserts nothing, since the machine may be busy.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use gate64::lab::{Daemon, Deadline, Gateway, GatewayConfig, Lab, LabError, Namespace, Plan, Run, until};

/// The server as the host sees it.
const SERVER: &str = "2001:db8:64::c633:6450";
const SECONDS: u32 = 3;
const ROUNDS: usize = 5;

/// One contestant in a laboratory of its own.
struct Contestant {
    name: &'static str,
    up: Vec<f64>,
    down: Vec<f64>,
    _running: Running,
    _server: Daemon,
    lab: Lab,
}

#[expect(dead_code, reason = "held for what dropping them ends")]
enum Running {
    Gate64(Gateway),
    Tayga(Daemon),
    Kernel,
}

fn build() -> Result<(Lab, Daemon), LabError> {
    let gate64 = Path::new(env!("CARGO_BIN_EXE_gate64")).to_owned();
    let lab = Lab::build(&Plan { hosts: 1, far: None, gate64 })?;
    let server = lab.internet.daemon("iperf3 -s", &lab.dir().join("iperf"))?;
    until(Deadline::after(5), "iperf3 listens", || server.log().contains("listening"))?;
    Ok((lab, server))
}

/// tayga maps each IPv6 address to one of its own, which the kernel's masquerade turns into the
/// gateway's.
fn start_tayga(gateway: &Namespace, dir: &Path) -> Result<Daemon, LabError> {
    let config = dir.join("tayga.conf");
    let text = format!(
        "tun-device nat64\nipv4-addr 192.168.255.1\nprefix 2001:db8:64::/96\n\
         dynamic-pool 192.168.255.0/24\ndata-dir {}\nipv6-addr 2001:db8:1:ffff::1\n",
        dir.display()
    );
    fs::write(&config, text).map_err(|source| LabError::Io { what: "tayga.conf".to_owned(), source })?;
    gateway.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
    gateway.text(&format!("tayga --mktun -c {}", config.display()))?;
    gateway.ip("link set nat64 up")?;
    gateway.ip("route add 192.168.255.0/24 dev nat64")?;
    gateway.ip("route add 2001:db8:64::/96 dev nat64")?;
    let rules = "table ip lab { chain out { type nat hook postrouting priority 100; \
                 ip saddr 192.168.255.0/24 oifname wan masquerade; } }";
    gateway.run("nft -f -").input(rules).text()?;
    gateway.daemon(&format!("tayga -d -c {}", config.display()), &dir.join("tayga.log"))
}

/// Gbit/s of one stream, as its receiver saw it.
fn measure(lab: &Lab, to: &str, reverse: bool) -> Result<f64, LabError> {
    let direction = if reverse { " -R" } else { "" };
    let line = format!("iperf3 -c {to} -t {SECONDS} -O 1 -J{direction}");
    let text = lab.host().run(&line).limit(30).text()?;
    let report: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| LabError::Story(format!("iperf3: {e}")))?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.map(|bits| bits / 1e9).ok_or_else(|| LabError::Story(format!("iperf3: {text}")))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn contestants() -> Result<Vec<Contestant>, LabError> {
    let contestant = |name, start: &dyn Fn(&Lab) -> Result<Running, LabError>| {
        let (lab, server) = build()?;
        let running = start(&lab)?;
        Ok(Contestant { name, up: Vec::new(), down: Vec::new(), _running: running, _server: server, lab })
    };
    Ok(vec![
        contestant("gate64", &|lab| lab.start(&GatewayConfig::default()).map(Running::Gate64))?,
        contestant("tayga + masquerade", &|lab| start_tayga(&lab.gateway, lab.dir()).map(Running::Tayga))?,
        contestant("plain IPv6 routing", &|lab| {
            lab.gateway.sysctl(&["net.ipv6.conf.all.forwarding=1"])?;
            Ok(Running::Kernel)
        })?,
    ])
}

fn run() -> Result<(), LabError> {
    let tayga = Run::new("tayga --version").outcome()?;
    eprintln!("{}", format!("{}{}", tayga.stdout, tayga.stderr).lines().next().unwrap_or_default());
    let mut all = contestants()?;
    for round in 1..=ROUNDS {
        for c in &mut all {
            let to = if c.name.starts_with("plain") { "2001:db8:80::80" } else { SERVER };
            let reached = || c.lab.host().run(&format!("ping -c 1 -W 1 {to}")).outcome().is_ok_and(|o| o.ok);
            until(Deadline::after(10), "the server can be reached", reached)?;
            c.up.push(measure(&c.lab, to, false)?);
            c.down.push(measure(&c.lab, to, true)?);
            let (up, down) = (c.up[round - 1], c.down[round - 1]);
            println!("round {round}  {:<20} up {up:>6.2}  down {down:>6.2} Gbit/s", c.name);
        }
    }
    let medians: Vec<_> = all.iter_mut().map(|c| (c.name, median(&mut c.up), median(&mut c.down))).collect();
    println!("\nTCP bulk, one stream, medians of {ROUNDS} interleaved rounds:");
    for (name, up, down) in &medians {
        println!("  {name:<20} up {up:>6.2}  down {down:>6.2} Gbit/s");
    }
    let (_, up, down) = medians[0];
    for (name, other_up, other_down) in &medians[1..] {
        println!("  gate64 is {:.2} (up) and {:.2} (down) times {name}", up / other_up, down / other_down);
    }
    Ok(())
}

fn main() {
    if !gate64::lab::is_root() {
        eprintln!("SKIPPED: the lab's benchmark needs root");
        return;
    }
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
