//! The three egress modes: an on-link pool by proxy ARP, a routed pool, and masquerading.

use gate64::lab::{Deadline, GatewayConfig, LabError, Namespace, until};

use super::{FAR, Site, Test, WWW, build, expect, tool, wrong};

#[test]
fn proxy_arp_answers_for_an_on_link_pool() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    expect(&site.page()?, "you are 192.0.2.")?;
    let proxies = site.lab.gateway.text("ip neigh show proxy")?;
    expect(&proxies, "192.0.2.64 dev wan")?;
    expect(&proxies, "192.0.2.79 dev wan")?;
    gateway.stop()
}

#[test]
fn a_routed_pool_needs_no_proxy() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    site.lab.internet.ip("route add 203.0.113.192/28 via 192.0.2.2")?;
    let config =
        GatewayConfig { pool: "pool4 = [\"203.0.113.192/28\"]".to_owned(), ..GatewayConfig::default() };
    let gateway = site.start(&config)?;
    expect(&site.page()?, "you are 203.0.113.")?;
    assert_eq!(site.lab.gateway.text("ip neigh show proxy")?.trim(), "");
    gateway.stop()
}

/// The source that each server sees of one socket of the host.
fn seen(site: &Site, servers: &str) -> Result<Vec<String>, LabError> {
    let output = tool(site.host(), &format!("probe {servers}")).text()?;
    Ok(output.lines().filter_map(|line| line.strip_prefix("seen ")).map(str::to_owned).collect())
}

/// Starts an echo server on a host's UDP socket; returns its mapped address as `server` sees it.
pub(super) fn listener(
    site: &Site,
    at: &Namespace,
    bind: &str,
    server: &str,
) -> Result<(gate64::lab::Daemon, String), LabError> {
    let words = tool(at, &format!("listen --bind {bind} {server}"));
    let log = site.file(&format!("listen-{}", bind.replace([':', '[', ']'], "_")));
    let daemon = gate64::lab::Daemon::start(&words, &log)?;
    until(Deadline::ample(), "the listener knows its address", || daemon.log().contains("seen "))?;
    let endpoint = daemon.log().trim().trim_start_matches("seen ").to_owned();
    Ok((daemon, endpoint))
}

/// One socket has the same mapped address for all servers, and other outside hosts may reply (RFC 4787
/// REQ-1, REQ-8).
fn mappings_are_endpoint_independent(site: &Site, address: &str) -> Test {
    let servers = format!("[{WWW}]:3478 [{FAR}]:3478");
    let seen = seen(site, &servers)?;
    if seen.len() != 2 || seen[0] != seen[1] || !seen[0].starts_with(address) {
        return Err(wrong(format!("seen as {seen:?}")));
    }
    let (listener, endpoint) =
        listener(site, site.host(), "[2001:db8:1::10]:4500", &format!("[{WWW}]:3478"))?;
    let far = site.lab.far.as_ref().ok_or_else(|| wrong("no far server"))?;
    let output = tool(far, &format!("probe --bind 203.0.113.80:0 --sizes 1-20 {endpoint}")).text()?;
    expect(&output, "sizes 1 to 20: 0 wrong")?;
    drop(listener);
    Ok(())
}

#[test]
fn mappings_are_endpoint_independent_with_a_pool() -> Test {
    let Some(site) = build(1, Some(1500))? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    mappings_are_endpoint_independent(&site, "192.0.2.")?;
    gateway.stop()
}

#[test]
fn mappings_are_endpoint_independent_behind_masquerade() -> Test {
    let Some(site) = build(1, Some(1500))? else { return Ok(()) };
    let config = GatewayConfig { pool: "egress = \"masquerade\"".to_owned(), ..GatewayConfig::default() };
    let gateway = site.start(&config)?;
    expect(&site.page()?, "you are 192.0.2.2 port")?;
    mappings_are_endpoint_independent(&site, "192.0.2.2:")?;
    site.host().text(&format!("ping -c 1 -W 5 {WWW}"))?;
    gateway.stop()
}

#[test]
fn services_on_the_ports_of_masquerade_are_named() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let config = GatewayConfig { pool: "egress = \"masquerade\"".to_owned(), ..GatewayConfig::default() };
    let serve =
        |port: u16| listener(&site, &site.lab.gateway, &format!("192.0.2.2:{port}"), "198.51.100.80:3478");
    let warning = |port: u16| format!("udp port {port}: a service of this host listens on it");
    // WireGuard's port, and one outside the range.
    let (_first, _other) = (serve(51_820)?, serve(40_959)?);
    let mut gateway = site.start(&config)?;
    until(Deadline::ample(), "a service of the start is named", || gateway.log().contains(&warning(51_820)))?;
    // The search is repeated every minute, and after a reload.
    let _second = serve(51_821)?;
    gateway.reload(&config)?;
    until(Deadline::ample(), "a service started later is named", || {
        gateway.log().contains(&warning(51_821))
    })?;
    assert!(!gateway.log().contains(&warning(40_959)));
    assert_eq!(gateway.log().matches(&warning(51_820)).count(), 1, "once each");
    gateway.stop()
}
