//! Datagrams and echoes of all sizes, fragments, hops and path MTUs.

use gate64::lab::GatewayConfig;

use super::{FAR, Test, WWW, build, digest, expect, tool};

#[test]
fn udp_of_every_size_comes_back_as_sent() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let output = tool(site.host(), &format!("probe --sizes 1-1472 [{WWW}]:3478")).limit(120).text()?;
    expect(&output, "sizes 1 to 1472: 0 wrong")?;
    gateway.stop()
}

#[test]
fn a_fragmented_datagram_of_8_kib_each_way() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    for (offloads, workers) in [(true, 1), (false, 2)] {
        let gateway = site.start(&GatewayConfig { offloads, workers, ..GatewayConfig::default() })?;
        let output = tool(site.host(), &format!("probe --sizes 8192-8196 [{WWW}]:3478")).text()?;
        expect(&output, "sizes 8192 to 8196: 0 wrong")?;
        gateway.stop()?;
    }
    Ok(())
}

#[test]
fn ping_of_every_size() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let each = format!(
        "for s in $(seq 0 1452); do ping -c 1 -W 2 -q -s $s {WWW} >/dev/null || echo lost $s; done; echo done"
    );
    let output = site.host().run("sh -c").arg(each).limit(120).text()?;
    assert_eq!(output.trim(), "done");
    gateway.stop()
}

#[test]
fn tracepath_shows_every_hop() -> Test {
    let Some(site) = build(1, Some(1500))? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let output = site.host().run(&format!("tracepath -n -m 8 {FAR}")).limit(40).text()?;
    eprintln!("{output}");
    // Hops: the gateway's kernel, the provider's router, the server.
    expect(&output, " 2001:db8:1::1 ")?;
    expect(&output, " 2001:db8:64::c000:201 ")?;
    expect(&output, FAR)?;
    expect(&output, "reached")?;
    gateway.stop()
}

/// A router on the IPv4 side with less than IPv6's minimum: the host sends 1280 bytes, which become 1260 bytes
/// that routers may fragment.
#[test]
fn a_path_below_1260_bytes_is_passed_in_fragments() -> Test {
    // id ptb4-low
    let Some(site) = build(1, Some(1000))? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let file = site.file("large");
    let path = file.display();
    site.lab.internet.text(&format!("curl -sS -o {path} http://198.51.100.80/bytes/1048576"))?;
    site.host().text(&format!("curl -sS -m 15 -T {path} http://far.v4only.example/up/far"))?;
    assert_eq!(digest(&file)?, digest(&site.file("far"))?);
    let route = site.host().text(&format!("ip -6 route get {FAR}"))?;
    expect(&route, "mtu 1280")?;
    gateway.stop()
}

#[test]
fn the_host_finds_a_path_mtu_of_the_ipv4_side() -> Test {
    let Some(site) = build(1, Some(1400))? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let file = site.file("large");
    let path = file.display();
    site.lab.internet.text(&format!("curl -sS -o {path} http://198.51.100.80/bytes/4194304"))?;
    site.host().text(&format!("curl -sS -m 15 -T {path} http://far.v4only.example/up/far"))?;
    assert_eq!(digest(&file)?, digest(&site.file("far"))?);
    let route = site.host().text(&format!("ip -6 route get {FAR}"))?;
    expect(&route, "mtu 1420")?;
    gateway.stop()
}
