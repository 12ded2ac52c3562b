//! What is missing at the start: an interface that appears later, and a valid configuration file.

use std::fs;

use gate64::lab::{Deadline, Gateway, GatewayConfig, until};
use serde_json::Value;

use super::reconcile::status;
use super::{Test, Tested, WWW, build, expect, program, wrong};

#[test]
fn an_interface_that_appears_later_gets_its_address() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let dns = "listen = [\"[2001:db8:1:ff::153]:53\"]\nupstreams = [\"198.51.100.53\"]\nassign = \"late0\""
        .to_owned();
    let gateway = site.start(&GatewayConfig { dns, ..GatewayConfig::default() })?;
    let router = &site.lab.gateway;
    let health =
        router.run(&format!("{} health --config {}", program().display(), gateway.config().display()));
    let waiting = "degraded  host     waiting for 2001:db8:1:ff::153 on late0";
    until(Deadline::ample(), waiting, || health.outcome().is_ok_and(|found| found.stdout.contains(waiting)))?;
    router.ip("link add late0 type veth peer name late1")?;
    router.ip("link set late0 up")?;
    router.ip("link set late1 up")?;
    let has_address =
        || router.ip("addr show dev late0").is_ok_and(|found| found.contains("2001:db8:1:ff::153/128"));
    until(Deadline::ample(), "the address", has_address)?;
    until(Deadline::ample(), "no problem", || {
        status(&site, &gateway).is_ok_and(|status| status["host"]["problems"] == Value::Array(Vec::new()))
    })?;
    let answers =
        || site.host().text("dig +short +time=1 +tries=1 @2001:db8:1:ff::153 www.v4only.example AAAA");
    until(Deadline::ample(), "an answer", || answers().is_ok_and(|found| found.contains("2001:db8:64::")))?;
    gateway.stop()?;
    assert!(!has_address(), "the journal has it");
    router.ip("link del late0").map(drop)
}

#[test]
fn a_refused_file_starts_the_last_good_configuration() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let bad = GatewayConfig { more: "nonsense = 1".to_owned(), ..GatewayConfig::default() };
    // Without one it ends.
    let Err(why) = site.start(&bad) else { return Err(wrong("an invalid file has started")) };
    expect(&why.to_string(), "unknown key `nonsense`")?;
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    gateway.stop()?;
    let mut gateway = site.start(&bad)?;
    site.page()?;
    let line = format!("{} health --config {}", program().display(), gateway.config().display());
    let health = site.lab.gateway.text(&line)?;
    expect(&health, "degraded  config   file refused, the last good one is in effect")?;
    // A reload of a valid file ends that.
    gateway.reload(&GatewayConfig::default())?;
    assert!(!site.lab.gateway.text(&line)?.contains("file refused"));
    gateway.stop()?;
    let saved = fs::read_to_string(site.file("state").join("last_good.toml"));
    assert!(saved.is_ok_and(|text| !text.contains("nonsense")));
    Ok(())
}

#[test]
fn the_ipv4_path_is_probed() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let more =
        "[health]\nprobes = [\"tcp://198.51.100.80:80\", \"ping://198.51.100.80\"]\nprobe_interval = \"1s\"";
    let gateway = site.start(&GatewayConfig { more: more.to_owned(), ..GatewayConfig::default() })?;
    let router = &site.lab.gateway;
    router.run("sysctl -q -w").arg("net.ipv4.ping_group_range=0 2147483647").text()?;
    let line = format!("{} health --config {}", program().display(), gateway.config().display());
    let shows = |words: &str| router.run(&line).outcome().is_ok_and(|found| found.stdout.contains(words));
    until(Deadline::ample(), "both answer", || shows("ipv4_path probes are answered"))?;
    router.ip("link set wan down")?;
    until(Deadline::ample(), "no answer", || {
        shows("failed    ipv4_path no answer: ping://198.51.100.80 tcp://198.51.100.80:80")
    })?;
    assert!(!router.run(&line).outcome()?.ok, "not ready");
    router.ip("link set wan up")?;
    router.ip("route replace default via 192.0.2.1")?;
    until(Deadline::ample(), "they answer again", || shows("ipv4_path probes are answered"))?;
    gateway.stop()
}

#[test]
fn a_lingering_prefix_survives_a_restart() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let failed = |error: std::io::Error| wrong(error.to_string());
    let gateway = site.start(&GatewayConfig::default())?;
    let text =
        fs::read_to_string(gateway.config()).map_err(failed)?.replace("2001:db8:64::/96", "2001:db8:65::/96");
    fs::write(gateway.config(), &text).map_err(failed)?;
    gateway.hangup()?;
    let fetch = |addr: &str| site.host().text(&format!("curl -sS -m 5 http://[{addr}]/"));
    let new = "2001:db8:65::c633:6450";
    until(Deadline::ample(), "the new prefix", || fetch(new).is_ok())?;
    expect(&fetch(WWW)?, "you are")?;
    gateway.stop()?;
    let again = Gateway::with_file(program(), &site.lab.gateway, site.lab.dir(), &text)?;
    let gateway = Tested(Some(again));
    expect(&fetch(new)?, "you are")?;
    expect(&fetch(WWW)?, "you are")?;
    gateway.stop()
}
