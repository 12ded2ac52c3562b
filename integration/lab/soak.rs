//! Ten minutes under load: `make soak`.

use std::fs;

use gate64::lab::{Deadline, GatewayConfig, until};

use super::{Test, WWW, build, expect, wrong};

const SECONDS: u64 = 600;
/// Allowed growth of resident memory: pages of tables used for the first time.
const SLACK_KIB: u64 = 16 << 10;

#[test]
#[ignore = "takes ten minutes; `make soak` runs it"]
fn memory_stays_constant_under_iperf3_and_dnsperf() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let mut config = GatewayConfig { workers: 2, ..GatewayConfig::default() };
    // dnsperf repeats queries and sends no cookie, so the limits are disabled.
    config.dns.push_str("\nresponses_per_second = 0\nresponse_bytes_per_second = 0");
    let gateway = site.start(&config)?;
    let queries = site.file("queries");
    fs::write(&queries, "www.v4only.example AAAA\nwww.dual.example AAAA\nshop.example AAAA\n")
        .map_err(|e| wrong(e.to_string()))?;
    let server =
        site.lab.internet.daemon("iperf3 -s -B 198.51.100.80 --forceflush", &site.file("iperf-server"))?;
    until(Deadline::ample(), "iperf3 listens", || server.log().contains("listening"))?;
    let seconds = std::env::var("GATE64_SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SECONDS);
    let bulk = format!("iperf3 -c {WWW} -t {seconds} -P 2 --bidir -i 60");
    let mut bulk = site.host().daemon(&bulk, &site.file("iperf"))?;
    let names = format!("dnsperf -s 2001:db8:1::53 -d {} -l {seconds} -Q 2000 -c 4", queries.display());
    let mut names = site.host().daemon(&names, &site.file("dnsperf"))?;
    // Warm-up: fills tables and buffers.
    let warm = Deadline::after((seconds / 6).max(5));
    until(Deadline::after(seconds), "the load has run for a while", || warm.passed())?;
    let early = gateway.memory();
    until(Deadline::after(seconds + 60), "the load ends", || !bulk.is_running() && !names.is_running())?;
    let late = gateway.memory();
    println!("resident memory: {early} KiB after {} s, {late} KiB after {seconds} s", (seconds / 6).max(5));
    println!("{}\n{}", names.log(), bulk.log().lines().rev().take(12).collect::<Vec<_>>().join("\n"));
    assert!(late <= early + SLACK_KIB, "memory grew from {early} to {late} KiB");
    expect(&bulk.log(), "iperf Done")?;
    expect(&names.log(), "Queries lost:         0")?;
    gateway.stop()
}
