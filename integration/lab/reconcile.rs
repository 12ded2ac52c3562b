//! The host is kept as configured while the gateway runs: what others change is restored, logged and counted.

use gate64::lab::{Deadline, GatewayConfig, LabError, until};
use serde_json::Value;

use super::{Site, Test, Tested, WWW, build, expect, program};

/// The status of the gateway.
pub(super) fn status(site: &Site, gateway: &Tested) -> Result<Value, LabError> {
    let line = format!("{} status --json --config {}", program().display(), gateway.config().display());
    Ok(serde_json::from_str(&site.lab.gateway.text(&line)?).unwrap_or_default())
}

/// How often this part of the host was repaired.
fn repairs(site: &Site, gateway: &Tested, part: &str) -> Result<u64, LabError> {
    Ok(status(site, gateway)?["host"]["repairs"][part].as_u64().unwrap_or_default())
}

/// Changes the host, and waits until the gateway has repaired it and the host's first client gets an answer.
fn survives(site: &Site, gateway: &Tested, commands: &[&str], part: &str) -> Test {
    let before = repairs(site, gateway, part)?;
    for command in commands {
        site.lab.gateway.text(command)?;
    }
    until(Deadline::ample(), &format!("{commands:?}: the repair"), || {
        repairs(site, gateway, part).is_ok_and(|now| now > before)
    })?;
    let answers = || site.host().text(&format!("ping -c 1 -W 1 {WWW}")).is_ok();
    until(Deadline::ample(), &format!("{commands:?}: an answer"), answers)
}

#[test]
fn what_others_change_is_restored() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let dns =
        "listen = [\"[2001:db8:1::153]:53\"]\nupstreams = [\"198.51.100.53\"]\nassign = \"lan0\"".to_owned();
    let config = GatewayConfig { dns, ..GatewayConfig::default() };
    let mut gateway = site.start(&config)?;
    let default = "ip route replace default via 192.0.2.1";
    for (commands, part) in [
        (&["ip link set gate64 down"][..], "device"),
        (&["ip link set gate64 down", "ip link set gate64 up"], "route"),
        (&["ip -6 route flush dev gate64"], "route"),
        (&["ip route flush dev gate64"], "route"),
        (&["ip -6 route del unreachable 2001:db8:64::/96 metric 4294967295"], "unreachable_route"),
        (&["ip addr del 2001:db8:1::153/128 dev lan0"], "address"),
        (&["ip link set wan down", "ip link set wan up", default], "proxy"),
        (&["sysctl -q -w net.ipv4.ip_forward=0"], "sysctl"),
        (&["sysctl -q -w net.ipv6.conf.all.forwarding=0"], "sysctl"),
        // The kernel ignores router advertisements if this is 1 and forwarding is enabled.
        (&["sysctl -q -w net.ipv6.conf.wan.accept_ra=1"], "sysctl"),
        (&["sysctl -q -w net.ipv6.conf.wan.accept_ra=0"], "sysctl"),
        (&["ip link add new0 type veth peer name new1"], "sysctl"),
    ] {
        survives(&site, &gateway, commands, part)?;
        // So that the repairs of the next case are not paused.
        gateway.reload(&config)?;
    }
    // All routes to the device share one permanent neighbour.
    let router = &site.lab.gateway;
    let is_there =
        || router.text("ip -6 neigh show dev gate64 nud permanent").is_ok_and(|all| all.contains("fe80::64"));
    assert!(is_there(), "it returned with the device");
    router.ip("-6 neigh del fe80::64 dev gate64")?;
    until(Deadline::ample(), "the neighbour", is_there)?;
    expect(&gateway.log(), "repaired: 2001:db8:1::153 was missing on lan0")?;
    expect(&gateway.log(), "net.ipv6.conf.new0.accept_ra was not 2")?;
    gateway.stop()
}

