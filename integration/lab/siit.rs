//! Stateless translation, and destinations that are not translated.

use gate64::lab::GatewayConfig;

use super::{Test, WWW, build, expect};

/// The first host has the mapping 203.0.113.129, the second a zone.
fn mapped() -> GatewayConfig {
    let more = "[siit]\neam = [\"203.0.113.128/28 = 2001:db8:1::/124\", \"203.0.113.160 = 2001:db8:1::10\"]";
    GatewayConfig { more: more.to_owned(), workers: 2, ..GatewayConfig::default() }
}

#[test]
fn a_mapped_host_communicates_in_both_directions() -> Test {
    // id 7755-fig2
    let Some(site) = build(2, None)? else { return Ok(()) };
    site.lab.internet.ip("route add 203.0.113.128/25 via 192.0.2.2")?;
    let gateway = site.start(&mapped())?;
    expect(&site.page()?, "you are 203.0.113.160 port")?;
    let other = site.lab.hosts[1].text("curl -sS -m 5 http://www.v4only.example/")?;
    expect(&other, "you are 192.0.2.")?;
    site.lab.internet.text("ping -c 2 -W 5 203.0.113.160")?;
    // Longer than any MTU: the sender fragments, and fragments of ICMP need state.
    let long = site.lab.internet.run("ping -c 1 -W 1 -s 3000 203.0.113.160").outcome()?;
    assert!(!long.ok, "{}", long.stdout);
    site.lab.internet.text("ping -c 1 -W 5 -s 1452 -M do 203.0.113.160")?;
    // Three routers on the path: the kernel, the translator, the kernel.
    let trace = site.lab.internet.text("ping -c 1 -W 5 -t 4 203.0.113.160")?;
    expect(&trace, "1 received")?;
    gateway.stop()
}

#[test]
fn a_more_specific_route_is_native() -> Test {
    // ids 7915-4.6-route, 7915-5.6-route, W-native
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, router) = (&site.lab.internet, &site.lab.gateway);
    internet.ip("route add 203.0.113.128/25 via 192.0.2.2")?;
    let gateway = site.start(&mapped())?;
    // The server's IPv4 address is removed; its address under the pref64 is native now.
    expect(&site.page()?, "you are 203.0.113.160")?;
    internet.ip("addr del 198.51.100.80/32 dev lo")?;
    internet.ip(&format!("addr add {WWW}/128 dev lo"))?;
    router.ip(&format!("-6 route add {WWW}/128 via 2001:db8:ffff::1"))?;
    site.host().text(&format!("ping -c 1 -W 5 {WWW}"))?;
    // Another machine has an IPv4 address within the mapped prefix.
    router.ip("addr add 203.0.113.130/32 dev lo")?;
    internet.text("ping -c 1 -W 5 203.0.113.130")?;
    let unused = internet.run("ping -c 1 -W 1 203.0.113.131").outcome()?;
    assert!(!unused.ok, "{}", unused.stdout);
    gateway.stop()
}

#[test]
fn a_clat_route_is_used_without_other_ipv4() -> Test {
    // id 6877-A
    let Some(site) = build(1, None)? else { return Ok(()) };
    let (internet, router) = (&site.lab.internet, &site.lab.gateway);
    // The PLAT side: the server's address as its translator would show it.
    internet.ip("addr add 2001:db8:1234::c633:6450/128 dev lo")?;
    internet.ip("-6 route add 2001:db8:aaaa::/96 via 2001:db8:ffff::2")?;
    router.ip("addr add 192.168.1.2/32 dev lo")?;
    let more = "[siit]\ninside = \"ipv4\"\nhosts = \"192.168.1.0/24\"\n\
                hosts_pref64 = \"2001:db8:aaaa::/96\"\npref64 = \"2001:db8:1234::/96\"";
    let config = GatewayConfig { more: more.to_owned(), ..GatewayConfig::default() };
    let gateway = site.start(&config)?;
    expect(&router.text("ip route show default")?, "dev gate64 proto 64 metric 4096")?;
    let ping = "ping -c 1 -W 5 -I 192.168.1.2 198.51.100.80";
    let native = router.run(ping).outcome()?;
    assert!(!native.ok, "IPv4 of the provider goes first, and knows no private source: {}", native.stdout);
    router.ip("route del default via 192.0.2.1")?;
    router.text(ping)?;
    gateway.stop()?;
    assert_eq!(router.text("ip route show default")?.trim(), "");
    Ok(())
}
