//! Start, reload, stop, kill: which host state remains and which must not.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use gate64::lab::{Deadline, Gateway, GatewayConfig, LabError, Namespace, until};
use serde_json::Value;

use super::{Site, Test, WWW, build, digest, expect, program, wrong};

/// All host state that the gateway may change.
fn snapshot(at: &Namespace) -> Result<String, LabError> {
    let settled = "link-local addresses have settled";
    until(Deadline::ample(), settled, || {
        at.text("ip addr").is_ok_and(|output| !output.contains("tentative"))
    })?;
    let commands = [
        "ip addr",
        "ip route show table all",
        "ip -6 route show table all",
        "ip rule",
        "ip -6 rule",
        "ip neigh show proxy",
        "ip -6 neigh show proxy",
        "ip neigh show nud permanent",
        "ip -6 neigh show nud permanent",
        "nft list ruleset",
        "sysctl -a --pattern ^net[.]ipv[46][.](conf|ip_forward|ip_local|neigh)",
    ];
    let mut text = String::new();
    for command in commands {
        text.push_str(&format!("# {command}\n{}\n", at.text(command)?));
    }
    Ok(text)
}

fn assert_same(before: &str, after: &str) {
    let changed: Vec<_> = before
        .lines()
        .filter(|line| !after.lines().any(|l| l == *line))
        .map(|line| format!("- {line}"))
        .chain(
            after.lines().filter(|line| !before.lines().any(|l| l == *line)).map(|line| format!("+ {line}")),
        )
        .collect();
    assert!(changed.is_empty(), "host state left:\n{}", changed.join("\n"));
}

fn configs() -> [GatewayConfig; 2] {
    let masquerade = GatewayConfig { pool: "egress = \"masquerade\"".to_owned(), ..GatewayConfig::default() };
    [GatewayConfig::default(), masquerade]
}

#[test]
fn a_stop_and_cleanup_leave_nothing() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let before = snapshot(&site.lab.gateway)?;
    for config in configs() {
        let gateway = site.start(&config)?;
        site.page()?;
        gateway.stop()?;
        cleanup(&site)?;
        assert_same(&before, &snapshot(&site.lab.gateway)?);
    }
    Ok(())
}

#[test]
fn quarantine_survives_a_restart() -> Test {
    // id 6888-8-restart
    let Some(site) = build(2, None)? else { return Ok(()) };
    // One port range: the hosts' blocks are next to each other.
    let pool = "pool4 = \"192.0.2.64:40960-41215\"".to_owned();
    let config = GatewayConfig { pool, ..GatewayConfig::default() };
    let gateway = site.start(&config)?;
    let first = port_of(&site.page()?)?;
    gateway.stop()?;
    let block = saved_block_of(&site, first)?;
    let gateway = site.start(&config)?;
    let other = site.lab.hosts[1].text(&format!("curl -sS -m 5 http://[{WWW}]/"))?;
    assert!(!block.contains(&port_of(&other)?), "{block:?} came to another host at once: {other}");
    let again = port_of(&site.page()?)?;
    assert!(block.contains(&again), "{block:?} did not return to its host: {again}");
    gateway.stop()
}

/// The client's port as the server saw it, from the page's text.
pub(super) fn port_of(page: &str) -> Result<u16, LabError> {
    let digits = page.trim().trim_end_matches('.').rsplit(' ').next().unwrap_or_default();
    digits.parse().map_err(|_| wrong(format!("no port in {page}")))
}

/// The saved block that contains a port.
fn saved_block_of(site: &Site, port: u16) -> Result<RangeInclusive<u16>, LabError> {
    let path = site.file("state").join("blocks.json");
    let text = fs::read_to_string(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    let saved: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let range = |block: &Value| Some(block[3].as_u64()? as u16..=block[4].as_u64()? as u16);
    let mut ranges = saved["blocks"].as_array().into_iter().flatten().filter_map(range);
    ranges
        .find(|range| range.contains(&port))
        .ok_or_else(|| wrong(format!("port {port} is in no block: {text}")))
}

fn cleanup(site: &Site) -> Test {
    let dir = site.file("state");
    site.lab
        .gateway
        .text(&format!("{} cleanup --state-dir {}", program().display(), dir.display()))
        .map(|output| eprintln!("{output}"))
}

#[test]
fn cleanup_removes_host_state_of_a_killed_gateway() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let before = snapshot(&site.lab.gateway)?;
    for config in configs() {
        let gateway = site.start(&config)?;
        site.page()?;
        gateway.kill()?;
        cleanup(&site)?;
        assert_same(&before, &snapshot(&site.lab.gateway)?);
    }
    Ok(())
}

#[test]
fn the_next_start_removes_host_state_of_a_killed_gateway() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let before = snapshot(&site.lab.gateway)?;
    let [pool, masquerade] = configs();
    site.start(&masquerade)?.kill()?;
    let gateway = site.start(&pool)?;
    site.page()?;
    gateway.stop()?;
    cleanup(&site)?;
    assert_same(&before, &snapshot(&site.lab.gateway)?);
    Ok(())
}

/// A second zone without hosts.
fn with_another_zone() -> GatewayConfig {
    let more = "[[zone]]\nname = \"other\"\nclients = [\"2001:db8:2::/48\"]".to_owned();
    GatewayConfig { more, ..GatewayConfig::default() }
}