#[test]
fn a_new_address_of_the_uplink_is_followed() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let router = &site.lab.gateway;
    router.ip("addr del 192.0.2.2/24 dev wan")?;
    let proxies = || router.ip("neigh show proxy").unwrap_or_default();
    until(Deadline::ample(), "proxies without a subnet are removed", || !proxies().contains("192.0.2.64"))?;
    router.ip("addr add 192.0.2.3/24 dev wan")?;
    until(Deadline::ample(), "the proxies are back", || proxies().contains("192.0.2.64"))?;
    router.ip("route replace default via 192.0.2.1")?;
    let answers = || site.host().text(&format!("ping -c 1 -W 1 {WWW}")).is_ok();
    until(Deadline::ample(), "an answer", answers)?;
    gateway.stop()
}

#[test]
fn a_flushed_ruleset_is_restored() -> Test {
    let Some(site) = build(1, Some(1500))? else { return Ok(()) };
    let config = GatewayConfig { pool: "egress = \"masquerade\"".to_owned(), ..GatewayConfig::default() };
    let mut gateway = site.start(&config)?;
    survives(&site, &gateway, &["nft flush ruleset"], "nftables")?;
    expect(&site.page()?, "you are 192.0.2.2 port")?;
    // A firewall that appears later is a problem that the gateway cannot repair.
    let router = &site.lab.gateway;
    router.text("nft add table inet later")?;
    router
        .text("nft add chain inet later forward { type filter hook forward priority 0 ; policy drop ; }")?;
    let problems = || status(&site, &gateway).map(|s| s["host"]["problems"].to_string()).unwrap_or_default();
    until(Deadline::ample(), "the problem is shown", || problems().contains("inet later forward drops"))?;
    router.text("nft delete table inet later")?;
    until(Deadline::ample(), "the problem is over", || problems() == "[]")?;
    // A paused repair is a problem, also after comparisons without nftables.
    gateway.reload(&config)?;
    let count = |part: &str| repairs(&site, &gateway, part).unwrap_or_default();
    let start = count("nftables");
    for number in 1..=3 {
        router.text("nft flush ruleset")?;
        until(Deadline::ample(), "a repair", || count("nftables") == start + number)?;
    }
    router.text("nft flush ruleset")?;
    let problems = || status(&site, &gateway).map(|s| s["host"]["problems"].to_string()).unwrap_or_default();
    until(Deadline::ample(), "a pause", || problems().contains("table ip gate64 was missing"))?;
    router.ip("-6 route del unreachable 2001:db8:64::/96 metric 4294967295")?;
    until(Deadline::ample(), "another repair", || count("unreachable_route") > 0)?;
    assert!(!gateway.log().contains("no longer: the nftables table"), "{}", problems());
    gateway.stop()
}

#[test]
fn repairs_pause_if_another_program_undoes_them() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let mut gateway = site.start(&GatewayConfig::default())?;
    let router = &site.lab.gateway;
    for number in 1..=3 {
        router.ip("-6 route del unreachable 2001:db8:64::/96 metric 4294967295")?;
        until(Deadline::ample(), "a repair", || {
            repairs(&site, &gateway, "unreachable_route").is_ok_and(|now| now == number)
        })?;
    }
    router.ip("-6 route del unreachable 2001:db8:64::/96 metric 4294967295")?;
    let problem = "the unreachable route to 2001:db8:64::/96 was missing: another program undoes the repair";
    until(Deadline::ample(), "the gateway gives up", || gateway.log().contains(problem))?;
    assert_eq!(repairs(&site, &gateway, "unreachable_route")?, 3);
    gateway.reload(&GatewayConfig::default())?;
    until(Deadline::ample(), "a repair after a reload", || {
        repairs(&site, &gateway, "unreachable_route").is_ok_and(|now| now == 4)
    })?;
    gateway.stop()
}

#[test]
fn a_deleted_device_ends_the_gateway() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let mut gateway = site.start(&GatewayConfig::default())?;
    site.lab.gateway.ip("link del gate64")?;
    let status = gateway.exited(Deadline::ample())?;
    assert!(!status.success(), "a failure, so that the service manager starts it again");
    expect(&gateway.log(), "the device gate64 was deleted")?;
    drop(gateway);
    // The next start finds a clean host.
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    gateway.stop()
}
