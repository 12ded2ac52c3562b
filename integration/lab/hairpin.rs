//! Hosts of the zone reach each other by their IPv4 addresses.

use gate64::lab::{GatewayConfig, LabError, Namespace};

use super::egress::listener;
use super::{Site, Test, WWW, build, expect, tool, wrong};

/// Addresses of each machine: each is a separate host for the gateway, so that both workers own some.
const ADDRESSES: u8 = 5;

fn address(host: usize, number: u8) -> String {
    format!("2001:db8:1:{host}::{:x}", 0x20 + number)
}

/// The IPv6 form of `192.0.2.64:1234`.
fn embedded(endpoint: &str) -> Result<String, LabError> {
    let bad = || wrong(format!("not an IPv4 endpoint: {endpoint}"));
    let (addr, port) = endpoint.split_once(':').ok_or_else(bad)?;
    let addr: std::net::Ipv4Addr = addr.parse().map_err(|_| bad())?;
    let [a, b, c, d] = addr.octets();
    Ok(format!("[2001:db8:64::{a:02x}{b:02x}:{c:02x}{d:02x}]:{port}"))
}

fn add_addresses(site: &Site) -> Test {
    for (number, host) in site.lab.hosts.iter().enumerate() {
        for extra in 0..ADDRESSES {
            host.ip(&format!("addr add {}/64 dev eth0 nodad", address(number, extra)))?;
        }
    }
    Ok(())
}

/// Every address of `from` exchanges datagrams with every listener.
fn all_reach(from: &Namespace, host: usize, listeners: &[String]) -> Test {
    let targets = listeners.iter().map(|endpoint| embedded(endpoint)).collect::<Result<Vec<_>, _>>()?;
    for extra in 0..ADDRESSES {
        let bind = format!("[{}]:0", address(host, extra));
        let words = format!("probe --bind {bind} --sizes 1-5 {}", targets.join(" "));
        let output = tool(from, &words).text()?;
        assert_eq!(output.matches("0 wrong").count(), targets.len(), "from {bind}: {output}");
    }
    Ok(())
}

#[test]
fn two_hosts_reach_each_other_by_ipv4() -> Test {
    let Some(site) = build(2, None)? else { return Ok(()) };
    add_addresses(&site)?;
    for workers in [1, 2] {
        eprintln!("workers {workers}");
        let gateway = site.start(&GatewayConfig { workers, ..GatewayConfig::default() })?;
        let mut listeners = Vec::new();
        for extra in 0..ADDRESSES {
            let bind = format!("[{}]:4500", address(0, extra));
            listeners.push(listener(&site, &site.lab.hosts[0], &bind, &format!("[{WWW}]:3478"))?);
        }
        let endpoints: Vec<_> = listeners.iter().map(|(_, endpoint)| endpoint.clone()).collect();
        all_reach(&site.lab.hosts[1], 1, &endpoints)?;
        all_reach(&site.lab.hosts[0], 0, &endpoints)?;
        drop(listeners);
        gateway.stop()?;
    }
    Ok(())
}

#[test]
fn two_hosts_fetch_pages_at_once() -> Test {
    let Some(site) = build(2, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig { workers: 2, ..GatewayConfig::default() })?;
    for host in &site.lab.hosts {
        let page = host.text("curl -sS -m 5 http://www.v4only.example/")?;
        expect(&page, "Hello! To this server you are 192.0.2.")?;
    }
    gateway.stop()
}
