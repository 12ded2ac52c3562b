//! The kernel's neighbour tables: traffic through the gateway must not fill them.

use gate64::lab::{GatewayConfig, LabError, Namespace};

use super::{Site, Test, build, wrong};

/// Destinations: more than the 1,024 neighbour entries of the whole host (`gc_thresh3`).
const MANY: u32 = 1500;

/// Unicast neighbours on the gate64 device. Those of the kernel's own multicast (MLD) are few.
fn entries(at: &Namespace, family: &str) -> Result<Vec<String>, LabError> {
    let output = at.text(&format!("ip {family} neigh show dev gate64 nud all"))?;
    let addresses = output.lines().filter_map(|line| line.split_whitespace().next());
    Ok(addresses.filter(|addr| !addr.starts_with("ff02:")).map(str::to_owned).collect())
}

/// Pings all targets, 16 at a time. Returns how many answered.
fn ping_all(at: &Namespace, targets: impl Iterator<Item = String>) -> Result<usize, LabError> {
    let targets: String = targets.map(|target| format!("{target}\n")).collect();
    let pings = at.run("xargs -P 16 -n 1 ping -n -q -c 1 -W 5").input(targets).limit(120).outcome()?;
    Ok(pings.stdout.matches(" 1 received").count())
}

/// A server with the IPv4 addresses of 203.0.104.0/21.
fn many_servers(site: &Site) -> Test {
    site.lab.internet.ip("route add local 203.0.104.0/21 dev lo").map(drop)
}

#[test]
fn ipv6_destinations_share_a_neighbour() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    many_servers(&site)?;
    let gateway = site.start(&GatewayConfig::default())?;
    let first = u32::from_be_bytes([203, 0, 104, 0]);
    let targets = (first..first + MANY).map(|addr| {
        let [high, low] = [addr >> 16, addr & 0xffff];
        format!("2001:db8:64::{high:x}:{low:x}")
    });
    let answered = ping_all(site.host(), targets)?;
    let found = entries(&site.lab.gateway, "-6")?;
    if found != ["fe80::64"] {
        return Err(wrong(format!("{} neighbours: {:?}", found.len(), &found[..found.len().min(5)])));
    }
    assert_eq!(answered, MANY as usize, "all destinations answer");
    gateway.stop()
}

#[test]
fn ipv4_destinations_share_a_neighbour() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    // No binding answers; the packets reach the device all the same.
    ping_all(&site.lab.internet, (64..80).map(|host| format!("192.0.2.{host}")))?;
    let found = entries(&site.lab.gateway, "-4")?;
    assert_eq!(found, ["0.0.0.0"]);
    gateway.stop()
}
