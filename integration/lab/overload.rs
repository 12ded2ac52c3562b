//! A flood of one host: the overload filter leaves its neighbour's packets alone.

use gate64::lab::{Deadline, GatewayConfig, Namespace, until};

use super::{Site, Test, WWW, build};

/// Drops of the filter so far.
fn dropped(site: &Site) -> u64 {
    let metrics = site.lab.gateway.text("curl -sS -g http://[::1]:6464/metrics").unwrap_or_default();
    let drops = metrics.lines().filter(|line| line.contains("reason=\"overload\""));
    drops.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// How many of 100 echoes return.
fn echoes(at: &Namespace) -> usize {
    let output = at.run(&format!("ping -n -q -c 100 -i 0.01 -W 2 {WWW}")).outcome();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with("received"));
    at.and_then(|at| words[at - 1].parse().ok()).unwrap_or(0)
}

#[test]
fn a_flood_of_one_host_leaves_packets_to_its_neighbour() -> Test {
    let Some(site) = build(2, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let neighbour = &site.lab.hosts[1];
    until(Deadline::ample(), "the neighbour has a session", || echoes(neighbour) > 0)?;
    let server =
        site.lab.internet.daemon("iperf3 -s -B 198.51.100.80 --forceflush", &site.file("iperf-server"))?;
    until(Deadline::ample(), "iperf3 listens", || server.log().contains("listening"))?;
    let flood = site.host().daemon(&format!("iperf3 -u -c {WWW} -b 0 -l 64 -t 600"), &site.file("flood"))?;
    until(Deadline::ample(), "the filter drops packets", || dropped(&site) > 0)?;
    // First come, first served would leave it half of its packets.
    until(Deadline::ample(), "the neighbour keeps its packets", || {
        let before = dropped(&site);
        echoes(neighbour) >= 95 && dropped(&site) > before
    })?;
    drop(flood);
    gateway.stop()
}
