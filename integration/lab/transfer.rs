//! Large files arrive complete.

use gate64::lab::{GatewayConfig, LabError};

use super::{Site, Test, build, digest, expect};

const BYTES: u64 = 64 << 20;

/// Download, then upload: the server receives what it sent.
fn there_and_back(site: &Site, want: &str) -> Test {
    let (down, up) = (site.file("down"), site.file("up"));
    let path = down.display();
    site.host()
        .run(&format!("curl -sS -o {path} http://www.v4only.example/bytes/{BYTES}"))
        .limit(60)
        .text()?;
    assert_eq!(digest(&down)?, want, "down");
    site.host().run(&format!("curl -sS -T {path} http://www.v4only.example/up/up")).limit(60).text()?;
    assert_eq!(digest(&up)?, want, "up");
    Ok(())
}

/// The same file without a gateway.
fn original(site: &Site) -> Result<String, LabError> {
    let file = site.file("original");
    let path = file.display();
    site.lab.internet.text(&format!("curl -sS -o {path} http://198.51.100.80/bytes/{BYTES}"))?;
    digest(&file)
}

#[test]
fn files_of_64_mib_arrive_whole_each_way() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let want = original(&site)?;
    for (offloads, workers) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
        eprintln!("offloads {offloads}, workers {workers}");
        let gateway = site.start(&GatewayConfig { offloads, workers, ..GatewayConfig::default() })?;
        there_and_back(&site, &want)?;
        gateway.stop()?;
    }
    Ok(())
}

#[test]
fn iperf_runs_both_ways_at_once() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig { workers: 2, ..GatewayConfig::default() })?;
    let mut server =
        site.lab.internet.daemon("iperf3 -s -B 198.51.100.80 --one-off --forceflush", &site.file("iperf"))?;
    server.ready(gate64::lab::Deadline::ample(), "iperf3 listens", |d| d.log().contains("listening"))?;
    let client = format!("iperf3 -c {} -t 2 -P 4 --bidir -f g", super::WWW);
    let output = site.host().run(&client).limit(20).text()?;
    eprintln!("{output}");
    expect(&output, "iperf Done")?;
    gateway.stop()
}
