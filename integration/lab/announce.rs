//! Addresses on the link: neighbours that know another gateway follow at once, and addresses in use are found.

use gate64::lab::{Deadline, GatewayConfig, until};

use super::reconcile::status;
use super::{Test, build, expect, wrong};

#[test]
fn neighbours_learn_where_addresses_are() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, host) = (&site.lab.internet, site.host());
    internet.ip("neigh replace 192.0.2.65 lladdr 02:00:00:00:00:01 dev cust nud stale")?;
    host.ip("-6 neigh replace 2001:db8:1::153 lladdr 02:00:00:00:00:01 dev eth0 nud stale")?;
    let dns =
        "listen = [\"[2001:db8:1::153]:53\"]\nupstreams = [\"198.51.100.53\"]\nassign = \"lan0\"".to_owned();
    let gateway = site.start(&GatewayConfig { dns, ..GatewayConfig::default() })?;
    let knows_another = |found: Result<String, _>| found.is_ok_and(|text| text.contains("02:00:00:00:00:01"));
    until(Deadline::ample(), "gratuitous ARP", || !knows_another(internet.ip("neigh show 192.0.2.65")))?;
    until(Deadline::ample(), "an advertisement", || {
        !knows_another(host.ip("-6 neigh show 2001:db8:1::153"))
    })?;
    gateway.stop()
}

#[test]
fn an_address_in_use_is_a_problem() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    site.lab.internet.ip("addr add 192.0.2.70/24 dev cust")?;
    let gateway = site.start(&GatewayConfig::default())?;
    let problems = || {
        let status = status(&site, &gateway).map_err(|why| wrong(why.to_string()));
        status.map(|status| status["host"]["problems"].to_string()).unwrap_or_default()
    };
    let words = "192.0.2.70 is in use by another host on wan, ";
    until(Deadline::ample(), words, || problems().contains(words))?;
    assert!(!problems().contains("192.0.2.71"), "{}", problems());
    gateway.stop()
}

#[test]
fn a_foreign_route_to_the_pool_is_named() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    site.lab.gateway.ip("route add blackhole 192.0.2.64/28")?;
    let Err(why) = site.start(&GatewayConfig::default()) else {
        return Err(wrong("the gateway has started"));
    };
    expect(&why.to_string(), "this host has another route to 192.0.2.64/28")?;
    site.lab.gateway.ip("route del blackhole 192.0.2.64/28").map(drop)
}