#[test]
fn a_reload_keeps_sessions() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let mut gateway = site.start(&GatewayConfig::default())?;
    let bytes = 24 << 20;
    let file = site.file("slow");
    let line =
        format!("curl -sS --limit-rate 12M -o {} http://www.v4only.example/bytes/{bytes}", file.display());
    let mut transfer = site.host().daemon(&line, &site.file("slow.log"))?;
    let size = || fs::metadata(&file).map_or(0, |file| file.len());
    until(Deadline::ample(), "the transfer has started", || size() > 0)?;
    gateway.reload(&with_another_zone())?;
    gateway.reload(&GatewayConfig::default())?;
    if size() == bytes {
        return Err(wrong("the transfer was over before the reload"));
    }
    until(Deadline::ample(), "the transfer ends", || !transfer.is_running())?;
    assert_eq!(size(), bytes, "{}", transfer.log());
    expect(&site.page()?, "Hello!")?;
    gateway.stop()
}

/// A slow download in progress.
struct Transfer {
    process: gate64::lab::Daemon,
    file: PathBuf,
}

impl Transfer {
    const BYTES: u64 = 24 << 20;

    fn start(site: &Site) -> Result<Self, LabError> {
        let file = site.file("slow");
        let url = format!("http://www.v4only.example/bytes/{}", Self::BYTES);
        let line = format!("curl -sS --limit-rate 2M -o {} {url}", file.display());
        let process = site.host().daemon(&line, &site.file("slow.log"))?;
        let transfer = Self { process, file };
        until(Deadline::ample(), "the transfer has started", || transfer.size() > 0)?;
        Ok(transfer)
    }

    fn size(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    fn finish(mut self) -> Result<String, LabError> {
        until(Deadline::ample(), "the transfer ends", || !self.process.is_running())?;
        assert_eq!(self.size(), Self::BYTES, "{}", self.process.log());
        digest(&self.file)
    }
}

/// The files of saved sessions, with their lengths.
fn saved_sessions(site: &Site) -> Vec<(String, u64)> {
    let entries = fs::read_dir(site.file("state")).into_iter().flatten().flatten();
    let file =
        |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len()));
    let mut files: Vec<_> =
        entries.filter_map(file).filter(|(name, _)| name.starts_with("sessions.")).collect();
    files.sort();
    files
}

#[test]
fn a_transfer_survives_a_restart_and_a_kill() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let original = site.file("original");
    let (path, bytes) = (original.display(), Transfer::BYTES);
    site.lab.internet.text(&format!("curl -sS -o {path} http://198.51.100.80/bytes/{bytes}"))?;
    let want = digest(&original)?;
    let config = GatewayConfig { workers: 2, ..GatewayConfig::default() };
    let gateway = site.start(&config)?;
    let transfer = Transfer::start(&site)?;
    gateway.stop()?;
    let gateway = site.start(&config)?;
    expect(&gateway.log(), "restored ")?;
    // The new generation is complete when the old one is gone.
    let is_second = || saved_sessions(&site).iter().all(|(name, _)| name.starts_with("sessions.2."));
    until(Deadline::ample(), "the sessions are saved again", is_second)?;
    gateway.kill()?;
    let gateway = site.start(&config)?;
    expect(&gateway.log(), "restored ")?;
    assert!(transfer.size() < bytes, "the transfer was over before the kill");
    assert_eq!(transfer.finish()?, want);
    expect(&site.page()?, "Hello!")?;
    gateway.stop()
}

#[test]
fn reloading_an_invalid_file_changes_nothing() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    fs::write(gateway.config(), "[translator]\npref64 = \"2001:db8:64::/95\"\n")
        .map_err(|e| wrong(e.to_string()))?;
    let before = gateway.log().len();
    gateway.hangup()?;
    let refused = || gateway.log()[before..].contains("/95");
    until(Deadline::ample(), "the gateway reports the error", refused)?;
    expect(&site.page()?, "Hello!")?;
    gateway.stop()
}

#[test]
fn a_second_gateway_on_the_same_device_is_refused() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    // Several queues: a second gateway that joins the device would take some of the packets.
    let config = GatewayConfig { workers: 2, ..GatewayConfig::default() };
    let gateway = site.start(&config)?;
    site.page()?;
    let before = snapshot(&site.lab.gateway)?;
    let dir = site.file("second");
    fs::create_dir_all(&dir).map_err(|error| wrong(error.to_string()))?;
    let second = Gateway::with_file(program(), &site.lab.gateway, &dir, &config.text(&dir));
    let Err(why) = second else { return Err(wrong("a second gateway has started")) };
    expect(&why.to_string(), "interface gate64 exists already: another gateway")?;
    assert_same(&before, &snapshot(&site.lab.gateway)?);
    for _ in 0..8 {
        site.page()?;
    }
    gateway.stop()
}

#[test]
fn a_stopped_gateway_makes_its_prefixes_unreachable() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let router = &site.lab.gateway;
    site.lab.internet.ip("route add 203.0.113.128/25 via 192.0.2.2")?;
    // The host is a router also without gate64.
    router.text("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
    let pool = "pool4 = \"203.0.113.128/28\"".to_owned();
    let config = GatewayConfig { pool, ..GatewayConfig::default() };
    for kill in [false, true] {
        let gateway = site.start(&config)?;
        site.page()?;
        if kill {
            gateway.kill()?;
        } else {
            gateway.stop()?;
        }
        let ping = |from: &Namespace, target: &str| {
            from.run(&format!("ping -n -c 1 -W 5 {target}")).outcome().map(|output| output.stdout)
        };
        expect(&ping(site.host(), WWW)?, "Destination unreachable")?;
        expect(&ping(&site.lab.internet, "203.0.113.130")?, "Destination Host Unreachable")?;
    }
    cleanup(&site)?;
    assert_eq!(router.text("ip route show proto 64")?, "");
    assert_eq!(router.text("ip -6 route show proto 64")?, "");
    Ok(())
}
