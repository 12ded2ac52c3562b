//! The gateway's own addresses, which no client reaches.

use gate64::lab::{Deadline, GatewayConfig, Namespace, until};

use super::{Test, WWW, build};

fn pings(from: &Namespace, words: &str) -> bool {
    from.run(&format!("ping -c 1 -W 1 {words}")).outcome().is_ok_and(|output| output.ok)
}

#[test]
fn an_address_added_after_the_start_is_protected() -> Test {
    // ids local-dst, local-src
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (host, router) = (site.host(), &site.lab.gateway);
    let gateway = site.start(&GatewayConfig::default())?;
    assert!(!pings(host, "2001:db8:64::192.0.2.2"), "an address of the start");
    assert!(!pings(host, "2001:db8:64::192.0.2.255"), "the broadcast address of its subnet");
    router.ip("addr add 192.0.2.99/32 dev lo")?;
    until(Deadline::ample(), "the address is refused", || !pings(host, "2001:db8:64::192.0.2.99"))?;
    assert!(!pings(host, "2001:db8:64::192.0.2.99"));
    // The gateway's own addresses open no binding: a zone host could forge them.
    router.ip("addr add 2001:db8:1::99/64 dev lan0 nodad")?;
    until(Deadline::ample(), "no binding", || !pings(router, &format!("-I 2001:db8:1::99 {WWW}")))?;
    // A removed address is like any other.
    router.ip("addr del 192.0.2.99/32 dev lo")?;
    site.lab.internet.ip("addr add 192.0.2.99/24 dev cust")?;
    until(Deadline::ample(), "the address is reachable", || pings(host, "2001:db8:64::192.0.2.99"))?;
    gateway.stop()
}

#[test]
fn a_local_route_is_protected() -> Test {
    // id local-dst
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (host, router) = (site.host(), &site.lab.gateway);
    router.ip("route add local 192.0.2.104/29 dev lo")?;
    site.lab.internet.ip("addr add 192.0.2.99/24 dev cust")?;
    let gateway = site.start(&GatewayConfig::default())?;
    assert!(!pings(host, "2001:db8:64::192.0.2.105"), "a route of the start");
    until(Deadline::ample(), "another host has the address", || pings(host, "2001:db8:64::192.0.2.99"))?;
    router.ip("route add local 192.0.2.96/29 dev lo")?;
    assert!(pings(router, "192.0.2.99"), "the router itself responds now");
    until(Deadline::ample(), "the address is refused", || !pings(host, "2001:db8:64::192.0.2.99"))?;
    // Routes of other tables need a rule, and don't count.
    router.ip("route add local 198.51.100.0/24 dev lo table 100")?;
    router.ip("route del local 192.0.2.96/29 dev lo")?;
    until(Deadline::ample(), "the address is reachable", || pings(host, "2001:db8:64::192.0.2.99"))?;
    assert!(pings(host, WWW), "a server");
    gateway.stop()
}
