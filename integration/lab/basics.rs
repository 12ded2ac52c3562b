//! The lab itself, and a page by name.

use gate64::lab::{CommandLine, GatewayConfig};

use super::{Test, WWW, build, expect};

#[test]
fn the_lab_starts_and_leaves_nothing() -> Test {
    let Some(site) = build(2, Some(1400))? else { return Ok(()) };
    let page = site.lab.internet.text("curl -s http://203.0.113.80/")?;
    expect(&page, "Hello! To this server you are 203.0.113.1 port")?;
    let names: Vec<_> = site.lab.hosts.iter().map(|host| host.name().to_owned()).collect();
    drop(site);
    let left = CommandLine::new("ip netns list").text()?;
    assert!(names.iter().all(|name| !left.contains(name)), "{left}");
    Ok(())
}

#[test]
fn a_page_by_name() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    expect(&site.page()?, "Hello! To this server you are 192.0.2.")?;
    let native = site.host().text("curl -sS -m 5 http://www.dual.example/")?;
    expect(&native, "you are 2001:db8:1::10 port")?;
    gateway.stop()
}

#[test]
fn a_more_specific_route_bypasses_translation() -> Test {
    // ids 7269-native, 7915-4.6-route, 7915-5.6-route, W-native
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    // Under the pref64, but no host has 192.0.2.254: only the IPv6 route leads there.
    let dual = "2001:db8:64::c000:2fe";
    site.lab.internet.ip(&format!("addr add {dual}/128 dev lo"))?;
    site.lab.gateway.ip(&format!("-6 route add {dual}/128 via 2001:db8:ffff::1"))?;
    // Translation would take two hops more; the gateway's kernel is the only router.
    let output = site.host().text(&format!("ping -c 1 -W 5 {dual}"))?;
    expect(&output, "ttl=63")?;
    let output = site.host().text("ping -c 1 -W 5 2001:db8:80::80")?;
    expect(&output, "ttl=63")?;
    gateway.stop()
}

#[test]
fn names_of_every_kind() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let cases = [
        ("www.v4only.example AAAA", WWW),
        ("+tcp www.v4only.example AAAA", WWW),
        ("shop.example AAAA", WWW),
        ("www.dual.example AAAA", "2001:db8:80::80"),
        ("www.v4only.example A", "198.51.100.80"),
        ("ipv4only.arpa AAAA", "2001:db8:64::c000:aa"),
    ];
    for (question, answer) in cases {
        let output = site.host().text(&format!("dig +short +time=3 {question}"))?;
        assert!(output.lines().any(|line| line == answer), "{question}: {output}");
    }
    // The server is outside every zone, so it receives no answer.
    let output =
        site.lab.internet.run("dig +time=1 +tries=1 @2001:db8:1::53 www.v4only.example AAAA").outcome()?;
    assert!(!output.ok || !output.stdout.contains("status: NOERROR"), "{}", output.stdout);
    gateway.stop()
}
