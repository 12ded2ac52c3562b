//! The binding log: `gate64 who` names the host of a port, while gate64 runs and after it has stopped.

use std::fs;

use gate64::lab::{CommandLine, Deadline, GatewayConfig, LabError, until};
use serde_json::Value;

use super::lifecycle::port_of;
use super::{Site, Test, build, expect, wrong};

/// The outside address of the clients.
const OUTSIDE: &str = "192.0.2.64";

fn config() -> GatewayConfig {
    GatewayConfig { pool: format!("pool4 = \"{OUTSIDE}/32\""), ..GatewayConfig::default() }
}

/// The output of `gate64 who` for a port, whether or not it has an answer.
fn who(site: &Site, port: u16, more: &str) -> Result<String, LabError> {
    site.lab
        .gateway
        .run(&site.gate64(&format!("who {OUTSIDE} {port} {more}")))
        .outcome()
        .map(|output| output.stdout + &output.stderr)
}

/// The only answer.
fn answer(site: &Site, port: u16, more: &str) -> Result<Value, LabError> {
    let text = who(site, port, &format!("--json {more}"))?;
    let found: Value = serde_json::from_str(&text).map_err(|why| wrong(format!("{why}: {text}")))?;
    match found["answers"].as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one.clone()),
        _ => Err(wrong(format!("not one answer: {text}"))),
    }
}

#[test]
fn the_host_of_a_port_is_found() -> Test {
    // id 6888-12
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&config())?;
    let port = port_of(&site.page()?)?;
    let recorded = || answer(&site, port, "").is_ok_and(|answer| answer["until"] == "present");
    until(Deadline::ample(), "the log has the port", recorded)?;
    let live = answer(&site, port, "")?;
    let host = live["host"].as_str().unwrap_or_default().to_owned();
    expect(&site.host().text("ip -6 addr")?, &format!("{host}/"))?;
    assert_eq!(live["zone"], "lab");
    expect(&who(&site, port, "")?, "until  now: still assigned")?;
    let start = live["start"].as_str().unwrap_or_default();
    assert_eq!(answer(&site, port, &format!("--at {start}"))?["host"], host.as_str());
    expect(&who(&site, port, "--at 2001-01-01T00:00:00Z")?, "no host")?;

    gateway.stop()?;
    let stopped = answer(&site, port, "")?;
    assert_eq!((stopped["host"].as_str(), stopped["until"].as_str()), (Some(host.as_str()), Some("stopped")));
    // Whoever writes to the log again, the torn line of a crash stays where it is.
    let files = fs::read_dir(site.file("state/binding_log")).map_err(|why| wrong(why.to_string()))?;
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).map_err(|why| wrong(why.to_string()))?;
        fs::write(file.path(), text + "{\"time\":\"20").map_err(|why| wrong(why.to_string()))?;
    }
    let gateway = site.start(&config())?;
    expect(&who(&site, port, "")?, "1 damaged lines were skipped")?;
    let again = port_of(&site.page()?)?;
    let continued = || answer(&site, again, "").is_ok_and(|answer| answer["until"] == "present");
    until(Deadline::ample(), "the restarted gateway has the port", continued)?;
    let offline = format!("--socket {}", site.file("no.sock").display());
    let written = || answer(&site, again, &offline).is_ok_and(|answer| answer["until"] == "unknown");
    until(Deadline::ample(), "the files have the port", written)?;
    gateway.kill()?;
    let killed = answer(&site, again, "")?;
    assert_eq!((killed["host"].as_str(), killed["until"].as_str()), (Some(host.as_str()), Some("unknown")));
    Ok(())
}

#[test]
fn an_ipfix_collector_receives_the_records() -> Test {
    // ids 8158-4.6.10, 8158-4-7011
    let Some(site) = build(1, None)? else { return Ok(()) };
    let router = &site.lab.gateway;
    let dir = site.file("flows");
    fs::create_dir_all(&dir).map_err(|why| wrong(why.to_string()))?;
    let line = format!("nfcapd -b 127.0.0.1 -p 4739 -w {} -t 3600", dir.display());
    let mut collector = router.daemon(&line, &site.file("nfcapd.log"))?;
    until(Deadline::ample(), "nfcapd listens", || {
        router.text("ss -Hlun sport = :4739").is_ok_and(|text| text.contains("127.0.0.1:4739"))
    })?;
    let more = "[binding_log]\nipfix = [\"udp://127.0.0.1\"]".to_owned();
    let gateway = site.start(&GatewayConfig { more, ..config() })?;
    port_of(&site.page()?)?;
    gateway.stop()?;
    collector.end("TERM", Deadline::ample())?;
    let output = CommandLine::new(&format!("nfdump -R {} -o raw", dir.display())).text()?;
    let line = |key: &str| output.lines().find(|line| line.trim().starts_with(key)).unwrap_or_default();
    expect(line("src addr"), "2001:db8:1::10")?;
    expect(line("src xlt ip"), OUTSIDE)?;
    // Port block allocation (RFC 8158 §4.3). This version of nfdump shows no port range.
    expect(&line("nat event").replace(' ', ""), "natevent=16:")
}
